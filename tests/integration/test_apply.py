"""A template that changes: what `apply` makes of the live table. Rows that were written before stay, and are read right."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from lakehouse.apply import Applied, apply
from lakehouse.table_plan import TablePlan

if TYPE_CHECKING:
    from conftest import Lakehouse

BACKENDS = ["local", "aws-glue", "aws-nessie"]
COLUMNS = {
    "id": "type: long, required: true",
    "at": "type: timestamptz",
    "name": 'type: string, description: "A name."',
    "count": "type: int",
    "price": 'type: "decimal(9,2)"',
    "address": 'type: "struct<street: string, number: int>"',
    "tags": "type: list<int>",
}
ROW: dict[str, Any] = {
    "id": 1,
    "at": datetime(2024, 1, 1, tzinfo=UTC),
    "name": "a",
    "count": 2,
    "price": 3,
    "address": {"street": "s", "number": 4},
    "tags": [5],
}


def write(lakehouse: Lakehouse, columns: dict[str, str], rest: str = "") -> None:
    lines = "\n".join(f"  - {{name: {name}, {text}}}" for name, text in columns.items())
    (lakehouse.settings.templates / "t.yaml").write_text(f"name: t\nnamespace: shop\ncolumns:\n{lines}\n{rest}")


def made(lakehouse: Lakehouse, rest: str = "", rows: bool = True) -> None:
    """The table of COLUMNS, with a row."""
    write(lakehouse, COLUMNS, rest)
    lakehouse.apply()
    if rows:
        append(lakehouse, ROW)


def append(lakehouse: Lakehouse, row: dict[str, Any]) -> None:
    table = lakehouse.table("shop.t")
    table.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))


def changed(lakehouse: Lakehouse) -> Applied:
    lakehouse.before_apply(lakehouse.templates())
    [applied] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates())
    return applied


def fields(lakehouse: Lakehouse) -> dict[str, tuple[int, str, bool]]:
    return {field.name: (field.field_id, str(field.field_type), field.required) for field in lakehouse.table("shop.t").schema().fields}


@pytest.mark.parametrize(
    ("change", "told", "row"),
    [
        ({"count": "type: long"}, ["widen column count: int -> long"], ROW),
        ({"price": 'type: "decimal(20,2)"'}, ["widen column price: decimal(9,2) -> decimal(20,2)"], ROW),
        ({"tags": "type: list<long>"}, ["widen column tags.element: int -> long"], ROW),
        ({"id": "type: long"}, ["relax column id: required -> may be null"], ROW),
        ({"name": "type: string"}, ["describe column name: A name. -> no description"], ROW),
        ({"new": "type: string"}, ["add column new: string"], {**ROW, "new": None}),
        ({"address": 'type: "struct<number: int, street: string>"'}, ["move columns address: number, street"], ROW),
        (
            {"address": 'type: "struct<street: string, number: long, zip: string>"'},
            ["widen column address.number: int -> long", "add column address.zip: string"],
            {**ROW, "address": {"street": "s", "number": 4, "zip": None}},
        ),
    ],
)
@pytest.mark.gcp
def test_a_safe_change_is_made_and_rows_are_read_as_before(
    lakehouse: Lakehouse, change: dict[str, str], told: list[str], row: dict[str, Any]
) -> None:
    made(lakehouse)
    ids = {name: field[0] for name, field in fields(lakehouse).items()}
    snapshots = len(lakehouse.table("shop.t").snapshots())
    write(lakehouse, {**COLUMNS, **change})
    applied = changed(lakehouse)
    assert (applied.action, applied.detail.split("; ")) == ("changed", told)
    assert {name: field[0] for name, field in fields(lakehouse).items() if name in ids} == ids
    assert len(lakehouse.table("shop.t").snapshots()) == snapshots  # no data is rewritten
    assert lakehouse.rows("shop.t").to_pylist() == [row]
    assert changed(lakehouse).action == "exists"
    append(lakehouse, {**row, "id": 2})
    assert sorted(lakehouse.rows("shop.t")["id"].to_pylist()) == [1, 2]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({**COLUMNS, "count": "type: string"}, "retype column count: int -> string"),
        ({**COLUMNS, "price": 'type: "decimal(9,3)"'}, "retype column price: decimal(9,2) -> decimal(9,3)"),
        ({**COLUMNS, "at": "type: timestamp"}, "retype column at: timestamptz -> timestamp"),
        ({**COLUMNS, "name": 'type: string, required: true, description: "A name."'}, "require column name: may be null -> required"),
        ({**COLUMNS, "new": "type: string, required: true"}, "add column new: string required"),
        ({name: text for name, text in COLUMNS.items() if name != "name"}, "drop column name: string"),
        ({**COLUMNS, "address": 'type: "struct<street: string>"'}, "drop column address.number: int"),
        ({**COLUMNS, "tags": "type: long"}, "retype column tags: list<int> -> long"),
    ],
)
def test_a_breaking_change_is_refused_and_the_safe_ones_are_made(lakehouse: Lakehouse, columns: dict[str, str], told: str) -> None:
    made(lakehouse)
    before = fields(lakehouse)
    write(lakehouse, {**columns, "safe": "type: string"})
    applied = changed(lakehouse)
    assert applied.action == "refused"
    assert applied.detail.startswith(told)
    assert "done: add column safe: string" in applied.detail
    after = fields(lakehouse)
    assert after.pop("safe")[1] == "string"
    assert after == before
    assert lakehouse.rows("shop.t").to_pylist() == [{**ROW, "safe": None}]
    again = lakehouse.table("shop.t").metadata_location
    assert changed(lakehouse).action == "refused"
    assert lakehouse.table("shop.t").metadata_location == again


def test_where_breaking_changes_are_allowed_they_are_made(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    columns = {name: text for name, text in COLUMNS.items() if name != "at"}
    write(lakehouse, {**columns, "count": "type: string", "name": "type: string, required: true", "tags": "type: long"})
    lakehouse.before_apply(lakehouse.templates())
    [applied] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates(), allow_breaking=True)
    assert applied.action == "changed", applied.detail
    [row] = lakehouse.rows("shop.t").to_pylist()
    assert (row["name"], row["count"], row["tags"], "at" in row) == ("a", None, None, False)
    assert changed(lakehouse).action == "exists"


def test_what_would_make_rows_unreadable_is_refused_always(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    append(lakehouse, {**ROW, "id": 2, "name": None})
    write(lakehouse, {**COLUMNS, "new": "type: string, required: true", "name": "type: string, required: true"})
    [applied] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates(), allow_breaking=True)
    assert applied.action == "refused"
    assert "add column new: string required (rows that are there have no value for it: add it without `required`" in applied.detail
    assert "require column name: may be null -> required (rows that hold null could not be read)" in applied.detail
    assert sorted(lakehouse.rows("shop.t")["id"].to_pylist()) == [1, 2]


def test_a_table_without_rows_becomes_what_the_template_says(lakehouse: Lakehouse) -> None:
    made(lakehouse, rows=False)
    location = lakehouse.table("shop.t").location()
    write(lakehouse, {"count": "type: string, required: true", "id": "type: long"}, "partition_spec: [{column: id}]")
    assert changed(lakehouse).action == "changed"
    assert lakehouse.table("shop.t").location() == location
    assert [(name, *field[1:]) for name, field in fields(lakehouse).items()] == [("count", "string", True), ("id", "long", False)]
    assert changed(lakehouse).action == "exists"


def test_a_new_column_stands_where_the_template_has_it(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    write(lakehouse, {"first": "type: string", **COLUMNS})
    assert changed(lakehouse).action == "changed"
    assert list(fields(lakehouse)) == ["first", *COLUMNS]
    write(lakehouse, {**{name: COLUMNS[name] for name in reversed(COLUMNS)}, "first": "type: string"})
    assert changed(lakehouse).detail.startswith("move columns: tags, address")
    assert list(fields(lakehouse)) == [*reversed(COLUMNS), "first"]
    assert lakehouse.rows("shop.t").to_pylist() == [{**ROW, "first": None}]


def renamed(columns: dict[str, str], **names: str) -> dict[str, str]:
    """The columns, some under new names: ``new="old"``."""
    new_names = {old: new for new, old in names.items()}
    return {new_names.get(name, name): text + (f", renamed_from: [{name}]" if name in new_names else "") for name, text in columns.items()}


@pytest.mark.gcp
def test_a_renamed_column_keeps_its_field_id_and_its_data(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    before = fields(lakehouse)
    write(lakehouse, renamed(COLUMNS, title="name"))
    assert changed(lakehouse).detail.split("; ") == ["rename column title: name -> title"]
    assert fields(lakehouse)["title"] == before["name"]
    assert lakehouse.rows("shop.t")["title"].to_pylist() == ["a"]
    assert changed(lakehouse).action == "exists"


def test_an_environment_that_skipped_a_release_renames_in_one_step(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    columns = {("headline" if name == "name" else name): text for name, text in COLUMNS.items()}
    columns["headline"] += ", renamed_from: [name, title]"
    write(lakehouse, columns)
    assert changed(lakehouse).detail == "rename column headline: name -> headline"
    assert lakehouse.rows("shop.t")["headline"].to_pylist() == ["a"]
    assert changed(lakehouse).action == "exists"


def test_two_columns_swap_their_names_once(lakehouse: Lakehouse) -> None:
    columns = {**COLUMNS, "nick": "type: string"}
    write(lakehouse, columns)
    lakehouse.apply()
    append(lakehouse, {**ROW, "nick": "b"})
    write(lakehouse, renamed(columns, name="nick", nick="name"))
    assert changed(lakehouse).action == "changed"
    [row] = lakehouse.rows("shop.t").to_pylist()
    assert (row["name"], row["nick"]) == ("b", "a")
    assert changed(lakehouse).action == "exists"
    assert (lakehouse.rows("shop.t")["name"].to_pylist(), lakehouse.rows("shop.t")["nick"].to_pylist()) == (["b"], ["a"])


def test_a_new_table_of_a_template_with_former_names_is_in_step(lakehouse: Lakehouse) -> None:
    write(lakehouse, renamed({**COLUMNS, "nick": "type: string"}, name="nick", nick="name"))
    lakehouse.apply()
    append(lakehouse, {**ROW, "nick": "b"})
    assert changed(lakehouse).action == "exists"
    assert lakehouse.rows("shop.t")["nick"].to_pylist() == ["b"]


def test_a_former_name_is_taken_again_by_a_new_column(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    write(lakehouse, {**renamed(COLUMNS, title="name"), "name": "type: long"})
    assert changed(lakehouse).action == "changed"
    [row] = lakehouse.rows("shop.t").to_pylist()
    assert (row["title"], row["name"]) == ("a", None)
    assert changed(lakehouse).action == "exists"


def test_a_rename_onto_a_column_that_would_be_dropped_is_refused_and_right_once_it_is_allowed(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    before, properties = fields(lakehouse), lakehouse.table("shop.t").properties
    columns = {"id": COLUMNS["id"], "count": 'type: "decimal(9,2)", renamed_from: [price]', "safe": "type: string"}
    write(lakehouse, columns)
    applied = changed(lakehouse)
    assert applied.action == "refused", applied.detail
    assert "drop column count: int" in applied.detail
    assert (fields(lakehouse), lakehouse.table("shop.t").properties) == (before, properties)
    [applied] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates(), allow_breaking=True)
    assert applied.action == "changed", applied.detail
    assert lakehouse.rows("shop.t").to_pylist() == [{"id": 1, "count": ROW["price"], "safe": None}]
    assert changed(lakehouse).action == "exists"


@pytest.mark.parametrize("rows", [True, False])
def test_a_column_that_a_partition_spec_ever_named_stays(lakehouse: Lakehouse, rows: bool) -> None:
    made(lakehouse, "partition_spec: [{column: at, transform: day}]\n", rows)
    columns = {name: text for name, text in COLUMNS.items() if name != "at"}
    write(lakehouse, columns)
    for _ in range(2):
        [applied] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates(), allow_breaking=True)
        assert applied.action == "refused"
        assert "drop column at: timestamptz (a partition spec of the table has it" in applied.detail
    write(lakehouse, {**COLUMNS, "at": "type: string"})
    [applied] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates(), allow_breaking=True)
    assert "retype column at: timestamptz -> string (a partition spec" in applied.detail
    table = lakehouse.table("shop.t")
    assert table.spec().fields == ()
    table.delete("id = 1")  # engines can still work on it
    assert lakehouse.rows("shop.t").num_rows == 0


def test_an_order_that_goes_is_the_unsorted_order(lakehouse: Lakehouse) -> None:
    made(lakehouse, "sort_order: [{column: id}]\n")
    write(lakehouse, COLUMNS)
    assert changed(lakehouse).detail == "sort order: id ASC NULLS FIRST -> none"
    assert lakehouse.table("shop.t").sort_order().order_id == 0
    assert changed(lakehouse).action == "exists"
    write(lakehouse, COLUMNS, "sort_order: [{column: id}]\n")
    assert changed(lakehouse).action == "changed"
    assert lakehouse.table("shop.t").sort_order().order_id > 0


@pytest.mark.gcp
def test_rows_that_came_after_the_plan_make_it_planned_again(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    made(lakehouse, rows=False)
    write(lakehouse, {**{name: text for name, text in COLUMNS.items() if name != "name"}, "new": "type: string, required: true"})
    updates = TablePlan.updates
    came: list[int] = []

    def updates_too_late(plan: TablePlan) -> Any:
        found = updates(plan)
        if not came:
            came.append(1)
            append(lakehouse, ROW)
        return found

    monkeypatch.setattr(TablePlan, "updates", updates_too_late)
    applied = changed(lakehouse)
    assert applied.action == "refused"
    assert lakehouse.rows("shop.t").to_pylist() == [ROW]


def test_an_identifier_or_a_layout_that_waits_for_a_refused_column_is_refused_with_it(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    append(lakehouse, {**ROW, "id": 2, "name": None})
    required = {**COLUMNS, "name": "type: string, required: true", "new": "type: int, required: true"}
    write(lakehouse, required, "identifier: [name]\npartition_spec: [{column: new}]\nsort_order: [{column: new}]\n")
    applied = changed(lakehouse)
    refused, _, done = applied.detail.partition("; done: ")
    assert applied.action == "refused"
    assert "identifier: none -> name (its columns are not all there, or may be null)" in refused
    assert "partition: none -> identity(new) (it waits for a column" in refused
    assert "sort order: none -> new ASC NULLS FIRST (it waits" in refused
    assert done == "describe column name: A name. -> no description"


def test_columns_that_differ_in_case_alone_are_no_two_columns(lakehouse: Lakehouse) -> None:
    write(lakehouse, {"id": "type: long"})
    lakehouse.apply()
    with lakehouse.table("shop.t").update_schema() as update:
        update.rename_column("id", "ID")
    assert "ID and the template's id differ in case alone" in changed(lakehouse).detail
    assert list(fields(lakehouse)) == ["ID"]


def test_a_property_of_former_names_that_cannot_be_read_is_an_error_with_a_remedy(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    with lakehouse.table("shop.t").transaction() as transaction:
        transaction.set_properties({"lakehouse.former-names": "{broken"})
    applied = changed(lakehouse)
    assert applied.action == "failed"
    assert "The property lakehouse.former-names of shop.t cannot be read" in applied.detail


@pytest.mark.gcp
def test_layout_properties_and_identifier_follow_in_the_same_commit(lakehouse: Lakehouse) -> None:
    made(lakehouse, "partition_spec: [{column: at, transform: month}]\n")
    metadata = len(lakehouse.table("shop.t").metadata.metadata_log)
    rest = """\
description: A row.
identifier: [id]
partition_spec: [{column: at, transform: day}, {column: id, transform: "bucket[4]"}]
sort_order: [{column: id, direction: desc}]
properties: {write.target-file-size-bytes: 1000000}
"""
    write(lakehouse, {**COLUMNS, "new": "type: string"}, rest)
    applied = changed(lakehouse)
    assert applied.action == "changed"
    assert [change.split(":")[0] for change in applied.detail.split("; ") if "Description" not in change] == [
        "add column new", "identifier", "partition", "sort order", "property comment", "property write.target-file-size-bytes",
    ]  # fmt: skip
    table = lakehouse.table("shop.t")
    if lakehouse.settings.backend != "aws-nessie":  # which keeps no such log
        assert len(table.metadata.metadata_log) == metadata + 1
    assert [(field.source_id, str(field.transform)) for field in table.spec().fields] == [(2, "day"), (1, "bucket[4]")]
    assert table.spec().fields[0].field_id > 1000  # an id of its own: the spec's ids are never used again for another field
    assert table.schema().identifier_field_ids == [1]
    append(lakehouse, {**ROW, "id": 2, "new": "n"})
    assert sorted(lakehouse.rows("shop.t")["id"].to_pylist()) == [1, 2]
    write(lakehouse, {**COLUMNS, "new": "type: string"}, rest.replace("day}, {column: id", "month}, {column: id"))
    assert changed(lakehouse).action == "changed"
    assert lakehouse.table("shop.t").spec().fields[0].field_id == 1000  # the same field as at first
    assert changed(lakehouse).action == "exists"


def test_properties_of_others_stay(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    with lakehouse.table("shop.t").transaction() as transaction:
        transaction.set_properties({"somebody.elses": "x"})
    write(lakehouse, COLUMNS, "properties: {some.key: mine}\n")
    assert changed(lakehouse).action == "changed"
    assert lakehouse.table("shop.t").properties.items() >= {"somebody.elses": "x", "some.key": "mine"}.items()


@pytest.mark.gcp
def test_two_applies_at_once_end_in_one_result(lakehouse: Lakehouse) -> None:
    made(lakehouse)
    write(lakehouse, {**COLUMNS, "new": "type: string", "newer": "type: long"})
    results: list[Applied] = []
    barrier = threading.Barrier(2)

    def run() -> None:
        catalog, templates = lakehouse.catalog, lakehouse.templates()
        barrier.wait()
        results.extend(apply(lakehouse.settings, catalog, templates))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {result.action for result in results} <= {"changed", "exists"}, results
    assert list(fields(lakehouse)) == [*COLUMNS, "new", "newer"]
    assert len({field[0] for field in fields(lakehouse).values()}) == len(COLUMNS) + 2


@pytest.mark.gcp
def test_a_pipeline_on_the_old_schema_goes_on_and_after_an_apply_it_writes_the_new_one(lakehouse: Lakehouse) -> None:
    source = 'source: {path: "${LAKEHOUSE_LANDING}/t/", format: jsonl}\n'
    columns = {"id": "type: long", "note": "type: string"}
    write(lakehouse, {"id": "type: long"}, source)
    lakehouse.apply()
    lakehouse.land("t/a.jsonl", '{"id": 1, "note": "x"}\n')
    write(lakehouse, columns, source)
    assert lakehouse.run(lakehouse.template_of("shop.t")).rows == 1  # before the apply
    assert changed(lakehouse).action == "changed"
    lakehouse.land("t/b.jsonl", '{"id": 2, "note": "y"}\n')
    assert lakehouse.run(lakehouse.template_of("shop.t")).rows == 1
    rows = sorted(lakehouse.rows("shop.t").to_pylist(), key=lambda row: row["id"])
    assert rows == [{"id": 1, "note": None}, {"id": 2, "note": "y"}]
