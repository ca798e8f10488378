"""Compaction by Spark: small files become few, what deletes of their rows is applied, and others' commits stay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from maintaining import EVENTS, events, ids, step
from pyiceberg.expressions import EqualTo, GreaterThanOrEqual, LessThan

from lakehouse.commit import Batch
from lakehouse.engines.embedded import EmbeddedEngine
from lakehouse.engines.spark import compact
from lakehouse.engines.spark.session import in_session

if TYPE_CHECKING:
    from conftest import Lakehouse

pytestmark = pytest.mark.spark

BACKENDS = ["spark"]


def write(lakehouse: Lakehouse, table: str, *numbers: int) -> None:
    """One file of each of two days, by the embedded engine."""
    schema = lakehouse.template_of(table).arrow_schema
    rows = [{"id": number, "at": datetime(2024, 1, 1 + number % 2, tzinfo=UTC), "text": f"secret-{number}"} for number in numbers]
    batch = pa.RecordBatch.from_pylist(rows, schema)
    EmbeddedEngine(lakehouse.settings, lakehouse.catalog).append(table, [batch], Batch(f"{table} {numbers}"))


def test_files_of_each_partition_become_one_without_deleted_rows(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    for number in range(5):
        write(lakehouse, "lake.events", *range(10 * number, 10 * number + 10))
    name = f"{lakehouse.settings.catalog_name}.lake.events"

    def delete(session: Any) -> None:
        session.sql(f"alter table {name} set tblproperties ('write.delete.mode' = 'merge-on-read')")
        session.sql(f"delete from {name} where id in (3, 4)")

    in_session(lakehouse.settings, print, delete)
    tasks = list(lakehouse.table("lake.events").scan().plan_files())
    assert (len(tasks), sum(bool(task.delete_files) for task in tasks)) == (10, 2)
    done = step(lakehouse, template, "compact", run_id="night")
    assert (done.action, done.files, done.detail) == ("done", 10, "10 files became 2.")
    table = lakehouse.table("lake.events")
    assert ids(lakehouse) == [number for number in range(50) if number not in (3, 4)]
    tasks = list(table.scan().plan_files())
    id_of = {field.name: field.field_id for field in table.schema().fields}
    for task in tasks:
        with table.io.new_input(task.file.file_path).open() as stream:
            stored = pq.read_table(stream)["id"].to_pylist()
        assert stored == sorted(stored, reverse=True)
        assert (id_of["text"] in task.file.lower_bounds, id_of["id"] in task.file.lower_bounds) == (False, True)
    summary = table.current_snapshot().summary
    assert (len(tasks), [task.delete_files for task in tasks]) == (2, [set(), set()])
    assert (summary.operation.value, summary["total-delete-files"], summary["lakehouse.run-id"]) == ("replace", "0", "night")
    assert list(table.metadata.refs) == ["main"]
    assert step(lakehouse, template, "compact").action == "nothing"


def test_a_table_without_partitions_is_one_file_in_the_columns_of_today(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, EVENTS.split("    partition_spec")[0] + EVENTS[EVENTS.index("    pipeline") :])
    for number in range(6):
        write(lakehouse, "lake.events", number)
    with lakehouse.table("lake.events").update_schema() as update:
        update.rename_column("text", "words")
    done = step(lakehouse, template, "compact")
    assert (done.action, done.detail) == ("done", "6 files became 1.")
    rows = sorted(lakehouse.rows("lake.events").to_pylist(), key=lambda row: row["id"])
    assert [(row["id"], row["words"]) for row in rows] == [(number, f"secret-{number}") for number in range(6)]


def test_a_partition_that_others_changed_is_left_and_the_other_is_done(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = events(lakehouse)
    for number in range(5):
        write(lakehouse, "lake.events", 2 * number, 2 * number + 1)
    first = GreaterThanOrEqual("at", "2024-01-01T00:00:00+00:00") & LessThan("at", "2024-01-02T00:00:00+00:00")
    write_files = compact.write_files

    def meanwhile(*arguments: Any) -> Any:
        EmbeddedEngine(lakehouse.settings, lakehouse.catalog).replace("lake.events", [], first, Batch("other"))
        return write_files(*arguments)

    monkeypatch.setattr(compact, "write_files", meanwhile)
    done = step(lakehouse, template, "compact")
    assert (done.action, done.files) == ("done", 5)
    assert done.detail == "5 files became 1. 5 files are left as they are: others changed them meanwhile."
    assert ids(lakehouse) == [1, 3, 5, 7, 9]
    assert len(list(lakehouse.table("lake.events").scan(EqualTo("id", 1)).plan_files())) == 1
