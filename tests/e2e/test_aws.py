"""AWS with Glue from end to end, with no account: real Terraform and provider, the command line, Dagster's runs, on moto.

``make test-aws`` runs it, as a rehearsal of one's own templates: it takes those of ``table-templates/``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from rehearsal import Rehearsal, empty, open_rehearsal

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


@pytest.fixture
def rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rehearsal]:
    with open_rehearsal(tmp_path, monkeypatch) as found:
        yield found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_terraform_apply_to_governed_tables_and_back(rehearsal: Rehearsal) -> None:
    terraform, event_stream = rehearsal.terraform, rehearsal.template("event_stream")
    rehearsal.step("terraform apply")
    rehearsal.apply()
    rehearsal.assert_nothing_to_change()

    rehearsal.step("lakehouse env; everyone may read what AWS made by its defaults, and no table is made until that is closed")
    rehearsal.command("lakehouse", "env", "--terraform", "terraform/aws")
    rehearsal.command("lakehouse", "apply", code=1)
    rehearsal.command("lakehouse", "governance", "--live", code=1)
    rehearsal.command("lakehouse", "governance", "--fix")

    rehearsal.step("lakehouse apply: the shells become Iceberg tables")
    assert set(rehearsal.lakehouse_apply().values()) == {"created"}
    assert set(rehearsal.lakehouse_apply().values()) == {"exists"}

    rehearsal.step("the pipelines, a day of files")
    rehearsal.land(0)
    rehearsal.materialize(EVENTS, "lakehouse.scd_type2")
    rehearsal.materialize("lakehouse.feature_table", options=("--partition", "2024-01-01"))

    rehearsal.step("terraform plan after the commits: nothing")
    rehearsal.assert_nothing_to_change()

    rehearsal.step("two columns more, one of them restricted; a restricted column is no column of the reader's at any time")
    text = event_stream.read_text()
    event_stream.write_text(text.replace("  - name: source\n", f"{EXTRA_COLUMNS}  - name: source\n", 1))
    assert rehearsal.lakehouse_apply()[EVENTS] == "changed"
    assert rehearsal.apply().changes == {HASH: "update", READER_GRANT: "replace"}
    readable = {"event_id", "event_type", "event_timestamp", "received_at", "device", "source", "country", "amount", "payload"}
    assert rehearsal.granted(EVENTS) == readable

    rehearsal.step("another day of files")
    rehearsal.land(1)
    rehearsal.materialize(EVENTS, "lakehouse.scd_type2")
    assert rehearsal.rows() == {
        "lakehouse.event_stream": 60_493,
        "lakehouse.event_stream__quarantine": 7,
        "lakehouse.feature_table": 2_000,
        "lakehouse.scd_type2": 2_128,
    }

    rehearsal.step("another access level: the grant follows, the table stays")
    text, country = event_stream.read_text(), "access_level: {}\n    description: ISO 3166"
    event_stream.write_text(text.replace(country.format("internal"), country.format("restricted")))
    assert rehearsal.apply().changes == {HASH: "update", READER_GRANT: "replace"}
    assert rehearsal.granted(EVENTS) == readable - {"country"}
    assert rehearsal.lakehouse_apply()[EVENTS] == "changed"  # no bounds of it in metadata any more

    rehearsal.step("governance: what is opened by hand is found and closed")
    rehearsal.command("lakehouse", "governance", "--live")
    _open_to_the_reader(rehearsal, "user_id")
    found = json.loads(rehearsal.command("lakehouse", "governance", "--live", "--json", code=1))
    assert "user_id" in json.dumps(found)
    rehearsal.command("lakehouse", "governance", "--fix")
    assert rehearsal.granted(EVENTS) == readable - {"country"}
    rehearsal.assert_nothing_to_change()

    rehearsal.step("a YAML that goes by accident stops the plan")
    shutil.move(rehearsal.template("scd_type2"), rehearsal.folder / "scd_type2.yaml")
    assert "lakehouse.scd_type2" in " ".join(terraform.plan().errors)
    terraform.variables["retired_tables"] = ["lakehouse.scd_type2"]
    retired = terraform.plan()
    assert retired.ok, retired.errors
    assert {address.split(".")[1] for address in retired.changes} == {'table["scd_type2"]'}
    assert set(retired.changes.values()) == {"delete"}
    terraform.variables["retired_tables"] = []
    shutil.move(rehearsal.folder / "scd_type2.yaml", rehearsal.template("scd_type2"))

    rehearsal.step("destroy: not while there are files; then all of it, but for the account's settings")
    rehearsal.command("lakehouse", "check-destroy", code=1)
    empty(*terraform.outputs()["buckets"].values())
    rehearsal.command("lakehouse", "check-destroy")
    assert "prevent_destroy" in " ".join(terraform.destroy().errors)
    rehearsal.destroy()


def _open_to_the_reader(rehearsal: Rehearsal, column: str) -> None:
    """What somebody does by hand in a hurry."""
    boto3.client("lakeformation").grant_permissions(
        Principal={"DataLakePrincipalIdentifier": rehearsal.terraform.outputs()["environment"]["LAKEHOUSE_READER_ROLE"]},
        Resource={"TableWithColumns": _columns(column)},
        Permissions=["SELECT"],
    )


def _columns(*names: str) -> Any:
    return {"DatabaseName": "lakehouse", "Name": "event_stream", "ColumnNames": list(names)}
