"""An engine after whose work what points at the tables is moved, see ``lakehouse.pointers``: readers then see what was committed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression

from lakehouse.commit import Batch
from lakehouse.engines import AppendFiles, ComputeDays, Engine, FilesNotTakenError, MergeFiles, NotFollowedError, Progress, WriteResult
from lakehouse.errors import LakehouseError
from lakehouse.maintenance.report import STEPS, Step, TableReport
from lakehouse.pointers import Pointers, check_followed, follow
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate


class FollowingEngine:
    """Has another engine do the work. Every method raises NotFollowedError where rows were committed and a pointer was not moved.

    Pointers are looked at also where nothing was committed: an earlier run may have left one behind.
    """

    def __init__(self, engine: Engine, pointers: Pointers, settings: LakehouseSettings, catalog: Catalog) -> None:
        self._engine, self._pointers, self._settings, self._catalog = engine, pointers, settings, catalog

    def append_files(self, work: AppendFiles, run_id: str, progress: Progress) -> WriteResult:
        """See ``Engine.append_files``."""
        return self._followed(lambda: self._engine.append_files(work, run_id, progress), work.template)

    def merge_files(self, work: MergeFiles, run_id: str, progress: Progress) -> WriteResult:
        """See ``Engine.merge_files``."""
        return self._followed(lambda: self._engine.merge_files(work, run_id, progress), work.template)

    def compute_days(self, work: ComputeDays, batch: Batch, progress: Progress) -> WriteResult:
        """See ``Engine.compute_days``."""
        return self._followed(lambda: self._engine.compute_days(work, batch, progress), work.template)

    def append(self, table_name: str, batches: Iterable[pa.RecordBatch], batch: Batch, audited: bool = False) -> WriteResult:
        """See ``Engine.append``."""
        return self._followed(lambda: self._engine.append(table_name, batches, batch, audited), table_name)

    def replace(
        self, table_name: str, batches: Iterable[pa.RecordBatch], row_filter: BooleanExpression, batch: Batch, audited: bool = False
    ) -> WriteResult:
        """See ``Engine.replace``."""
        return self._followed(lambda: self._engine.replace(table_name, batches, row_filter, batch, audited), table_name)

    def maintain(
        self,
        templates: Iterable[TableTemplate],
        steps: Collection[Step] = STEPS,
        dry_run: bool = True,
        run_id: str = "maintenance",
        progress: Progress = lambda _: None,
        now: datetime | None = None,
    ) -> Iterator[TableReport]:
        """See ``Engine.maintain``. It moves the pointer itself, before it deletes files."""
        return self._engine.maintain(templates, steps, dry_run, run_id, progress, now)

    def _followed(self, work: Callable[[], WriteResult], template: TableTemplate | str) -> WriteResult:
        try:
            result = work()
        except FilesNotTakenError as error:
            try:
                self._follow(template, error.result)
            except LakehouseError as behind:
                raise FilesNotTakenError(f"{error}\n{behind}", error.result) from error
            raise
        try:
            self._follow(template, result)
        except LakehouseError as error:
            raise NotFollowedError(str(error), result) from error
        return result

    def _follow(self, template: TableTemplate | str, result: WriteResult) -> None:
        # An audit moves nothing that readers see: whoever publishes it follows. Bad rows are not audited.
        quarantine = None if isinstance(template, str) else template.quarantine
        tables = [*([] if result.audit else [template]), *([] if quarantine is None else [quarantine])]
        check_followed(follow(self._pointers, self._settings, self._catalog, tables))
