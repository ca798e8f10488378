"""The backend aws-glue: shells become Iceberg tables in place, commits keep the entry, faults leave nothing half made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pyarrow as pa
import pytest
from aws_server import access_denied, before, closed_connection, internal_error, lost_answer, throttled
from glue_shells import READER, shell
from pyiceberg.exceptions import NoSuchPropertyException

from lakehouse.apply import apply
from lakehouse.commit import Batch
from lakehouse.normalise import normalised
from lakehouse.plan import plan

if TYPE_CHECKING:
    from aws_server import AwsServer
    from conftest import Lakehouse

BACKENDS = ["aws-glue"]
ORDERS = """\
name: orders
namespace: shop
description: One row per order.
owner: team-shop
columns:
  - {name: id, type: long, required: true, description: The order.}
  - {name: at, type: timestamptz, required: true}
  - {name: email, type: string, pii: true, access_level: restricted}
  - {name: items, type: "list<struct<sku: string, at: timestamptz>>"}
identifier: [id]
partition_spec: [{column: at, transform: day}]
sort_order: [{column: id}]
properties: {write.parquet.compression-codec: zstd}
source: {path: "${LAKEHOUSE_LANDING}/orders/", format: jsonl}
"""
ROW = '{"id": 1, "at": "2024-01-01T00:00:00Z", "email": "a@b.c", "items": [{"sku": "x"}]}\n'


@pytest.fixture
def entry() -> Callable[[], dict[str, Any]]:
    """Glue's entry of the table."""
    return lambda: boto3.client("glue").get_table(DatabaseName="shop", Name="orders")["Table"]


def columns(entry: dict[str, Any]) -> dict[str, tuple[str, str]]:
    found = entry["StorageDescriptor"]["Columns"]
    return {column["Name"]: (column["Type"], column.get("Comment", "")) for column in found}


def test_a_shell_becomes_an_iceberg_table_in_place(lakehouse: Lakehouse, entry: Callable[[], dict[str, Any]]) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    lakehouse.before_apply(lakehouse.templates())
    with pytest.raises(NoSuchPropertyException):
        lakehouse.catalog.load_table("shop.orders")
    shell = entry()
    [applied] = lakehouse.apply()
    assert applied.action == "created"
    table, adopted = lakehouse.table("shop.orders"), entry()
    assert adopted["CreateTime"] == shell["CreateTime"]
    assert columns(adopted) == columns(shell)
    assert (adopted["Description"], adopted["Owner"]) == ("One row per order.", "team-shop")
    template = lakehouse.template_of("shop.orders")
    assert table.schema() == template.iceberg_schema
    assert [str(field) for field in table.spec().fields] == ["1000: at_day: day(2)"]
    assert len(table.sort_order().fields) == 1
    assert template.table_properties.items() <= table.properties.items()
    before = table.metadata_location
    assert [found.action for found in lakehouse.apply()] == ["exists"]
    assert lakehouse.table("shop.orders").metadata_location == before


def test_a_pipeline_and_an_evolution_keep_the_entrys_columns_and_comments(
    lakehouse: Lakehouse, entry: Callable[[], dict[str, Any]]
) -> None:
    template = lakehouse.template(ORDERS)
    lakehouse.land("orders/a.jsonl", ROW)
    assert lakehouse.run(template).rows == 1
    assert columns(entry())["email"] == ("string", "")
    assert entry()["Description"] == "One row per order."
    changed = ORDERS.replace("The order.", "The order's number.").replace("One row per order.", "An order.")
    changed = changed.replace("  - {name: items", "  - {name: note, type: string, description: Free text.}\n  - {name: items")
    lakehouse.template(changed)
    assert list(columns(entry())) == ["id", "at", "email", "note", "items"]
    assert columns(entry())["id"] == ("bigint", "The order's number.")
    assert columns(entry())["note"] == ("string", "Free text.")
    assert entry()["Description"] == "An order."
    lakehouse.land("orders/b.jsonl", ROW.replace("1,", '2, "note": "n",', 1))
    assert lakehouse.run(lakehouse.template_of("shop.orders")).rows == 1
    assert sorted(lakehouse.rows("shop.orders")["id"].to_pylist()) == [1, 2]
    assert [found.action for found in lakehouse.apply()] == ["exists"]


def test_without_an_entry_apply_says_that_terraform_comes_first(lakehouse: Lakehouse) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    [applied] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates())
    assert applied.action == "failed"
    assert "terraform -chdir=terraform/aws apply" in applied.detail
    assert boto3.client("s3").list_objects_v2(Bucket="warehouse")["KeyCount"] == 0


def _grant(*names: str) -> None:
    boto3.client("lakeformation").grant_permissions(
        Principal={"DataLakePrincipalIdentifier": READER},
        Resource={"TableWithColumns": {"DatabaseName": "shop", "Name": "orders", "ColumnNames": list(names)}},
        Permissions=["SELECT"],
    )


def _apply_one(lakehouse: Lakehouse) -> Any:
    [applied] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates())
    return applied


def test_a_shell_whose_grant_has_a_column_that_is_restricted_now_stays_a_shell(lakehouse: Lakehouse) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    lakehouse.before_apply(lakehouse.templates())
    _grant("id", "email")
    applied = _apply_one(lakehouse)
    assert applied.action == "failed"
    assert "email would be restricted" in applied.detail
    assert "terraform -chdir=terraform/aws apply" in applied.detail
    assert boto3.client("s3").list_objects_v2(Bucket="warehouse")["KeyCount"] == 0


@pytest.mark.parametrize("change", ["swap", "again"])
def test_a_restricted_column_gets_no_name_that_the_reader_is_granted(lakehouse: Lakehouse, change: str) -> None:
    lakehouse.template(ORDERS.replace("  - {name: items", "  - {name: note, type: string}\n  - {name: items"))
    _grant("id", "at", "note", "items")
    if change == "swap":
        changed = ORDERS.replace("name: email,", "name: note, renamed_from: [email],")
        changed = changed.replace("  - {name: items", "  - {name: email, type: string, renamed_from: [note]}\n  - {name: items")
    else:
        lakehouse.template(ORDERS)  # dropped: the table holds no rows yet
        changed = ORDERS.replace("  - {name: items", "  - {name: note, type: string, access_level: restricted}\n  - {name: items")
    (lakehouse.settings.templates / "orders.yaml").write_text(changed)
    before = lakehouse.table("shop.orders").metadata_location
    applied = _apply_one(lakehouse)
    assert applied.action == "failed"
    assert "note would be restricted, and the reader's grant in Lake Formation still has this name" in applied.detail
    assert lakehouse.table("shop.orders").metadata_location == before
    if change == "swap":
        boto3.client("lakeformation").revoke_permissions(
            Principal={"DataLakePrincipalIdentifier": lakehouse.settings.reader_role or ""},
            Resource={"TableWithColumns": {"DatabaseName": "shop", "Name": "orders", "ColumnNames": ["note"]}},
            Permissions=["SELECT"],
        )
        assert _apply_one(lakehouse).action == "changed"
        assert _apply_one(lakehouse).action == "exists"


def test_a_lost_entry_does_not_become_a_new_table_over_the_old_ones_files(lakehouse: Lakehouse) -> None:
    template = lakehouse.template(ORDERS)
    lakehouse.land("orders/a.jsonl", ROW)
    lakehouse.run(template)
    newest = lakehouse.table("shop.orders").metadata_location
    boto3.client("glue").delete_table(DatabaseName="shop", Name="orders")
    lakehouse.before_apply(lakehouse.templates())
    applied = _apply_one(lakehouse)
    assert applied.action == "failed"
    assert f"probably {newest.split('/')[-1]}" in applied.detail


def test_a_table_that_was_written_in_its_first_commit_is_not_hidden_by_a_new_one(lakehouse: Lakehouse) -> None:
    lakehouse.template(ORDERS)
    table = lakehouse.table("shop.orders")
    table.append(pa.Table.from_pylist([{"id": 1, "at": datetime(2024, 1, 1, tzinfo=UTC)}], schema=table.schema().as_arrow()))
    newest, s3 = lakehouse.table("shop.orders").metadata_location, boto3.client("s3")
    prefix = "shop/orders/metadata/"
    for found in s3.list_objects_v2(Bucket="warehouse", Prefix=prefix)["Contents"]:
        if found["Key"].endswith(".metadata.json") and found["Key"] not in newest:
            s3.delete_object(Bucket="warehouse", Key=found["Key"])
    body = s3.get_object(Bucket="warehouse", Key=newest.removeprefix("s3://warehouse/"))["Body"].read()
    s3.put_object(Bucket="warehouse", Key=f"{prefix}00000-only.metadata.json", Body=body)
    s3.delete_object(Bucket="warehouse", Key=newest.removeprefix("s3://warehouse/"))
    boto3.client("glue").delete_table(DatabaseName="shop", Name="orders")
    lakehouse.before_apply(lakehouse.templates())
    assert "probably 00000-only.metadata.json" in _apply_one(lakehouse).detail


def test_what_everyone_is_granted_the_reader_is_granted(lakehouse: Lakehouse) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    lakehouse.before_apply(lakehouse.templates())
    boto3.client("lakeformation").grant_permissions(
        Principal={"DataLakePrincipalIdentifier": "IAM_ALLOWED_PRINCIPALS"},
        Resource={"Table": {"DatabaseName": "shop", "Name": "orders"}},
        Permissions=["ALL"],
    )
    [planned] = plan(lakehouse.settings, lakehouse.catalog, lakehouse.templates())
    assert (planned.action, "email would be restricted" in planned.error) == ("error", True)
    applied = _apply_one(lakehouse)
    assert applied.action == "failed"
    assert "lakehouse governance --fix" in applied.detail


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"StorageDescriptor": {"Location": "s3://elsewhere/orders", "Columns": []}}, "lakehouse env --terraform"),
        ({"Parameters": {"table_type": "DELTA"}}, "Give the template another name"),
        ({"Parameters": {}, "PartitionKeys": [{"Name": "day", "Type": "string"}]}, "Give the template another name"),
    ],
)
def test_an_entry_that_is_no_shell_of_this_table_is_left_alone(
    lakehouse: Lakehouse, entry: Callable[[], dict[str, Any]], change: dict[str, Any], message: str
) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    [table] = normalised(lakehouse.templates()[0]).values()
    boto3.client("glue").create_database(DatabaseInput={"Name": "shop"})
    boto3.client("glue").create_table(DatabaseName="shop", TableInput={**shell(table), **change})
    before = entry()
    applied = _apply_one(lakehouse)
    assert (applied.action, message in applied.detail) == ("failed", True), applied.detail
    assert entry() == before


# Faults between PyIceberg and AWS


def test_throttling_and_server_errors_are_tried_again(lakehouse: Lakehouse, aws: AwsServer) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    lakehouse.before_apply(lakehouse.templates())
    faults = [
        aws.faults.inject("glue:GetTable", throttled, times=2),
        aws.faults.inject("glue:UpdateTable", internal_error, times=2),
        aws.faults.inject("s3:PUT warehouse/shop/orders/metadata/*", throttled, times=2),
    ]
    assert _apply_one(lakehouse).action == "created"
    assert [fault.met for fault in faults] == [2, 2, 2]
    assert lakehouse.table("shop.orders").schema() == lakehouse.template_of("shop.orders").iceberg_schema


@pytest.mark.parametrize("call", ["glue:GetTable", "glue:UpdateTable", "s3:PUT warehouse/shop/orders/metadata/*"])
def test_a_denied_call_is_an_error_and_leaves_a_shell_that_a_later_apply_adopts(
    lakehouse: Lakehouse, aws: AwsServer, entry: Callable[[], dict[str, Any]], call: str
) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    lakehouse.before_apply(lakehouse.templates())
    shell = entry()
    fault = aws.faults.inject(call, access_denied, times=None)
    applied = _apply_one(lakehouse)
    assert applied.action == "failed"
    assert "denied" in applied.detail.lower()
    assert fault.met
    aws.faults.clear()
    assert entry() == shell
    assert _apply_one(lakehouse).action == "created"


@pytest.mark.parametrize("answer", [lost_answer, closed_connection])
def test_an_update_whose_answer_is_lost_is_found_done(lakehouse: Lakehouse, aws: AwsServer, answer: Any) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    lakehouse.before_apply(lakehouse.templates())
    fault = aws.faults.inject("glue:UpdateTable", answer, times=1)
    assert _apply_one(lakehouse).action in ("created", "exists")
    assert fault.met == 1
    table = lakehouse.table("shop.orders")  # its metadata file is there
    assert table.schema() == lakehouse.template_of("shop.orders").iceberg_schema


def test_of_two_applies_at_once_one_makes_the_table(lakehouse: Lakehouse, aws: AwsServer) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    lakehouse.before_apply(lakehouse.templates())
    won: list[Any] = []
    fault = aws.faults.inject("glue:UpdateTable", before(lambda: won.append(_apply_one(lakehouse))), times=1)
    assert _apply_one(lakehouse).action == "exists"
    assert fault.met == 1
    assert [applied.action for applied in won] == ["created"]
    keys = [found["Key"] for found in boto3.client("s3").list_objects_v2(Bucket="warehouse", Prefix="shop/orders/metadata/")["Contents"]]
    # PyArrow leaves a marker of the folder behind.
    assert [f"s3://warehouse/{key}" for key in keys if not key.endswith("/")] == [lakehouse.table("shop.orders").metadata_location]


def test_a_stale_version_id_makes_a_pipeline_commit_again_and_not_twice(lakehouse: Lakehouse, aws: AwsServer) -> None:
    template = lakehouse.template(ORDERS)
    lakehouse.land("orders/a.jsonl", ROW)

    def another_commits() -> None:
        table = lakehouse.table("shop.orders")
        row = [{"id": 9, "at": "2024-01-01T00:00:00Z", "email": None, "items": None}]
        batch = pa.Table.from_pylist(
            row, pa.schema([("id", pa.int64()), ("at", pa.string()), ("email", pa.string()), ("items", pa.null())])
        )
        batch = batch.set_column(1, "at", batch["at"].cast(pa.timestamp("us", tz="UTC"))).cast(table.schema().as_arrow())
        lakehouse.engine.append("shop.orders", batch.to_batches(), Batch("other"))

    fault = aws.faults.inject("glue:UpdateTable", before(another_commits), times=1)
    assert lakehouse.run(template).rows == 1
    assert fault.met == 1
    assert sorted(lakehouse.rows("shop.orders")["id"].to_pylist()) == [1, 9]


def test_a_commit_whose_answer_is_lost_is_not_made_twice(lakehouse: Lakehouse, aws: AwsServer) -> None:
    template = lakehouse.template(ORDERS)
    lakehouse.land("orders/a.jsonl", ROW)
    fault = aws.faults.inject("glue:UpdateTable", lost_answer, times=1)
    assert lakehouse.run(template).rows == 1
    assert fault.met == 1
    assert lakehouse.rows("shop.orders")["id"].to_pylist() == [1]
    assert lakehouse.run(template).rows == 0
