"""The log of moments at which a record opened no version, on its way to Spark and back.

Spark reads the table's files through Iceberg; the log is no table. So it goes through this process, a part at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import pyarrow as pa

from lakehouse.changes import ChangeRecords
from lakehouse.engines.spark.merge_sql import SILENT
from lakehouse.engines.spark.stage import identifier
from lakehouse.merge_rows import with_values
from lakehouse.segments import SegmentLog

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# Of so many keys the log's rows are picked here, as lakehouse.merge does it.
_FEW_KEYS = 50_000
# Bytes of rows that are in this process at a time.
_PART = 64 * 1024 * 1024
# Rows that come back at a time.
_ROWS = 1_000_000


def known_moments(
    session: SparkSession, log: SegmentLog, records: ChangeRecords, changes: DataFrame, keys: DataFrame, count: int
) -> Iterator[DataFrame]:
    """The log's moments of keys, as rows of the merge: in parts, all but the last of which wait on the executors.

    Args:
        changes: with a column of each type that is needed: the key's, and ``_at``.
        keys: distinct; count: how many they are.
    """
    from pyspark.sql.functions import col, lit

    if log.location is None:
        return
    values = _values(keys, records) if count <= _FEW_KEYS else {}
    names = [*records.key, "_at"]
    uuids = {name for name in records.key if isinstance(records.schema.field(name).type, pa.UuidType)}
    columns = [_text_of_uuid(name) if name in uuids else col(identifier(name)).cast(changes.schema[name].dataType) for name in names]
    batches, size = list[pa.RecordBatch](), 0

    def part() -> DataFrame:
        rows = pa.Table.from_batches(batches).cast(_sent(batches[0].schema))
        logged = session.createDataFrame(rows).select(*(value.alias(name) for value, name in zip(columns, names, strict=True)))
        return logged.join(keys, records.key, "left_semi").withColumn("_kind", lit(SILENT))

    for batch in log.batches():
        found = with_values(batch.rename_columns(names), values)
        if found.num_rows:
            batches.append(found)
            size += found.nbytes
        if size >= _PART:
            yield part().localCheckpoint()
            batches, size = [], 0
    if batches:
        yield part()


def write_moments(log: SegmentLog, records: ChangeRecords, moments: DataFrame, count: int) -> str | None:
    """Adds ``count`` moments to the log, and returns the location of the new segment; None where there are none."""
    if not count:
        return None
    columns = [
        f"unhex(replace({identifier(name)}, '-', '')) as {identifier(name)}"
        if isinstance(records.schema.field(name).type, pa.UuidType)
        else identifier(name)
        for name in records.key
    ]
    parts = -(-count // _ROWS)

    def batches() -> Iterator[pa.RecordBatch]:
        key = ", ".join(map(identifier, records.key))
        for number in range(parts):
            rows = moments.where(f"pmod(xxhash64({key}), {parts}) = {number}").selectExpr(*columns, "_at").toArrow()
            yield from rows.rename_columns(log.schema.names).to_batches()

    return log.extend(batches(), count)


def _values(keys: DataFrame, records: ChangeRecords) -> dict[str, pa.Array]:
    """The values of each column of the key, as the log has them."""
    found = keys.toArrow()
    values = {name: found.column(name).unique() for name in records.key}
    return {name: _as_logged(value, records.schema.field(name).type) for name, value in values.items()}


def _as_logged(values: pa.Array, type_: pa.DataType) -> pa.Array:
    if isinstance(type_, pa.UuidType):
        return pa.array([UUID(text).bytes for text in values.to_pylist()], pa.binary(16))
    return values.cast(type_)


def _sent(schema: pa.Schema) -> pa.Schema:
    """Spark has no bytes of a fixed length."""
    return pa.schema([field.with_type(pa.binary()) if pa.types.is_fixed_size_binary(field.type) else field for field in schema])


def _text_of_uuid(name: str) -> Column:
    from pyspark.sql.functions import expr

    return expr(f"regexp_replace(lower(hex({identifier(name)})), '(.{{8}})(.{{4}})(.{{4}})(.{{4}})', '$1-$2-$3-$4-')")
