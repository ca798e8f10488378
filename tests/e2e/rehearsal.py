"""A rehearsal of AWS with no account: a fork of the project in a folder of its own, real Terraform, the command line, all on moto."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


@dataclass
class Rehearsal:
    """The fork, and an AWS account that is empty at first.

    Attributes:
        environment: of every command that is run in it.
    """

    folder: Path
    aws: AwsServer
    terraform: Terraform
    environment: dict[str, str]

    def step(self, what: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)

    def template(self, name: str) -> Path:
        return self.folder / "table-templates" / f"{name}.yaml"

    def apply(self) -> Run:
        run = self.terraform.apply()
        assert run.ok, "\n".join(run.errors) or run.text
        return run

    def assert_nothing_to_change(self, *options: str) -> None:
        run = self.terraform.plan(*options)
        assert run.ok, run.errors
        assert run.changes == {}

    def command(self, *words: str, code: int = 0, **environment: str) -> str:
        """Runs one of the project's commands where the fork is, so that it reads its .env, with these variables on top."""
        own = {**self.environment, **environment}
        done = subprocess.run([str(BIN / words[0]), *words[1:]], cwd=self.folder, env=own, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def lakehouse_apply(self) -> dict[str, str]:
        """Table => what was done."""
        return {found["table"]: found["action"] for found in json.loads(self.command("lakehouse", "apply", "--json"))}

    def materialize(self, *tables: str, options: tuple[str, ...] = ()) -> None:
        """Runs the pipelines of these tables in one run of Dagster."""
        assets = ",".join(table.replace(".", "/") for table in tables)
        self.command("dagster", "asset", "materialize", "-m", "dagster_project.definitions", "--select", assets, *options)

    def rows(self, **environment: str) -> dict[str, int]:
        """Table => its rows, as a command with these variables on top sees them."""
        return {table["name"]: table["rows"] for table in json.loads(self.command("lakehouse", "tables", "--json", **environment))}

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

    def destroy(self) -> None:
        """As ``make aws-destroy``, run again until nothing is left but the account's settings of Lake Formation."""
        assert self.terraform.run("state", "rm", 'module.iam.aws_lakeformation_data_lake_settings.this["this"]').ok
        administrators = boto3.client("lakeformation").get_data_lake_settings()["DataLakeSettings"]["DataLakeAdmins"]
        destroyed = self.terraform.destroy()
        for _ in range(3):
            if destroyed.ok:
                break
            self.command("lakehouse", "check-destroy")
            # Looking at the other buckets writes into the one with the logs.
            empty(*(bucket.name for bucket in boto3.resource("s3").buckets.all()))
            destroyed = self.terraform.destroy()
        assert destroyed.ok, destroyed.errors
        assert boto3.client("lakeformation").get_data_lake_settings()["DataLakeSettings"]["DataLakeAdmins"] == administrators
        assert boto3.client("glue").get_databases()["DatabaseList"] == []
        assert boto3.client("s3").list_buckets()["Buckets"] == []


@contextmanager
def open_rehearsal(folder: Path, monkeypatch: pytest.MonkeyPatch, **variables: Any) -> Iterator[Rehearsal]:
    """A fork with the checked-in templates, initialised; ``variables`` are the root's."""
    require_terraform()
    with AwsServer() as aws:
        aws.reset()
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        for name in (*aws.removed, *(name for name in os.environ if name.startswith(("LAKEHOUSE_", "NESSIE_")))):
            monkeypatch.delenv(name, raising=False)
        boto3.setup_default_session()
        shutil.copytree(ROOT / "table-templates", folder / "table-templates")
        root = terraform_folder(folder / "terraform", "tests") / "aws"
        # An action that moto does not know would else be tried again for a quarter of an hour.
        values = {"region": aws.environment["AWS_REGION"], "max_retries": 2, "manage_lakeformation_settings": True, **variables}
        terraform = Terraform(root, values)
        terraform.init()
        (folder / "dagster").mkdir()
        environment = {
            **os.environ,
            "LAKEHOUSE_TEMPLATES": str(folder / "table-templates"),
            "LAKEHOUSE_SCANS": "local",  # moto's Athena reads no tables
            "DAGSTER_HOME": str(folder / "dagster"),
            "PYTHONPATH": str(ROOT),
        }
        yield Rehearsal(folder, aws, terraform, environment)


def empty(*buckets: str) -> None:
    """Deletes every version of every file."""
    for bucket in buckets:
        boto3.resource("s3").Bucket(bucket).object_versions.delete()
