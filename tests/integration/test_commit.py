"""The exactly-once commit under conflicts, lost answers and tables that move meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import EqualTo
from pyiceberg.manifest import DataFile, DataFileContent
from pyiceberg.table import DataScan, FileScanTask
from pyiceberg.transforms import DayTransform
from pyiceberg.types import LongType

from lakehouse import attempts, commit
from lakehouse.commit import Batch
from lakehouse.engines import WriteResult, rows
from lakehouse.errors import CatalogError, CommitConflictError, CommitUnknownError, LakehouseError
from lakehouse.ledger import Ledger
from lakehouse.template import TableTemplate
from lakehouse.write import DataFileWriter

if TYPE_CHECKING:
    from conftest import Lakehouse

Commit = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_FIRST_WAIT", 0.0)


@pytest.fixture
def template(lakehouse: Lakehouse) -> TableTemplate:
    """The table ``lake.t`` that takes source files."""
    return lakehouse.template("""\
        name: t
        namespace: lake
        columns: [{name: id, type: long, required: true}, {name: at, type: timestamptz}]
        source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}
    """)


def wrap_commits(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, wrapper: Callable[[Commit], Any]) -> list[Any]:
    """Puts ``wrapper`` around every commit to ``lake.t``; the list counts them."""
    calls: list[Any] = []
    kind: type[Catalog] = type(lakehouse.catalog)
    real = kind.commit_table

    def committing(self: Catalog, table: Any, requirements: Any, updates: Any) -> Any:
        calls.append(updates)
        return wrapper(lambda: real(self, table, requirements, updates))

    monkeypatch.setattr(kind, "commit_table", committing)
    return calls


def failing(times: int, error: Exception, after: bool = False) -> Callable[[Commit], Any]:
    """Raises ``error`` so many times, before the commit or, as when its answer is lost, after it."""
    left = [times]

    def wrapper(real: Commit) -> Any:
        if left[0] == 0:
            return real()
        left[0] -= 1
        if after:
            real()
        raise error

    return wrapper


def append(lakehouse: Lakehouse, ids: range = range(3), batch: str = "b") -> WriteResult:
    return lakehouse.engine.append("lake.t", [pa.RecordBatch.from_pydict({"id": list(ids)})], Batch(batch, run_id=f"run-{batch}"))


def on_disk(lakehouse: Lakehouse) -> list[str]:
    return sorted(str(path) for path in Path(lakehouse.settings.warehouse, "lake", "t", "data").rglob("*.parquet"))


def referenced(lakehouse: Lakehouse) -> list[str]:
    return sorted(task.file.file_path.removeprefix("file://") for task in lakehouse.table("lake.t").scan().plan_files())


def ids(lakehouse: Lakehouse) -> list[int]:
    return sorted(lakehouse.rows("lake.t")["id"].to_pylist())


def meanwhile(monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]) -> None:
    """Runs ``action`` once, after the next run's files are written and before its commit."""
    finish = DataFileWriter.finish

    def finishing(self: DataFileWriter) -> Any:
        monkeypatch.setattr(DataFileWriter, "finish", finish)
        files = finish(self)
        action()
        return files

    monkeypatch.setattr(DataFileWriter, "finish", finishing)


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize("conflicts", [1, 7])
def test_conflicts_are_tried_again_with_the_same_files(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, conflicts: int) -> None:
    calls = wrap_commits(lakehouse, monkeypatch, failing(conflicts, CommitFailedException("not yet")))
    assert append(lakehouse).rows == 3
    assert (len(calls), ids(lakehouse)) == (conflicts + 1, [0, 1, 2])
    assert on_disk(lakehouse) == referenced(lakehouse)
    assert len(on_disk(lakehouse)) == 1


@pytest.mark.usefixtures("template")
def test_a_real_conflict_is_tried_again(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda: append(lakehouse, range(10, 12), "other"))
    append(lakehouse)
    assert ids(lakehouse) == [0, 1, 2, 10, 11]
    assert on_disk(lakehouse) == referenced(lakehouse)


@pytest.mark.usefixtures("template")
def test_conflicts_until_the_timeout_name_the_winner_and_leave_no_file(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda: append(lakehouse, range(5, 6), "winner"))
    settings = lakehouse.settings.model_copy(update={"commit_timeout": -1.0})
    lost: list[str] = []

    def wrapper(real: Commit) -> Any:
        try:
            return real()
        except CommitFailedException:
            lost.append("once")
            raise

    wrap_commits(lakehouse, monkeypatch, wrapper)
    lakehouse.settings = settings
    with pytest.raises(CommitConflictError, match=r"lake.t was changed by others .* Run it again"):
        append(lakehouse)
    assert lost
    assert ids(lakehouse) == [5]
    assert on_disk(lakehouse) == referenced(lakehouse)


@pytest.mark.usefixtures("template")
def test_a_conflict_with_its_own_commit_is_no_conflict(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """An HTTP client that sends a commit again is told of a conflict with the first."""
    lakehouse.settings = lakehouse.settings.model_copy(update={"commit_timeout": 0.0})
    calls = wrap_commits(lakehouse, monkeypatch, failing(1, CommitFailedException("moved"), after=True))
    assert append(lakehouse).rows == 3
    assert (len(calls), ids(lakehouse)) == (1, [0, 1, 2])
    assert on_disk(lakehouse) == referenced(lakehouse)


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize("after", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("error", [TimeoutError("no answer"), ConnectionError(), OSError("reset"), RuntimeError("503")])
def test_a_lost_answer_makes_rows_once(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, after: bool, error: Exception) -> None:
    calls = wrap_commits(lakehouse, monkeypatch, failing(2, error, after))
    assert append(lakehouse).rows == 3
    assert len(calls) == (1 if after else 3)
    assert ids(lakehouse) == [0, 1, 2]
    assert on_disk(lakehouse) == referenced(lakehouse)
    assert len(on_disk(lakehouse)) == 1


@pytest.mark.parametrize("after", [True, False], ids=["committed", "not committed"])
def test_a_lost_answer_takes_files_once(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, template: TableTemplate, after: bool
) -> None:
    lakehouse.land("a.jsonl", '{"id": 1}\n{"id": 2}')
    wrap_commits(lakehouse, monkeypatch, failing(1, TimeoutError(), after))
    assert lakehouse.run(template).rows == 2
    assert lakehouse.run(template).rows == 0
    assert ids(lakehouse) == [1, 2]


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize("silent", [False, True], ids=["catalog answers", "catalog is gone"])
def test_an_outcome_that_stays_unknown_keeps_the_files(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, silent: bool) -> None:
    calls = wrap_commits(lakehouse, monkeypatch, failing(99, TimeoutError("no answer")))
    if silent:
        engine, load = lakehouse.engine, SqlCatalog.load_table
        meanwhile(
            monkeypatch, lambda: monkeypatch.setattr(SqlCatalog, "load_table", lambda *_: (_ for _ in ()).throw(ConnectionError("gone")))
        )
        with pytest.raises(CommitUnknownError, match=r"Execute the same run again"):
            engine.append("lake.t", [pa.RecordBatch.from_pydict({"id": [1]})], Batch("b"))
        monkeypatch.setattr(SqlCatalog, "load_table", load)
    else:
        with pytest.raises(CommitUnknownError, match=r"no answer. Execute the same run again(.|\n)*A new run would"):
            append(lakehouse)
        assert len(calls) == 5
    assert len(on_disk(lakehouse)) == 1
    assert ids(lakehouse) == []
    monkeypatch.undo()
    append(lakehouse)
    assert ids(lakehouse) == [0, 1, 2]


def evolve(lakehouse: Lakehouse) -> None:
    with lakehouse.table("lake.t").update_schema() as update:
        update.add_column("extra", LongType())


def respec(lakehouse: Lakehouse) -> None:
    with lakehouse.table("lake.t").update_spec() as update:
        update.add_field("at", DayTransform(), "at_day")


@pytest.mark.parametrize("change", [evolve, respec])
@pytest.mark.parametrize("racing", [False, True], ids=["before the commit", "within it"])
def test_a_table_that_evolves_is_planned_for_again(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, template: TableTemplate, change: Callable[[Lakehouse], None], racing: bool
) -> None:
    lakehouse.land("a.jsonl", json.dumps({"id": 1, "at": "2024-01-01T00:00:00Z", "extra": 5}))
    if racing:
        done: list[int] = []

        def wrapper(real: Commit) -> Any:
            if not done:
                done.append(1)
                change(lakehouse)
            return real()

        wrap_commits(lakehouse, monkeypatch, wrapper)
    else:
        meanwhile(monkeypatch, lambda: change(lakehouse))
    assert lakehouse.run(template).rows == 1
    [row] = lakehouse.rows("lake.t").to_pylist()
    assert row.get("extra") == (5 if change is evolve else None)
    [task] = lakehouse.table("lake.t").scan().plan_files()
    assert (task.file.spec_id, len(task.file.partition)) == ((0, 0) if change is evolve else (1, 1))
    assert on_disk(lakehouse) == referenced(lakehouse)
    assert any("planning again" in message for message in lakehouse.messages)


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize("change", [evolve, respec])
def test_an_append_to_a_table_that_evolves_is_a_conflict(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, change: Callable[[Lakehouse], None]
) -> None:
    """Its rows cannot be read a second time."""
    meanwhile(monkeypatch, lambda: change(lakehouse))
    with pytest.raises(CommitConflictError, match=r"schema or partition spec of lake.t changed while this run wrote. Run it again"):
        append(lakehouse)
    assert ids(lakehouse) == []
    assert on_disk(lakehouse) == []


def test_a_ledger_that_another_run_moved_is_planned_for_again(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, template: TableTemplate
) -> None:
    lakehouse.land("a.jsonl", '{"id": 1}')

    def other_run() -> None:
        lakehouse.run(template, "other")
        lakehouse.land("b.jsonl", '{"id": 2}')

    meanwhile(monkeypatch, other_run)
    result = lakehouse.run(template)
    assert (result.rows, ids(lakehouse)) == (1, [1, 2])
    assert on_disk(lakehouse) == referenced(lakehouse)
    segments = [str(path) for path in Path(lakehouse.settings.warehouse, "_lakehouse").rglob("*.parquet")]
    assert len(segments) == 2, "those of the two commits; that of the attempt that lost is deleted"
    assert any("was moved by run other; planning again" in message for message in lakehouse.messages)


@pytest.mark.parametrize("by_files", [True, False])
def test_a_table_that_is_dropped_meanwhile(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, template: TableTemplate, by_files: bool
) -> None:
    lakehouse.land("a.jsonl", '{"id": 1}')
    meanwhile(monkeypatch, lambda: lakehouse.catalog.drop_table("lake.t"))
    with pytest.raises(CatalogError, match=r"lake.t was dropped while this run wrote(.|\n)*lakehouse apply"):
        lakehouse.run(template) if by_files else append(lakehouse)
    assert on_disk(lakehouse) == []


@pytest.mark.parametrize("by_files", [True, False])
def test_a_table_that_is_dropped_and_made_anew_meanwhile(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, template: TableTemplate, by_files: bool
) -> None:
    """The new one may have other field ids."""
    lakehouse.land("a.jsonl", '{"id": 1}')

    def replace_table() -> None:
        lakehouse.catalog.drop_table("lake.t")
        path = lakehouse.settings.templates / "t.yaml"
        path.write_text(path.read_text().replace("[{name: id", "[{name: new, type: string}, {name: id"))
        lakehouse.apply()

    meanwhile(monkeypatch, replace_table)
    if by_files:
        assert lakehouse.run(template).rows == 1
        assert lakehouse.rows("lake.t").to_pylist() == [{"new": None, "id": 1, "at": None}]
    else:
        with pytest.raises(CommitConflictError):
            append(lakehouse)
    assert on_disk(lakehouse) == referenced(lakehouse)


@pytest.mark.usefixtures("template")
def test_a_replace_whose_answer_is_lost(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    append(lakehouse, range(4))
    wrap_commits(lakehouse, monkeypatch, failing(1, TimeoutError(), after=True))
    lakehouse.engine.replace("lake.t", [pa.RecordBatch.from_pydict({"id": [2, 2]})], EqualTo("id", 2), Batch("r"))
    assert Counter(ids(lakehouse)) == Counter({0: 1, 1: 1, 2: 2, 3: 1})


@pytest.mark.usefixtures("template")
def test_rows_deleted_meanwhile_from_a_replaced_file_are_a_conflict(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows may be deleted by a delete file, which leaves the data file as it is."""
    append(lakehouse, range(4))
    plan, deletes = DataScan.plan_files, DataFile.from_args(content=DataFileContent.POSITION_DELETES, file_path="deletes.parquet")
    deleted: list[int] = []

    def planning(self: DataScan) -> Any:
        return [FileScanTask(task.file, {deletes} if deleted else set(), residual=task.residual) for task in plan(self)]

    def deleting(_: Commit) -> Any:
        deleted.append(1)
        raise CommitFailedException("moved")

    monkeypatch.setattr(DataScan, "plan_files", planning)
    wrap_commits(lakehouse, monkeypatch, deleting)
    with pytest.raises(CommitConflictError, match=r"changed rows of lake.t that this run replaces"):
        lakehouse.engine.replace("lake.t", [pa.RecordBatch.from_pydict({"id": [2, 2]})], EqualTo("id", 2), Batch("r"))


@pytest.mark.usefixtures("template")
def test_a_rewrite_that_fails_leaves_no_file(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    append(lakehouse, range(4))
    monkeypatch.setattr(rows, "rows_of", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        lakehouse.engine.replace("lake.t", [pa.RecordBatch.from_pydict({"id": [2, 2]})], EqualTo("id", 2), Batch("r"))
    assert on_disk(lakehouse) == referenced(lakehouse)


def test_a_ledger_that_cannot_be_written_leaves_no_file(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, template: TableTemplate
) -> None:
    lakehouse.land("a.jsonl", '{"id": 1}')
    monkeypatch.setattr(Ledger, "extend", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        lakehouse.run(template)
    assert on_disk(lakehouse) == []


def test_an_unknown_outcome_of_files_is_found_out_by_the_next_run(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, template: TableTemplate
) -> None:
    lakehouse.land("a.jsonl", '{"id": 1}')
    wrap_commits(lakehouse, monkeypatch, failing(99, TimeoutError("no answer")))
    with pytest.raises(CommitUnknownError, match="Run it again: it finds out and loads nothing twice"):
        lakehouse.run(template)


def test_every_conflict_is_a_lakehouse_error() -> None:
    assert issubclass(commit.PlanOutdatedError, LakehouseError)
