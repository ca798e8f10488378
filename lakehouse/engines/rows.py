"""Arrow rows on their way into a table: made to fit, written, committed. What every method of the engine ends in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.expressions.visitors import bind
from pyiceberg.io.pyarrow import expression_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.snapshots import Snapshot

from lakehouse.commit import Batch, commit_replace
from lakehouse.conform import BadRow, Conformer, Rows
from lakehouse.engines import WriteResult
from lakehouse.errors import BadRowsError, TableMismatchError
from lakehouse.history import AUDIT, BATCH_ID, DAYS, VERSIONS_CHANGED, VERSIONS_OPENED, is_audit, summary_of
from lakehouse.ledger import Ledger
from lakehouse.read import rows_of
from lakehouse.settings import LakehouseSettings
from lakehouse.values import part_of
from lakehouse.write import arrow_schema, write_files

_EXAMPLES = 3
_SLICE = 64 * 1024 * 1024


def replace_rows(
    settings: LakehouseSettings,
    table: Table,
    rows: Iterable[pa.RecordBatch],
    row_filter: BooleanExpression,
    batch: Batch,
    memory: int,
    hidden: Collection[str] = (),
) -> WriteResult:
    """Writes rows that fit the table, and replaces by them all that match the filter, in one commit."""

    files = write_files(table, rows, memory, hidden)
    snapshot = commit_replace(table, row_filter, files, batch, settings.commit_timeout, partial(keep_others, memory=memory, hidden=hidden))
    return result_of_files(table, snapshot, files)


def keep_others(
    table: Table, tasks: Iterator[FileScanTask], row_filter: BooleanExpression, memory: int, hidden: Collection[str] = ()
) -> list[DataFile]:
    """Writes anew the rows of files that do not match the filter; with ``partial``, the ``rewrite`` of ``commit_replace``."""
    matches = _as_arrow(table, row_filter)
    # Not just "does not match": where the filter is null, the row is not replaced.
    kept = (found.filter(matches.is_null() | ~matches) for found in map(_as_table, rows_of(table, tasks)))
    return write_files(table, (part for found in kept for part in found.cast(arrow_schema(table)).to_batches()), memory, hidden)


def fitting(
    table: Table,
    batches: Iterable[pa.RecordBatch],
    row_filter: BooleanExpression,
    what: str,
    outside_is: str = "rows outside the partition that this run replaces",
    remedy: str = "Correct them.",
) -> Iterator[pa.RecordBatch]:
    """The batches of ``what``, e.g. "the batch", in the table's schema. What is outside the filter is told as ``outside_is``.

    Raises:
        TableMismatchError: columns or types that the table cannot hold.
        BadRowsError: after the last batch, with the count of all rows that do not fit or are outside the filter.
    """
    name = ".".join(table.name())
    conformer = Conformer(arrow_schema(table), hidden=table.schema().column_names, shown=_EXAMPLES)
    matches = None if row_filter == AlwaysTrue() else _as_arrow(table, row_filter)
    start, bad, outside, examples = 1, 0, 0, list[BadRow]()
    for batch in batches:
        check_schema(name, conformer, batch.schema, what)
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
        raise BadRowsError(name, bad, [str(row) for row in examples], remedy)
    if outside:
        raise BadRowsError(name, outside, [outside_is], remedy)


def check_schema(name: str, conformer: Conformer, schema: pa.Schema, what: str) -> None:
    """Raises TableMismatchError where ``what`` has columns or types that the table ``name`` cannot hold."""
    if unknown := conformer.check_columns(schema.names, what):
        raise TableMismatchError(
            f"{name} has no column {', '.join(unknown)}. Leave it out, or add it to the template and run lakehouse apply."
        )
    conformer.check_types(schema, what)


def result_of_files(table: Table, snapshot: Snapshot, files: list[DataFile]) -> WriteResult:
    """The result of a commit of these files."""
    return WriteResult(
        table=".".join(table.name()),
        snapshot_id=snapshot.snapshot_id,
        audit=AUDIT in summary_of(snapshot),
        rows=sum(file.record_count for file in files),
        data_files=len(files),
        bytes=sum(file.file_size_in_bytes for file in files),
    )


def result_of_snapshot(table: Table, snapshot: Snapshot) -> WriteResult:
    """The result of a batch that an earlier attempt committed."""
    summary = summary_of(snapshot)
    return WriteResult(
        table=".".join(table.name()),
        snapshot_id=snapshot.snapshot_id,
        audit=is_audit(table, snapshot),
        rows=int(summary.get("added-records", 0)),
        data_files=int(summary.get("added-data-files", 0)),
        bytes=int(summary.get("added-files-size", 0)),
        days=summary.get(DAYS, ""),
    )


def result_of_audit(table: Table, snapshot: Snapshot, ledger: Ledger) -> WriteResult:
    """The result of a run that took source files into an open audit. ``ledger`` is as the audit would leave it."""
    summary, entries = summary_of(snapshot), ledger.entries
    files = entries.filter(pc.equal(entries["batch_id"], summary[BATCH_ID])).to_pylist()
    return replace(
        result_of_snapshot(table, snapshot),
        rows=sum(file["rows"] for file in files),
        bad_rows=sum(file["bad_rows"] for file in files),
        skipped_rows=sum(file["skipped_rows"] or 0 for file in files),
        source_files=len(files),
        versions_opened=int(summary[VERSIONS_OPENED]) if VERSIONS_OPENED in summary else None,
        versions_changed=int(summary[VERSIONS_CHANGED]) if VERSIONS_CHANGED in summary else None,
    )


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
