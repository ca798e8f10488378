"""Apache Iceberg's own REST catalog server for the tests, with files in Google Cloud Storage: from Maven Central, on a Java from a wheel.

It keeps the catalog in SQLite, and knows no callers: ``biglake_server.py`` stands before it as Google's BigLake does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import requests
from java_server import REPOSITORY, JavaServer, ServerUnavailableError, free_port, from_maven

_POM = Path(__file__).with_name("rest_catalog_server.xml")
_SERVER = "org.apache.iceberg.rest.RESTCatalogServer"
_TIMEOUT = 10


class RestCatalogUnavailableError(ServerUnavailableError):
    """What the server is made of is not here and cannot be downloaded."""


def class_path() -> str:
    """The server's jars, downloaded once into Maven's local repository. Raises RestCatalogUnavailableError."""
    version = hashlib.sha256(_POM.read_bytes()).hexdigest()[:16]
    found = REPOSITORY / "lakehouse" / f"rest-catalog-server-{version}.classpath"
    found.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["-f", str(_POM), "dependency:build-classpath", f"-Dmdep.outputFile={found}"]
    from_maven(arguments, found, "Iceberg's REST catalog server (100 MB)", RestCatalogUnavailableError)
    return found.read_text().strip()


class RestCatalogServer(JavaServer):
    """The server as a process of its own, over a Google Cloud Storage that asks for no login."""

    def __init__(self, storage: str, warehouse: str, folder: Path) -> None:
        """Takes the storage's URL, the location of the catalog, gs://…, and a folder for the log."""
        port = free_port()
        environment = {
            "CATALOG_URI": f"jdbc:sqlite:{folder}/catalog.db",
            "CATALOG_CLIENTS": "1",
            "CATALOG_WAREHOUSE": warehouse,
            "CATALOG_IO__IMPL": "org.apache.iceberg.gcp.gcs.GCSFileIO",
            "CATALOG_GCS_SERVICE_HOST": storage,
            "CATALOG_GCS_NO__AUTH": "true",
            "CATALOG_GCS_PROJECT__ID": "project",
            "CATALOG_REST_PORT": str(port),
        }
        super().__init__(["-cp", class_path(), _SERVER], environment, port, "/v1/config", folder / "rest-catalog.log")

    def reset(self) -> None:
        """Drops every table, and every namespace."""
        url = f"{self.uri}/v1/namespaces"
        for (namespace,) in requests.get(url, timeout=_TIMEOUT).json()["namespaces"]:
            for table in requests.get(f"{url}/{namespace}/tables", timeout=_TIMEOUT).json()["identifiers"]:
                requests.delete(f"{url}/{namespace}/tables/{table['name']}", timeout=_TIMEOUT).raise_for_status()
            requests.delete(f"{url}/{namespace}", timeout=_TIMEOUT).raise_for_status()
