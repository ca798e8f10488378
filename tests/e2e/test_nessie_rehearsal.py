"""AWS with Nessie from end to end, with no account: Terraform, the server that its task definition describes, a branch, on moto.

``make test-nessie`` runs it, as a rehearsal of one's own templates: it takes those of ``table-templates/``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from needed import unavailable
from nessie_environment import container_environment, on_this_machine
from nessie_server import NessieServer, NessieUnavailableError, nessie_jar
from rehearsal import Rehearsal, empty, open_rehearsal

EVENTS, QUARANTINE = "lakehouse.event_stream", "lakehouse.event_stream__quarantine"
USERS, FEATURES = "lakehouse.scd_type2", "lakehouse.feature_table"


@pytest.fixture
def rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rehearsal]:
    try:
        nessie_jar()  # before Terraform takes its minutes
    except NessieUnavailableError as error:
        unavailable(error, "REQUIRE_NESSIE")
    variables = {"catalog_type": "nessie", "bucket_prefix": "rehearsal", "nessie_deletion_protection": False}
    with open_rehearsal(tmp_path, monkeypatch, **variables) as found:
        yield found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_terraform_apply_over_a_branch_to_governed_tables_and_back(rehearsal: Rehearsal) -> None:
    rehearsal.step("terraform apply: the lakehouse, a network, and Nessie on Fargate")
    rehearsal.apply()
    rehearsal.assert_nothing_to_change("-out=plan")
    told = container_environment(json.loads(rehearsal.terraform.run("show", "-json", "plan").text))
    assert (told, _listeners()) == (_live_environment(), {80: "forward"})

    rehearsal.step("the real Nessie starts with what its task definition says, over the tables and the bucket of this account")
    with NessieServer(on_this_machine(told, rehearsal.aws.endpoint), rehearsal.folder) as nessie:
        rehearsal.command("lakehouse", "env", "--terraform", "terraform/aws")
        _lead_to(nessie.uri, rehearsal.folder / ".env")
        _work(rehearsal)
        rehearsal.assert_nothing_to_change()

    rehearsal.step("destroy")
    rehearsal.command("lakehouse", "check-destroy", code=1)
    empty(*(bucket.name for bucket in boto3.resource("s3").buckets.all()))
    rehearsal.destroy()
    assert [vpc for vpc in boto3.client("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    assert boto3.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    assert boto3.client("dynamodb").list_tables()["TableNames"] == []


def _work(rehearsal: Rehearsal) -> None:
    """What people and schedules do, while Nessie serves."""
    rehearsal.step("lakehouse apply: the tables are made in Nessie, and Glue's entries lead to them")
    rehearsal.command("lakehouse", "governance", "--fix")
    assert set(rehearsal.lakehouse_apply().values()) == {"created"}
    assert set(rehearsal.lakehouse_apply().values()) == {"exists"}

    rehearsal.step("the pipelines, a day of files")
    rehearsal.land(0)
    rehearsal.materialize(EVENTS, USERS)
    before = rehearsal.rows()
    assert before == {EVENTS: 29_997, QUARANTINE: 3, FEATURES: 0, USERS: 2_060}
    assert _rows_of_readers(rehearsal) == before

    rehearsal.step("make experiment: another day of files on a branch; nobody else sees any of it")
    rehearsal.land(1)
    home = str(rehearsal.folder / "experiment")
    options = ("--days", "2024-01-01..2024-01-02", "--home", home)
    rehearsal.command("python", "-m", "dagster_project.experiment", "experiment", EVENTS, USERS, FEATURES, *options)
    assert (rehearsal.rows(), _rows_of_readers(rehearsal)) == (before, before)
    changed = {
        found["table"]: found["change"] for found in json.loads(rehearsal.command("lakehouse", "branch", "diff", "experiment", "--json"))
    }
    assert changed == dict.fromkeys((EVENTS, QUARANTINE, FEATURES, USERS), "changed")

    rehearsal.step("lakehouse branch merge --checked: everybody sees all of it")
    rehearsal.command("lakehouse", "branch", "merge", "experiment", "--checked")
    after = rehearsal.rows()
    assert after == {EVENTS: 60_493, QUARANTINE: 7, FEATURES: 4_000, USERS: 2_128}
    assert _rows_of_readers(rehearsal) == after
    assert rehearsal.granted(EVENTS) & {"event_id", "user_id", "session_id"} == {"event_id"}
    rehearsal.command("lakehouse", "branch", "drop", "experiment")

    rehearsal.step("an entry that was left behind: drift says so, sync moves it")
    rehearsal.command("lakehouse", "drift")
    _move_back(EVENTS)
    assert EVENTS in rehearsal.command("lakehouse", "drift", code=2)
    rehearsal.command("lakehouse", "sync", "--dry-run", code=2)
    rehearsal.command("lakehouse", "sync")
    rehearsal.command("lakehouse", "drift")
    assert _rows_of_readers(rehearsal) == after


def _lead_to(uri: str, env: Path) -> None:
    """The load balancer's address, to which no name leads here, becomes the server's. In .env, which Dagster puts over variables."""
    lines = env.read_text().splitlines()
    assert [line for line in lines if line.startswith("NESSIE_URI=http://lakehouse-nessie")] != []
    env.write_text("\n".join([*(line for line in lines if not line.startswith("NESSIE_URI=")), f"NESSIE_URI={uri}"]) + "\n")


def _rows_of_readers(rehearsal: Rehearsal) -> dict[str, int]:
    """As Athena finds them: by Glue's entries, without Nessie."""
    return rehearsal.rows(LAKEHOUSE_BACKEND="aws-glue")


def _move_back(table: str) -> None:
    """The Glue entry names its table's metadata of before, as after a run that died behind its commit."""
    glue, (database, name) = boto3.client("glue"), table.split(".")
    entry = glue.get_table(DatabaseName=database, Name=name)["Table"]
    before = entry["Parameters"]["previous_metadata_location"]
    kept = {key: entry[key] for key in ("Name", "TableType", "StorageDescriptor")}
    glue.update_table(DatabaseName=database, TableInput={**kept, "Parameters": {**entry["Parameters"], "metadata_location": before}})


def _listeners() -> dict[int, str]:
    """Port => what a listener of the load balancer does."""
    elb = boto3.client("elbv2")
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    found = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    return {listener["Port"]: listener["DefaultActions"][0]["Type"] for listener in found}


def _live_environment() -> dict[str, str]:
    """What the running service's task definition has."""
    ecs = boto3.client("ecs")
    (service,) = ecs.list_services(cluster="lakehouse-nessie")["serviceArns"]
    running: dict[str, Any] = ecs.describe_services(cluster="lakehouse-nessie", services=[service])["services"][0]
    definition = ecs.describe_task_definition(taskDefinition=running["taskDefinition"])["taskDefinition"]
    return {variable["name"]: variable["value"] for variable in definition["containerDefinitions"][0]["environment"]}
