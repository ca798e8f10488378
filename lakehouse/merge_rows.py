"""Rows of a merge in Arrow: numbered as in their data file, picked by these numbers or by values, and in types that DuckDB gives back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.values import without_uuids

BATCH_ROWS = 131_072


def with_values(rows: pa.RecordBatch, values: dict[str, pa.Array]) -> pa.RecordBatch:
    """The rows in which each column has one of the values."""
    for name, found in values.items():
        rows = rows.filter(pc.is_in(rows.column(name), value_set=found))
    return rows


def at_positions(batches: Iterable[pa.RecordBatch], positions: pa.Int64Array) -> Iterator[tuple[pa.RecordBatch, int, pa.Int64Array]]:
    """Each batch of a file, the number of its first row in it, and which of its rows are at the positions, which are sorted."""
    start = 0
    for batch in batches:
        count = pc.sum(pc.less(positions, start + batch.num_rows), min_count=0).as_py()
        yield batch, start, pc.subtract(positions.slice(0, count), start)
        positions, start = positions.slice(count), start + batch.num_rows


def numbers(start: int, count: int) -> pa.Int64Array:
    """So many numbers from ``start`` on."""
    return pc.add(_from_zero(max(count, BATCH_ROWS)).slice(0, count), start)


@cache
def _from_zero(count: int) -> pa.Int64Array:
    return pa.array(range(count), pa.int64())


def plain_rows(columns: Sequence[pa.Array], names: Sequence[str]) -> pa.RecordBatch:
    """A batch in types that DuckDB gives back as they are: it makes text of Arrow's uuids."""
    batch = pa.RecordBatch.from_arrays(list(columns), list(names))
    return batch.cast(plain(batch.schema))


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema in these types."""
    return pa.schema([pa.field(field.name, without_uuids(field.type)) for field in schema])
