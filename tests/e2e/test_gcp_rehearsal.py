"""Google Cloud from end to end, with no account: Terraform, the command line, Dagster's runs, BigQuery's queries.

``make test-gcp`` runs it, as a rehearsal of one's own templates: it takes those of ``table-templates/``. Terraform's real provider would
ask Google: with it there is a plan, and with a stand-in of its schema also an apply and a destroy. What only Google gives, the names of
policy tags, is put into the outputs; and the buckets are those of the servers that stand for BigLake and Cloud Storage.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from biglake_server import PROJECT, BigLakeServer
from bigquery_queries import read_rows
from bigquery_server import ADMIN, INTERNAL, LOCATION, POLICY_APIS, READER, RESTRICTED, WRITER, BigQueryServer
from needed import unavailable
from rehearsal import Rehearsal
from rest_catalog_server import RestCatalogUnavailableError
from terraform_cli import ROOT, Terraform, require_terraform, terraform_folder

from lakehouse.catalog import load_table, open_catalog
from lakehouse.settings import LakehouseSettings

EVENTS, USERS, FEATURES = "lakehouse.event_stream", "lakehouse.scd_type2", "lakehouse.feature_table"
EXTRA_COLUMNS = """\
  - name: device
    type: string
  - name: ip_address
    type: string
    pii: true
    access_level: restricted
"""


@dataclass
class GoogleRehearsal(Rehearsal):
    """A fork of the project, and a Google Cloud that is empty at first."""

    biglake: BigLakeServer
    bigquery: BigQueryServer

    @property
    def applies(self) -> bool:
        """Whether Terraform's provider is the stand-in, a script."""
        provider = next(self.terraform.folder.glob(".terraform/providers/*/hashicorp/google/*/*/terraform-provider-google*"))
        return provider.read_bytes().startswith(b"#!")

    def make(self) -> None:
        """What Terraform makes: applied, or at least planned; its outputs with what only Google gives."""
        if self.applies:
            self.apply()
            self.assert_nothing_to_change()
            state = json.loads((self.terraform.folder / "terraform.tfstate").read_text())
        else:
            planned = self.terraform.plan("-out=plan")
            assert planned.ok, planned.errors
            outputs = json.loads(self.terraform.run("show", "-json", "plan").text)["planned_values"]["outputs"]
            known = {name: output for name, output in outputs.items() if "value" in output and name == "environment"}
            state = {"version": 4, "terraform_version": "1.9.0", "serial": 1, "lineage": "x", "outputs": known, "resources": []}
        environment = state["outputs"]["environment"]["value"]
        given = {
            "LAKEHOUSE_POLICY_TAG_RESTRICTED": RESTRICTED,
            "LAKEHOUSE_POLICY_TAG_INTERNAL": INTERNAL,
            "LAKEHOUSE_WAREHOUSE": "gs://warehouse",
            "LAKEHOUSE_LANDING": "gs://landing",
        }
        environment.update(given)
        state["outputs"]["environment"]["type"] = ["object", dict.fromkeys(environment, "string")]
        state["serial"] += 1
        (self.terraform.folder / "terraform.tfstate").write_text(json.dumps(state))
        self.bigquery.make_dataset("lakehouse")

    def land(self, number: int) -> None:
        from land import land_batch

        for path in land_batch(self.folder / "landing", number):
            where = {"uploadType": "media", "name": str(path.relative_to(self.folder / "landing"))}
            url, kind = f"{self.biglake.storage.open_uri}/upload/storage/v1/b/landing/o", {"Content-Type": "application/octet-stream"}
            requests.post(url, params=where, data=path.read_bytes(), headers=kind, timeout=30).raise_for_status()

    def ask(self, caller: str, sql: str) -> list[dict[str, Any]]:
        """What a query of a service account gives."""
        return self.bigquery.query(self.folder, caller, "lakehouse", sql)

    def command(self, *words: str, code: int = 0, **environment: str) -> str:
        """As the admin what makes and governs entries in BigQuery, and all else as the writer."""
        self.bigquery.logged_in = ADMIN if words[1:2] in (("apply",), ("governance",)) else WRITER
        return super().command(*words, code=code, **environment)

    def moved(self) -> set[str]:
        """What `lakehouse sync` did about any table."""
        return {found["action"] for found in json.loads(self.command("lakehouse", "sync", "--json"))}


@pytest.fixture
def rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleRehearsal]:
    require_terraform()
    for name in [name for name in os.environ if name.startswith(("LAKEHOUSE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    try:
        servers = BigLakeServer(tmp_path)
    except RestCatalogUnavailableError as error:
        unavailable(error)
    with servers as biglake, BigQueryServer() as bigquery:
        biglake.reset()
        bigquery.logged_in = WRITER  # at BigLake
        found = {
            **biglake.environment,
            "BIGQUERY_EMULATOR_HOST": bigquery.url,
            **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": bigquery.url for api in POLICY_APIS},
        }
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)  # with its .env

        def read(location: str) -> Any:
            name = next(name for name in bigquery.tables if bigquery.uri(name) == location)
            return read_rows(location, load_table(open_catalog(LakehouseSettings.load()), name).io)

        bigquery.read = read
        shutil.copytree(ROOT / "table-templates", tmp_path / "table-templates")
        none = {"GOOGLE_OAUTH_ACCESS_TOKEN": "none", "GOOGLE_APPLICATION_CREDENTIALS": None, "HTTPS_PROXY": None, "https_proxy": None}
        folder = terraform_folder(tmp_path / "terraform", "tests") / "gcp"
        terraform = Terraform(folder, {"project": PROJECT, "location": LOCATION, "deletion_protection": False}, none)
        terraform.init()
        (tmp_path / "dagster").mkdir()
        environment = {
            **os.environ,
            "LAKEHOUSE_TEMPLATES": str(tmp_path / "table-templates"),
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            "PYTHONPATH": str(ROOT),
        }
        yield GoogleRehearsal(tmp_path, cast("Any", None), terraform, environment, biglake, bigquery)


@pytest.mark.standup
@pytest.mark.timeout(1800)
def test_from_terraform_apply_to_governed_queries_and_back(rehearsal: GoogleRehearsal) -> None:
    bigquery, event_stream = rehearsal.bigquery, rehearsal.template("event_stream")
    rehearsal.step("terraform apply" if rehearsal.applies else "terraform plan; the real provider's apply would ask Google")
    rehearsal.make()

    rehearsal.step("lakehouse env, lint, apply: Iceberg tables, and their entries in BigQuery, each with its tags in the very call")
    rehearsal.command("lakehouse", "env", "--terraform", "terraform/gcp")
    rehearsal.command("lakehouse", "lint")
    assert set(rehearsal.lakehouse_apply().values()) == {"created"}
    assert set(rehearsal.lakehouse_apply().values()) == {"exists"}
    inserted = {call.body["tableReference"]["tableId"]: call.policy_tags for call in bigquery.called("POST tables/*")}
    assert inserted["event_stream"]["user_id"] == inserted["event_stream__quarantine"]["record"] == [RESTRICTED]
    assert inserted["event_stream"]["country"] == [INTERNAL]

    rehearsal.step("the pipelines, a day of files; BigQuery shows it at once")
    rehearsal.land(0)
    rehearsal.materialize(EVENTS, USERS)
    rehearsal.materialize(FEATURES, options=("--partition", "2024-01-01"))
    rows = rehearsal.rows()
    for table in (EVENTS, USERS, FEATURES):
        assert rehearsal.ask(READER, f"SELECT COUNT(*) AS n FROM {table.split('.')[1]}") == [{"n": rows[table]}]
    assert rows[EVENTS] > 0
    assert rehearsal.moved() == {"in step"}
    assert rehearsal.ask(READER, "SELECT COUNT(country) AS n FROM event_stream")[0]["n"] > 0
    with pytest.raises(Exception, match="permission to access policy tag"):
        rehearsal.ask(READER, "SELECT COUNT(user_id) AS n FROM event_stream")
    assert rehearsal.ask(WRITER, "SELECT COUNT(user_id) AS n FROM event_stream")[0]["n"] > 0

    rehearsal.step("two columns more, one of them restricted: its tag is in the call that adds it")
    text = event_stream.read_text()
    event_stream.write_text(text.replace("  - name: source\n", f"{EXTRA_COLUMNS}  - name: source\n", 1))
    rehearsal.command("lakehouse", "plan", code=2)
    assert rehearsal.lakehouse_apply()[EVENTS] == "changed"
    assert bigquery.called("PATCH tables/lakehouse.event_stream")[-1].policy_tags["ip_address"] == [RESTRICTED]

    rehearsal.step("BigQuery refuses a move: rows are committed, the run fails, and lakehouse sync repairs it")
    rehearsal.land(1)
    fault = bigquery.inject("PATCH tables/lakehouse.event_stream", 403, times=None)
    assets = ("dagster", "asset", "materialize", "-m", "dagster_project.definitions", "--select", EVENTS.replace(".", "/"))
    rehearsal.command(*assets, code=1)
    fault.times = 0
    rehearsal.command("lakehouse", "drift", code=2)
    assert rehearsal.moved() == {"moved", "in step"}
    assert rehearsal.ask(READER, "SELECT COUNT(*) AS n FROM event_stream") == [{"n": rehearsal.rows()[EVENTS]}]
    assert rehearsal.rows()[EVENTS] > rows[EVENTS]

    rehearsal.step("an access level: narrowed by apply, opened only with the flag")
    text, country = event_stream.read_text(), "access_level: {}\n    description: ISO 3166"
    event_stream.write_text(text.replace(country.format("internal"), country.format("restricted")))
    assert rehearsal.lakehouse_apply()[EVENTS] == "changed"
    assert bigquery.tags(EVENTS)["country"] == [RESTRICTED]
    event_stream.write_text(text)
    rehearsal.command("lakehouse", "apply", code=1)
    assert bigquery.tags(EVENTS)["country"] == [RESTRICTED]
    rehearsal.command("lakehouse", "apply", "--allow-breaking")
    assert bigquery.tags(EVENTS)["country"] == [INTERNAL]

    rehearsal.step("governance: a tag taken away by hand is found, and comes back")
    rehearsal.command("lakehouse", "governance", "--live")
    bigquery.tag_by_hand(EVENTS, "user_id")
    found = json.loads(rehearsal.command("lakehouse", "governance", "--live", "--json", code=1))
    assert [item["columns"] for item in found] == [["user_id"]]
    assert rehearsal.lakehouse_apply()[EVENTS] == "changed"
    rehearsal.command("lakehouse", "governance", "--live")
    rehearsal.command("lakehouse", "drift")

    rehearsal.step("Soda on BigQuery, configured from Terraform's outputs")
    rehearsal.command("python", "-m", "quality", "scd_type2")
    assert bigquery.called("POST queries")
    configuration = rehearsal.folder / "configuration.yaml"
    rehearsal.command("python", "-m", "quality.configuration", "--terraform", "terraform/gcp", "--output", str(configuration))
    assert json.loads(configuration.read_text())["data_source lakehouse"]["project_id"] == PROJECT

    if rehearsal.applies:
        rehearsal.step("destroy: all but the tags, which hide columns, and the APIs")
        targets = re.search(r"^GCP_DESTROYED := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert targets is not None
        destroyed = rehearsal.terraform.run(
            "destroy", "-auto-approve", "-input=false", *(f"-target={target}" for target in targets.group(1).replace("\\", " ").split())
        )
        assert destroyed.ok, destroyed.text
