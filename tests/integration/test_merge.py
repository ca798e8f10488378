"""The SCD2 merge through the engine: real files, a real table, and a model of what it must come to."""

from __future__ import annotations

import json
import random
import time
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dimension import TEMPLATE, Change, Dimension, expected
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.types import LongType, StringType

from lakehouse.commit import Batch
from lakehouse.data_file import DataFileEncoder
from lakehouse.engines import FilesNotTakenError, targets
from lakehouse.errors import MemoryLimitError, TableMismatchError
from lakehouse.ledger import Ledger

if TYPE_CHECKING:
    from conftest import Lakehouse


@pytest.fixture
def users(lakehouse: Lakehouse) -> Dimension:
    return Dimension(lakehouse)


@pytest.mark.engines
@pytest.mark.nessie
def test_a_version_is_closed_and_the_next_opened(users: Dimension) -> None:
    first = users.merge(Change("a", 1, "free"), Change("b", 1, "free"))
    assert users.versions == [("a", 1, "free", None, 1, None, True), ("b", 1, "free", None, 1, None, True)]
    second = users.merge(Change("a", 5, "plus"))
    assert users.versions == [
        ("a", 1, "free", None, 1, 5, False),
        ("a", 1, "plus", None, 5, None, True),
        ("b", 1, "free", None, 1, None, True),
    ]
    assert (first.versions_opened, first.versions_changed) == (2, 0)
    assert (second.versions_opened, second.versions_changed) == (1, 1)
    assert len(users.lakehouse.table("lake.users").metadata.snapshots) == 2


CHANGES = st.builds(
    Change,
    id=st.sampled_from("abc"),
    at=st.integers(0, 12),
    plan=st.sampled_from(["free", "plus", None]),
    op=st.sampled_from(["insert", "update", "update", "delete"]),
    region=st.sampled_from([1, 2]),
    score=st.sampled_from([None, 1.5]),
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(CHANGES, min_size=1, max_size=8), min_size=1, max_size=5))
def test_any_batches_come_to_what_the_definition_says(users: Dimension, batches: list[list[Change]]) -> None:
    users.start_anew()
    for batch in batches:
        users.merge(*batch)
    assert users.versions == expected(change for batch in batches for change in batch)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(CHANGES, min_size=2, max_size=14, unique_by=lambda change: (change.id, change.region, change.at)),
    data=st.data(),
)
def test_neither_order_nor_batches_matter(users: Dimension, changes: list[Change], data: st.DataObject) -> None:
    users.start_anew()
    shuffled = data.draw(st.permutations(changes))
    repeated = data.draw(st.lists(st.sampled_from(changes), max_size=4))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(shuffled) - 1), max_size=4)))
    for start, end in pairwise([0, *cuts, len(shuffled)]):
        users.merge(*shuffled[start:end])
    if repeated:
        users.merge(*repeated)
    assert users.versions == expected(changes)


@pytest.mark.parametrize(
    ("batches", "says"),
    [
        pytest.param([[Change("a", 5, "x")], [Change("a", 3, "y")]], [("y", 3, 5), ("x", 5, None)], id="late"),
        pytest.param([[Change("a", 1, "x")], [Change("a", 3, "x")]], [("x", 1, None)], id="repeat"),
        pytest.param(
            [[Change("a", 1, "x")], [Change("a", 5, "x")], [Change("a", 3, "y")]],
            [("x", 1, 3), ("y", 3, 5), ("x", 5, None)],
            id="repeat is not forgotten",
        ),
        pytest.param([[Change("a", 5, "x")], [Change("a", 3, "x")], [Change("a", 4, "y")]], [("x", 3, 4), ("y", 4, 5), ("x", 5, None)]),
        pytest.param([[Change("a", 1, "x")], [Change("a", 3, op="delete")]], [("x", 1, 3)], id="delete"),
        pytest.param([[Change("a", 1, "x"), Change("a", 3, op="delete"), Change("a", 6, "x")]], [("x", 1, 3), ("x", 6, None)], id="gap"),
        pytest.param([[Change("a", 5, op="delete")], [Change("a", 3, "x")]], [("x", 3, 5)], id="delete before its insert"),
        pytest.param(
            [[Change("a", 1, "x"), Change("a", 3, op="delete"), Change("a", 7, op="delete")], [Change("a", 5, "y")]],
            [("x", 1, 3), ("y", 5, 7)],
            id="second delete is not forgotten",
        ),
        pytest.param([[Change("a", 1, "x")], [Change("a", 1, "y")]], [("y", 1, None)], id="the last batch wins"),
        pytest.param([[Change("a", 1, "x"), Change("a", 1, "y")]], [("y", 1, None)], id="the last row wins"),
        pytest.param([[Change("a", 1, "x")], [Change("a", 1, op="delete")]], [], id="delete at the same moment"),
        pytest.param([[Change("a", 1, op="delete")], [Change("a", 1, "x")]], [("x", 1, None)], id="insert at the moment of a delete"),
        pytest.param(
            [[Change("a", 1, "x"), Change("a", 5, "y"), Change("a", 9, "z")], [Change("a", 5, "x")], [Change("a", 3, "w")]],
            [("x", 1, 3), ("w", 3, 5), ("x", 5, 9), ("z", 9, None)],
            id="a version that became a repeat is not forgotten",
        ),
    ],
)
def test_timelines(users: Dimension, batches: list[list[Change]], says: list[tuple[str, int, int | None]]) -> None:
    for batch in batches:
        users.merge(*batch)
    assert [(plan, start, end) for _, _, plan, _, start, end, _ in users.versions] == says


def test_files_of_a_batch_come_in_the_order_of_their_names(users: Dimension) -> None:
    users.lakehouse.land("b.jsonl", Change("a", 1, "from b").line())
    users.lakehouse.land("a.jsonl", Change("a", 1, "from a").line())
    users.lakehouse.run(users.template)
    assert users.versions == [("a", 1, "from b", None, 1, None, True)]


@pytest.mark.engines
@pytest.mark.nessie
@pytest.mark.gcp
def test_a_rerun_changes_nothing(users: Dimension) -> None:
    users.merge(Change("a", 1, "x"))
    before = users.lakehouse.table("lake.users").metadata
    again = users.lakehouse.run(users.template)
    assert (again.source_files, again.snapshot_id) == (0, None)
    assert users.lakehouse.table("lake.users").metadata == before


def test_a_delivery_of_the_same_records_changes_no_file(users: Dimension) -> None:
    users.merge(Change("a", 1, "x"), Change("a", 2, "x"), Change("a", 3, op="delete"))
    files = {task.file.file_path for task in users.lakehouse.table("lake.users").scan().plan_files()}
    moments = users.lakehouse.table("lake.users").properties["lakehouse.moments"]
    again = users.merge(Change("a", 1, "x"), Change("a", 2, "x"), Change("a", 3, op="delete"))
    table = users.lakehouse.table("lake.users")
    assert (again.source_files, again.versions_opened, again.versions_changed, again.days) == (1, 0, 0, "")
    assert {task.file.file_path for task in table.scan().plan_files()} == files
    assert table.properties["lakehouse.moments"] == moments


@pytest.mark.engines
@pytest.mark.nessie
@pytest.mark.gcp
def test_only_files_with_versions_that_change_are_rewritten(users: Dimension) -> None:
    users.merge(Change("a", 1, "x"), Change("b", 1, "x"))
    users.merge(Change("a", 5, "y"))
    [closed_and_open] = users.lakehouse.table("lake.users").scan().plan_files()
    users.merge(Change("c", 7, "z"))
    users.merge(Change("c", 8, "w"))
    assert closed_and_open.file.file_path in {task.file.file_path for task in users.lakehouse.table("lake.users").scan().plan_files()}


@pytest.mark.engines
def test_a_snapshot_tells_from_which_days_on_something_changed(users: Dimension) -> None:
    assert users.merge(Change("a", 1, "x"), Change("a", 49, "y")).days == "2024-01-01,2024-01-03"
    assert users.merge(Change("a", 26, "x")).days == ""  # it says what is known
    assert users.merge(Change("a", 30, "z")).days == "2024-01-02"
    assert users.merge(Change("a", 80, op="delete")).days == "2024-01-04"
    summary = users.lakehouse.table("lake.users").metadata.snapshots[-1].summary
    assert summary is not None
    assert summary["lakehouse.days"] == "2024-01-04"
    assert summary["lakehouse.rows"] == "1"


@pytest.mark.engines
def test_records_that_do_not_fit_fail_the_file_and_no_other(users: Dimension) -> None:
    users.lakehouse.land("bad.jsonl", "\n".join([Change("a", 1, "x").line(), Change("a", 2, "x", op="merge").line()]))
    users.lakehouse.land("good.jsonl", Change("b", 1, "x").line())
    users.lakehouse.land("keyless.jsonl", Change("c", 1, "x").line().replace('"c"', "null"))
    with pytest.raises(FilesNotTakenError) as error:
        users.lakehouse.run(users.template)
    assert "row 2, column op: not insert, update, upsert or delete" in str(error.value)
    assert "row 1, column id: null in a required column" in str(error.value)
    assert error.value.result.source_files == 1
    assert [version[0] for version in users.versions] == ["b"]


def test_a_record_without_a_key_is_put_aside(lakehouse: Lakehouse) -> None:
    users = Dimension(lakehouse, TEMPLATE + "      on_bad_rows: quarantine\n")
    keyless = Change("c", 1, "x").line().replace('"c"', "null")
    lakehouse.land("0.jsonl", "\n".join([keyless, Change("a", 1, "x").line()]))
    result = lakehouse.run(users.template)
    assert (result.rows, result.bad_rows, result.skipped_rows) == (1, 1, 0)
    [bad] = lakehouse.rows("lake.users__quarantine").to_pylist()
    assert (bad["reason"], bad["source_row"]) == ("id: null in a required column", 1)


@pytest.mark.engines
def test_a_record_without_a_key_is_left_out_and_counted(lakehouse: Lakehouse) -> None:
    users = Dimension(lakehouse, TEMPLATE + "      skip_when: id is null\n")
    keyless = Change("c", 1, "x").line().replace('"c"', "null")
    lakehouse.land("0.jsonl", "\n".join([keyless, Change("a", 1, "x").line(), keyless]))
    result = lakehouse.run(users.template)
    assert (result.rows, result.bad_rows, result.skipped_rows) == (1, 0, 2)
    table = lakehouse.table("lake.users")
    assert table.metadata.snapshots[-1].summary["lakehouse.skipped-rows"] == "2"
    assert Ledger(table, "").entries["skipped_rows"].to_pylist() == [2]


def test_a_deleted_key_needs_no_attributes(lakehouse: Lakehouse) -> None:
    users = Dimension(lakehouse, TEMPLATE.replace("plan, type: string", "plan, type: string, required: true"))
    users.merge(Change("a", 1, "x"), Change("a", 2, None, op="D"))
    assert users.versions == [("a", 1, "x", None, 1, 2, False)]
    with pytest.raises(FilesNotTakenError, match="row 1, column plan: null in a required column"):
        users.merge(Change("a", 3, None))


EVERY_TYPE = """\
    name: things
    namespace: lake
    columns:
      - {name: k, type: uuid, required: true}
      - {name: note, type: string, access_level: restricted}
      - {name: raw, type: binary}
      - {name: code, type: "fixed[4]"}
      - {name: price, type: "decimal(38,9)"}
      - {name: day, type: date}
      - {name: clock, type: time}
      - {name: wall, type: timestamp}
      - {name: ratio, type: float}
      - {name: flag, type: boolean}
      - {name: parts, type: "list<struct<sku: string, ids: list<uuid>>>"}
      - {name: labels, type: "map<string, decimal(9,2)>"}
      - {name: valid_from, type: date, required: true}
      - {name: valid_to, type: date}
      - {name: is_current, type: boolean}
      - {name: seen, type: date}
    partition_spec: [{column: is_current}, {column: valid_from, transform: month}]
    pipeline:
      pattern: scd_type2
      source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}
      key: [k]
      effective_at: seen
"""
THING: dict[str, Any] = {
    "k": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "note": "ü",
    "raw": "00ff",
    "code": "01020304",
    "price": "12345678901234567890123456789.123456789",
    "day": "2024-02-29",
    "clock": "23:59:59.999999",
    "wall": "2024-01-01T00:00:00.000001",
    "ratio": 0.1,
    "flag": False,
    "parts": [{"sku": "a", "ids": ["f81d4fae-7dec-11d0-a765-00a0c91e6bf6", None]}, None],
    "labels": {"a": "1.50", "b": None},
}


@pytest.mark.nessie
@pytest.mark.gcp
def test_every_type_stays_what_it_was(lakehouse: Lakehouse) -> None:
    template = lakehouse.template(EVERY_TYPE)
    lakehouse.land("0.jsonl", json.dumps({**THING, "seen": "2024-01-01"}) + "\n" + json.dumps({"k": THING["k"], "seen": "2024-03-01"}))
    lakehouse.run(template)
    full = lakehouse.rows("lake.things").sort_by("valid_from").to_pylist()[0]
    lakehouse.land("1.jsonl", "\n".join(json.dumps({**THING, "seen": day}) for day in ("2024-02-01", "2024-04-01")))
    lakehouse.run(template)
    rows = lakehouse.rows("lake.things").sort_by("valid_from").to_pylist()
    derived = ("valid_from", "valid_to", "is_current", "seen")
    assert [[row[name] for name in derived] for row in rows] == [
        [date(2024, 1, 1), date(2024, 3, 1), False, date(2024, 1, 1)],
        [date(2024, 3, 1), date(2024, 4, 1), False, date(2024, 3, 1)],
        [date(2024, 4, 1), None, True, date(2024, 4, 1)],
    ]
    values = [{name: value for name, value in row.items() if name not in derived} for row in rows]
    assert values[0] == values[2] == {name: value for name, value in full.items() if name not in derived}
    assert values[0]["parts"][0]["ids"][0] == full["k"]
    assert str(values[0]["price"]) == THING["price"]
    assert all(value is None for name, value in values[1].items() if name not in ("k", "parts"))
    assert values[1]["parts"] in (None, [])  # PyIceberg reads a null list of structs as an empty one


def test_the_bounds_of_hidden_columns_are_nowhere(lakehouse: Lakehouse) -> None:
    template = lakehouse.template(EVERY_TYPE)
    lakehouse.land("0.jsonl", json.dumps({**THING, "seen": "2024-01-01"}))
    lakehouse.run(template)
    table = lakehouse.table("lake.things")
    hidden = table.schema().find_field("note").field_id
    assert all(hidden not in (task.file.lower_bounds or {}) for task in table.scan().plan_files())


def test_a_dimension_may_have_nothing_but_its_key(lakehouse: Lakehouse) -> None:
    users = Dimension(lakehouse, "\n".join(line for line in TEMPLATE.splitlines() if "plan" not in line and "score" not in line) + "\n")
    users.merge(Change("a", 1), Change("a", 3, op="delete"), Change("a", 5), Change("a", 6))
    rows = lakehouse.rows("lake.users").sort_by("valid_from").to_pylist()
    assert [(row["valid_from"].hour, row["valid_to"] and row["valid_to"].hour) for row in rows] == [(1, 3), (5, None)]


@pytest.mark.engines
@pytest.mark.nessie
def test_a_new_column_counts_from_the_first_merge_on(users: Dimension) -> None:
    users.merge(Change("a", 1, "x"), Change("a", 2, "x"), Change("b", 1, "x"))
    with users.lakehouse.table("lake.users").update_schema() as update:
        update.add_column("note", StringType())
        update.rename_column("id", "user")
    text = TEMPLATE.replace("name: id,", "name: user,").replace("[id, region", "[user, region")
    text = text.replace("      - {name: valid_from", "      - {name: note, type: string}\n      - {name: valid_from")
    template = users.lakehouse.template(text)
    record = {"user": "a", "region": 1, "plan": "y", "note": "new", "changed_at": "2024-01-01T01:30:00Z", "op": "update"}
    users.lakehouse.land("late.jsonl", json.dumps(record))
    users.lakehouse.run(template)
    rows = users.lakehouse.rows("lake.users").sort_by([("user", "ascending"), ("valid_from", "ascending")]).to_pylist()
    assert [(row["user"], row["plan"], row["note"], row["is_current"]) for row in rows] == [
        ("a", "x", None, False),
        ("a", "y", "new", False),
        ("a", "x", None, True),  # the repeat at two o'clock, remembered under the key's former name
        ("b", "x", None, True),
    ]


def test_versions_that_something_else_wrote_twice_become_one(users: Dimension) -> None:
    users.merge(Change("a", 1, "x"))
    users.lakehouse.engine.append("lake.users", users.lakehouse.rows("lake.users").to_batches(), Batch("again"))
    users.merge(Change("a", 3, "y"))
    assert users.versions == [("a", 1, "x", None, 1, 3, False), ("a", 1, "y", None, 3, None, True)]


def test_a_merge_that_met_another_commit_is_made_anew(users: Dimension, monkeypatch: pytest.MonkeyPatch) -> None:
    users.merge(Change("a", 1, "x"))
    other = users.lakehouse.rows("lake.users").to_pylist()[0] | {"id": "b"}
    batches = pa.Table.from_pylist([other], users.lakehouse.rows("lake.users").schema).to_batches()
    real = targets.commit_rewrite
    meetings = iter(range(2))

    def meet(*args: Any, **kwargs: Any) -> Any:
        if (number := next(meetings, None)) is not None:
            users.lakehouse.engine.append("lake.users", batches, Batch(f"other-{number}"))
        return real(*args, **kwargs)

    monkeypatch.setattr(targets, "commit_rewrite", meet)
    users.merge(Change("b", 3, "y"))
    assert users.versions == [
        ("a", 1, "x", None, 1, None, True),
        ("b", 1, "x", None, 1, 3, False),
        ("b", 1, "y", None, 3, None, True),
    ]
    files = {task.file.file_path.removeprefix("file://") for task in users.lakehouse.table("lake.users").scan().plan_files()}
    written = set(map(str, Path(users.lakehouse.settings.warehouse, "lake", "users", "data").rglob("*.parquet")))
    every = users.lakehouse.table("lake.users").inspect.all_files()["file_path"].to_pylist()
    referenced = {path.removeprefix("file://") for path in every}
    assert files <= written == referenced
    assert len(list(Path(users.lakehouse.settings.warehouse, "_lakehouse", "ledger", "lake", "users").rglob("*.parquet"))) == 2


def test_a_table_without_the_merges_columns_says_so(lakehouse: Lakehouse) -> None:
    users = Dimension(lakehouse)
    with lakehouse.table("lake.users").update_schema() as update:
        update.delete_column("valid_to")
    with pytest.raises(TableMismatchError, match=r"lake\.users has no column valid_to, which its pipeline needs"):
        users.merge(Change("a", 1, "x"))


PARTITIONED = TEMPLATE.replace("    sort_order:", "    partition_spec: [{column: region, transform: identity}]\n    sort_order:")


@pytest.mark.parametrize("text", [TEMPLATE, PARTITIONED], ids=["unpartitioned", "partitioned"])
def test_a_large_file_is_written_again_in_its_order(lakehouse: Lakehouse, text: str) -> None:
    users = Dimension(lakehouse, text)
    many = [Change(f"user-{number}", 1 + number * 7 % 500, "x", region=number % 2) for number in range(400)]
    users.merge(*many)
    before = {task.file.file_path: task.file for task in lakehouse.table("lake.users").scan().plan_files()}
    users.merge(Change("user-10", 600, "y", region=0), Change("user-20", 600, op="delete", region=0))
    assert users.versions == expected([*many, Change("user-10", 600, "y", region=0), Change("user-20", 600, op="delete", region=0)])
    table = lakehouse.table("lake.users")
    rewritten = [task.file for task in table.scan().plan_files() if task.file.file_path not in before]
    assert len(before) - len(rewritten) == (0 if text == PARTITIONED else -1)
    for file in rewritten:
        rows = pq.read_table(file.file_path.removeprefix("file://"))
        assert rows["valid_from"].to_pylist() == sorted(rows["valid_from"].to_pylist())
        assert (file.record_count, file.sort_order_id) == (len(rows), 1)
        if text == PARTITIONED:
            assert set(rows["region"].to_pylist()) == {file.partition[0]} == {0}
            assert f"/region={file.partition[0]}/" in file.file_path
    largest = max(rewritten, key=lambda file: file.record_count)
    assert largest.record_count == (198 if text == PARTITIONED else 398)  # the two that changed are in a file with the new one


def test_a_large_file_of_which_no_row_stays_is_gone(users: Dimension) -> None:
    users.merge(*(Change(f"user-{number}", 5, "x") for number in range(50)))
    users.merge(*(Change(f"user-{number}", 5, op="delete") for number in range(50)))
    assert users.versions == []
    assert list(users.lakehouse.table("lake.users").scan().plan_files()) == []


def test_files_of_a_former_layout_take_the_present_one(users: Dimension) -> None:
    many = [Change(f"user-{number}", 1 + number, "x", region=number % 2) for number in range(100)]
    users.merge(*many)
    with users.lakehouse.table("lake.users").update_spec() as update:
        update.add_identity("region")
    users.merge(Change("user-0", 600, "y", region=0))
    assert users.versions == expected([*many, Change("user-0", 600, "y", region=0)])
    files = [task.file for task in users.lakehouse.table("lake.users").scan().plan_files()]
    assert {(file.spec_id, file.partition[0]) for file in files} == {(1, 0), (1, 1)}


def test_memory_that_is_too_little_says_so(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    users = Dimension(lakehouse)
    monkeypatch.setattr(lakehouse, "settings", type(lakehouse.settings).load(LAKEHOUSE_WRITE_MEMORY="64MiB"))
    dice = random.Random(1)
    with pytest.raises(
        MemoryLimitError, match=r"Merging into lake\.users needs more than 24 MiB, three eighths of LAKEHOUSE_WRITE_MEMORY\. Raise it"
    ):
        users.merge(*(Change(f"user-{dice.getrandbits(200)}", 1, f"{dice.getrandbits(2000)}") for _ in range(100_000)))
    assert users.versions == []
    assert not list(Path(lakehouse.settings.warehouse, "lake", "users", "data").rglob("*.parquet"))


NESTED = """\
    name: nested
    namespace: lake
    columns:
      - {name: id, type: long, required: true}
      - {name: parts, type: "list<struct<sku: string, count: int>>"}
      - {name: by_name, type: "map<string, struct<a: int>>"}
      - {name: valid_from, type: timestamptz, required: true}
      - {name: valid_to, type: timestamptz}
      - {name: is_current, type: boolean}
    pipeline:
      pattern: scd_type2
      source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}
      key: [id]
      effective_at: at
"""


def raw_rows(lakehouse: Lakehouse, name: str) -> list[dict[str, Any]]:
    """The rows as they are in the files, read without PyIceberg, which gives a null list of structs as an empty one."""
    table = lakehouse.table(name)
    files = [table.io.new_input(task.file.file_path) for task in table.scan().plan_files()]
    return [row for file in files for row in pq.read_table(file.open()).to_pylist()]


@pytest.mark.nessie
@pytest.mark.gcp
def test_rows_of_an_older_schema_stay_what_they_were(lakehouse: Lakehouse) -> None:
    template = lakehouse.template(NESTED)
    values = [
        {"parts": None, "by_name": None},
        {"parts": [], "by_name": {}},
        {"parts": [{"sku": "a", "count": 1}, None, {"sku": None, "count": None}], "by_name": {"x": {"a": 1}, "y": None}},
    ]
    lines = [json.dumps({"id": id_, "at": "2024-01-01T00:00:00Z", **value}) for id_, value in enumerate(values * 10)]
    lakehouse.land("0.jsonl", "\n".join(lines))
    lakehouse.run(template)
    with lakehouse.table("lake.nested").update_schema() as update:
        update.add_column(("parts", "element", "note"), StringType())
        update.rename_column(("parts", "element", "sku"), "article")
        update.update_column(("parts", "element", "count"), LongType())
        update.add_column(("by_name", "value", "b"), StringType())
        update.add_column("extra", StringType())
    lakehouse.land("1.jsonl", json.dumps({"id": 0, "at": "2024-02-01T00:00:00Z"}))  # repeats what it is since the start
    assert lakehouse.run(template).versions_opened == 0
    lakehouse.land("2.jsonl", json.dumps({"id": 1, "at": "2024-02-01T00:00:00Z", "extra": "new"}))
    assert lakehouse.run(template).versions_opened == 1
    rows = sorted(raw_rows(lakehouse, "lake.nested"), key=lambda row: (row["id"], row["valid_from"]))
    assert rows[2].pop("extra") == "new"
    found = {row["id"]: (row["parts"], row["by_name"]) for row in rows if row["id"] != 1}
    expected_parts = [{"article": "a", "count": 1, "note": None}, None, {"article": None, "count": None, "note": None}]
    for id_, value in found.items():
        assert value == [(None, None), ([], []), (expected_parts, [("x", {"a": 1, "b": None}), ("y", None)])][id_ % 3]


def test_the_order_of_a_maps_entries_means_nothing(lakehouse: Lakehouse) -> None:
    template = lakehouse.template(NESTED)
    for day, entries in enumerate([{"x": {"a": 1}, "y": {"a": 2}}, {"y": {"a": 2}, "x": {"a": 1}}], 1):
        lakehouse.land(f"{day}.jsonl", json.dumps({"id": 1, "by_name": entries, "at": f"2024-01-0{day}T00:00:00Z"}))
        lakehouse.run(template)
    assert len(lakehouse.rows("lake.nested")) == 1


def test_files_and_manifests_stay_few(users: Dimension) -> None:
    for number in range(30):
        users.merge(Change(f"user-{number}", number, "x"))  # new keys only: no file loses a row
    for number in range(15):
        users.merge(Change("user-0", 100 + number, f"{number}"))
    table = users.lakehouse.table("lake.users")
    assert len(list(table.scan().plan_files())) <= 16
    snapshot = table.current_snapshot()
    assert snapshot is not None
    manifests = snapshot.manifests(table.io)
    dead = [manifest for manifest in manifests if not manifest.added_files_count and not manifest.existing_files_count]
    assert len(dead) <= 1
    assert len(manifests) <= 18
    assert len(users.versions) == 45


def test_a_merge_fits_on_a_machine_with_many_cores(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    users = Dimension(lakehouse)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(lakehouse, "settings", type(lakehouse.settings).load(LAKEHOUSE_WRITE_MEMORY="256MiB"))
    users.land(*(Change(f"user-{number:06}", 1, "x") for number in range(200_000)))
    assert lakehouse.run(users.template).versions_opened == 200_000


@pytest.mark.engines
def test_hidden_times_are_not_told_in_metadata(lakehouse: Lakehouse) -> None:
    users = Dimension(lakehouse, TEMPLATE.replace("valid_from, type: timestamptz,", "valid_from, type: timestamptz, pii: true,"))
    result = users.merge(Change("a", 1, "x"))
    table = lakehouse.table("lake.users")
    assert result.days == ""
    assert "2024" not in json.dumps(table.metadata.snapshots[-1].summary.additional_properties)  # type: ignore[union-attr]
    assert Ledger(table, "").entries["days"].to_pylist() == [""]


def test_a_merge_that_takes_long_is_made_anew_all_the_same(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    users = Dimension(lakehouse)
    monkeypatch.setattr(lakehouse, "settings", type(lakehouse.settings).load(LAKEHOUSE_COMMIT_TIMEOUT="5"))
    users.merge(Change("a", 1, "x"))
    row = lakehouse.rows("lake.users").to_pylist()[0] | {"id": "b"}
    batches = pa.Table.from_pylist([row], lakehouse.rows("lake.users").schema).to_batches()
    real, clock = targets.commit_rewrite, iter([True])

    def meet(*args: Any, **kwargs: Any) -> Any:
        if next(clock, None):
            lakehouse.engine.append("lake.users", batches, Batch("other"))
            late = time.monotonic() + 1000  # the first attempt took so long
            monkeypatch.setattr("lakehouse.engines.source_files.time.monotonic", lambda: late)
        return real(*args, **kwargs)

    monkeypatch.setattr(targets, "commit_rewrite", meet)
    users.merge(Change("a", 3, "y"))
    assert len(users.versions) == 3


def test_columns_that_differ_in_case_only_are_refused(users: Dimension) -> None:
    with users.lakehouse.table("lake.users").update_schema() as update:
        update.add_column("Plan", StringType())
    with pytest.raises(TableMismatchError, match=r"lake\.users has plan and Plan, the same but for case\. Rename one of them"):
        users.merge(Change("a", 1, "x"))


def test_versions_without_a_begin_are_refused(lakehouse: Lakehouse) -> None:
    users = Dimension(lakehouse)
    users.merge(Change("a", 1, "x"))
    with lakehouse.table("lake.users").update_schema(allow_incompatible_changes=True) as update:
        update.set_identifier_fields()
        update.make_column_optional("valid_from")
    row = lakehouse.rows("lake.users").to_pylist()[0] | {"valid_from": None}
    lakehouse.engine.append("lake.users", pa.Table.from_pylist([row], lakehouse.rows("lake.users").schema).to_batches(), Batch("other"))
    with pytest.raises(TableMismatchError, match=r"lake\.users has versions whose valid_from is null"):
        users.merge(Change("a", 2, "x"))


def test_what_a_failed_merge_wrote_is_gone(users: Dimension, monkeypatch: pytest.MonkeyPatch) -> None:
    users.merge(Change("a", 1, "x"))

    def files() -> set[str]:
        warehouse = Path(users.lakehouse.settings.warehouse)
        return {str(path) for path in warehouse.rglob("*.parquet")}

    before = files()
    for owner, name in ((pq.ParquetWriter, "write_batch"), (DataFileEncoder, "encode"), (Ledger, "extend")):
        with monkeypatch.context() as patch:

            def broken(*_: Any, **__: Any) -> None:
                raise OSError("the disk is full")

            patch.setattr(owner, name, broken)
            with pytest.raises(OSError, match="the disk is full"):
                users.merge(Change("a", 3, "x"), Change("b", 1, "z"))
        assert files() == before


def test_a_log_that_is_gone_is_named(users: Dimension) -> None:
    users.merge(Change("a", 1, "x"), Change("a", 2, "x"))
    location = users.lakehouse.table("lake.users").properties["lakehouse.moments"]
    Path(location.removeprefix("file://")).unlink()
    with pytest.raises(TableMismatchError, match=r"The file .*moments.*, which a property of lake\.users names, is gone"):
        users.merge(Change("a", 3, "y"))


def test_parquet_that_duckdb_does_not_take_stops_no_other_file(lakehouse: Lakehouse) -> None:
    text = TEMPLATE.replace("score, type: double", "tags, type: 'map<string, int>'").replace("format: jsonl", "format: parquet")
    users = Dimension(lakehouse, text)

    def land(name: str, id_: bytes, tags: list[tuple[str, int]], op: bytes = b"update") -> None:
        columns = {
            "id": pa.array([id_], pa.binary()).view(pa.string()),
            "region": pa.array([1], pa.int32()),
            "plan": ["x"],
            "tags": pa.array([tags], pa.map_(pa.string(), pa.int32())),
            "changed_at": pa.array([date(2024, 1, 1)]).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
            "op": pa.array([op], pa.binary()).view(pa.string()),
        }
        pq.write_table(pa.table(columns), lakehouse.landing / name)

    land("1.parquet", b"\xff", [])
    land("2.parquet", b"a", [("t", 1), ("t", 2)])
    land("3.parquet", b"b", [("t", 1)])
    land("4.parquet", b"c", [], op=b"\xff")
    with pytest.raises(FilesNotTakenError) as error:
        lakehouse.run(users.template)
    for reason in ("column id: not UTF-8", "column tags: a key of the map stands twice", "column op: not UTF-8"):
        assert reason in str(error.value)
    assert lakehouse.rows("lake.users")["id"].to_pylist() == ["b"]


def test_the_only_large_file_becomes_two_once(users: Dimension, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.merge._LARGE", 200)
    monkeypatch.setattr("lakehouse.read._MAX_ROWS", 50)
    many = [Change(f"user-{number:03}", 1 + number, "x") for number in range(400)]
    later = [Change(f"user-{number:03}", 500 + number, "y") for number in (0, 399, 1, 398)]
    users.merge(*many)
    for changes in (later[:2], later[2:]):
        users.merge(*changes)
        counts = [task.file.record_count for task in users.lakehouse.table("lake.users").scan().plan_files()]
        assert len([count for count in counts if count > 100]) == 2
    assert users.versions == expected([*many, *later])
