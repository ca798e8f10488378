"""The real Nessie server for the tests and for a rehearsal without an account: its jar from Maven Central, on a Java from a wheel.

In a test: ``with NessieServer(s3_endpoint) as nessie: ...``. In a shell, beside ``aws_server.py``: ``python tests/nessie_server.py``.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import requests
from fault_proxy import Call, Fault, FaultProxy, answers, lost_answer
from java_server import REPOSITORY, JavaServer, ServerUnavailableError, free_port, from_maven

__all__ = ["Call", "Fault", "NessieProxy", "NessieServer", "NessieUnavailableError", "answers", "dynamodb_environment", "lost_answer"]

VERSION = "0.99.0"
WAREHOUSE = "s3://warehouse"
_ARTIFACT = f"org.projectnessie.nessie:nessie-quarkus:{VERSION}:jar:runner"
_JAR = REPOSITORY / "org/projectnessie/nessie/nessie-quarkus" / VERSION / f"nessie-quarkus-{VERSION}-runner.jar"
# Between clients and a server: NESSIE_URI is its ``uri``.
NessieProxy = FaultProxy


class NessieUnavailableError(ServerUnavailableError):
    """The server's jar is not here and cannot be downloaded."""


def nessie_jar() -> Path:
    """The server's jar, downloaded once into Maven's local repository. Raises NessieUnavailableError."""
    arguments = ["dependency:get", f"-Dartifact={_ARTIFACT}", "-Dtransitive=false"]
    from_maven(arguments, _JAR, f"{_ARTIFACT} (245 MB)", NessieUnavailableError)
    return _JAR


def server_environment(s3_endpoint: str, warehouse: str = WAREHOUSE, region: str = "eu-central-1") -> dict[str, str]:
    """What makes ``/iceberg`` work on an S3 of the tests, with the versions in memory.

    All-uppercase names of S3's options are ignored by Nessie unless one of them is dotted, so all are.
    """
    options = "nessie.catalog.service.s3.default-options"
    return {
        "NESSIE_VERSION_STORE_TYPE": "IN_MEMORY",
        "NESSIE_CATALOG_DEFAULT_WAREHOUSE": "warehouse",
        "NESSIE_CATALOG_WAREHOUSES_WAREHOUSE_LOCATION": warehouse,
        f"{options}.region": region,
        f"{options}.endpoint": s3_endpoint,
        f"{options}.path-style-access": "true",
        f"{options}.request-signing-enabled": "false",
        f"{options}.access-key": "urn:nessie-secret:quarkus:my-secrets.s3",
        "my-secrets.s3.name": "test",
        "my-secrets.s3.secret": "test",
    }


def dynamodb_environment(endpoint: str, prefix: str = "nessie", region: str = "eu-central-1") -> dict[str, str]:
    """What keeps the versions in a DynamoDB of the tests, over ``server_environment``: they survive the server."""
    return {
        "NESSIE_VERSION_STORE_TYPE": "DYNAMODB2",
        "NESSIE_VERSION_STORE_PERSIST_DYNAMODB_TABLE_PREFIX": prefix,
        "QUARKUS_DYNAMODB_AWS_REGION": region,
        "QUARKUS_DYNAMODB_ENDPOINT_OVERRIDE": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


class NessieServer(JavaServer):
    """The server as a process of its own; its ``uri`` is as NESSIE_URI wants it."""

    def __init__(self, environment: Mapping[str, str], folder: Path, port: int = 0) -> None:
        """Takes the environment of the server, complete but for its ports, and a folder for its log."""
        port, management_port = port or free_port(), free_port()
        ports = {
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(port),
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(management_port),
        }
        super().__init__(["-jar", str(nessie_jar())], {**environment, **ports}, port, "/api/v2/config", folder / "nessie.log")

    def reset(self) -> None:
        """Drops every branch and tag, and empties main."""
        trees = f"{self.uri}/api/v2/trees"
        config = requests.get(f"{self.uri}/api/v2/config", timeout=10).json()
        for reference in requests.get(trees, timeout=10).json()["references"]:
            url = f"{trees}/{reference['name']}@{reference['hash']}"
            if reference["name"] == config["defaultBranch"]:
                empty = {"type": "BRANCH", "name": reference["name"], "hash": config["noAncestorHash"]}
                requests.put(url, params={"type": "BRANCH"}, json=empty, timeout=10).raise_for_status()
            else:
                requests.delete(url, params={"type": reference["type"]}, timeout=10).raise_for_status()


# --- The command


def main() -> None:
    """Serves in the foreground until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Nessie without an account, beside tests/aws_server.py.")
    parser.add_argument("--port", type=int, default=19120, help="0 takes a free one")
    parser.add_argument("--s3", default=os.environ.get("AWS_ENDPOINT_URL", "http://127.0.0.1:5000"), help="the URL of tests/aws_server.py")
    parser.add_argument("--dynamodb", action="store_true", help="keep the versions in DynamoDB, at the same URL")
    arguments = parser.parse_args()
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    environment = server_environment(arguments.s3) | (dynamodb_environment(arguments.s3) if arguments.dynamodb else {})
    with tempfile.TemporaryDirectory() as folder, NessieServer(environment, Path(folder), arguments.port) as server:
        print(f"export LAKEHOUSE_BACKEND=aws-nessie NESSIE_URI={server.uri} LAKEHOUSE_WAREHOUSE={WAREHOUSE}", flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
