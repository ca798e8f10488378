"""Audited writes: what readers of main see before and after publishing, and that progress follows the rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier, get_ident
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from auditing import EVENTS, audit_of, audited_ids, data_files, events, ids, land, main_of, publish_open
from dimension import TEMPLATE, Change, Dimension, expected
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import CommitTableRequest, TableIdentifier
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import EqualTo
from pyiceberg.table.refs import SnapshotRef
from pyiceberg.types import LongType

from lakehouse import attempts
from lakehouse.audit import drop, open_audit, publish
from lakehouse.commit import Batch
from lakehouse.drift import check_drift
from lakehouse.engines import ComputeDays, FilesNotTakenError, WriteResult
from lakehouse.errors import (
    AuditOpenError,
    AuditOutdatedError,
    CommitConflictError,
    CommitUnknownError,
    NoAuditError,
)
from lakehouse.inspect import describe, summarise
from lakehouse.nessie import NessieCatalog
from lakehouse.plan import plan
from lakehouse.staleness import DueDays

if TYPE_CHECKING:
    from conftest import Lakehouse

DIRECT = EVENTS.replace("publish: audited", "publish: direct")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_FIRST_WAIT", 0.0)


def rows(*numbers: int) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict({"id": list(numbers), "at": pa.array([None] * len(numbers), pa.timestamp("us", "UTC"))})]


def append(lakehouse: Lakehouse, *numbers: int, batch: str = "b", audited: bool = False) -> WriteResult:
    return lakehouse.engine.append("lake.events", rows(*numbers), Batch(batch, f"run-{batch}"), audited=audited)


def drop_open(lakehouse: Lakehouse, table: str = "lake.events") -> None:
    drop(lakehouse.table(table), timeout=10)


@pytest.mark.engines
@pytest.mark.nessie
@pytest.mark.parametrize("empty", [True, False], ids=["an empty table", "a table with rows"])
def test_rows_of_source_files_are_unseen_until_they_are_published(lakehouse: Lakehouse, empty: bool) -> None:
    template = events(lakehouse)
    if not empty:
        land(lakehouse, "a", 1, 2)
        lakehouse.run(template, "first")
        publish_open(lakehouse)
    before, seen = main_of(lakehouse), ids(lakehouse)
    land(lakehouse, "b", 3, 4)
    result = lakehouse.run(template, "second")
    assert (result.audit, result.rows, result.source_files, result.days) == (True, 2, 1, "2024-01-04..2024-01-05")
    assert (main_of(lakehouse), ids(lakehouse), audited_ids(lakehouse)) == (before, seen, [*seen, 3, 4])
    found = audit_of(lakehouse)
    assert (found.snapshot_id, found.run_id, found.rows_added, found.rows_removed) == (result.snapshot_id, "second", 2, 0)
    assert (found.rows_before, found.rows_after, found.base_snapshot_id) == (
        len(seen),
        len(seen) + 2,
        lakehouse.table("lake.events").metadata.current_snapshot_id,
    )
    assert found.source == "${LAKEHOUSE_LANDING}"

    snapshot = publish(lakehouse.table("lake.events"), found.snapshot_id, timeout=10)
    table = lakehouse.table("lake.events")
    assert (snapshot.snapshot_id, table.metadata.current_snapshot_id) == (result.snapshot_id, result.snapshot_id)
    assert (ids(lakehouse), list(table.refs()), open_audit(table)) == ([*seen, 3, 4], ["main"], None)
    again = lakehouse.run(template, "third")
    assert (again.source_files, again.snapshot_id, again.audit) == (0, None, False)


@pytest.mark.engines
@pytest.mark.nessie
@pytest.mark.parametrize("empty", [True, False], ids=["an empty table", "a table with rows"])
def test_a_dropped_audit_leaves_main_as_it_was_and_its_files_untaken(lakehouse: Lakehouse, empty: bool) -> None:
    template = events(lakehouse)
    if not empty:
        append(lakehouse, 1)
    before = main_of(lakehouse)
    land(lakehouse, "a", 2, 3)
    first = lakehouse.run(template, "first")
    drop_open(lakehouse)
    assert (main_of(lakehouse), open_audit(lakehouse.table("lake.events"))) == (before, None)
    second = lakehouse.run(template, "first")
    assert (second.audit, second.rows, second.source_files) == (True, 2, 1)
    assert second.snapshot_id != first.snapshot_id
    publish_open(lakehouse)
    assert ids(lakehouse) == ([2, 3] if empty else [1, 2, 3])


@pytest.mark.nessie
def test_another_run_fails_before_it_writes_and_says_what_to_do(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    lakehouse.run(template, "first")
    land(lakehouse, "b", 2)
    files = data_files(lakehouse)
    for attempt in (lambda: lakehouse.run(template, "second"), lambda: append(lakehouse, 3, audited=True)):
        with pytest.raises(AuditOpenError) as raised:
            attempt()
        assert re.search(
            r"lake.events has an open audit: rows of run first of 20..-..-.. ..:..:.. UTC .*lakehouse audit show lake.events"
            r".*lakehouse audit publish lake.events.*lakehouse audit drop lake.events",
            str(raised.value),
        )
        assert (raised.value.table, raised.value.run) == ("lake.events", "run first")
    assert data_files(lakehouse) == files
    assert audited_ids(lakehouse) == [1]


@pytest.mark.nessie
def test_the_same_run_finds_its_open_audit_and_gives_the_same_result(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, EVENTS + "      on_bad_rows: quarantine\n")
    land(lakehouse, "a", 1, 2)
    lakehouse.land("b.jsonl", '{"id": 3}\n{"id": "x"}')
    first = lakehouse.run(template, "run")
    assert (first.rows, first.bad_rows) == (3, 1)
    assert lakehouse.run(template, "run") == first
    assert len(lakehouse.rows("lake.events__quarantine")) == 1
    publish_open(lakehouse)
    assert lakehouse.run(template, "run").source_files == 0
    assert ids(lakehouse) == [1, 2, 3]


def test_bad_rows_of_a_dropped_audit_are_quarantined_once(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, EVENTS + "      on_bad_rows: quarantine\n")
    lakehouse.land("a.jsonl", '{"id": 3}\n{"id": "x"}')
    for run in ("first", "second"):
        assert lakehouse.run(template, run).bad_rows == 1
        drop_open(lakehouse)
    assert len(lakehouse.rows("lake.events__quarantine")) == 1
    assert open_audit(lakehouse.table("lake.events__quarantine")) is None


def test_files_that_cannot_be_taken_keep_the_others_in_the_audit(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    lakehouse.land("b.jsonl", '{"id": "x"}')
    with pytest.raises(FilesNotTakenError, match=r"b.jsonl(.|\n)*They are not published yet: their audit is open") as raised:
        lakehouse.run(template)
    assert (raised.value.result.audit, ids(lakehouse), audited_ids(lakehouse)) == (True, [], [1])


@pytest.mark.engines
def test_the_same_run_finds_its_open_audit_and_still_fails_for_what_is_not_in_it(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    lakehouse.run(template, "before")
    publish_open(lakehouse)
    lakehouse.land("a.jsonl", '{"id": 1}\n{"id": 7}')
    land(lakehouse, "b", 2)
    lakehouse.land("c.jsonl", '{"id": "x"}')
    errors = []
    for _ in range(2):
        with pytest.raises(FilesNotTakenError) as raised:
            lakehouse.run(template, "run")
        errors.append(raised.value)
        land(lakehouse, "d", 5)  # which is the next run's
    assert re.search(r"2 source files (.|\n)*a\.jsonl: it was taken before with another size(.|\n)*c\.jsonl: ", str(errors[0]))
    assert (str(errors[1]), errors[1].result) == (str(errors[0]), errors[0].result)
    assert audited_ids(lakehouse) == [1, 2]
    (lakehouse.landing / "a.jsonl").unlink()
    (lakehouse.landing / "c.jsonl").unlink()
    assert lakehouse.run(template, "run") == errors[0].result


@pytest.mark.nessie
@pytest.mark.parametrize("what", ["append", "replace"])
def test_arrow_rows_are_audited_where_the_caller_says_so(lakehouse: Lakehouse, what: str) -> None:
    events(lakehouse, DIRECT)
    append(lakehouse, 1, 2, batch="before")

    def write(batch: str) -> WriteResult:
        if what == "append":
            return append(lakehouse, 2, 5, batch=batch, audited=True)
        return lakehouse.engine.replace("lake.events", rows(2, 2), EqualTo("id", 2), Batch(batch, f"run-{batch}"), audited=True)

    expected_ids = [1, 2, 2, 5] if what == "append" else [1, 2, 2]
    result, before = write("b"), main_of(lakehouse)
    assert (result.audit, result.rows, ids(lakehouse), audited_ids(lakehouse)) == (True, 2, [1, 2], expected_ids)
    assert write("b").snapshot_id == result.snapshot_id, "the same batch"
    drop_open(lakehouse)
    assert main_of(lakehouse) == before
    again = write("b")
    assert again.snapshot_id != result.snapshot_id, "the same batch, after its audit was dropped"
    publish_open(lakehouse)
    assert ids(lakehouse) == expected_ids
    done = write("b")
    assert (done.snapshot_id, done.audit) == (again.snapshot_id, False), "the same batch, after it was published"
    assert ids(lakehouse) == expected_ids


def test_an_audit_is_not_what_a_direct_run_of_the_same_batch_did(lakehouse: Lakehouse) -> None:
    """The template may have become `publish: direct` before the run is executed again."""
    events(lakehouse, DIRECT)
    append(lakehouse, 1, audited=True)
    assert append(lakehouse, 1).audit is False
    assert ids(lakehouse) == [1]
    with pytest.raises(AuditOutdatedError):
        publish_open(lakehouse)


@pytest.mark.engines
@pytest.mark.nessie
def test_a_merge_that_rewrites_files_is_audited(lakehouse: Lakehouse) -> None:
    dimension = Dimension(lakehouse, TEMPLATE + "    publish: audited\n")
    first = [Change(f"u{user}", 1, "free") for user in range(20)]
    dimension.merge(*first)
    publish_open(lakehouse, "lake.users")
    before = main_of(lakehouse, "lake.users")
    # The second of these repeats what holds, so that its moment goes to the log beside the table.
    second = [Change("u3", 5, "paid"), Change("u4", 6, "free"), Change("u5", 7, op="delete")]
    result = dimension.merge(*second)
    assert (result.audit, result.versions_opened, result.versions_changed) == (True, 1, 2)
    assert (dimension.versions, main_of(lakehouse, "lake.users")) == (expected(first), before)
    found = audit_of(lakehouse, "lake.users")
    assert (found.rows_added, found.rows_removed, found.rows_after) == (21, 20, 21)
    assert lakehouse.run(dimension.template) == result

    drop_open(lakehouse, "lake.users")
    assert main_of(lakehouse, "lake.users") == before
    lakehouse.run(dimension.template, "again")
    publish_open(lakehouse, "lake.users")
    assert dimension.versions == expected([*first, *second])
    # A late record, which is right only if the moments came with the rows.
    late = Change("u4", 3, "paid")
    dimension.merge(late)
    publish_open(lakehouse, "lake.users")
    assert dimension.versions == expected([*first, *second, late])


@pytest.mark.nessie
def test_days_of_features_are_due_until_their_audit_is_published(lakehouse: Lakehouse) -> None:
    source = events(lakehouse, DIRECT)
    (lakehouse.settings.templates / "daily.sql").write_text("select $day as day, count(*) as events from events")
    features = lakehouse.template("""\
        name: daily
        namespace: lake
        columns: [{name: day, type: date, required: true}, {name: events, type: long}]
        partition_spec: [{column: day, transform: identity}]
        publish: audited
        pipeline: {pattern: feature_table, sql: daily.sql, inputs: [events], partitions: {start: "2024-01-01"}, lookback: 3d}
    """)
    days = (date(2024, 1, 2), date(2024, 1, 3))
    land(lakehouse, "a", 1, 2)
    lakehouse.run(source)

    def due() -> list[date]:
        templates = {template.table_name: template for template in lakehouse.templates()}
        return DueDays(lakehouse.catalog, templates, date(2024, 1, 4)).of(features)

    def compute(batch: str) -> WriteResult:
        work = ComputeDays(features, (source,), days)
        return lakehouse.engine.compute_days(work, Batch(batch, f"run-{batch}"), lakehouse.messages.append)

    first, before = compute("b"), main_of(lakehouse, "lake.daily")
    assert (first.audit, first.rows, len(lakehouse.rows("lake.daily"))) == (True, 2, 0)
    assert compute("b").snapshot_id == first.snapshot_id
    assert set(days) <= set(due())
    with pytest.raises(AuditOpenError, match="run-b"):
        compute("other")
    drop_open(lakehouse, "lake.daily")
    assert (main_of(lakehouse, "lake.daily"), set(days) <= set(due())) == (before, True)
    assert compute("b").snapshot_id != first.snapshot_id
    publish_open(lakehouse, "lake.daily")
    assert (len(lakehouse.rows("lake.daily")), due()) == (2, [date(2024, 1, 1)])


def test_unpublished_rows_of_an_input_make_no_day_due(lakehouse: Lakehouse) -> None:
    source = events(lakehouse)
    (lakehouse.settings.templates / "daily.sql").write_text("select $day as day, count(*) as events from events")
    features = lakehouse.template("""\
        name: daily
        namespace: lake
        columns: [{name: day, type: date, required: true}, {name: events, type: long}]
        partition_spec: [{column: day, transform: identity}]
        pipeline: {pattern: feature_table, sql: daily.sql, inputs: [events], partitions: {start: "2024-01-01"}, lookback: 3d}
    """)
    days = tuple(date(2024, 1, day) for day in (1, 2, 3))

    def compute(batch: str) -> list[int]:
        lakehouse.engine.compute_days(ComputeDays(features, (source,), days), Batch(batch), lakehouse.messages.append)
        return [row["events"] for row in sorted(lakehouse.rows("lake.daily").to_pylist(), key=lambda row: row["day"])]

    def due() -> list[date]:
        templates = {template.table_name: template for template in lakehouse.templates()}
        return DueDays(lakehouse.catalog, templates, date(2024, 1, 4)).of(features)

    append(lakehouse, batch="before")
    assert compute("first") == [0, 0, 0]
    land(lakehouse, "a", 1)
    lakehouse.run(source)
    assert due() == []
    publish_open(lakehouse)
    assert due() == [date(2024, 1, 2), date(2024, 1, 3)]
    assert compute("second") == [0, 1, 1]


def test_a_direct_write_meanwhile_makes_an_audit_outdated(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    lakehouse.run(template, "audited")
    append(lakehouse, 7, batch="winner")
    before = main_of(lakehouse)
    with pytest.raises(AuditOutdatedError, match=r"run run-winner changed it. Drop it, lakehouse audit drop lake.events, and run again"):
        publish_open(lakehouse)
    assert (main_of(lakehouse), audited_ids(lakehouse)) == (before, [1])
    drop_open(lakehouse)
    lakehouse.run(template, "again")
    publish_open(lakehouse)
    assert ids(lakehouse) == [1, 7]


def add_column(lakehouse: Lakehouse) -> None:
    with lakehouse.table("lake.events").update_schema() as update:
        update.add_column("extra", LongType())


def change_spec(lakehouse: Lakehouse) -> None:
    with lakehouse.table("lake.events").update_spec() as update:
        update.add_identity("id")


@pytest.mark.nessie
@pytest.mark.parametrize("change", [add_column, change_spec])
def test_a_table_that_evolves_makes_an_audit_outdated(lakehouse: Lakehouse, change: Callable[[Lakehouse], None]) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    lakehouse.run(template)
    change(lakehouse)
    with pytest.raises(AuditOutdatedError, match=r"its schema or partition spec was changed. Drop it"):
        publish_open(lakehouse)
    assert ids(lakehouse) == []


def wrap_commits(monkeypatch: pytest.MonkeyPatch, wrapper: Callable[[Callable[[], Any]], Any]) -> list[Any]:
    """Puts ``wrapper`` around every commit; the list counts them."""
    calls = list[Any]()

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def committing(self: Catalog, table: Any, requirements: Any, updates: Any) -> Any:
            calls.append(updates)
            return wrapper(lambda: real(self, table, requirements, updates))

        return committing

    for kind in (SqlCatalog, NessieCatalog):
        monkeypatch.setattr(kind, "commit_table", wrapped(kind.commit_table))
    return calls


def losing_answers(times: int, happens: bool, error: Exception) -> Callable[[Callable[[], Any]], Any]:
    left = [times]

    def wrapper(real: Callable[[], Any]) -> Any:
        if not left[0]:
            return real()
        left[0] -= 1
        if happens:
            real()
        raise error

    return wrapper


@pytest.mark.parametrize("happens", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("error", [TimeoutError("no answer"), CommitFailedException("moved")])
@pytest.mark.parametrize("what", ["write", "publish", "drop"])
def test_a_lost_answer_is_found_out(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, what: str, error: Exception, happens: bool
) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    if what != "write":
        lakehouse.run(template)
    calls = wrap_commits(monkeypatch, losing_answers(1, happens, error))
    if what == "write":
        assert lakehouse.run(template).audit is True
        assert audited_ids(lakehouse) == [1]
    elif what == "publish":
        publish_open(lakehouse)
    else:
        drop_open(lakehouse)
    assert len(calls) == (1 if happens else 2)
    assert ids(lakehouse) == ([1] if what == "publish" else [])
    assert (open_audit(lakehouse.table("lake.events")) is None) == (what != "write")


@pytest.mark.parametrize("what", ["write", "publish"])
def test_a_run_that_dies_after_its_commit_is_run_again(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    if what == "publish":
        lakehouse.run(template, "run")
    with monkeypatch.context() as patched:
        wrap_commits(patched, losing_answers(1, True, KeyboardInterrupt()))  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            lakehouse.run(template, "run") if what == "write" else publish_open(lakehouse)
    if what == "write":
        assert lakehouse.run(template, "run").rows == 1
        publish_open(lakehouse)
    else:
        snapshot_id = lakehouse.table("lake.events").metadata.current_snapshot_id or 0
        assert publish(lakehouse.table("lake.events"), snapshot_id, timeout=10).snapshot_id == snapshot_id
        assert lakehouse.run(template, "run").source_files == 0
    assert (ids(lakehouse), len(lakehouse.table("lake.events").snapshots())) == ([1], 1)


def test_an_outcome_that_stays_unknown_keeps_the_files_of_the_audit(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    with monkeypatch.context() as patched:
        wrap_commits(patched, losing_answers(99, False, TimeoutError("no answer")))
        with pytest.raises(CommitUnknownError, match=r"Whether the commit .* to lake.events happened is not known"):
            lakehouse.run(template)
    assert len(data_files(lakehouse)) == 1
    lakehouse.run(template)
    with monkeypatch.context() as patched:
        wrap_commits(patched, losing_answers(99, False, TimeoutError("no answer")))
        with pytest.raises(CommitUnknownError, match=r"Whether the publishing of snapshot .* of lake.events happened .*Do it again"):
            publish_open(lakehouse)
    publish_open(lakehouse)
    assert ids(lakehouse) == [1]


def test_conflicts_until_the_timeout_leave_the_audit_open(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    lakehouse.run(template)
    wrap_commits(monkeypatch, losing_answers(99, False, CommitFailedException("moved")))
    with pytest.raises(CommitConflictError, match="Run it again"):
        publish(lakehouse.table("lake.events"), audit_of(lakehouse).snapshot_id, timeout=-1)
    assert (ids(lakehouse), audited_ids(lakehouse)) == ([], [1])


@pytest.mark.nessie
@pytest.mark.parametrize("empty", [True, False], ids=["an empty table", "a table with rows"])
def test_two_runs_at_once_make_one_audit(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, empty: bool) -> None:
    template = events(lakehouse)
    if not empty:
        append(lakehouse, 0)
    land(lakehouse, "a", 1, 2)
    together = Barrier(2)
    first_of_each: set[int] = set()

    def meet(real: Callable[[], Any]) -> Any:
        if get_ident() not in first_of_each:
            first_of_each.add(get_ident())
            together.wait(30)
        return real()

    def run(name: str) -> str:
        try:
            return f"run {name} audits {lakehouse.run(template, name).audit}"
        except AuditOpenError as error:
            return f"run {name} yields to {error.run}"

    with monkeypatch.context() as patched, ThreadPoolExecutor(2) as pool:
        wrap_commits(patched, meet)
        outcomes = set(pool.map(run, ("one", "two")))
    assert outcomes in ({"run one audits True", "run two yields to run one"}, {"run two audits True", "run one yields to run two"})
    written = data_files(lakehouse)
    assert audited_ids(lakehouse) == ([1, 2] if empty else [0, 1, 2])
    publish_open(lakehouse)
    named = {task.file.file_path.partition("://")[2] for task in lakehouse.table("lake.events").scan().plan_files()}
    assert named == written, "the files of the run that lost are deleted"


def once_before(action: Callable[[], Any]) -> Callable[[Callable[[], Any]], Any]:
    """Runs ``action`` when the first commit is on its way: read and prepared, but not yet with the catalog."""
    done: list[int] = []

    def wrapper(real: Callable[[], Any]) -> Any:
        if not done:
            done.append(1)
            action()
        return real()

    return wrapper


@pytest.mark.nessie
@pytest.mark.parametrize("empty", [True, False], ids=["an empty table", "a table with rows"])
def test_an_audit_that_is_opened_within_the_commit_wins(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, empty: bool) -> None:
    template = events(lakehouse)
    if not empty:
        append(lakehouse, 0)
    land(lakehouse, "a", 1)
    wrap_commits(monkeypatch, once_before(lambda: lakehouse.run(template, "winner")))
    with pytest.raises(AuditOpenError, match="rows of run winner"):
        lakehouse.run(template, "loser")
    assert audit_of(lakehouse).run_id == "winner"


@pytest.mark.nessie
def test_a_direct_write_within_the_commit_is_below_the_audit(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    wrap_commits(monkeypatch, once_before(lambda: append(lakehouse, 7)))
    lakehouse.run(template)
    assert audited_ids(lakehouse) == [1, 7]
    publish_open(lakehouse)
    assert ids(lakehouse) == [1, 7]


@pytest.mark.nessie
@pytest.mark.parametrize(
    ("action", "error"),
    [
        (lambda lakehouse: append(lakehouse, 7), AuditOutdatedError),
        (add_column, AuditOutdatedError),
        (change_spec, AuditOutdatedError),
        (drop_open, NoAuditError),
    ],
    ids=["a direct write", "a new column", "another spec", "a drop"],
)
def test_what_happens_within_the_publishing_stops_it(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, action: Callable[[Lakehouse], Any], error: type[Exception]
) -> None:
    template = events(lakehouse)
    append(lakehouse, 0, batch="before")
    land(lakehouse, "a", 1)
    lakehouse.run(template)
    wrap_commits(monkeypatch, once_before(lambda: action(lakehouse)))
    with pytest.raises(error):
        publish_open(lakehouse)
    assert 1 not in ids(lakehouse)


@pytest.mark.nessie
def test_an_audit_that_is_gone_or_another_is_not_published(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    first = lakehouse.run(template, "first").snapshot_id or 0
    with_first = lakehouse.table("lake.events")
    drop_open(lakehouse)
    with pytest.raises(NoAuditError, match=f"that of snapshot {first} was dropped. Run again"):
        publish(lakehouse.table("lake.events"), first, timeout=10)
    with pytest.raises(NoAuditError, match=r"lake.events has no open audit. See which tables have: lakehouse audit list"):
        drop_open(lakehouse)
    second = lakehouse.run(template, "second").snapshot_id or 0
    with pytest.raises(NoAuditError, match=f"not snapshot {first} any more, but that of run second"):
        publish(lakehouse.table("lake.events"), first, timeout=10)
    drop(with_first, timeout=10)
    assert audit_of(lakehouse).snapshot_id == second, "only the audit that was read is dropped"
    with_second = lakehouse.table("lake.events")
    publish_open(lakehouse)
    with pytest.raises(NoAuditError, match="was published meanwhile"):
        drop(with_second, timeout=10)
    append(lakehouse, 9)
    assert publish(lakehouse.table("lake.events"), second, timeout=10).snapshot_id == second, "it stays published"
    assert ids(lakehouse) == [1, 9]


def test_a_branch_that_something_else_wrote_is_not_published(lakehouse: Lakehouse) -> None:
    events(lakehouse)
    append(lakehouse, 1)
    table = lakehouse.table("lake.events")
    table.manage_snapshots().create_branch(table.metadata.current_snapshot_id or 0, "audit").commit()
    table.append(pa.Table.from_batches(rows(2)).cast(table.schema().as_arrow()), branch="audit")
    assert audit_of(lakehouse).ours is False
    with pytest.raises(AuditOutdatedError, match=r"was not written by a run of this project. Drop it"):
        publish_open(lakehouse)
    drop_open(lakehouse)
    assert ids(lakehouse) == [1]


def test_main_keeps_its_own_retention_when_it_is_moved(lakehouse: Lakehouse) -> None:
    events(lakehouse)
    append(lakehouse, 1)
    snapshot_id = lakehouse.table("lake.events").metadata.current_snapshot_id or 0
    lakehouse.table("lake.events").manage_snapshots().create_branch(snapshot_id, "main", min_snapshots_to_keep=7).commit()
    append(lakehouse, 2, batch="second", audited=True)
    publish_open(lakehouse)
    main: SnapshotRef = lakehouse.table("lake.events").refs()["main"]
    assert (main.min_snapshots_to_keep, ids(lakehouse)) == (7, [1, 2])


@pytest.mark.nessie
@pytest.mark.parametrize("empty", [True, False], ids=["an empty table", "a table with rows"])
def test_an_open_or_dropped_audit_is_no_drift_and_counts_no_rows(lakehouse: Lakehouse, empty: bool) -> None:
    template = events(lakehouse)
    if not empty:
        append(lakehouse, 1)
    shown = describe(lakehouse.table("lake.events"), template)
    land(lakehouse, "a", 2)
    result = lakehouse.run(template, "run")
    for open_ in (True, False):
        table = lakehouse.table("lake.events")
        assert summarise(table)["rows"] == (0 if empty else 1)
        found = describe(table, template)
        audit = found.pop("audit")
        assert found == {name: value for name, value in shown.items() if name != "audit"}
        assert (audit and (audit["snapshot_id"], audit["run_id"])) == ((result.snapshot_id, "run") if open_ else None)
        assert {drift.state for drift in check_drift(lakehouse.settings, lakehouse.templates())} == {"in step"}
        assert [planned.changes for planned in plan(lakehouse.settings, lakehouse.catalog, lakehouse.templates())] == [[]]
        if open_:
            drop_open(lakehouse)


def test_a_rest_catalog_is_asked_for_both_branches(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes over the wire to catalogs that check requirements themselves."""
    template = events(lakehouse)
    real, sent = SqlCatalog.commit_table, list[dict[str, Any]]()

    def committing(self: SqlCatalog, table: Any, requirements: Any, updates: Any) -> Any:
        request = CommitTableRequest(
            identifier=TableIdentifier(namespace=["lake"], name="events"), requirements=requirements, updates=updates
        )
        sent.append(json.loads(request.model_dump_json()))
        return real(self, table, requirements, updates)

    monkeypatch.setattr(SqlCatalog, "commit_table", committing)
    land(lakehouse, "a", 1)
    snapshot_id = lakehouse.run(template).snapshot_id
    publish_open(lakehouse)
    refs = [
        {found["ref"]: found["snapshot-id"] for found in request["requirements"] if found["type"] == "assert-ref-snapshot-id"}
        for request in sent
    ]
    assert refs == [{"main": None, "audit": None}, {"main": None, "audit": snapshot_id}]
    for request in sent:
        assert {"assert-current-schema-id", "assert-default-spec-id", "assert-table-uuid"} <= {
            found["type"] for found in request["requirements"]
        }


STEPS = st.lists(st.sampled_from(["land", "run", "same run", "publish", "drop", "direct", "lost"]), min_size=4, max_size=14)


@given(steps=STEPS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_readers_see_what_was_published_and_every_file_once(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, steps: list[str]
) -> None:
    follow_steps(lakehouse, monkeypatch, steps)


def follow_steps(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, steps: list[str]) -> None:
    if any(lakehouse.settings.templates.iterdir()):
        lakehouse.catalog.drop_table("lake.events")
        for path in lakehouse.landing.iterdir():
            path.unlink()
    template = events(lakehouse)
    seen, landed, open_ids, outdated, auditing_run = list[int](), list[int](), list[int](), False, ""

    def load(run: str, lost: bool = False) -> list[int]:
        with monkeypatch.context() as patched:
            if lost:
                wrap_commits(patched, losing_answers(1, True, TimeoutError()))
            return audited_ids(lakehouse) if lakehouse.run(template, run).audit else []

    for number, step in enumerate(steps, 1):
        new = [id_ for id_ in landed if id_ not in seen]
        if step == "land":
            land(lakehouse, str(number), number)
            landed.append(number)
        elif step in ("run", "lost", "same run"):
            run = auditing_run if step == "same run" and open_ids else f"run-{number}"
            if open_ids and run != auditing_run:
                with pytest.raises(AuditOpenError):
                    load(run)
                continue
            found = load(run, step == "lost" and bool(new))
            if not open_ids and new:
                open_ids, outdated, auditing_run = sorted([*seen, *new]), False, run
            assert found == open_ids
        elif step == "direct":
            append(lakehouse, -number, batch=str(number))
            seen.append(-number)
            outdated = True
        elif step == "publish" and open_ids:
            if outdated:
                with pytest.raises(AuditOutdatedError):
                    publish_open(lakehouse)
            else:
                publish_open(lakehouse)
                seen, open_ids = open_ids, []
        elif step == "drop" and open_ids:
            drop_open(lakehouse)
            open_ids = []
        assert ids(lakehouse) == sorted(seen)
        assert bool(open_ids) == (open_audit(lakehouse.table("lake.events")) is not None)
