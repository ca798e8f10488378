"""Maintenance: what it makes of files and snapshots, and that no row of anything that is kept is lost."""

from __future__ import annotations

import itertools
import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dimension import START, Change, Dimension, expected
from maintaining import EVENTS, LATER, actions, events, files_of, ids, maintained, step, take
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.table.update import snapshot as snapshot_module
from pyiceberg.typedef import Record
from test_duck_view import EVERY_TYPE, delete

from lakehouse.arrow_types import arrow_schema_of
from lakehouse.commit import Batch
from lakehouse.engines import ComputeDays, MergeFiles
from lakehouse.maintenance import compact as compact_module
from lakehouse.maintenance import plan as plan_module
from lakehouse.maintenance.replace import _DeletesWriter
from lakehouse.pointers import Pointer, PointerError
from lakehouse.sorting import sorted_on_disk
from lakehouse.staleness import DueDays

if TYPE_CHECKING:
    from conftest import Lakehouse


def tasks_of(table: Table) -> list[Any]:
    return list(table.scan().plan_files())


# --- Compaction


@pytest.mark.nessie
def test_small_files_become_one_of_each_partition(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    for number in range(6):
        take(lakehouse, template, *range(10 * number, 10 * number + 10))
    before = lakehouse.table("lake.events")
    planned = step(lakehouse, template, "compact", dry_run=True)
    assert (planned.action, planned.files, planned.detail) == ("planned", 12, "12 files become 2")
    assert lakehouse.table("lake.events").current_snapshot() == before.current_snapshot()
    done = step(lakehouse, template, "compact", run_id="night")
    assert (done.action, done.files, done.detail) == ("done", 12, "12 files became 2.")
    table = lakehouse.table("lake.events")
    assert ids(lakehouse) == list(range(60))
    for task in tasks_of(table):
        with table.io.new_input(task.file.file_path).open() as stream:
            stored = pq.read_table(stream)["id"].to_pylist()
        assert stored == sorted(stored, reverse=True)
        assert len(stored) == 30
        assert task.file.sort_order_id == table.metadata.default_sort_order_id
    summary = table.current_snapshot().summary
    assert summary.operation.value == "replace"
    assert (summary["total-records"], summary["total-data-files"], summary["lakehouse.run-id"]) == ("60", "2", "night")
    assert step(lakehouse, template, "compact").action == "nothing"
    assert lakehouse.run(template).source_files == 0  # the ledger knows
    take(lakehouse, template, 60)
    assert ids(lakehouse) == list(range(61))
    refused = {name: step(lakehouse, template, name, LATER) for name in ("expire", "orphans")}
    if lakehouse.settings.backend == "aws-nessie":
        assert {found.action for found in refused.values()} == {"skipped"}
        assert "nessie-gc" in refused["expire"].detail + refused["orphans"].detail


def test_rows_of_every_type_are_the_same_afterwards(lakehouse: Lakehouse) -> None:
    columns = "\n".join(f'      - {{name: c{index}, type: "{type_}"}}' for index, type_ in enumerate(EVERY_TYPE))
    keys = ", ".join(f"{{column: c{index}, null_order: nulls_{'first' if index % 2 else 'last'}}}" for index in range(15))
    template = lakehouse.template(f"""\
    name: t
    namespace: lake
    columns:
      - {{name: number, type: long}}
{columns}
    sort_order: [{keys}]
    maintenance: {{}}
    """)
    schema = arrow_schema_of(lakehouse.table("lake.t").schema())
    rows = [
        {"number": n, **{f"c{index}": None if n % 4 == index % 4 else value for index, value in enumerate(EVERY_TYPE.values())}}
        for n in range(8)
    ]
    for n, value in enumerate([float("nan"), -0.0, float("inf"), None]):
        rows[n]["c3"] = rows[n]["c4"] = value
    for index, row in enumerate(rows):
        lakehouse.engine.append("lake.t", [pa.RecordBatch.from_pylist([row], schema)], Batch(str(index)))
    before = lakehouse.rows("lake.t").sort_by("number")
    assert step(lakehouse, template, "compact").detail == "8 files became 1."
    after = lakehouse.rows("lake.t").sort_by("number")
    assert repr(after.to_pylist()) == repr(before.to_pylist())
    # As the writer sorts them: rows of one write, and of a compaction, are in the same order.
    lakehouse.engine.replace("lake.t", [before.combine_chunks().to_batches()[0].cast(schema)], AlwaysTrue(), Batch("all"))
    [task] = tasks_of(lakehouse.table("lake.t"))
    written = pq.read_table(task.file.file_path.removeprefix("file://"))["number"].to_pylist()
    lakehouse.engine.replace("lake.t", [], AlwaysTrue(), Batch("none"))
    for index, row in enumerate(rows):
        lakehouse.engine.append("lake.t", [pa.RecordBatch.from_pylist([row], schema)], Batch(f"again-{index}"))
    step(lakehouse, template, "compact")
    [task] = tasks_of(lakehouse.table("lake.t"))
    assert pq.read_table(task.file.file_path.removeprefix("file://"))["number"].to_pylist() == written


def test_files_are_filled_to_the_target_size(lakehouse: Lakehouse) -> None:
    target = 300_000
    text = EVENTS.replace("maintenance:", f"properties: {{write.target-file-size-bytes: {target}}}\n    maintenance:")
    template = events(lakehouse, text.replace("pii: true", "description: x"))
    schema = arrow_schema_of(lakehouse.table("lake.events").schema())
    dice = random.Random(1)
    for number in range(20):
        at = pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 1000, schema.field("at").type)
        texts = [dice.randbytes(20).hex() for _ in range(1000)]
        batch = pa.RecordBatch.from_arrays([pa.array(range(number, 20_000, 20)), at, pa.array(texts)], schema=schema)
        lakehouse.engine.append("lake.events", [batch], Batch(str(number)))
    sizes = [task.file.file_size_in_bytes for task in tasks_of(lakehouse.table("lake.events"))]
    assert max(sizes) < target / 10
    done = step(lakehouse, template, "compact")
    after = sorted(task.file.file_size_in_bytes for task in tasks_of(lakehouse.table("lake.events")))
    assert done.files == 20
    assert len(after) <= -(-sum(sizes) // target) + 1
    assert after[1] > target // 2  # all but the last
    assert after[-1] < target * 1.2
    assert ids(lakehouse) == list(range(20_000))
    assert len(lakehouse.table("lake.events").metadata.snapshots) > 21  # a commit for each large file
    assert step(lakehouse, template, "compact").action == "nothing"


@pytest.mark.parametrize("order", ["random", "ascending", "disjoint", "same"])
def test_any_number_of_rows_is_sorted_in_little_memory(lakehouse: Lakehouse, tmp_path: Path, order: str) -> None:
    lakehouse.template("""\
        name: t
        namespace: lake
        columns: [{name: a, type: double}, {name: b, type: string}, {name: number, type: long}]
        sort_order: [{column: a, direction: desc, null_order: nulls_first}, {column: b, null_order: nulls_last}]
    """)
    table, dice, rows, memory = lakehouse.table("lake.t"), random.Random(order), 24_000, 512 * 1024
    schema, base, highest = arrow_schema_of(table.schema()), pa.total_allocated_bytes(), 0
    values = {
        "random": lambda n: dice.choice([None, float("nan"), float("inf"), -0.0, dice.random(), dice.randrange(9)]),
        "ascending": float,
        "disjoint": lambda n: float((n // 997) % 7 * 100_000 - n),
        "same": lambda n: 1.0,
    }[order]

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, rows, 1000):
            found = [{"a": values(n), "b": dice.choice([None, f"{n * 7919 % 1000:050}"]), "number": n} for n in range(start, start + 1000)]
            yield pa.RecordBatch.from_pylist(found, schema)

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        a, b = row["a"], row["b"]
        return (a is not None, not (a is None or a != a), -a if a is not None and a == a else 0, b is None, b or "")

    seen: list[dict[str, Any]] = []
    for batch in sorted_on_disk(table, batches(), memory, tmp_path):
        highest = max(highest, pa.total_allocated_bytes() - base)
        seen += batch.to_pylist()
    assert sorted(row["number"] for row in seen) == list(range(rows))
    assert all(key(one) <= key(other) for one, other in itertools.pairwise(seen))
    assert highest < 2 * memory < rows * 60
    assert list(tmp_path.glob("*.arrow")) == []


def test_deletes_are_applied_and_go(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = lakehouse.template("""\
        name: events
        namespace: lake
        columns: [{name: id, type: long}]
        maintenance: {}
    """)
    schema = arrow_schema_of(lakehouse.table("lake.events").schema())
    lakehouse.engine.append("lake.events", [pa.RecordBatch.from_pydict({"id": [1, 2, 3, 4]}, schema)], Batch("a"))
    delete(lakehouse.table("lake.events"), [1, 3], monkeypatch)
    lakehouse.engine.append("lake.events", [pa.RecordBatch.from_pydict({"id": [5]}, schema)], Batch("b"))
    assert ids(lakehouse) == [1, 3, 5]
    done = step(lakehouse, template, "compact")
    assert (done.action, done.files) == ("done", 2)
    table = lakehouse.table("lake.events")
    assert ids(lakehouse) == [1, 3, 5]
    assert [(task.file.record_count, len(task.delete_files)) for task in tasks_of(table)] == [(3, 0)]
    assert table.inspect.delete_files().num_rows == 0
    summary = table.current_snapshot().summary
    assert (summary["total-delete-files"], summary["total-position-deletes"], summary["removed-delete-files"]) == ("0", "0", "1")
    lakehouse.engine.append("lake.events", [pa.RecordBatch.from_pydict({"id": [6]}, schema)], Batch("c"))
    assert ids(lakehouse) == [1, 3, 5, 6]
    assert step(lakehouse, template, "compact").action == "nothing"


def delete_by_value(table: Table, rows: list[dict[str, Any]], partition: Record) -> None:
    """Deletes rows with these values as Flink does; PyIceberg itself cannot."""
    names = list(rows[0])
    schema = pa.schema([field for field in arrow_schema_of(table.schema()) if field.name in names])
    path = Path(table.location().removeprefix("file://"), f"{uuid.uuid4()}.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    file = DataFile.from_args(
        content=DataFileContent.EQUALITY_DELETES,
        file_path=f"file://{path}",
        file_format=FileFormat.PARQUET,
        partition=partition,
        record_count=len(rows),
        file_size_in_bytes=path.stat().st_size,
        equality_ids=[table.schema().find_field(name).field_id for name in names],
        spec_id=table.spec().spec_id,
    )

    def write_deletes(format_version: int, **options: Any) -> _DeletesWriter:
        return _DeletesWriter(**options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_module, "write_manifest", write_deletes)
        with table.transaction() as transaction, transaction.update_snapshot().fast_append() as update:
            update.append_data_file(file)


def test_deletes_by_value_are_applied_to_older_rows_of_their_partition(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, EVENTS.replace("keep_at_least: 1", "keep_at_least: 1, retention: 1d on at"))
    for number in range(4):
        take(lakehouse, template, 10 * number, 10 * number + 1, 10 * number + 2, 10 * number + 3)
    days = {day: task.file.partition for task in tasks_of(lakehouse.table("lake.events")) for day in [task.file.partition[0]]}
    first, second = (days[day] for day in sorted(days))
    delete_by_value(
        lakehouse.table("lake.events"), [{"id": 0, "text": "secret-0"}, {"id": 10, "text": None}, {"id": 1, "text": "secret-1"}], first
    )
    delete_by_value(lakehouse.table("lake.events"), [{"id": 1}, {"id": 2}], second)
    take(lakehouse, template, 0, 1)  # written after the deletes: they stay
    assert "lakehouse maintain lake.events --only compact" in step(lakehouse, template, "retention").detail
    done = step(lakehouse, template, "compact")
    assert (done.action, done.files) == ("done", 10)
    # The older 0 went by both columns and the older 1 by its id; 1 and 2 are not in the other's partition.
    assert ids(lakehouse) == sorted([0, 1, 2, 3, *(10 * number + n for number in (1, 2, 3) for n in range(4))])
    table = lakehouse.table("lake.events")
    assert table.inspect.delete_files().num_rows == 0
    assert table.current_snapshot().summary["total-equality-deletes"] == "0"
    assert step(lakehouse, template, "retention").rows == 16


def test_an_old_partition_spec_is_left_behind(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, EVENTS.replace("    partition_spec: [{column: at, transform: day}]\n", ""))
    for number in range(6):
        take(lakehouse, template, number)
    template = events(lakehouse)
    assert step(lakehouse, template, "compact").detail == "6 files became 2."
    assert ids(lakehouse) == list(range(6))
    assert {task.file.spec_id for task in tasks_of(lakehouse.table("lake.events"))} == {lakehouse.table("lake.events").spec().spec_id}


# --- Together with others


def six_files(lakehouse: Lakehouse, text: str = EVENTS) -> Any:
    template = events(lakehouse, text)
    for number in range(6):
        take(lakehouse, template, number)
    return template


def between(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Has something done after compaction has written its files, and before it commits."""
    commit = compact_module.replace_files

    def act_first(*arguments: Any) -> Any:
        monkeypatch.undo()
        act()
        return commit(*arguments)

    monkeypatch.setattr(compact_module, "replace_files", act_first)


def test_an_append_in_between_stays(lakehouse: Lakehouse) -> None:
    template = six_files(lakehouse, EVENTS.replace("transform: day", "transform: month"))
    with pytest.MonkeyPatch.context() as patch:
        between(patch, lambda: take(lakehouse, template, 100))
        assert step(lakehouse, template, "compact").detail == "6 files became 1."
    assert ids(lakehouse) == [*range(6), 100]
    assert lakehouse.run(template).source_files == 0


def test_who_changes_the_same_rows_wins(lakehouse: Lakehouse) -> None:
    template = six_files(lakehouse, EVENTS.replace("transform: day", "transform: month"))
    empty = pa.RecordBatch.from_pylist([], arrow_schema_of(lakehouse.table("lake.events").schema()))
    with pytest.MonkeyPatch.context() as patch:
        between(patch, lambda: lakehouse.engine.replace("lake.events", [empty], AlwaysTrue(), Batch("replaced", run_id="other")))
        report = step(lakehouse, template, "compact")
    assert report.action == "skipped"
    assert "0 files became 0. 6 files are left as they are: lake.events was changed by run other meanwhile" in report.detail
    assert ids(lakehouse) == []
    named = lakehouse.table("lake.events").inspect.all_files()["file_path"].to_pylist()
    assert {path.removeprefix("file://") for path in named} == {path for path in files_of(lakehouse) if "/lake/events/data/" in path}


def test_a_partition_that_others_changed_is_left_and_the_others_are_done(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    for number in range(6):
        take(lakehouse, template, 2 * number, 2 * number + 1)
    first_day = "at < '2024-01-02T00:00:00+00:00'"
    with pytest.MonkeyPatch.context() as patch:
        between(patch, lambda: lakehouse.table("lake.events").delete(first_day))
        report = step(lakehouse, template, "compact")
    assert report.detail == "6 files became 1. 6 files are left as they are: others changed them meanwhile."
    assert ids(lakehouse) == [1, 3, 5, 7, 9, 11]


def test_runs_that_planned_before_a_compaction(lakehouse: Lakehouse) -> None:
    users, changes = Dimension(lakehouse, EVERY_MERGE), list[Change]()
    for number in range(8):
        batch = [Change(f"user-{number}", at, f"{number}") for at in range(3)]
        users.merge(*batch)
        changes += batch
    assert len(tasks_of(lakehouse.table("lake.users"))) > 1
    late = [Change("user-1", 7, "late"), Change("user-2", 1, "late")]
    users.land(*late)
    compacted: list[str] = []

    def compact_meanwhile(message: str) -> None:
        if "versions are new" in message and not compacted:
            compacted.append(step(lakehouse, users.template, "compact").action)

    lakehouse.engine.merge_files(MergeFiles(users.template), "merge", compact_meanwhile)
    assert compacted == ["done"]
    assert users.versions == expected([*changes, *late])

    def rows() -> Any:
        yield lakehouse.rows("lake.users").slice(0, 1).combine_chunks().to_batches()[0]
        step(lakehouse, users.template, "compact")

    schema = arrow_schema_of(lakehouse.table("lake.users").schema())
    lakehouse.engine.replace("lake.users", (batch.cast(schema) for batch in rows()), AlwaysTrue(), Batch("replace"))
    assert len(users.versions) == 1


EVERY_MERGE = """\
    name: users
    namespace: lake
    columns:
      - {name: id, type: string, required: true}
      - {name: region, type: int, required: true}
      - {name: plan, type: string}
      - {name: score, type: double}
      - {name: valid_from, type: timestamptz, required: true}
      - {name: valid_to, type: timestamptz}
      - {name: is_current, type: boolean, required: true}
    identifier: [id, region, valid_from]
    partition_spec: [{column: region, transform: identity}]
    pipeline:
      pattern: scd_type2
      source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}
      key: [id, region]
      effective_at: changed_at
      operation: op
    maintenance: {}
"""


# --- Snapshots and files


def test_snapshots_expire_by_age_and_number_and_branches_and_tags_keep_theirs(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, EVENTS.replace("keep_at_least: 1", "keep_at_least: 3"))
    for number in range(8):
        take(lakehouse, template, number)
    first, second, third, *_, newest = [snapshot.snapshot_id for snapshot in lakehouse.table("lake.events").metadata.snapshots]
    with lakehouse.table("lake.events").manage_snapshots() as manage:
        manage.create_tag(second, "kept").create_branch(third, "side", max_snapshot_age_ms=1, min_snapshots_to_keep=1)
    assert step(lakehouse, template, "expire").action == "nothing"  # none is a day old
    planned = step(lakehouse, template, "expire", LATER, dry_run=True)
    done = step(lakehouse, template, "expire", LATER)
    assert (planned.action, done.action) == ("planned", "done")
    assert (planned.snapshots, done.snapshots, done.detail) == (3, 3, "3 snapshots, of 8")
    table = lakehouse.table("lake.events")
    left = [snapshot.snapshot_id for snapshot in table.metadata.snapshots]
    assert (left[0], left[1], left[-1], len(left)) == (second, third, newest, 5)
    assert set(table.metadata.refs) == {"main", "kept", "side"}
    step(lakehouse, template, "orphans", LATER)
    assert ids(lakehouse, second) == [0, 1]
    assert ids(lakehouse, third) == [0, 1, 2]
    assert ids(lakehouse) == list(range(8))
    assert first not in left
    assert lakehouse.run(template).source_files == 0


def test_what_nothing_names_is_deleted_once_it_is_old(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    other = lakehouse.template(
        EVENTS.replace("name: events", "name: events_too").replace("${LAKEHOUSE_LANDING}", "${LAKEHOUSE_LANDING}/too")
    )
    for number in range(6):
        take(lakehouse, template, number)
    folder = Path(lakehouse.settings.warehouse, "lake")
    (folder / "events_too" / "data").mkdir(parents=True)
    kept = [folder / "events" / name for name in ("notes.txt", "_hidden.parquet", ".part.parquet", "_temporary/a.parquet")]
    stray = [folder / "events" / "data" / name for name in ("stray.parquet", "at_day=2024-01-01/stray.parquet", "stray.avro")]
    too = folder / "events_too" / "data" / "stray.parquet"
    for path in [*kept, *stray, too]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
    before = files_of(lakehouse)
    [report] = maintained(lakehouse, template, later=timedelta(hours=71))
    assert actions(report) == {"retention": "nothing", "compact": "nothing", "expire": "done", "orphans": "nothing"}
    assert before <= files_of(lakehouse)
    before = files_of(lakehouse)
    planned = maintained(lakehouse, template, later=LATER, dry_run=True)[0]
    assert files_of(lakehouse) == before
    [report] = maintained(lakehouse, template, later=LATER)
    after = files_of(lakehouse)
    assert report.freed == planned.freed == sum(len(b"12345") for _ in stray) + report.freed - 15
    gone = before - after
    assert set(map(str, stray)) <= gone
    assert set(map(str, [*kept, too])) <= after
    found = next(found for found in report.steps if found.step == "orphans")
    assert found.files == len(gone)
    assert not [path for path in gone if "/lake/events/" not in path and "/_lakehouse/ledger/lake/events/" not in path]
    assert ids(lakehouse) == list(range(6))
    assert lakehouse.run(template).source_files == 0
    assert maintained(lakehouse, template, later=LATER)[0].freed == 0
    assert step(lakehouse, other, "orphans", LATER).files == 1
    assert not too.exists()


def test_nothing_is_deleted_where_it_is_not_certain(lakehouse: Lakehouse) -> None:
    template = six_files(lakehouse)
    table = lakehouse.table("lake.events")
    stray = Path(lakehouse.settings.warehouse, "lake", "events", "data", "stray.parquet")
    stray.write_bytes(b"1")
    lost = Path(tasks_of(table)[0].file.file_path.removeprefix("file://"))
    lost.rename(lost.with_suffix(".lost"))
    found = step(lakehouse, template, "orphans", LATER)
    assert (found.action, found.detail[:36]) == ("failed", "1 of 19 files that snapshots of lake")
    assert "nothing is deleted. Restore them" in found.detail
    lost.with_suffix(".lost").rename(lost)
    lakehouse.catalog.register_table("lake.copy", table.metadata_location)
    found = step(lakehouse, template, "orphans", LATER)
    assert "where lake.copy is, too: its files would be taken for orphans. Move one of them." in found.detail
    lakehouse.catalog.drop_table("lake.copy")
    with lakehouse.table("lake.events").transaction() as transaction:
        transaction.set_properties({"gc.enabled": "false"})
    assert [step(lakehouse, template, name, LATER).action for name in ("expire", "orphans")] == ["skipped", "skipped"]
    with lakehouse.table("lake.events").transaction() as transaction:
        transaction.set_properties({"gc.enabled": "true"})
    segment = Path(lakehouse.table("lake.events").properties["lakehouse.ledger"].removeprefix("file://"))
    segment.rename(segment.with_suffix(".lost"))
    assert "is gone. Restore it." in step(lakehouse, template, "orphans", LATER).detail
    segment.with_suffix(".lost").rename(segment)
    off = events(lakehouse, EVENTS.replace("keep_at_least: 1", "keep_at_least: 1, remove_orphans: false, compact: false"))
    assert [step(lakehouse, off, name, LATER).detail for name in ("compact", "orphans")] == ["its template says so"] * 2
    assert stray.exists()
    assert step(lakehouse, template, "orphans", LATER).files == 1 + 4  # segments of the ledger that newer ones hold
    assert not stray.exists()


def test_what_a_pointer_names_stays(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Nessie and BigQuery readers ask an entry that may be behind."""
    template = six_files(lakehouse, EVENTS.replace("transform: day", "transform: month"))
    behind = lakehouse.table("lake.events")
    named = {task.file.file_path for task in tasks_of(behind)}
    moved: list[str] = []

    class Pointers:
        def read(self, table_name: str) -> Pointer:
            return Pointer(behind.metadata_location, "1")

    def follow(settings: Any, catalog: Any, template: Any) -> None:
        moved.append(lakehouse.table("lake.events").metadata_location)
        assert {Path(path.removeprefix("file://")).exists() for path in named} == {True}

    monkeypatch.setattr(plan_module, "open_pointers", lambda settings: Pointers())
    monkeypatch.setattr(plan_module, "follow_commit", follow)
    [report] = maintained(lakehouse, template, later=LATER)
    assert actions(report) == {"retention": "nothing", "compact": "done", "expire": "done", "orphans": "done"}
    assert moved == [lakehouse.table("lake.events").metadata_location]
    assert pa.concat_tables([pq.read_table(path.removeprefix("file://")) for path in named]).num_rows == 6

    def fail(settings: Any, catalog: Any, template: Any) -> None:
        raise PointerError("It cannot be moved. Repair it: lakehouse sync lake.events")

    take(lakehouse, template, 7)
    monkeypatch.setattr(plan_module, "follow_commit", fail)
    [report] = maintained(lakehouse, template, later=LATER)
    assert actions(report) == {"retention": "nothing", "compact": "nothing", "expire": "done", "pointer": "failed", "orphans": "skipped"}
    assert report.failures == ["lake.events: pointer: It cannot be moved. Repair it: lakehouse sync lake.events"]


# --- Retention


def test_rows_past_retention_go_by_the_day(lakehouse: Lakehouse) -> None:
    text = EVENTS.replace("keep_at_least: 1", "keep_at_least: 1, retention: 400d on at").replace(
        "jsonl}", "jsonl}\n      on_bad_rows: quarantine"
    )
    template = events(lakehouse, text)
    lines = [(1, "2020-05-01T23:59:59Z"), (2, "2024-01-02T12:00:00Z"), (3, None), ("four", "2024-01-01T00:00:00Z")]
    lakehouse.land("a.jsonl", "\n".join(json.dumps({"id": id_, "at": at, "text": "secret"}) for id_, at in lines))
    lakehouse.run(template)
    assert (ids(lakehouse), lakehouse.rows("lake.events__quarantine").num_rows) == ([1, 2, 3], 1)
    noon = datetime(2024, 1, 2, 12, tzinfo=UTC) - datetime.now(UTC) + timedelta(days=400)
    planned = step(lakehouse, template, "retention", noon, dry_run=True)
    assert (planned.rows, planned.files) == (1, 1)
    assert planned.detail == "1 rows with at before 2024-01-02 00:00 UTC; 1 files go"
    done = step(lakehouse, template, "retention", noon)
    assert (done.action, done.rows, ids(lakehouse)) == ("done", 1, [2, 3])
    summary = lakehouse.table("lake.events").current_snapshot().summary
    assert (summary.operation.value, summary["lakehouse.days"]) == ("delete", "2020-05-01")
    assert step(lakehouse, template, "retention", noon).action == "nothing"
    report, quarantine = maintained(lakehouse, template, later=timedelta(days=2000))
    assert actions(report)["retention"] == actions(quarantine)["retention"] == "done"
    assert (ids(lakehouse), lakehouse.rows("lake.events__quarantine").num_rows) == ([3], 0)
    assert not [path for path in files_of(lakehouse) if "/lake/events__quarantine/data" in path]
    assert lakehouse.run(template).source_files == 0


@pytest.mark.parametrize("type_", ["date", "timestamp", "timestamptz"])
def test_files_with_other_rows_are_written_anew(lakehouse: Lakehouse, type_: str) -> None:
    text = EVENTS.replace("    partition_spec: [{column: at, transform: day}]\n", "").replace(
        "type: timestamptz", f"type: {type_}, pii: true"
    )
    template = events(lakehouse, text.replace("keep_at_least: 1", "keep_at_least: 1, retention: 10d on at"))
    for name, days in {"a": (1, 5, 2), "b": (4, 5, None), "c": (1, 1)}.items():
        zone = {"date": "", "timestamp": "T00:00:00", "timestamptz": "T00:00:00Z"}[type_]
        lines = [{"id": ord(name), "at": day and f"2024-01-{day:02}{zone}", "text": f"{name}{day}"} for day in days]
        lakehouse.land(f"{name}.jsonl", "\n".join(map(json.dumps, lines)))
        lakehouse.run(template)
    done = step(lakehouse, template, "retention", datetime(2024, 1, 14, 12, tzinfo=UTC) - datetime.now(UTC))
    assert (done.rows, done.files) == (4, 2)
    assert "1 of 2 files are written anew" in done.detail
    assert sorted(lakehouse.rows("lake.events")["text"].to_pylist()) == ["a5", "b4", "b5", "bNone"]
    assert "lakehouse.days" not in lakehouse.table("lake.events").current_snapshot().summary.additional_properties  # a hidden column's


def test_versions_that_ended_long_ago_go(lakehouse: Lakehouse) -> None:
    users = Dimension(lakehouse, EVERY_MERGE.replace("maintenance: {}", "maintenance: {retention: 1h on valid_to}"))
    users.merge(Change("a", 1, "x"), Change("a", 2, "x"), Change("a", 4, "y"), Change("a", 9, "z"))
    before = START + timedelta(hours=6) - datetime.now(UTC)  # what ended before five o'clock
    assert step(lakehouse, users.template, "retention", before).rows == 1
    assert [version[4:6] for version in users.versions] == [(4, 9), (9, None)]
    users.merge(Change("a", 6, "late"), Change("b", 1, "x"))
    assert [version[2:6] for version in users.versions if version[0] == "a"] == [
        ("y", None, 4, 6),
        ("late", None, 6, 9),
        ("z", None, 9, None),
    ]
    users.merge(Change("a", 3, "v"))  # later than what is gone
    assert [version[2:6] for version in users.versions if version[0] == "a"][:2] == [("v", None, 3, 4), ("y", None, 4, 6)]
    assert step(lakehouse, users.template, "retention", before).rows == 1
    assert next(version[2:6] for version in users.versions if version[0] == "a") == ("y", None, 4, 6)


# --- What is computed from a table


def test_days_that_are_due_stay_so_and_compaction_makes_none_due(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    (lakehouse.settings.templates / "daily.sql").write_text("select $day as day, count(*) as events from events")
    daily = lakehouse.template("""\
        name: daily
        namespace: lake
        columns: [{name: day, type: date, required: true}, {name: events, type: long}]
        partition_spec: [{column: day, transform: identity}]
        pipeline:
          {pattern: feature_table, sql: daily.sql, inputs: [events], lookback: 9d, partitions: {start: "2024-01-01"}, cron: "0 0 * * *"}
    """)
    days = (date(2024, 1, 1), date(2024, 1, 2))

    def due() -> list[date]:
        return DueDays(lakehouse.catalog, {found.table_name: found for found in lakehouse.templates()}, date(2024, 1, 3)).of(daily)

    def compute(batch: str) -> None:
        lakehouse.engine.compute_days(ComputeDays(daily, (template,), days), Batch(batch), print)

    compute("empty")
    assert due() == []
    take(lakehouse, template, 0)  # on the first day
    for number in range(6):
        take(lakehouse, template, 2 * number + 1)
    maintained(lakehouse, template, later=LATER)
    assert len(lakehouse.table("lake.events").metadata.snapshots) == 1
    assert due() == [*days]
    compute("all")
    assert due() == []
    for number in range(6):
        take(lakehouse, template, 2 * number + 1)
    compute("more")
    assert step(lakehouse, template, "compact").action == "done"
    assert due() == []
