"""The engine Spark: it reads, joins and writes the rows; what is new, and the commit, are as with the embedded engine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import Table

from lakehouse.commit import Batch
from lakehouse.engines import AppendFiles, ComputeDays, Engine, MergeFiles, Progress, WriteResult
from lakehouse.engines.spark.session import in_session
from lakehouse.maintenance.compact import Bin
from lakehouse.maintenance.plan import maintain
from lakehouse.maintenance.replace import Replacement
from lakehouse.maintenance.report import STEPS, Step, TableReport
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate


class SparkEngine:
    """Has Spark do the work. See ``lakehouse.engines.Engine``.

    Args:
        embedded: does what is about rows that are in this process already.
    """

    def __init__(self, settings: LakehouseSettings, catalog: Catalog, embedded: Engine) -> None:
        self._settings, self._catalog, self._embedded = settings, catalog, embedded

    def append_files(self, work: AppendFiles, run_id: str, progress: Progress) -> WriteResult:
        """See ``Engine.append_files``."""
        return self._take_new_files(work, run_id, progress)

    def merge_files(self, work: MergeFiles, run_id: str, progress: Progress) -> WriteResult:
        """See ``Engine.merge_files``."""
        return self._take_new_files(work, run_id, progress)

    def compute_days(self, work: ComputeDays, batch: Batch, progress: Progress) -> WriteResult:
        """See ``Engine.compute_days``."""
        from lakehouse.engines.spark.features import compute_days

        return in_session(
            self._settings, progress, lambda session: compute_days(self._settings, self._catalog, session, work, batch, progress)
        )

    def append(self, table_name: str, batches: Iterable[pa.RecordBatch], batch: Batch, audited: bool = False) -> WriteResult:
        """See ``Engine.append``."""
        return self._embedded.append(table_name, batches, batch, audited)

    def replace(
        self, table_name: str, batches: Iterable[pa.RecordBatch], row_filter: BooleanExpression, batch: Batch, audited: bool = False
    ) -> WriteResult:
        """See ``Engine.replace``."""
        return self._embedded.replace(table_name, batches, row_filter, batch, audited)

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
        from lakehouse.engines.spark.compact import rewrite_bins

        def rewrite(table: Table, bins: Sequence[Bin], hidden: Collection[str]) -> list[Replacement]:
            return in_session(
                self._settings, progress, lambda session: rewrite_bins(self._settings, self._catalog, session, table, bins, hidden)
            )

        return maintain(self._settings, self._catalog, templates, steps, dry_run, run_id, progress, now, rewrite)

    def _take_new_files(self, work: AppendFiles | MergeFiles, run_id: str, progress: Progress) -> WriteResult:
        from lakehouse.engines.spark.files import take_new_files

        return in_session(
            self._settings,
            progress,
            lambda session: take_new_files(self._settings, self._catalog, session, work.template, run_id, progress),
        )
