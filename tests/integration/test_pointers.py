"""Readers of a Nessie lakehouse ask Glue: its entries follow main, whatever comes in between, and no column is opened by it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pyarrow as pa
import pytest
from aws_server import Call, access_denied, before, lost_answer
from botocore import session
from command_line import run_command
from dagster import AssetKey, AssetMaterialization, DagsterInstance, ExecuteInProcessResult, materialize
from glue_shells import READER, make_shells
from nessie_server import NessieProxy, answers
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue
from werkzeug.wrappers import Response

from dagster_project.definitions import build_definitions
from lakehouse import pointers
from lakehouse.apply import apply
from lakehouse.branches import create, merge, open_client
from lakehouse.catalog import load_newest, open_catalog
from lakehouse.commit import Batch
from lakehouse.drift import check_drift
from lakehouse.drift_answers import TableDrift
from lakehouse.engines import NotFollowedError
from lakehouse.pointers import Moved, follow, open_pointers
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from aws_server import AwsServer
    from conftest import Lakehouse

BACKENDS = ["aws-nessie"]
ORDERS = """\
name: orders
namespace: shop
description: One row per order.
owner: team-shop
columns:
  - {name: id, type: long, required: true}
  - {name: note, type: string}
  - {name: email, type: string, access_level: restricted}
identifier: [id]
pipeline:
  pattern: event_stream
  source: {path: "${LAKEHOUSE_LANDING}/orders/", format: jsonl}
  on_bad_rows: quarantine
"""
USERS = """\
name: users
namespace: shop
columns:
  - {name: id, type: long, required: true}
  - {name: name, type: string}
  - {name: valid_from, type: timestamptz, required: true}
  - {name: valid_to, type: timestamptz}
  - {name: is_current, type: boolean, required: true}
identifier: [id, valid_from]
pipeline:
  pattern: scd_type2
  key: [id]
  effective_at: changed_at
  source: {path: "${LAKEHOUSE_LANDING}/users/", format: jsonl}
"""
DAILY = """\
name: daily
namespace: shop
columns: [{name: day, type: date, required: true}, {name: orders, type: long}]
partition_spec: [{column: day, transform: identity}]
pipeline: {pattern: feature_table, sql: daily.sql, inputs: [orders], partitions: {start: "2024-01-01"}}
checks: {generated: false}
"""
Entry = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def one_loader() -> Iterator[None]:
    """Every session of boto3 parses the megabytes that describe AWS's services again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "create_loader", functools.cache(session.create_loader))
        yield


@pytest.fixture(autouse=True)
def governed(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Terraform's outputs set, and the shells that it makes."""
    values = {"GLUE_CATALOG_ID": "123456789012", "LAKEHOUSE_READER_ROLE": READER}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    lakehouse.settings, lakehouse.before_apply = LakehouseSettings.load(), make_shells
    lakehouse.environment |= values


@pytest.fixture
def entry() -> Entry:
    return lambda name="orders": boto3.client("glue").get_table(DatabaseName="shop", Name=name)["Table"]


@pytest.fixture
def reader(lakehouse: Lakehouse) -> Catalog:
    """What a reader opens, who knows nothing of Nessie."""
    return open_catalog(LakehouseSettings.load(LAKEHOUSE_BACKEND="aws-glue"))


def ids(catalog: Catalog, name: str = "shop.orders") -> list[int]:
    return sorted(catalog.load_table(name).scan().to_arrow()["id"].to_pylist())


def rows(*found: int) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict({"id": list(found)})]


def sync(lakehouse: Lakehouse, *names: str, dry_run: bool = False) -> list[Moved]:
    opened = open_pointers(lakehouse.settings)
    assert opened is not None
    return follow(opened, lakehouse.settings, lakehouse.catalog, names or ["shop.orders"], dry_run)


def newest(lakehouse: Lakehouse, name: str = "shop.orders") -> str:
    return load_newest(lakehouse.catalog, name).metadata_location


def named(found: dict[str, Any]) -> str:
    return str(found["Parameters"]["metadata_location"])


def columns(found: dict[str, Any]) -> list[str]:
    return [column["Name"] for column in found["StorageDescriptor"]["Columns"] if column["Parameters"]["iceberg.field.current"] == "true"]


def rewrite(entry: Entry, **changes: Any) -> None:
    """Changes the entry as somebody does by hand."""
    found = entry()
    kept = {key: found[key] for key in ("Name", "Owner", "Description", "TableType", "Parameters", "StorageDescriptor")}
    boto3.client("glue").update_table(DatabaseName="shop", TableInput={**kept, **changes})


def point_at(entry: Entry, metadata_location: str) -> None:
    rewrite(entry, Parameters={**entry()["Parameters"], "metadata_location": metadata_location})


# --- What readers see


def test_readers_see_what_every_kind_of_commit_brought(lakehouse: Lakehouse, reader: Catalog, entry: Entry) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    make_shells(lakehouse.templates())
    shell = entry()
    users = lakehouse.template(USERS)
    made = entry()
    assert named(made) == newest(lakehouse) and ids(reader) == []
    assert {key: made[key] for key in ("CreateTime", "Owner", "Description")} == {
        key: shell[key] for key in ("CreateTime", "Owner", "Description")
    }
    assert columns(made) == ["id", "note", "email"]

    lakehouse.land("orders/a.jsonl", '{"id": 1}\n{"id": "no number"}\n')
    assert lakehouse.run(lakehouse.template_of("shop.orders")).bad_rows == 1
    assert ids(reader) == [1]
    assert reader.load_table("shop.orders__quarantine").scan().to_arrow().num_rows == 1
    lakehouse.engine.replace("shop.orders", rows(2, 3), AlwaysTrue(), Batch("r"))
    assert ids(reader) == [2, 3]
    for name in ("Ann", "Anna"):
        lakehouse.land(f"users/{name}.jsonl", json.dumps({"id": 1, "name": name, "changed_at": f"2024-01-0{len(name)}T00:00:00Z"}))
        lakehouse.run(users)
    assert reader.load_table("shop.users").scan().to_arrow().to_pylist() == lakehouse.rows("shop.users").to_pylist()
    assert len(ids(reader, "shop.users")) == 2
    assert named(entry()) == newest(lakehouse)
    assert [found.action for found in sync(lakehouse, "shop.orders", "shop.users", "shop.orders__quarantine")] == ["in step"] * 3


def test_an_evolution_moves_the_columns_and_keeps_what_terraform_and_others_set(lakehouse: Lakehouse, entry: Entry) -> None:
    lakehouse.template(ORDERS)
    rewrite(entry, Retention=7, Parameters={**entry()["Parameters"], "classification": "orders"})
    changed = ORDERS.replace("One row per order.", "An order.").replace(
        "  - {name: note, type: string}\n",
        "  - {name: remark, type: string, renamed_from: [note], description: Free text.}\n  - {name: count, type: int}\n",
    )
    lakehouse.template(changed)
    found = entry()
    assert (columns(found), named(found)) == (["id", "remark", "count", "email"], newest(lakehouse))
    assert (found["Description"], found["Owner"], found["Retention"]) == ("An order.", "team-shop", 7)
    assert found["Parameters"]["classification"] == "orders"
    assert [column.get("Comment") for column in found["StorageDescriptor"]["Columns"][:2]] == [None, "Free text."]
    assert [applied.action for applied in lakehouse.apply()] == ["exists", "exists"]


# --- Moves that meet others, and moves that fail


def test_moves_that_finish_out_of_order_end_at_the_newest(lakehouse: Lakehouse, aws: AwsServer, reader: Catalog, entry: Entry) -> None:
    lakehouse.template(ORDERS)
    other = replace(lakehouse, settings=lakehouse.settings)
    faster = aws.faults.inject("glue:UpdateTable", before(lambda: other.engine.append("shop.orders", rows(2), Batch("b2"))))
    lakehouse.engine.append("shop.orders", rows(1), Batch("b1"))
    assert (faster.met, ids(reader), named(entry())) == (1, [1, 2], newest(lakehouse))
    # A run that dies between its commit and its move: whoever looks again moves for it.
    dies = aws.faults.inject("glue:UpdateTable", before(lambda: other.table("shop.orders").append(rows_as_table(other, 4))))
    lakehouse.engine.append("shop.orders", rows(3), Batch("b3"))
    assert (dies.met, ids(reader), named(entry())) == (1, [1, 2, 3, 4], newest(lakehouse))


def test_two_runs_at_once_leave_the_entry_at_the_newest(lakehouse: Lakehouse, reader: Catalog, entry: Entry) -> None:
    lakehouse.template(ORDERS)

    def run(first: int) -> None:
        engine = replace(lakehouse, settings=lakehouse.settings).engine
        for id_ in range(first, first + 5):
            engine.append("shop.orders", rows(id_), Batch(f"b{id_}"))

    with ThreadPoolExecutor(2) as runs:
        list(runs.map(run, (0, 5)))
    assert (ids(reader), named(entry())) == ([*range(10)], newest(lakehouse))


def test_another_change_of_the_entry_is_kept_and_a_lost_answer_is_found_out(
    lakehouse: Lakehouse, aws: AwsServer, reader: Catalog, entry: Entry
) -> None:
    lakehouse.template(ORDERS)
    meets = aws.faults.inject("glue:UpdateTable", before(lambda: rewrite(entry, Owner="team-web")))
    lakehouse.engine.append("shop.orders", rows(1), Batch("b1"))
    assert (meets.met, ids(reader), entry()["Owner"]) == (1, [1], "team-web")
    lost = aws.faults.inject("glue:UpdateTable", lost_answer)
    lakehouse.engine.append("shop.orders", rows(2), Batch("b2"))
    assert (lost.met, ids(reader), entry()["Owner"]) == (1, [1, 2], "team-web")


def test_what_does_not_come_to_rest_is_given_up_and_told(
    lakehouse: Lakehouse, aws: AwsServer, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse.template(ORDERS)
    monkeypatch.setattr(pointers, "_PATIENCE", 0.5)
    aws.faults.inject("glue:UpdateTable", changed_meanwhile, times=None)
    with pytest.raises(NotFollowedError, match=r"entry of shop.orders in Glue was changed by others .*lakehouse sync shop.orders"):
        lakehouse.engine.append("shop.orders", rows(1), Batch("b1"))
    aws.faults.clear()
    aws.faults.inject("glue:UpdateTable", before(lambda: lakehouse.table("shop.orders").append(rows_as_table(lakehouse, 2))), times=None)
    with pytest.raises(NotFollowedError, match=r"was moved for .* and the table went on. Repair it: lakehouse sync shop.orders"):
        lakehouse.engine.append("shop.orders", rows(3), Batch("b2"))


def changed_meanwhile(call: Call) -> Response:
    return Response(json.dumps({"__type": "ConcurrentModificationException", "message": "again"}), 400)


def test_a_move_that_fails_is_told_and_repaired_by_a_rerun_or_by_sync(
    lakehouse: Lakehouse, aws: AwsServer, reader: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    template = lakehouse.template(ORDERS)
    lakehouse.land("orders/a.jsonl", '{"id": 1}\n')
    aws.faults.inject("glue:UpdateTable", access_denied, times=None)
    with pytest.raises(
        NotFollowedError, match=r"shop.orders in Glue was not moved: .*AccessDenied.* Repair it: lakehouse sync shop"
    ) as failed:
        lakehouse.run(template, "run-1")
    assert failed.value.result.rows == 1
    assert (ids(lakehouse.catalog), ids(reader)) == ([1], [])
    [applied, _] = apply(lakehouse.settings, lakehouse.catalog, [template])
    assert (applied.action, applied.detail.startswith("exists in the catalog, and readers are not shown it: ")) == ("failed", True)
    code, _, err = run_command(capsys, "sync")
    assert (code, "shop.orders in Glue was not moved" in err, "quarantine" in err) == (1, True, False)

    aws.faults.clear()
    lakehouse.run(template, "run-1")  # the same work again
    assert (ids(lakehouse.catalog), ids(reader)) == ([1], [1])
    load_newest(lakehouse.catalog, "shop.orders").append(rows_as_table(lakehouse, 2))  # by a run that died
    code, out, _ = run_command(capsys, "sync", "orders", "--dry-run", "--json")
    assert (code, [(found["table"], found["action"]) for found in json.loads(out)]) == (2, [("shop.orders", "behind")])
    assert ids(reader) == [1]
    code, out, err = run_command(capsys, "sync")
    assert (code, err) == (0, "")
    assert "moved    shop.orders  before: It names older metadata than the table's newest." in out
    assert "1 of 2 tables in step before" in out
    assert ids(reader) == [1, 2]


def rows_as_table(lakehouse: Lakehouse, *found: int) -> pa.Table:
    schema = lakehouse.table("shop.orders").schema().as_arrow()
    return pa.Table.from_pylist([{"id": id_} for id_ in found], schema=schema)


# --- What may be shown


def grant(*names: str, revoke: bool = False) -> None:
    client = boto3.client("lakeformation")
    (client.revoke_permissions if revoke else client.grant_permissions)(
        Principal={"DataLakePrincipalIdentifier": READER},
        Resource={"TableWithColumns": {"DatabaseName": "shop", "Name": "orders", "ColumnNames": list(names)}},
        Permissions=["SELECT"],
    )


SWAPPED = ORDERS.replace("name: email,", "name: note, renamed_from: [email],").replace(
    "{name: note, type", "{name: email, renamed_from: [note], type"
)


def test_no_table_is_made_whose_restricted_column_the_reader_is_granted(lakehouse: Lakehouse) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    make_shells(lakehouse.templates())
    grant("id", "email")
    applied = next(iter(apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates())))
    assert (applied.action, "email would be restricted" in applied.detail) == ("failed", True)
    assert not lakehouse.catalog.table_exists("shop.orders")


def test_no_restricted_column_gets_a_granted_name_by_an_evolution_or_a_merge(
    lakehouse: Lakehouse, entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    lakehouse.template(ORDERS)
    lakehouse.engine.append("shop.orders", rows(1), Batch("b1"))
    grant("id", "note")
    before = (newest(lakehouse), entry())
    (lakehouse.settings.templates / "orders.yaml").write_text(SWAPPED)
    applied = next(iter(apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates())))
    assert (applied.action, "note would be restricted, and the reader's grant" in applied.detail) == ("failed", True)
    assert (newest(lakehouse), entry()) == before

    create(open_client(lakehouse.settings), "dev", "main")
    on_dev = LakehouseSettings.load(LAKEHOUSE_BRANCH="dev")
    [changed, _] = apply(on_dev, open_catalog(on_dev), lakehouse.templates())
    assert (changed.action, newest(lakehouse), entry()) == ("changed", *before)
    code, _, err = run_command(capsys, "branch", "merge", "dev")
    assert (code, "note would be restricted, and the reader's grant" in err) == (1, True)
    assert (newest(lakehouse), entry()) == before

    grant("note", revoke=True)
    code, out, err = run_command(capsys, "branch", "merge", "dev")
    assert (code, err, "moved    shop.orders" in out) == (0, "", True)
    assert (columns(entry()), named(entry())) == (["id", "email", "note"], newest(lakehouse))


def on_branch(lakehouse: Lakehouse, name: str = "dev") -> Lakehouse:
    """The lakehouse as it is on a new branch of main."""
    create(open_client(lakehouse.settings), name, "main")
    return replace(lakehouse, settings=LakehouseSettings.load(LAKEHOUSE_BRANCH=name))


def swap(branch: Lakehouse) -> None:
    [changed, _] = apply(branch.settings, open_catalog(branch.settings), branch.templates())
    assert changed.action == "changed"


def test_without_its_template_no_column_is_shown_under_the_name_of_another(
    lakehouse: Lakehouse, entry: Entry, reader: Catalog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse.template(ORDERS)
    row = pa.RecordBatch.from_pylist([{"id": 1, "note": "hello", "email": "secret"}])
    grant("id", "note")
    dev, templates = on_branch(lakehouse), lakehouse.settings.templates
    empty, older, without = (templates.with_name(name) for name in ("empty", "older", "without"))
    for folder in (empty, older, without):
        folder.mkdir()
    (older / "orders.yaml").write_text(ORDERS)
    (without / "orders.yaml").write_text("".join(line for line in ORDERS.splitlines(True) if "note" not in line and "email" not in line))
    monkeypatch.setenv("LAKEHOUSE_TEMPLATES", str(empty))
    lakehouse.settings = LakehouseSettings.load()
    dev.engine.append("shop.orders", [row], Batch("b1"))
    assert run_command(capsys, "branch", "merge", "dev")[0] == 0  # what swaps nothing needs no template
    assert ids(reader) == [1]
    (templates / "orders.yaml").write_text(SWAPPED)
    swap(dev)

    before = (newest(lakehouse), entry())
    unsaid = "shop.orders: note would be shown to the reader, and the template does not say what is in it"
    wrong = "shop.orders: email, note would be shown to whoever is granted these names, and no template says"
    for folder, message in ((empty, wrong), (older, unsaid), (without, unsaid)):
        monkeypatch.setenv("LAKEHOUSE_TEMPLATES", str(folder))
        code, _, err = run_command(capsys, "branch", "merge", "dev")
        assert (code, message in err, (newest(lakehouse), entry())) == (1, True, before), err

    merge(open_client(lakehouse.settings), "dev", "main")  # as by somebody else
    [moved] = sync(lakehouse)
    assert (moved.action, wrong in moved.detail, entry()) == ("failed", True, before[1])
    assert run_command(capsys, "sync")[0] == 1
    assert reader.load_table("shop.orders").scan().to_arrow()["note"].to_pylist() == ["hello"]
    lost(entry)
    make_shells(dev.templates())
    [moved] = sync(lakehouse)
    assert (moved.action, "email, id, note would be shown" in moved.detail, "metadata_location" in entry()["Parameters"]) == (
        "failed",
        True,
        False,
    )


def test_what_is_merged_is_what_was_looked_at(
    lakehouse: Lakehouse, aws: AwsServer, entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    lakehouse.template(ORDERS)
    grant("id", "note")
    dev = on_branch(lakehouse)
    dev.engine.append("shop.orders", rows(1), Batch("b1"))
    (lakehouse.settings.templates / "orders.yaml").write_text(SWAPPED)
    as_it_was = (newest(lakehouse), entry())
    swaps = aws.faults.inject("glue:GetTable", before(lambda: swap(dev)))
    code, _, err = run_command(capsys, "branch", "merge", "dev")
    assert (code, "dev was changed meanwhile" in err, swaps.met, (newest(lakehouse), entry())) == (1, True, 1, as_it_was), err


def test_a_merge_whose_readers_did_not_follow_is_finished_by_the_next(
    lakehouse: Lakehouse, reader: Catalog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse.template(ORDERS)
    dev = on_branch(lakehouse)
    dev.engine.append("shop.orders", rows(1), Batch("b1"))
    with NessieProxy(lakehouse.settings.nessie_uri or "") as proxy, monkeypatch.context() as patch:
        patch.setenv("NESSIE_URI", proxy.uri)
        proxy.inject("GET /iceberg/v1/config*", answers(404, "gone"))
        code, out, _ = run_command(capsys, "branch", "merge", "dev")
        assert (code, out, ids(lakehouse.catalog)) == (1, "", [])  # an error before the merge, not after it

    merge(open_client(lakehouse.settings), "dev", "main")  # and is killed
    assert (ids(lakehouse.catalog), ids(reader)) == ([1], [])
    code, out, err = run_command(capsys, "branch", "merge", "dev")
    assert (code, err, "moved    shop.orders" in out, "There is nothing to merge" in out) == (0, "", True, True)
    assert ids(reader) == [1]

    dev.catalog.drop_table("shop.orders")
    code, out, err = run_command(capsys, "branch", "merge", "dev")
    assert (code, "dropped  shop.orders" in out, ids(reader)) == (1, True, [1])
    assert "dev is merged into main, and readers do not see main as it is:" in err and "readers are still shown s3://" in err


def test_a_branch_moves_nothing_until_it_is_merged(
    lakehouse: Lakehouse, aws: AwsServer, reader: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    lakehouse.template(ORDERS)
    create(open_client(lakehouse.settings), "dev", "main")
    on_dev = LakehouseSettings.load(LAKEHOUSE_BRANCH="dev")
    dev = replace(lakehouse, settings=on_dev)
    dev.engine.append("shop.orders", rows(1), Batch("b1"))
    assert (ids(dev.catalog), ids(reader)) == ([1], [])
    code, out, err = run_command(capsys, "branch", "merge", "dev", "--json")
    assert (code, err, [(found["table"], found["readers"]) for found in json.loads(out)]) == (0, "", [("shop.orders", "moved")])
    assert ids(reader) == [1]

    dev.engine.append("shop.orders", rows(2), Batch("b2"))
    aws.faults.inject("glue:UpdateTable", access_denied, times=None)
    code, out, err = run_command(capsys, "branch", "merge", "dev")
    assert (code, "dev is merged into main, 1 table." in out) == (1, True)
    assert "dev is merged into main, and readers do not see main as it is:" in err and "lakehouse sync shop.orders" in err
    assert (ids(lakehouse.catalog), ids(reader)) == ([1, 2], [1])
    aws.faults.clear()
    assert run_command(capsys, "sync")[0] == 0
    assert ids(reader) == [1, 2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKEHOUSE_BRANCH", "dev")
        assert "Readers are shown main alone" in run_command(capsys, "sync")[2]


# --- Entries that are not what they should be


def lost(entry: Entry) -> None:
    boto3.client("glue").delete_table(DatabaseName="shop", Name="orders")


def of_another_kind(entry: Entry) -> None:
    rewrite(entry, Parameters={"table_type": "HUDI"})


def elsewhere(entry: Entry) -> None:
    rewrite(entry, StorageDescriptor={**entry()["StorageDescriptor"], "Location": "s3://other/orders"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lost, "Glue has no entry of shop.orders. Terraform makes it"),
        (of_another_kind, "The entry of shop.orders in Glue is a table of another kind"),
        (elsewhere, "The entry of shop.orders in Glue is at s3://other/orders, and the table is at s3://warehouse/shop/orders"),
    ],
)
def test_an_entry_that_cannot_follow_is_an_error_of_runs_apply_and_sync_and_a_drift(
    lakehouse: Lakehouse, entry: Entry, reader: Catalog, spoil: Callable[[Entry], None], message: str
) -> None:
    lakehouse.template(ORDERS)
    spoil(entry)
    with pytest.raises(NotFollowedError, match=message):
        lakehouse.engine.append("shop.orders", rows(1), Batch("b1"))
    [applied, _] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates())
    assert (applied.action, message in applied.detail) == ("failed", True)
    [moved] = sync(lakehouse)
    assert (moved.action, message in moved.detail) == ("failed", True)
    drift = drift_of(lakehouse)
    assert (drift.state, "Readers are not shown its newest state" in drift.message) == ("drifted", True)
    if spoil is lost:
        make_shells(lakehouse.templates())  # terraform apply
        assert [found.action for found in sync(lakehouse)] == ["moved"]
        assert (named(entry()), ids(reader)) == (newest(lakehouse), [1])


def test_no_table_is_made_where_the_entry_is_none_or_names_another_tables_metadata(lakehouse: Lakehouse, entry: Entry) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    [applied, _] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates())
    assert (applied.action, "terraform -chdir=terraform/aws apply" in applied.detail) == ("failed", True)
    lakehouse.apply()
    named_before = named(entry())
    assert [found.action for found in sync(lakehouse)] == ["in step"]
    lakehouse.catalog.drop_table("shop.orders")
    [applied, _] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates())
    assert (applied.action, f"names {named_before}: readers would lose the rows" in applied.detail) == ("failed", True)
    assert not lakehouse.catalog.table_exists("shop.orders")
    [moved] = sync(lakehouse)
    assert (moved.action, f"readers are still shown {named_before}" in moved.detail) == ("failed", True)


def test_of_two_applies_at_once_the_slower_finds_the_table(lakehouse: Lakehouse, aws: AwsServer, entry: Entry) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    make_shells(lakehouse.templates())
    faster = aws.faults.inject("glue:GetTable", before(lambda: replace(lakehouse, settings=lakehouse.settings).apply()))
    applied = list(apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates()))
    assert (faster.met, [(found.action, found.detail) for found in applied]) == (1, [("exists", ""), ("exists", "")])
    assert named(entry()) == newest(lakehouse)


def drift_of(lakehouse: Lakehouse) -> TableDrift:
    drifts = check_drift(lakehouse.settings, lakehouse.templates())
    return next(drift for drift in drifts if (drift.table, drift.aspect) == ("shop.orders", "schema"))


def test_what_readers_are_not_shown_is_a_drift_until_it_is_repaired(lakehouse: Lakehouse, aws: AwsServer, entry: Entry) -> None:
    lakehouse.template(ORDERS.replace("on_bad_rows: quarantine", "on_bad_rows: fail"))
    assert drift_of(lakehouse).state == "in step"
    load_newest(lakehouse.catalog, "shop.orders").append(rows_as_table(lakehouse, 1))
    behind = drift_of(lakehouse)
    assert behind.message == (
        "Schema drift detected in shop.orders. Readers are not shown its newest state: It names older metadata than the table's newest. "
        "Repair it: lakehouse sync shop.orders"
    )
    load_newest(lakehouse.catalog, "shop.orders").append(rows_as_table(lakehouse, 2))
    assert drift_of(lakehouse).fingerprint == behind.fingerprint
    # Between the two looks a run moves it.
    first = aws.faults.inject("glue:GetTable", before(lambda: None))
    moves = aws.faults.inject("glue:GetTable", before(lambda: sync(lakehouse)))
    assert (drift_of(lakehouse).state, first.met, moves.met) == ("in step", 1, 1)

    storage = entry()["StorageDescriptor"]
    rewrite(entry, StorageDescriptor={**storage, "Columns": storage["Columns"][:2]})
    assert "Its columns are not the table's: email." in drift_of(lakehouse).message
    assert [found.action for found in sync(lakehouse)] == ["moved"]
    assert (columns(entry()), drift_of(lakehouse).state) == (["id", "note", "email"], "in step")
    aws.faults.inject("glue:GetTable", access_denied, times=None)
    unknown = drift_of(lakehouse)
    assert (unknown.state, "AccessDenied" in unknown.message) == ("unreachable", True)


def test_grants_are_compared_and_closed_as_on_glue(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lakehouse.template(ORDERS.replace("on_bad_rows: quarantine", "on_bad_rows: fail"))
    for role in ("reader", "writer", "admin"):
        boto3.client("iam").create_role(RoleName=f"lakehouse-{role}", AssumeRolePolicyDocument="{}")
        monkeypatch.setenv(f"LAKEHOUSE_{role.upper()}_ROLE", f"arn:aws:iam::123456789012:role/lakehouse-{role}")
    grant("id", "note", "email")
    lakehouse.settings = LakehouseSettings.load()
    [grants] = [
        drift
        for drift in check_drift(lakehouse.settings, lakehouse.templates())
        if (drift.table, drift.aspect) == ("shop.orders", "grants")
    ]
    assert "Excessive grants: {lakehouse-reader: SELECT of email}" in grants.message
    code, out, _ = run_command(capsys, "governance", "orders", "--fix", "--json")
    assert [(found["columns"], found["status"]) for found in json.loads(out) if found["too_open"]] == [(["email"], "closed")]
    assert code == 0
    with monkeypatch.context() as branch:
        branch.setenv("LAKEHOUSE_BRANCH", "dev")
        assert "LAKEHOUSE_BRANCH 'dev'" in run_command(capsys, "governance", "--live")[2]


# --- Runs


def run_assets(lakehouse: Lakehouse, instance: DagsterInstance, name: str, **options: Any) -> ExecuteInProcessResult:
    defs = build_definitions(lakehouse.settings)
    selection = [AssetKey(["shop", name])]
    return materialize(
        list(defs.assets or ()), resources=defs.resources, instance=instance, selection=selection, raise_on_error=False, **options
    )


def materializations(instance: DagsterInstance, name: str) -> list[AssetMaterialization]:
    records = instance.fetch_materializations(AssetKey(["shop", name]), limit=9).records
    return [record.asset_materialization for record in records if record.asset_materialization is not None]


def test_a_run_whose_rows_readers_do_not_see_records_them_and_fails(lakehouse: Lakehouse, aws: AwsServer, reader: Catalog) -> None:
    unchecked = ORDERS.replace("on_bad_rows: quarantine", "on_bad_rows: fail") + "checks: {generated: false}\n"
    (lakehouse.settings.templates / "daily.sql").write_text("SELECT DATE '2024-01-01' AS day, count(*) AS orders FROM orders")
    lakehouse.template(unchecked)
    lakehouse.template(DAILY)
    lakehouse.land("orders/a.jsonl", '{"id": 1}\n')
    with DagsterInstance.ephemeral() as instance:
        for name, options in (("orders", {}), ("daily", {"partition_key": "2024-01-01"})):
            aws.faults.inject("glue:UpdateTable", access_denied, times=None)
            failed = run_assets(lakehouse, instance, name, **options)
            [failure] = failed.get_step_failure_events()
            assert f"lakehouse sync shop.{name}" in str(failure.step_failure_data.error)
            [recorded] = materializations(instance, name)
            assert (recorded.metadata["rows_written"].value, recorded.partition) == (1, options.get("partition_key"))
            assert recorded.metadata["snapshot_id"].value == str(lakehouse.table(f"shop.{name}").metadata.current_snapshot_id)
            assert reader.load_table(f"shop.{name}").scan().to_arrow().num_rows == 0
            aws.faults.clear()
            assert run_assets(lakehouse, instance, name, **options).success
            assert reader.load_table(f"shop.{name}").scan().to_arrow().num_rows == lakehouse.rows(f"shop.{name}").num_rows == 1


def test_audited_rows_are_shown_when_they_are_published(
    lakehouse: Lakehouse, aws: AwsServer, reader: Catalog, entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    template = lakehouse.template(ORDERS.replace("on_bad_rows: quarantine", "on_bad_rows: fail") + "publish: audited\n")
    lakehouse.land("orders/a.jsonl", '{"id": 1}\n')
    before = named(entry())
    aws.faults.inject("glue:GetTable", access_denied, times=None)
    assert lakehouse.run(template).audit  # there is nothing to be followed yet
    aws.faults.clear()
    assert (ids(reader), named(entry())) == ([], before)
    assert run_command(capsys, "audit", "publish", "orders")[0] == 0
    assert (ids(reader), named(entry())) == ([1], newest(lakehouse))

    lakehouse.land("orders/b.jsonl", '{"id": 2}\n')
    aws.faults.inject("glue:UpdateTable", access_denied, times=None)
    with DagsterInstance.ephemeral() as instance:
        [failure] = run_assets(lakehouse, instance, "orders").get_step_failure_events()
        assert "lakehouse sync shop.orders" in str(failure.step_failure_data.error)
        [recorded] = materializations(instance, "orders")
        assert recorded.metadata["dagster/row_count"].value == 2
        assert (ids(lakehouse.catalog), ids(reader)) == ([1, 2], [1])
        aws.faults.clear()
        assert run_assets(lakehouse, instance, "orders").success
    assert ids(reader) == [1, 2]
