"""Where the rows of source files go: appended as they are, or merged into versions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from lakehouse.changes import ChangeRecords
from lakehouse.commit import Batch, commit_append, commit_rewrite
from lakehouse.conform import Judge
from lakehouse.days import event_time, format_days
from lakehouse.engines import Progress
from lakehouse.history import MOMENTS_BEFORE, NO_MOMENTS, VERSIONS_CHANGED, VERSIONS_OPENED
from lakehouse.ledger import LEDGER, Ledger, TakenFile
from lakehouse.merge import MOMENTS, Merge, moments_log
from lakehouse.pipelines import ScdType2Pipeline
from lakehouse.settings import LakehouseSettings
from lakehouse.write import DataFileWriter, arrow_schema, delete_files

_IF_UNKNOWN = "Run it again: it finds out and loads nothing twice."


@dataclass(frozen=True)
class RowRules:
    """What source files are read as.

    Attributes:
        schema: of the rows; hidden: columns whose values must not be shown.
        days: the column whose days a run records; None where there is none.
        skip_null, judge: as ``Conformer`` has them.
    """

    schema: pa.Schema
    hidden: frozenset[str]
    days: str | None = None
    skip_null: str | None = None
    judge: Judge | None = None


@dataclass(frozen=True)
class Committed:
    """A commit: its snapshot, the data files it added, the days it touches, the versions it opened and changed."""

    snapshot: Snapshot
    files: list[DataFile]
    days: str
    opened: int | None = None
    changed: int | None = None


class Target(ABC):
    """One attempt to bring rows into a table. Leaving it without a commit leaves nothing behind."""

    rules: RowRules

    def __init__(self) -> None:
        self._stack = ExitStack()

    @abstractmethod
    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Takes rows in."""

    @abstractmethod
    def commit(self, ledger: Ledger, taken: list[TakenFile], batch: Batch) -> Committed:
        """Commits all rows, and that the source files they came from are taken.

        Raises:
            PlanOutdatedError: the table moved, and it is to be done anew; CommitConflictError, CommitUnknownError.
        """


class Append(Target):
    """Appends the rows. ``memory`` is in bytes."""

    def __init__(self, settings: LakehouseSettings, table: Table, hidden: frozenset[str], memory: int) -> None:
        super().__init__()
        time = event_time(table.schema(), table.spec())
        self.rules = RowRules(arrow_schema(table), hidden, time.name if time else None)
        self._settings, self._table, self._memory = settings, table, memory

    def __enter__(self) -> Self:
        self._writer = self._stack.enter_context(DataFileWriter(self._table, self._memory, self.rules.hidden))
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write(batch)

    def commit(self, ledger: Ledger, taken: list[TakenFile], batch: Batch) -> Committed:
        files = self._writer.finish()
        segment = _extend(self._table, ledger, taken, [file.file_path for file in files])
        snapshot = commit_append(
            self._table,
            files,
            batch,
            self._settings.commit_timeout,
            properties={LEDGER: segment},
            expected={LEDGER: ledger.location},
            segments=[segment],
            if_unknown=_IF_UNKNOWN,
        )
        return Committed(snapshot, files, batch.days)


class MergeVersions(Target):
    """Merges the rows, which are change records, into versions."""

    def __init__(
        self, settings: LakehouseSettings, table: Table, hidden: frozenset[str], pipeline: ScdType2Pipeline, progress: Progress
    ) -> None:
        super().__init__()
        self._records = ChangeRecords(table, pipeline)
        # Days are in the snapshot's summary, which more people read than rows.
        self._days_are_hidden = "valid_from" in hidden
        days = None if self._days_are_hidden else pipeline.effective_at
        shown = hidden | ({pipeline.effective_at} if self._days_are_hidden else set())
        self.rules = RowRules(self._records.schema, shown, days, pipeline.skip_column, self._records.judge)
        self._settings, self._table, self._hidden, self._progress = settings, table, hidden, progress
        self._moments = moments_log(table, self._records, f"{settings.warehouse_uri}/_lakehouse/moments")

    def __enter__(self) -> Self:
        merge = Merge(self._table, self._records, self._moments, self._settings.write_memory, self._hidden, self._progress)
        self._merge = self._stack.enter_context(merge)
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        self._merge.write(batch)

    def commit(self, ledger: Ledger, taken: list[TakenFile], batch: Batch) -> Committed:
        merged = self._merge.finish()
        moments = [merged.segment] if merged.segment else []
        segment = _extend(self._table, ledger, taken, [*moments, *(file.file_path for file in merged.added)])
        days = "" if self._days_are_hidden else format_days(merged.days)
        versions = {VERSIONS_OPENED: str(merged.opened), VERSIONS_CHANGED: str(merged.changed)}
        before = {MOMENTS_BEFORE: self._moments.location or NO_MOMENTS}
        snapshot = commit_rewrite(
            self._table,
            merged.planned,
            merged.removed,
            merged.added,
            replace(batch, days=days, facts={**batch.facts, **versions, **before}),
            self._settings.commit_timeout,
            rows=sum(file.rows for file in taken),
            properties={LEDGER: segment, **({MOMENTS: merged.segment} if merged.segment else {})},
            expected={LEDGER: ledger.location, MOMENTS: self._moments.location},
            segments=[segment, *moments],
            if_unknown=_IF_UNKNOWN,
        )
        return Committed(snapshot, merged.added, days, merged.opened, merged.changed)


def _extend(table: Table, ledger: Ledger, taken: list[TakenFile], written: list[str]) -> str:
    try:
        return ledger.extend(taken)
    except BaseException:
        delete_files(table, written)
        raise
