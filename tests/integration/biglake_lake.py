"""Fixtures of the backend gcp: BigLake and Cloud Storage, one pair for each process that runs tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from biglake_server import BigLakeServer
from needed import unavailable
from rest_catalog_server import RestCatalogUnavailableError


@pytest.fixture(scope="session")
def biglake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BigLakeServer]:
    try:
        server = BigLakeServer(tmp_path_factory.mktemp("biglake"))
    except RestCatalogUnavailableError as error:
        unavailable(error)
    with server:
        yield server


@pytest.fixture
def biglake(biglake_server: BigLakeServer, monkeypatch: pytest.MonkeyPatch) -> BigLakeServer:
    """BigLake, empty, and found by Google's libraries."""
    biglake_server.reset()
    for name, value in biglake_server.environment.items():
        monkeypatch.setenv(name, value)
    return biglake_server
