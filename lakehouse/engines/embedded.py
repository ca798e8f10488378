"""The embedded engine: PyArrow, PyIceberg and DuckDB in this process, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.table import Table

from lakehouse.catalog import load_table
from lakehouse.commit import Batch, commit_append, find_committed
from lakehouse.days import event_time, format_days
from lakehouse.engines import AppendFiles, ComputeDays, MergeFiles, Progress, WriteResult
from lakehouse.engines.features import compute_days
from lakehouse.engines.rows import fitting, replace_rows, result_of_files, result_of_snapshot
from lakehouse.engines.source_files import take_new_files
from lakehouse.maintenance.plan import maintain
from lakehouse.maintenance.report import STEPS, Step, TableReport
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate
from lakehouse.write import write_files


class EmbeddedEngine:
    """Does the work in this process. See ``lakehouse.engines.Engine``."""

    def __init__(self, settings: LakehouseSettings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog

    def append_files(self, work: AppendFiles, run_id: str, progress: Progress) -> WriteResult:
        """See ``Engine.append_files``."""
        return take_new_files(self._settings, self._catalog, work.template, run_id, progress)

    def merge_files(self, work: MergeFiles, run_id: str, progress: Progress) -> WriteResult:
        """See ``Engine.merge_files``."""
        return take_new_files(self._settings, self._catalog, work.template, run_id, progress)

    def compute_days(self, work: ComputeDays, batch: Batch, progress: Progress) -> WriteResult:
        """See ``Engine.compute_days``."""
        return compute_days(self._settings, self._catalog, work, batch, progress)

    def append(self, table_name: str, batches: Iterable[pa.RecordBatch], batch: Batch, audited: bool = False) -> WriteResult:
        """See ``Engine.append``."""
        table, batch = self._begin(table_name, batch, audited)
        if (snapshot := find_committed(table, batch)) is not None:
            return result_of_snapshot(table, snapshot)
        rows, days = fitting(table, batches, AlwaysTrue(), "the batch"), set[date]()
        if (time := event_time(table.schema(), table.spec())) is not None:
            rows = _noting_days(rows, time.name, days)
        files = write_files(table, rows, self._settings.write_memory)
        batch = replace(batch, days=batch.days or format_days(days))
        return result_of_files(table, commit_append(table, files, batch, self._settings.commit_timeout), files)

    def replace(
        self, table_name: str, batches: Iterable[pa.RecordBatch], row_filter: BooleanExpression, batch: Batch, audited: bool = False
    ) -> WriteResult:
        """See ``Engine.replace``."""
        table, batch = self._begin(table_name, batch, audited)
        if (snapshot := find_committed(table, batch)) is not None:
            return result_of_snapshot(table, snapshot)
        rows = fitting(table, batches, row_filter, "the batch")
        return replace_rows(self._settings, table, rows, row_filter, batch, self._settings.write_memory)

    def maintain(
        self,
        templates: Iterable[TableTemplate],
        steps: Collection[Step] = STEPS,
        dry_run: bool = True,
        run_id: str = "maintenance",
        progress: Progress = lambda _: None,
        now: datetime | None = None,
    ) -> Iterator[TableReport]:
        """See ``Engine.maintain``."""
        return maintain(self._settings, self._catalog, templates, steps, dry_run, run_id, progress, now)

    def _begin(self, table_name: str, batch: Batch, audited: bool) -> tuple[Table, Batch]:
        return load_table(self._catalog, table_name), replace(batch, audited=audited)


def _noting_days(batches: Iterable[pa.RecordBatch], column: str, days: set[date]) -> Iterator[pa.RecordBatch]:
    """The batches; the days of a column of theirs join ``days``."""
    for batch in batches:
        found = pc.unique(batch.column(column).cast(pa.date32())).to_pylist()
        days.update(day for day in found if day is not None)
        yield batch
