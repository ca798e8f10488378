"""AWS with Glue from end to end, with no account: real Terraform and provider, the command line, Dagster's runs, on moto.

``make test-aws`` runs it, as a rehearsal of one's own templates: it takes those of ``table-templates/``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_server import AwsServer
from terraform_cli import ROOT, Run, Terraform, require_terraform, terraform_folder

sys.path.insert(0, str(ROOT / "examples" / "demo"))
from land import land_batch

BIN = Path(sys.executable).parent
EVENTS = "lakehouse.event_stream"
READER_GRANT = 'module.table["event_stream"].aws_lakeformation_permissions.reader["lakehouse.event_stream"]'
HASH = 'module.table["event_stream"].terraform_data.template'
EXTRA_COLUMNS = """\
  - name: device
    type: string
    description: What the event came from.
  - name: ip_address
    type: string
    pii: true
    access_level: restricted
"""


@dataclass
class Rehearsal:
    """A fork of the project, in a folder of its own, and an AWS account that is empty."""

    folder: Path
    terraform: Terraform
    environment: dict[str, str]

    @property
    def event_stream(self) -> Path:
        return self.folder / "table-templates" / "event_stream.yaml"

    def step(self, what: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)

    def apply(self) -> Run:
        run = self.terraform.apply()
        assert run.ok, "\n".join(run.errors) or run.text
        return run

    def assert_nothing_to_change(self) -> None:
        run = self.terraform.plan()
        assert run.ok, run.errors
        assert run.changes == {}

    def command(self, *words: str, code: int = 0) -> str:
        """Runs one of the project's commands where the fork is, so that it reads its .env."""
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def lakehouse_apply(self) -> dict[str, str]:
        return {found["table"]: found["action"] for found in json.loads(self.command("lakehouse", "apply", "--json"))}

    def materialize(self, table: str, *options: str) -> None:
        self.command("dagster", "asset", "materialize", "-m", "dagster_project.definitions", "--select", table, *options)

    def rows(self) -> dict[str, int]:
        return {table["name"]: table["rows"] for table in json.loads(self.command("lakehouse", "tables", "--json"))}

    def land(self, number: int) -> None:
        """Uploads a day's source files."""
        bucket = self.terraform.outputs()["buckets"]["landing"]
        for path in land_batch(self.folder / "landing", number):
            boto3.client("s3").upload_file(str(path), bucket, str(path.relative_to(self.folder / "landing")))

    def granted(self, table: str) -> set[str]:
        """The columns of a table that the reader's live grants hold."""
        database, name = table.split(".")
        resource = {"Table": {"DatabaseName": database, "Name": name}}
        entries = boto3.client("lakeformation").list_permissions(Resource=resource, MaxResults=1000)["PrincipalResourcePermissions"]
        reader = self.terraform.outputs()["environment"]["LAKEHOUSE_READER_ROLE"]
        return {
            column
            for entry in entries
            if entry["Principal"]["DataLakePrincipalIdentifier"] == reader
            for column in entry["Resource"]["TableWithColumns"]["ColumnNames"]
        }


@pytest.fixture
def rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rehearsal]:
    require_terraform()
    with AwsServer() as aws:
        aws.reset()
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        for name in (*aws.removed, *(name for name in os.environ if name.startswith("LAKEHOUSE_"))):
            monkeypatch.delenv(name, raising=False)
        boto3.setup_default_session()
        shutil.copytree(ROOT / "table-templates", tmp_path / "table-templates")
        folder = terraform_folder(tmp_path / "terraform", "tests") / "aws"
        # An action that moto does not know would else be tried again for a quarter of an hour.
        terraform = Terraform(folder, {"region": aws.environment["AWS_REGION"], "max_retries": 2, "manage_lakeformation_settings": True})
        terraform.init()
        (tmp_path / "dagster").mkdir()
        environment = {
            **os.environ,
            "LAKEHOUSE_TEMPLATES": str(tmp_path / "table-templates"),
            "LAKEHOUSE_SCANS": "local",  # moto's Athena reads no tables
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            "PYTHONPATH": str(ROOT),
        }
        yield Rehearsal(tmp_path, terraform, environment)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_terraform_apply_to_governed_tables_and_back(rehearsal: Rehearsal) -> None:
    terraform = rehearsal.terraform
    rehearsal.step("terraform apply")
    rehearsal.apply()
    rehearsal.assert_nothing_to_change()

    rehearsal.step("lakehouse env; everyone may read what AWS made by its defaults, and no table is made until that is closed")
    rehearsal.command("lakehouse", "env", "--terraform", "terraform/aws")
    rehearsal.command("lakehouse", "apply", code=1)
    rehearsal.command("lakehouse", "governance", "--live", code=1)
    rehearsal.command("lakehouse", "governance", "--fix")
    rehearsal.assert_nothing_to_change()

    rehearsal.step("lakehouse apply: the shells become Iceberg tables")
    assert set(rehearsal.lakehouse_apply().values()) == {"created"}
    assert set(rehearsal.lakehouse_apply().values()) == {"exists"}

    rehearsal.step("the pipelines, two days of files")
    for number in (0, 1):
        rehearsal.land(number)
        rehearsal.materialize("lakehouse/event_stream")
        rehearsal.materialize("lakehouse/scd_type2")
    rehearsal.materialize("lakehouse/feature_table", "--partition", "2024-01-01")
    assert rehearsal.rows() == {
        "lakehouse.event_stream": 60_493,
        "lakehouse.event_stream__quarantine": 7,
        "lakehouse.feature_table": 2_000,
        "lakehouse.scd_type2": 2_128,
    }

    rehearsal.step("terraform plan after the commits: nothing")
    rehearsal.assert_nothing_to_change()

    rehearsal.step("two columns more, one of them restricted; a restricted column is no column of the reader's at any time")
    text = rehearsal.event_stream.read_text()
    rehearsal.event_stream.write_text(text.replace("  - name: source\n", f"{EXTRA_COLUMNS}  - name: source\n", 1))
    assert rehearsal.lakehouse_apply()[EVENTS] == "changed"
    plan = terraform.plan()
    assert plan.changes == {HASH: "update", READER_GRANT: "replace"}, plan.errors
    rehearsal.apply()
    rehearsal.assert_nothing_to_change()
    readable = {"event_id", "event_type", "event_timestamp", "received_at", "device", "source", "country", "amount", "payload"}
    assert rehearsal.granted(EVENTS) == readable
    rehearsal.materialize("lakehouse/event_stream")

    rehearsal.step("another access level: the grant follows, the table stays")
    text, country = rehearsal.event_stream.read_text(), "access_level: {}\n    description: ISO 3166"
    rehearsal.event_stream.write_text(text.replace(country.format("internal"), country.format("restricted")))
    assert terraform.plan().changes == {HASH: "update", READER_GRANT: "replace"}
    rehearsal.apply()
    rehearsal.assert_nothing_to_change()
    assert rehearsal.granted(EVENTS) == readable - {"country"}
    assert rehearsal.lakehouse_apply()[EVENTS] == "changed"  # no bounds of it in metadata any more
    rehearsal.assert_nothing_to_change()

    rehearsal.step("governance: what is opened by hand is found and closed")
    rehearsal.command("lakehouse", "governance", "--live")
    _open_to_the_reader(rehearsal, "user_id")
    found = json.loads(rehearsal.command("lakehouse", "governance", "--live", "--json", code=1))
    assert "user_id" in json.dumps(found)
    rehearsal.command("lakehouse", "governance", "--fix")
    assert rehearsal.granted(EVENTS) == readable - {"country"}
    rehearsal.assert_nothing_to_change()

    rehearsal.step("a YAML that goes by accident stops the plan")
    shutil.move(rehearsal.folder / "table-templates" / "scd_type2.yaml", rehearsal.folder / "scd_type2.yaml")
    assert "lakehouse.scd_type2" in " ".join(terraform.plan().errors)
    terraform.variables["retired_tables"] = ["lakehouse.scd_type2"]
    retired = terraform.plan()
    assert retired.ok, retired.errors
    assert {address.split(".")[1] for address in retired.changes} == {'table["scd_type2"]'}
    assert set(retired.changes.values()) == {"delete"}
    terraform.variables["retired_tables"] = []
    shutil.move(rehearsal.folder / "scd_type2.yaml", rehearsal.folder / "table-templates" / "scd_type2.yaml")
    rehearsal.assert_nothing_to_change()

    rehearsal.step("destroy: not while there are files; then all of it, but for the account's settings")
    rehearsal.command("lakehouse", "check-destroy", code=1)
    _empty(*terraform.outputs()["buckets"].values())
    rehearsal.command("lakehouse", "check-destroy")
    assert "prevent_destroy" in " ".join(terraform.destroy().errors)
    assert terraform.run("state", "rm", 'module.iam.aws_lakeformation_data_lake_settings.this["this"]').ok
    administrators = boto3.client("lakeformation").get_data_lake_settings()["DataLakeSettings"]["DataLakeAdmins"]
    destroyed = terraform.destroy()
    for _ in range(3):
        if destroyed.ok:
            break
        rehearsal.command("lakehouse", "check-destroy")  # as make aws-destroy does when it is run again
        # Looking at the other buckets writes into the one with the logs.
        _empty(*(bucket.name for bucket in boto3.resource("s3").buckets.all()))
        destroyed = terraform.destroy()
    assert destroyed.ok, destroyed.errors
    assert boto3.client("lakeformation").get_data_lake_settings()["DataLakeSettings"]["DataLakeAdmins"] == administrators
    assert boto3.client("glue").get_databases()["DatabaseList"] == []
    assert boto3.client("s3").list_buckets()["Buckets"] == []


def _empty(*buckets: str) -> None:
    for bucket in buckets:
        boto3.resource("s3").Bucket(bucket).object_versions.delete()


def _open_to_the_reader(rehearsal: Rehearsal, column: str) -> None:
    """What somebody does by hand in a hurry."""
    boto3.client("lakeformation").grant_permissions(
        Principal={"DataLakePrincipalIdentifier": rehearsal.terraform.outputs()["environment"]["LAKEHOUSE_READER_ROLE"]},
        Resource={"TableWithColumns": _columns(column)},
        Permissions=["SELECT"],
    )


def _columns(*names: str) -> Any:
    return {"DatabaseName": "lakehouse", "Name": "event_stream", "ColumnNames": list(names)}
