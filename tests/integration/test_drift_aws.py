"""What the drift check finds in Glue, with Lake Formation's grants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from aws_server import access_denied
from dagster import AssetCheckKey, AssetKey, DagsterInstance
from drifting import ORDERS, USERS, Watch, catalog_answer, found, location, made, states
from pyiceberg.schema import Schema
from pyiceberg.types import BooleanType, LongType, NestedField

from dagster_project.definitions import build_definitions
from lakehouse.apply import apply
from lakehouse.drift import check_drift
from lakehouse.drift_answers import TableDrift
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from aws_server import AwsServer
    from conftest import Lakehouse

BACKENDS = ["aws-glue"]


def test_nothing_differs_after_apply(lakehouse: Lakehouse) -> None:
    made(lakehouse, ORDERS, USERS)
    assert states(lakehouse) == dict.fromkeys(("shop.orders", "shop.orders__quarantine", "shop.users"), "in step")
    assert catalog_answer(lakehouse).state == "in step"


def test_changes_by_hand_are_told(lakehouse: Lakehouse) -> None:
    made(lakehouse, ORDERS)
    table = lakehouse.table("shop.orders")
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.add_column("debug_flag", BooleanType()).delete_column("session_id")
        update.update_column("count", field_type=LongType())
    table.transaction().set_properties({"write.parquet.compression-codec": "snappy", "Description": "Of Jane."}).commit_transaction()
    assert found(lakehouse)["shop.orders"].message == (
        "Schema drift detected in shop.orders. Extra columns: {debug_flag}. Missing columns: {session_id}. "
        "Types: {count: long instead of int}. Properties: {Description, write.parquet.compression-codec: snappy instead of zstd}."
    )


def test_missing_tables_and_those_of_the_templates_databases_without_a_template(lakehouse: Lakehouse) -> None:
    made(lakehouse, ORDERS, USERS)
    lakehouse.catalog.drop_table("shop.users")
    boto3.client("glue").create_database(DatabaseInput={"Name": "of_another_team"})
    for name in ("shop.by_hand", "of_another_team.theirs"):
        lakehouse.catalog.create_table(name, Schema(NestedField(1, "id", LongType())), location=location(lakehouse, name))
    hive = {"Name": "hive", "TableType": "EXTERNAL_TABLE", "StorageDescriptor": {"Columns": [{"Name": "id", "Type": "bigint"}]}}
    boto3.client("glue").create_table(DatabaseName="shop", TableInput=hive)
    assert states(lakehouse) == {
        "shop.by_hand": "unmanaged",
        "shop.orders": "in step",
        "shop.orders__quarantine": "in step",
        "shop.users": "missing",
    }


@pytest.fixture
def roles(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    """The lakehouse with its three roles set, which have no grants yet."""
    for role in ("reader", "writer", "admin"):
        boto3.client("iam").create_role(RoleName=f"lakehouse-{role}", AssumeRolePolicyDocument="{}")
        monkeypatch.setenv(f"LAKEHOUSE_{role.upper()}_ROLE", f"arn:aws:iam::123456789012:role/lakehouse-{role}")
    lakehouse.settings = LakehouseSettings.load()
    return lakehouse


def grants(lakehouse: Lakehouse) -> dict[str, TableDrift]:
    drifts = check_drift(lakehouse.settings, lakehouse.templates())
    return {drift.table: drift for drift in drifts if drift.aspect == "grants"}


def test_grants_that_are_missing_and_too_many(roles: Lakehouse) -> None:
    made(roles, ORDERS, USERS)
    analyst = {"DataLakePrincipalIdentifier": "arn:aws:iam::123456789012:role/analyst"}
    table = {"Table": {"DatabaseName": "shop", "Name": "users"}}
    boto3.client("lakeformation").grant_permissions(Principal=analyst, Resource=table, Permissions=["SELECT"])
    found = grants(roles)
    assert "Grants to others: {analyst: SELECT}." in found["shop.users"].message
    assert "lakehouse-reader: SELECT of id" in found["shop.users"].message
    assert "analyst" not in found["shop.orders"].message
    assert found["shop.orders"].state == found["shop.*"].state == "drifted"


def test_grants_that_cannot_be_looked_at_hide_no_schema(roles: Lakehouse, aws: AwsServer) -> None:
    made(roles, USERS)
    aws.faults.inject("lakeformation:ListPermissions", access_denied, times=None)
    assert states(roles) == {"shop.users": "in step"}
    found = grants(roles)
    assert found["*"].state == "unreachable"
    assert found["shop.users"].state == "not checked"


def test_roles_that_are_not_set_are_no_grants_in_step(lakehouse: Lakehouse) -> None:
    made(lakehouse, USERS)
    assert states(lakehouse) == {"shop.users": "in step"}
    found = grants(lakehouse)
    assert (found["*"].state, "LAKEHOUSE_WRITER_ROLE" in found["*"].reason) == ("unreachable", True)
    assert found["shop.users"].state == "not checked"


def test_a_check_that_failed_for_its_grants_fails_until_they_are_seen_to_be_mended(
    roles: Lakehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    users = ["shop", "users"]
    made(roles, USERS)
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        watch = Watch(build_definitions(LakehouseSettings.load()).get_repository_def(), instance)
        watch.tick()
        [(passed, failed)] = watch.checks(users)
        assert (passed, "Missing grants" in failed) == (False, True)
        with monkeypatch.context() as unset:
            unset.delenv("LAKEHOUSE_WRITER_ROLE")
            watch.tick()
            assert watch.checks(users) == [(False, failed)]
            assert not watch.checks(["schema_drift"], "everything_is_looked_at")[0][0]
            with roles.table("shop.users").update_schema() as update:
                update.add_column("debug_flag", BooleanType())
            watch.tick()
        _, description = watch.checks(users)[0]
        assert "Extra columns: {debug_flag}." in description
        assert "Permission drift of shop.users is unknown: not checked. The grants cannot be looked at." in description
        watch.tick()
        assert "Missing grants" in watch.checks(users)[0][1]
        watch.run_checks(AssetCheckKey(AssetKey(users), "schema_drift"))
        by_hand = watch.checks(users)[0]
        assert by_hand == watch.checks(users)[1]
        evaluations = len(watch.checks(users))
        watch.tick()
        assert len(watch.checks(users)) == evaluations


def test_a_shell_that_was_never_adopted_is_missing(roles: Lakehouse) -> None:
    (roles.settings.templates / "users.yaml").write_text(USERS)
    assert "Glue has no entry of shop.users" in found(roles)["shop.users"].message
    roles.before_apply(roles.templates())
    assert found(roles)["shop.users"].message == "Schema drift detected in shop.users. The table is missing. Create it: lakehouse apply"
    assert [applied.action for applied in apply(roles.settings, roles.catalog, roles.templates())] == ["created"]
    assert found(roles)["shop.users"].state == "in step"
