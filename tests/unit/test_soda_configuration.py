"""The real `soda` takes each configuration, and asks the cloud for what it says; where the cloud does not answer, that is told."""

from __future__ import annotations

import json
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from terraform_cli import require_terraform

from lakehouse.errors import SettingsError
from lakehouse.settings import LakehouseSettings
from quality.checks import Check
from quality.configuration import (
    athena_configuration,
    bigquery_configuration,
    cloud_configurations,
    duckdb_configuration,
    main,
    write_configuration,
)
from quality.errors import DataSourceUnreachableError
from quality.runner import run_scan
from quality.sodacl import read_entry

AWS = {
    "LAKEHOUSE_BACKEND": "aws-glue",
    "LAKEHOUSE_WAREHOUSE": "s3://warehouse",
    "AWS_REGION": "eu-central-1",
    "LAKEHOUSE_ATHENA_WORKGROUP": "lakehouse-writer",
    "LAKEHOUSE_ATHENA_RESULTS": "s3://results/writer/",
}
GCP = {
    "LAKEHOUSE_BACKEND": "gcp",
    "LAKEHOUSE_WAREHOUSE": "gs://warehouse",
    "GOOGLE_CLOUD_PROJECT": "lake-project",
    "GOOGLE_CLOUD_LOCATION": "europe-west3",
}
DENIED = {
    "/token": (200, {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}),
    "/": (400, {"__type": "AccessDeniedException", "message": "Not for you."}),
}
FORBIDDEN = {"error": {"code": 403, "message": "Not for you.", "errors": [{"reason": "accessDenied", "message": "Not for you."}]}}


@dataclass
class Cloud:
    """A server that gives tokens, and denies all else.

    Attributes:
        asked: the path and the JSON of each request but those for tokens.
    """

    url: str
    asked: list[tuple[str, Any]] = field(default_factory=list)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"null"
            status, answer = DENIED.get(self.path, (403, FORBIDDEN))
            if self.path != "/token":
                made.asked.append((self.path, json.loads(body)))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Cloud(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LakehouseSettings:
    monkeypatch.chdir(tmp_path)
    credentials = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-key",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": "/dev/null",
    }
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_ATHENA"):
        monkeypatch.delenv(name, raising=False)
    return LakehouseSettings.load(**AWS)


@pytest.fixture
def gcp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LakehouseSettings:
    monkeypatch.chdir(tmp_path)
    return LakehouseSettings.load(**GCP)


def scan(folder: Path, configuration: dict[str, Any]) -> None:
    entry = read_entry({"row_count > 0": {"name": "rows"}})
    check = Check(
        name="rows",
        definition=entry.definition,
        threshold=entry.threshold,
        column=None,
        columns=frozenset(),
        generated=True,
        blocking=False,
        severity="error",
        source="",
        shows_value=True,
        sodacl=entry.sodacl,
    )
    (folder / "checks.yaml").write_text(json.dumps({"checks for events": [entry.sodacl]}))
    path = write_configuration(folder / "configuration.yaml", configuration)
    run_scan("lake.events", "lakehouse", path, folder / "checks.yaml", [check], timeout=60, log=lambda line: None)


def test_athena_is_asked_for_the_namespace_in_the_writers_workgroup(
    aws: LakehouseSettings, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    with pytest.raises(DataSourceUnreachableError, match=r"does not reach its data source: .*AccessDeniedException.*Not for you"):
        scan(tmp_path, athena_configuration(aws, "lake"))
    [(_, asked)] = cloud.asked
    assert asked["QueryExecutionContext"] == {"Database": "lake", "Catalog": "AwsDataCatalog"}
    assert asked["WorkGroup"] == "lakehouse-writer"
    assert asked["ResultConfiguration"] == {"OutputLocation": "s3://results/writer/"}
    assert re.search(r"COUNT\(\*\)\s+FROM lake\.events", asked["QueryString"])


def test_an_endpoint_of_athena_that_does_not_answer_is_told(
    aws: LakehouseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataSourceUnreachableError, match=r"Could not connect to the endpoint URL: .http://127\.0\.0\.1:9"):
        scan(tmp_path, athena_configuration(aws, "lake"))


def test_bigquery_is_asked_for_the_namespace_in_the_project_and_location(
    gcp: LakehouseSettings, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    credentials = {"type": "service_account", "client_email": "c@example.com", "token_uri": f"{cloud.url}/token", "private_key": key}
    (tmp_path / "credentials.json").write_text(json.dumps(credentials))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "credentials.json"))
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", cloud.url)
    with pytest.raises(DataSourceUnreachableError, match=r"does not reach its data source: .*Forbidden.*Not for you"):
        scan(tmp_path, bigquery_configuration(gcp, "lake"))
    path, asked = cloud.asked[0]
    assert path.startswith("/bigquery/v2/projects/lake-project/")
    assert asked["defaultDataset"] == {"projectId": "lake-project", "datasetId": "lake"}
    assert asked["location"] == "europe-west3"
    assert re.search(r"COUNT\(\*\)\s+FROM events", asked["query"])


def test_google_credentials_that_are_not_there_are_told(gcp: LakehouseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(DataSourceUnreachableError, match=r"does not reach its data source: .*credentials were not found"):
        scan(tmp_path, bigquery_configuration(gcp, "lake"))


def test_duckdb_is_opened_read_only_and_bounded(tmp_path: Path) -> None:
    with pytest.raises(DataSourceUnreachableError, match="in read-only mode: database does not exist"):
        scan(tmp_path, duckdb_configuration(tmp_path / "none.duckdb", 256 * 1024 * 1024, tmp_path))


@pytest.mark.parametrize("variable", ["LAKEHOUSE_ATHENA_WORKGROUP", "LAKEHOUSE_ATHENA_RESULTS"])
def test_a_setting_that_a_data_source_needs_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    monkeypatch.chdir(tmp_path)
    settings = LakehouseSettings.load(**{name: value for name, value in AWS.items() if name != variable})
    with pytest.raises(SettingsError, match=rf"{variable} is not set.*lakehouse env --terraform"):
        cloud_configurations(settings)


def test_a_backend_that_is_scanned_by_duckdb_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="The backend local is scanned by DuckDB"):
        cloud_configurations(LakehouseSettings.load(LAKEHOUSE_BACKEND="local", LAKEHOUSE_WAREHOUSE=str(tmp_path)))


def test_the_file_has_no_secret_and_is_its_owners_alone(aws: LakehouseSettings, tmp_path: Path) -> None:
    path = write_configuration(tmp_path / "configuration.yaml", athena_configuration(aws, "lake"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "key" not in path.read_text()


def test_a_configuration_is_its_owners_alone_wherever_it_is_written(aws: LakehouseSettings, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "configuration.yaml"
    write_configuration(path, athena_configuration(aws, "lake"))
    path.chmod(0o644)
    write_configuration(path, athena_configuration(aws, "lake"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_configuration_that_cannot_be_written_is_an_error_that_names_it(aws: LakehouseSettings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "configuration.yaml", tmp_path):
        with pytest.raises(SettingsError, match=rf"configuration {path} cannot be written: "):
            write_configuration(path, athena_configuration(aws, "lake"))


@pytest.mark.parametrize(("environment", "kind"), [(AWS, "athena"), (GCP, "bigquery")])
def test_the_command_takes_the_outputs_of_terraform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], kind: str
) -> None:
    """A state file stands for an applied root."""
    require_terraform()
    root = terraform_root(tmp_path, environment)
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "configuration.yaml"
    assert main(["--terraform", str(root), "--output", str(output)]) == 0
    written = json.loads(output.read_text())
    assert {header: source["type"] for header, source in written.items()} == {"data_source lakehouse": kind}


def terraform_root(folder: Path, environment: dict[str, str]) -> Path:
    """A root of which an apply left nothing but the output."""
    root = folder / "root"
    root.mkdir()
    (root / "outputs.tf").write_text('output "environment" { value = {} }\n')
    output = {"value": environment, "type": ["object", dict.fromkeys(environment, "string")]}
    state = {"version": 4, "terraform_version": "1.5.0", "serial": 1, "lineage": "x", "outputs": {"environment": output}, "resources": []}
    (root / "terraform.tfstate").write_text(json.dumps(state))
    return root


def test_a_root_that_is_not_applied_is_an_error_of_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_terraform()
    root = tmp_path / "root"
    root.mkdir()
    (root / "main.tf").write_text("")
    assert main(["--terraform", str(root), "--output", str(tmp_path / "configuration.yaml")]) == 1
    assert "no output `environment`" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "configuration.yaml").exists()
