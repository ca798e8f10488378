"""A lakehouse whose readers ask BigQuery: the project's code and Google's client library, against the server of the tests.

The catalog is the embedded one; test_gcp.py has Google's.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bigquery_queries import read_rows
from bigquery_server import ADMIN, CONNECTION, INTERNAL, LOCATION, POLICY_APIS, PROJECT, READER, RESTRICTED, WRITER, BigQueryServer
from pyiceberg.catalog import Catalog

from lakehouse.apply import Applied, apply
from lakehouse.catalog import load_table, open_catalog
from lakehouse.engines import AppendFiles, WriteResult, open_engine
from lakehouse.lint import load_templates
from lakehouse.plan import Planned, plan
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

ORDERS = """
    name: orders
    namespace: shop
    description: One row per order.
    tags: {domain: Web.Shop}
    columns:
      - {name: id, type: long, required: true, description: Unique.}
      - {name: email, type: string, access_level: restricted, pii: true}
      - {name: margin, type: "decimal(18,2)", access_level: internal}
      - {name: address, type: "struct<street: string, geo: list<struct<lat: double>>>", access_level: restricted}
      - {name: notes, type: "map<string, string>"}
    identifier: [id]
    pipeline:
      pattern: event_stream
      source: {path: "${LAKEHOUSE_LANDING}/orders/", format: jsonl}
"""
ROW = '{"id": 1, "email": "jane@example.com", "margin": "1.50", "address": {"street": "High Street", "geo": [{"lat": 1.5}]}}\n'


@dataclass
class Lake:
    """The lakehouse, and what tests do with it."""

    settings: LakehouseSettings
    catalog: Catalog
    server: BigQueryServer

    def write(self, text: str = ORDERS, *replaced: tuple[str, str]) -> None:
        """Writes a template, with some of its text replaced."""
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        text = textwrap.dedent(text)
        assert text.startswith("\nname:")
        name = next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("name:"))
        (self.settings.templates / f"{name}.yaml").write_text(text)

    def templates(self) -> list[TableTemplate]:
        return load_templates(self.settings.templates, self.settings.variables)

    def plan(self) -> list[Planned]:
        return list(plan(self.settings, self.catalog, self.templates()))

    def lines(self) -> list[str]:
        """What `plan` says of the one table, a line each with its class."""
        (planned,) = self.plan()
        return [f"{change} [{change.level}]" for change in planned.changes]

    def apply(self, allow_breaking: bool = False) -> list[Applied]:
        return list(apply(self.settings, self.catalog, self.templates(), allow_breaking))

    def applied(self, allow_breaking: bool = False) -> Applied:
        """What was done about the one table."""
        (found,) = self.apply(allow_breaking)
        return found

    def made(self, text: str = ORDERS, *replaced: tuple[str, str]) -> None:
        """A table that is there, and registered. Calls so far are forgotten."""
        self.write(text, *replaced)
        assert {found.action for found in self.apply()} <= {"created", "exists"}
        self.server.calls.clear()

    def load(self, name: str, rows: str = ROW) -> WriteResult:
        """A run of the first template's pipeline, on one more file."""
        (template, *_) = self.templates()
        folder = Path(self.settings.landing) / template.name
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(rows)
        return open_engine(self.settings, self.catalog).append_files(AppendFiles(template), name, lambda line: None)

    def newest(self, table: str = "shop.orders") -> str:
        """The metadata file that the catalog names."""
        return load_table(self.catalog, table).metadata_location


@pytest.fixture(scope="session")
def bigquery_server() -> Iterator[BigQueryServer]:
    with BigQueryServer() as server:
        yield server


@pytest.fixture
def lake(bigquery_server: BigQueryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Empty, with the dataset ``shop``."""
    bigquery_server.reset()
    bigquery_server.make_dataset("shop")
    for folder in ("templates", "landing"):
        (tmp_path / folder).mkdir()
    for name, value in bigquery_server.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    catalog = open_catalog(LakehouseSettings.load(LAKEHOUSE_BACKEND="local", LAKEHOUSE_WAREHOUSE=str(tmp_path / "warehouse")))
    settings = LakehouseSettings.load(
        LAKEHOUSE_BACKEND="gcp",
        LAKEHOUSE_WAREHOUSE="gs://warehouse",
        LAKEHOUSE_LANDING=str(tmp_path / "landing"),
        LAKEHOUSE_TEMPLATES=str(tmp_path / "templates"),
        GOOGLE_CLOUD_PROJECT=PROJECT,
        GOOGLE_CLOUD_LOCATION=LOCATION,
        LAKEHOUSE_BIGQUERY_CONNECTION=CONNECTION,
        LAKEHOUSE_POLICY_TAG_RESTRICTED=RESTRICTED,
        LAKEHOUSE_POLICY_TAG_INTERNAL=INTERNAL,
        LAKEHOUSE_READER_ROLE=READER,
        LAKEHOUSE_WRITER_ROLE=WRITER,
        LAKEHOUSE_ADMIN_ROLE=ADMIN,
    )
    return Lake(settings.model_copy(update={"warehouse": (tmp_path / "warehouse").as_uri()}), catalog, bigquery_server)


@pytest.fixture
def governed(lakehouse: Any, biglake: Any, bigquery_server: BigQueryServer, monkeypatch: pytest.MonkeyPatch) -> BigQueryServer:
    """BigQuery beside the backend gcp, with the dataset ``shop``; the lakehouse's settings name it."""
    bigquery_server.reset()
    bigquery_server.make_dataset("shop")
    bigquery_server.logged_in = ADMIN  # at BigLake
    values = {
        "BIGQUERY_EMULATOR_HOST": bigquery_server.url,
        "LAKEHOUSE_BIGQUERY_CONNECTION": CONNECTION,
        "LAKEHOUSE_POLICY_TAG_RESTRICTED": RESTRICTED,
        "LAKEHOUSE_POLICY_TAG_INTERNAL": INTERNAL,
        **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": bigquery_server.url for api in POLICY_APIS},
        **{f"LAKEHOUSE_{role}_ROLE": who for role, who in (("READER", READER), ("WRITER", WRITER), ("ADMIN", ADMIN))},
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    lakehouse.settings = LakehouseSettings.load()
    lakehouse.environment |= values

    def read(location: str) -> pa.Table:
        name = next(name for name in bigquery_server.tables if bigquery_server.uri(name) == location)
        return read_rows(location, lakehouse.table(name).io)

    bigquery_server.read = read
    return bigquery_server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of BigQuery are given up after a second."""
    monkeypatch.setattr("lakehouse.bigquery.TIMEOUT", 0.3)
    monkeypatch.setattr("lakehouse.bigquery.PATIENCE", 1.0)
    monkeypatch.setattr("lakehouse.bigquery._FIRST_WAIT", 0.01)
    monkeypatch.setattr("lakehouse.bigquery._LONGEST_WAIT", 0.05)
