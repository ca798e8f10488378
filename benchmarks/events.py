"""Event rows for the benchmarks: 8 columns, about 156 bytes a row in Arrow, in nearly the order of time, as streams come."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pyarrow as pa

from lakehouse.template import Column, PartitionField, SortField, TableTemplate

BATCH_ROWS = 262_144
DAYS = 9
TARGET_FILE_SIZE = 64 * 1024 * 1024
_START = 1_704_067_200_000_000  # 2024-01-01, microseconds
_DAY = 86_400_000_000
_JITTER = 3_600_000_000
_POOL = 8


def template() -> TableTemplate:
    """The table that the rows fit: partitioned by day, sorted by time."""
    types = {
        "event_id": "string",
        "event_type": "string",
        "event_timestamp": "timestamptz",
        "user_id": "string",
        "session_id": "string",
        "payload": "string",
        "amount": "double",
        "items": "int",
    }
    return TableTemplate(
        name="events",
        namespace="benchmark",
        columns=[Column(name=name, type=type_, required=name in ("event_id", "event_timestamp")) for name, type_ in types.items()],
        identifier=["event_id"],
        partition_spec=[PartitionField(column="event_timestamp", transform="day")],
        sort_order=[SortField(column="event_timestamp")],
        properties={"write.parquet.compression-codec": "zstd", "write.target-file-size-bytes": str(TARGET_FILE_SIZE)},
    )


@cache
def _pool() -> list[dict[str, pa.Array]]:
    """A few batches of random values, made once: the streams repeat them with other times, so that making rows costs little."""
    dice = np.random.default_rng(7)
    return [_values(dice) for _ in range(_POOL)]


def _values(dice: np.random.Generator) -> dict[str, pa.Array]:
    def text(pattern: str, *numbers: np.ndarray) -> pa.Array:
        return pa.array([pattern % values for values in zip(*(column.tolist() for column in numbers), strict=True)], pa.string())

    def draw(limit: int) -> np.ndarray:
        return dice.integers(0, limit, BATCH_ROWS)

    return {
        "event_id": text("%016x%016x", draw(2**62), draw(2**62)),
        "event_type": pa.array(["view", "click", "purchase", "signup"]).take(pa.array(draw(4))),
        "user_id": text("user-%08d", draw(1_000_000)),
        "session_id": text("%016x", draw(2**62)),
        "payload": text('{"page": "/products/%d", "ref": "campaign-%d"}', draw(50_000), draw(500)),
        "amount": pa.array(np.round(dice.gamma(2, 20, BATCH_ROWS), 2)),
        "items": pa.array(draw(20).astype("int32")),
        "jitter": pa.array(draw(_JITTER)),
    }


def events(rows: int) -> Iterator[pa.RecordBatch]:
    """``rows`` rows over nine days, up to an hour out of order."""
    schema = template().arrow_schema
    step = DAYS * _DAY / rows
    for number, start in enumerate(range(0, rows, BATCH_ROWS)):
        values = _pool()[number % _POOL]
        times = _START + (np.arange(start, start + BATCH_ROWS) * step).astype("int64") + values["jitter"].to_numpy()
        times = np.minimum(times, _START + DAYS * _DAY - 1)
        columns = {**values, "event_timestamp": pa.array(times, pa.int64()).cast(pa.timestamp("us", tz="UTC"))}
        # Copied: a reader's batches do not share their memory either.
        copies = [pa.concat_arrays([columns[name], columns[name].slice(0, 0)]) for name in schema.names]
        yield pa.RecordBatch.from_arrays(copies, schema=schema).slice(0, min(BATCH_ROWS, rows - start))
