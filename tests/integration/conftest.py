"""One fixture gives every integration test its lakehouse; a later backend is one more entry of ``BACKENDS``.

A module whose tests run on other backends than ``local``, too, says so in a list ``BACKENDS`` of its own, and a test that
also runs on Nessie or BigLake by the mark ``nessie`` or ``gcp``: each takes a second there.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import boto3
import pyarrow as pa
import pytest
from aws_server import AwsServer
from biglake_lake import biglake, biglake_server  # noqa: F401
from bigquery_lake import bigquery_server, governed, impatient, lake  # noqa: F401
from glue_shells import READER, make_shells
from needed import unavailable
from nessie_server import NessieServer, NessieUnavailableError, server_environment
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from spark_session import spark  # noqa: F401

from lakehouse.apply import Applied, apply
from lakehouse.catalog import load_table, open_catalog
from lakehouse.engines import AppendFiles, Engine, MergeFiles, WriteResult, open_engine
from lakehouse.lint import load_templates
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

BACKENDS = ["local"]


@dataclass
class Lakehouse:
    """A new lakehouse with folders for templates and source files, and what tests do with it.

    Attributes:
        environment: the variables that another process needs to work on the same lakehouse.
        messages: what engines reported as progress.
        before_apply: what must be there before `apply`: on AWS, what Terraform makes.
    """

    settings: LakehouseSettings
    environment: dict[str, str]
    messages: list[str] = field(default_factory=list)
    before_apply: Callable[[list[TableTemplate]], None] = field(default=lambda templates: None)

    @property
    def landing(self) -> Path:
        return Path(self.settings.landing)

    @cached_property
    def _one_catalog(self) -> Catalog:
        return open_catalog(self.settings)

    @property
    def catalog(self) -> Catalog:
        """Opened anew each time, but on AWS, where boto3 takes a third of a second for a client."""
        return open_catalog(self.settings) if self.settings.backend == "local" else self._one_catalog

    @property
    def engine(self) -> Engine:
        return open_engine(self.settings, self.catalog)

    def template(self, text: str) -> TableTemplate:
        """Writes a YAML template (its file is named after the table), and makes its tables."""
        text = textwrap.dedent(text)
        name = next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("name:"))
        (self.settings.templates / f"{name}.yaml").write_text(text)
        self.apply()
        return next(template for template in self.templates() if template.name == name)

    def templates(self) -> list[TableTemplate]:
        return load_templates(self.settings.templates, self.settings.variables)

    def template_of(self, table: str) -> TableTemplate:
        return next(template for template in self.templates() if template.table_name == table)

    def apply(self) -> list[Applied]:
        self.before_apply(self.templates())
        applied = list(apply(self.settings, self.catalog, self.templates()))
        assert not [found for found in applied if found.action == "failed"], applied
        return applied

    def land(self, name: str, content: str | bytes) -> Path:
        """Writes a source file below the landing folder."""
        path = self.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(self, template: TableTemplate, run_id: str = "test") -> WriteResult:
        """Runs the template's pipeline on its new source files."""
        if template.scd_type2 is not None:
            return self.engine.merge_files(MergeFiles(template), run_id, self.messages.append)
        return self.engine.append_files(AppendFiles(template), run_id, self.messages.append)

    def table(self, name: str) -> Table:
        return load_table(self.catalog, name)

    def rows(self, name: str) -> pa.Table:
        """All rows that readers see."""
        return self.table(name).scan().to_arrow()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nessie: also runs on the backend aws-nessie")
    config.addinivalue_line("markers", "gcp: also runs on the backend gcp")
    config.addinivalue_line("markers", "engines: also runs with the engine spark")
    config.addinivalue_line("markers", "spark_on_nessie: also runs with the engine spark on the backend aws-nessie")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A lakehouse on each of the module's backends, and one of which Spark is the engine."""
    if "lakehouse" in metafunc.fixturenames:
        marks: dict[str, object] = {
            "nessie": "aws-nessie",
            "gcp": "gcp",
            "engines": pytest.param("spark", marks=pytest.mark.spark),
            "spark_on_nessie": "spark-nessie",
        }
        also = [backend for mark, backend in marks.items() if metafunc.definition.get_closest_marker(mark)]
        metafunc.parametrize("lakehouse", [*getattr(metafunc.module, "BACKENDS", BACKENDS), *also], indirect=True)


@pytest.fixture
def lakehouse(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    """An empty lakehouse."""
    backend = {"spark": "local", "spark-nessie": "aws-nessie"}.get(request.param, request.param)
    environment = {
        "LAKEHOUSE_BACKEND": backend,
        "LAKEHOUSE_WAREHOUSE": str(tmp_path / "warehouse"),
        "LAKEHOUSE_LANDING": str(tmp_path / "landing"),
        "LAKEHOUSE_TEMPLATES": str(tmp_path / "templates"),
    }
    for folder in ("landing", "templates"):
        (tmp_path / folder).mkdir()
    before_apply: Callable[[list[TableTemplate]], None] = lambda templates: None  # noqa: E731
    if request.param in ("spark", "spark-nessie"):
        environment |= {**request.getfixturevalue("spark").environment, "LAKEHOUSE_ENGINE": "spark", "LAKEHOUSE_SPARK_MASTER": "local[2]"}
    if backend == "aws-glue":
        aws = request.getfixturevalue("aws")
        environment |= {**aws.environment, "LAKEHOUSE_WAREHOUSE": WAREHOUSE, "LAKEHOUSE_READER_ROLE": READER}
        make_bucket()
        before_apply = make_shells
    if backend == "aws-nessie":
        nessie, aws = request.getfixturevalue("nessie"), request.getfixturevalue("aws")
        environment |= {**aws.environment, "LAKEHOUSE_WAREHOUSE": WAREHOUSE, "NESSIE_URI": nessie.uri}
        make_bucket()
    if backend == "gcp":
        biglake = request.getfixturevalue("biglake")
        environment |= {**biglake.environment, "LAKEHOUSE_WAREHOUSE": "gs://warehouse", "LAKEHOUSE_SCANS": "local"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Lakehouse(LakehouseSettings.load(), environment, before_apply=before_apply)


REGION = "eu-central-1"
WAREHOUSE = "s3://warehouse"


def make_bucket() -> None:
    boto3.client("s3").create_bucket(Bucket="warehouse", CreateBucketConfiguration={"LocationConstraint": REGION})


@pytest.fixture(scope="session")
def aws_server() -> Iterator[AwsServer]:
    with AwsServer() as server:
        yield server


@pytest.fixture
def aws(aws_server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> AwsServer:
    """AWS, empty; its callers are administrators of Lake Formation."""
    aws_server.reset()
    aws_server.faults.clear()
    for name, value in aws_server.environment.items():
        monkeypatch.setenv(name, value)
    for name in aws_server.removed:
        monkeypatch.delenv(name, raising=False)
    caller = boto3.client("sts").get_caller_identity()["Arn"]
    boto3.client("lakeformation").put_data_lake_settings(DataLakeSettings={"DataLakeAdmins": [{"DataLakePrincipalIdentifier": caller}]})
    return aws_server


@pytest.fixture(scope="session")
def nessie_server(aws_server: AwsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NessieServer]:
    """The real server, one for each process that runs tests: its S3 is the process's own."""
    try:
        server = NessieServer(server_environment(aws_server.endpoint), tmp_path_factory.mktemp("nessie"))
    except NessieUnavailableError as error:
        unavailable(error, "REQUIRE_NESSIE")
    with server:
        yield server


@pytest.fixture
def nessie(nessie_server: NessieServer) -> NessieServer:
    """Nessie, empty."""
    nessie_server.reset()
    return nessie_server
