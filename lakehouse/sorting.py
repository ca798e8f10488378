"""A table's sort order: of rows in memory, and of any number of rows, with runs of sorted rows on local disk that are merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table
from pyiceberg.table.sorting import NullOrder, SortDirection

from lakehouse.data_file import storage

_BATCH_ROWS, _BATCH_BYTES = 131_072, 16 * 1024 * 1024


def sort_indices(table: Table, rows: pa.Table) -> pa.UInt64Array | None:
    """The indices that sort rows by the table's sort order; None where they are sorted already, or have no order."""
    if not table.sort_order().fields:
        return None
    order = _indices(table, rows)
    steps = pc.pairwise_diff(order.cast(pa.int64()))
    return None if pc.all(pc.equal(steps, 1)).as_py() in (True, None) else order


def take(rows: pa.Table, indices: pa.UInt64Array) -> pa.Table:
    """Some rows. Taking from one chunk is twice as fast as from many; of nearly sorted rows only a few have to be joined."""
    first, last = pc.min_max(indices).values()
    within, indices = rows.slice(first.as_py(), last.as_py() - first.as_py() + 1), pc.subtract(indices, first)
    columns = [column.combine_chunks().take(indices) for column in within.columns]
    return pa.table(columns, schema=rows.schema)


def sorted_on_disk(table: Table, batches: Iterable[pa.RecordBatch], memory: int, folder: Path) -> Iterator[pa.RecordBatch]:
    """Any number of rows in the table's sort order, which it must have.

    Args:
        memory: bytes of rows to hold at most: half of it for a run and its sorted copy, or for what is merged.
        folder: where runs wait.
    """
    runs: list[_Run] = []
    for rows in _gathered(batches, memory // 4):
        order = sort_indices(table, rows)
        path = folder / f"run-{len(runs)}.arrow"
        _write(path, rows if order is None else take(rows, order), memory // 1024)
        runs.append(_Run(path, rows.schema))
    for rows in _merged(table, runs, memory // (4 * max(1, len(runs)))):
        size = max(1, min(_BATCH_ROWS, _BATCH_BYTES * rows.num_rows // max(1, rows.nbytes)))
        yield from rows.combine_chunks().to_batches(max_chunksize=size)


class _Run:
    """Sorted rows on disk, of which ``rows`` are in memory; ``more``: whether others follow."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._batches = path, iter(())
        self.rows, self.more, self._is_open = schema.empty_table(), True, False

    def fill(self, size: int) -> None:
        """Reads some bytes of rows, if none are in memory."""
        if self.rows.num_rows or not self.more:
            return
        if not self._is_open:
            self._batches, self._is_open = self._read(), True
        read, found = 0, list[pa.RecordBatch]()
        while self.more and read < size:
            if (batch := next(self._batches, None)) is None:
                self.more = False
            else:
                found.append(batch)
                read += batch.nbytes
        self.rows = pa.Table.from_batches(found, self.rows.schema)

    def _read(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(self._path), "rb") as source, pa.ipc.open_stream(source) as reader:
            yield from reader
        self._path.unlink()


def _merged(table: Table, runs: Sequence[_Run], size: int) -> Iterator[pa.Table]:
    """The rows of runs in order. Each has ``size`` bytes in memory."""
    while True:
        for run in runs:
            run.fill(size)
        runs = [run for run in runs if run.rows.num_rows]
        if not runs:
            return
        # What comes later of a run is not before the last of its rows here: up to the least of these all are here.
        bounding = [run for run in runs if run.more]
        lasts = [run.rows.slice(run.rows.num_rows - 1) for run in bounding]
        least = _indices(table, pa.concat_tables(lasts))[0].as_py() if lasts else None
        included = runs if least is None else _starting_before(table, runs, bounding[least], lasts[least])
        together = pa.concat_tables([run.rows for run in included])
        order, starts = _indices(table, together), _starts(included)
        if least is not None:
            bound = starts[included.index(bounding[least])] + bounding[least].rows.num_rows - 1
            order = order.slice(0, pc.index(order, pa.scalar(bound, order.type)).as_py() + 1)
        yield take(together, order)
        for run, start in zip(included, starts, strict=True):
            within = pc.and_(pc.greater_equal(order, start), pc.less(order, start + run.rows.num_rows))
            run.rows = run.rows.slice(pc.sum(within, min_count=0).as_py())


def _starting_before(table: Table, runs: Sequence[_Run], bounding: _Run, bound: pa.Table) -> list[_Run]:
    """The runs that have rows before a row; the run that has it."""
    order = _indices(table, pa.concat_tables([bound, *(run.rows.slice(0, 1) for run in runs)])).to_pylist()
    before = {index - 1 for index in order[: order.index(0)]}
    return [run for index, run in enumerate(runs) if run is bounding or index in before]


def _starts(runs: Sequence[_Run]) -> list[int]:
    found = [0]
    for run in runs:
        found.append(found[-1] + run.rows.num_rows)
    return found[:-1]


def _gathered(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    group, held = list[pa.RecordBatch](), 0
    for batch in batches:
        group.append(batch)
        held += batch.nbytes
        if held >= size:
            yield pa.Table.from_batches(group)
            group, held = [], 0
    if group:
        yield pa.Table.from_batches(group)


def _write(path: Path, rows: pa.Table, size: int) -> None:
    count = max(1, size * rows.num_rows // max(1, rows.nbytes))
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows, max_chunksize=count)


def _indices(table: Table, rows: pa.Table) -> pa.UInt64Array:
    """The indices that sort rows by the table's sort order; those of equal rows stay in their order.

    Arrow places nulls for all keys alike and Iceberg for each field, so nulls are keys of their own; so are
    NaNs, which are larger than any number: https://iceberg.apache.org/spec/#sorting
    """
    columns: list[tuple[pa.ChunkedArray, str]] = []
    for field in table.sort_order().fields:
        column = storage(rows.column(table.schema().find_field(field.source_id).name))
        direction = "ascending" if field.direction == SortDirection.ASC else "descending"
        if column.null_count:
            columns.append((column.is_null(), "descending" if field.null_order == NullOrder.NULLS_FIRST else "ascending"))
        if pa.types.is_floating(column.type):
            columns.append((pc.is_nan(column), direction))
        columns.append((column, direction))
    keys = pa.table([column for column, _ in columns], names=[str(index) for index in range(len(columns))])
    return pc.sort_indices(keys, sort_keys=[(str(index), direction) for index, (_, direction) in enumerate(columns)])
