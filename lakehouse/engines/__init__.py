"""Engines carry out what assets say is to be done. A new engine is one module, chosen in ``open_engine``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression

from lakehouse.commit import Batch
from lakehouse.errors import SourceError
from lakehouse.maintenance.report import STEPS, Step, TableReport
from lakehouse.pointers import PointerError, open_pointers
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

Progress = Callable[[str], None]


@dataclass(frozen=True)
class AppendFiles:
    """To be done: append every source file of the template's pipeline that the table has not taken yet."""

    template: TableTemplate


@dataclass(frozen=True)
class MergeFiles:
    """To be done: merge the change records of every source file that the table has not taken yet."""

    template: TableTemplate


@dataclass(frozen=True)
class ComputeDays:
    """To be done: compute the features of some days, and replace the days' partitions.

    Attributes:
        inputs: the templates of the tables that the SQL reads.
    """

    template: TableTemplate
    inputs: tuple[TableTemplate, ...]
    days: tuple[date, ...]


Work = AppendFiles | MergeFiles | ComputeDays


@dataclass(frozen=True)
class WriteResult:
    """What a run did to one table.

    Attributes:
        snapshot_id: None where there was nothing to commit.
        audit: whether the rows are in an open audit, on the branch ``audit``, for ``lakehouse.audit.publish`` or ``drop``.
        rows: rows that came in; bad_rows: rows that went to the quarantine; skipped_rows: rows that a rule of the template left out.
        source_files: source files taken; data_files, bytes: files written for them.
        days: the UTC days that the rows touch, as ranges.
        unknown_columns: columns of the source that the table does not have.
        versions_opened, versions_changed: what a merge did; None where there was none.
    """

    table: str
    snapshot_id: int | None = None
    audit: bool = False
    rows: int = 0
    bad_rows: int = 0
    skipped_rows: int = 0
    source_files: int = 0
    data_files: int = 0
    bytes: int = 0
    days: str = ""
    unknown_columns: list[str] = field(default_factory=list)
    versions_opened: int | None = None
    versions_changed: int | None = None


class FilesNotTakenError(SourceError):
    """Source files that could not be taken. ``result`` says what of the others was committed."""

    def __init__(self, message: str, result: WriteResult) -> None:
        self.result = result
        super().__init__(message)


class NotFollowedError(PointerError):
    """Rows are committed, and what points at the table was not moved: readers do not see them. ``result`` says what was committed."""

    def __init__(self, message: str, result: WriteResult) -> None:
        self.result = result
        super().__init__(message)


class Engine(Protocol):
    """What an engine can do. Every method but ``maintain`` is one commit or none.

    The commit goes to the branch ``audit``, which readers do not see, where the template says ``publish: audited`` or the
    caller ``audited=True``. One audit at a time: the same run or batch finds its own again, any other raises AuditOpenError.
    """

    def append_files(self, work: AppendFiles, run_id: str, progress: Progress) -> WriteResult:
        """Takes new source files, exactly once.

        Raises:
            FilesNotTakenError: files that could not be taken; the others are committed.
        """
        ...

    def merge_files(self, work: MergeFiles, run_id: str, progress: Progress) -> WriteResult:
        """Takes new source files, exactly once, as changes of versions. Raises as ``append_files``."""
        ...

    def compute_days(self, work: ComputeDays, batch: Batch, progress: Progress) -> WriteResult:
        """Computes features and replaces the rows of these days, and no others.

        Raises:
            FeatureSqlError: the SQL fails; BadRowsError: its rows do not fit. Nothing is written.
        """
        ...

    def append(self, table_name: str, batches: Iterable[pa.RecordBatch], batch: Batch, audited: bool = False) -> WriteResult:
        """Appends rows. A batch id that is in the table already is not written again.

        Raises:
            BadRowsError, TableMismatchError: rows that do not fit; nothing is written.
        """
        ...

    def replace(
        self, table_name: str, batches: Iterable[pa.RecordBatch], row_filter: BooleanExpression, batch: Batch, audited: bool = False
    ) -> WriteResult:
        """Replaces the rows that match ``row_filter``. Raises as ``append``, also for rows outside the filter."""
        ...

    def maintain(
        self,
        templates: Iterable[TableTemplate],
        steps: Collection[Step] = STEPS,
        dry_run: bool = True,
        run_id: str = "maintenance",
        progress: Progress = lambda _: None,
        now: datetime | None = None,
    ) -> Iterator[TableReport]:
        """Compacts tables, expires snapshots, removes orphans: see ``lakehouse.maintenance.plan.maintain``, in many commits.

        The engine rewrites what is compacted. The other steps are about metadata, and the same with every engine.
        """
        ...


def open_engine(settings: LakehouseSettings, catalog: Catalog) -> Engine:
    """The engine of the settings. Its methods also raise NotFollowedError where something points at tables."""
    from lakehouse.engines.embedded import EmbeddedEngine

    engine: Engine = EmbeddedEngine(settings, catalog)
    if settings.engine == "spark":
        from lakehouse.engines.spark.engine import SparkEngine

        engine = SparkEngine(settings, catalog, engine)
    # Before any work: what keeps pointers from being moved at all is to be known before rows are committed.
    if (pointers := open_pointers(settings)) is None:
        return engine
    from lakehouse.engines.following import FollowingEngine

    return FollowingEngine(engine, pointers, settings, catalog)
