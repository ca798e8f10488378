"""The embedded engine: PyArrow and PyIceberg in this process, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.expressions.visitors import bind
from pyiceberg.io.pyarrow import expression_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.snapshots import Snapshot

from lakehouse.catalog import load_table
from lakehouse.commit import Batch, commit_append, commit_replace, find_batch, rows_of
from lakehouse.conform import BadRow, Conformer, Rows, part_of
from lakehouse.engines import AppendFiles, Progress, WriteResult
from lakehouse.engines.source_files import append_new_files
from lakehouse.errors import BadRowsError, TableMismatchError
from lakehouse.settings import LakehouseSettings
from lakehouse.write import arrow_schema, write_files

_EXAMPLES = 3
_PROGRESS_ROWS = 1_000_000
_MAX_BAD_ROWS = 1_000  # of a file that fails for them
_SLICE = 64 * 1024 * 1024
_CHANGED = "it was taken before with another size or time. Deliver new content under a new name, and remove this file."


class EmbeddedEngine:
    """Does the work in this process. See ``lakehouse.engines.Engine``."""

    def __init__(self, settings: LakehouseSettings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog

    def append_files(self, work: AppendFiles, run_id: str, progress: Progress) -> WriteResult:
        """See ``Engine.append_files``."""
        return append_new_files(self._settings, self._catalog, work.template, run_id, progress)

    def append(self, table_name: str, batches: Iterable[pa.RecordBatch], batch: Batch) -> WriteResult:
        """See ``Engine.append``."""
        table = load_table(self._catalog, table_name)
        if (snapshot := find_batch(table, batch.batch_id)) is not None:
            return _result_of(table_name, snapshot)
        files = write_files(table, _fitting(table, batches, AlwaysTrue()), self._settings.write_memory)
        return _result(table_name, commit_append(table, files, batch, self._settings.commit_timeout), files)

    def replace(self, table_name: str, batches: Iterable[pa.RecordBatch], row_filter: BooleanExpression, batch: Batch) -> WriteResult:
        """See ``Engine.replace``."""
        table = load_table(self._catalog, table_name)
        if (snapshot := find_batch(table, batch.batch_id)) is not None:
            return _result_of(table_name, snapshot)
        memory = self._settings.write_memory

        def rewrite(table: Table, tasks: Iterator[FileScanTask], row_filter: BooleanExpression) -> list[DataFile]:
            matches = _as_arrow(table, row_filter)
            # Not just "does not match": where the filter is null, the row is not replaced.
            kept = (rows.filter(matches.is_null() | ~matches) for rows in map(_as_table, rows_of(table, tasks)))
            return write_files(table, (part for rows in kept for part in rows.cast(arrow_schema(table)).to_batches()), memory)

        files = write_files(table, _fitting(table, batches, row_filter), memory)
        snapshot = commit_replace(table, row_filter, files, batch, self._settings.commit_timeout, rewrite)
        return _result(table_name, snapshot, files)


def _fitting(table: Table, batches: Iterable[pa.RecordBatch], row_filter: BooleanExpression) -> Iterator[pa.RecordBatch]:
    """The batches in the table's schema.

    Raises:
        TableMismatchError: columns or types that the table cannot hold.
        BadRowsError: after the last batch, with the count of all rows that do not fit or are outside the filter.
    """
    name = ".".join(table.name())
    conformer = Conformer(arrow_schema(table), hidden=table.schema().column_names, shown=_EXAMPLES)
    matches = None if row_filter == AlwaysTrue() else _as_arrow(table, row_filter)
    start, bad, outside, examples = 1, 0, 0, list[BadRow]()
    for batch in batches:
        if unknown := conformer.check_columns(batch.schema.names, "the batch"):
            raise TableMismatchError(
                f"{name} has no column {', '.join(unknown)}. Leave it out, or add it to the template and run lakehouse apply."
            )
        conformer.check_types(batch.schema, "the batch")
        for part in _slices(batch):
            rows = conformer.conform(Rows(part, range(start, start + part.num_rows)))
            start += part.num_rows
            bad += len(rows.bad)
            examples += rows.bad[: _EXAMPLES - len(examples)]
            if matches is not None:
                outside += rows.batch.num_rows - _as_table(rows.batch).filter(matches).num_rows
            if not bad and not outside:
                yield rows.batch
    if bad:
        raise BadRowsError(name, bad, [str(row) for row in examples])
    if outside:
        raise BadRowsError(name, outside, [f"rows outside the partition that this run replaces: {row_filter}"])


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch, which may be a whole table, in parts of which copies are affordable."""
    size = max(1, batch.num_rows // (1 + batch.nbytes // _SLICE))
    for start in range(0, batch.num_rows, size):
        end = min(start + size, batch.num_rows)
        yield (
            batch
            if size >= batch.num_rows
            else pa.RecordBatch.from_arrays([part_of(column, start, end) for column in batch.columns], schema=batch.schema)
        )


def _as_table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def _as_arrow(table: Table, row_filter: BooleanExpression) -> pc.Expression:
    return expression_to_pyarrow(bind(table.schema(), row_filter, case_sensitive=True))


def _result(table_name: str, snapshot: Snapshot, files: list[DataFile]) -> WriteResult:
    return WriteResult(
        table=table_name,
        snapshot_id=snapshot.snapshot_id,
        rows=sum(file.record_count for file in files),
        data_files=len(files),
        bytes=sum(file.file_size_in_bytes for file in files),
    )


def _result_of(table_name: str, snapshot: Snapshot) -> WriteResult:
    """The result of a batch that an earlier attempt committed."""
    summary = snapshot.summary.additional_properties if snapshot.summary else {}
    return WriteResult(
        table=table_name,
        snapshot_id=snapshot.snapshot_id,
        rows=int(summary.get("added-records", 0)),
        data_files=int(summary.get("added-data-files", 0)),
        bytes=int(summary.get("added-files-size", 0)),
    )
