"""Conditions on the table's columns that hold for all rows that are wanted, so that Iceberg leaves out files and row groups.

They put values into Spark's plans, which more people read than rows: only of columns whose bounds are in the metadata anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import DateType, IcebergType, IntegerType, LongType, TimestampType, TimestamptzType

from lakehouse.engines.spark.stage import identifier

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# Up to so many keys are named one by one. Iceberg looks at the bounds of files for no more values than these.
_FEW = 200


def within_keys(keys: DataFrame, shown: Sequence[pa.Field]) -> tuple[int, Column]:
    """How many keys there are, and a condition that holds for all of them.

    Args:
        keys: distinct.
        shown: columns of the key whose values may be shown.
    """
    from pyspark.sql import functions

    columns = [field.name for field in shown if _has_order(field.type)]
    if len(few := keys.limit(_FEW + 1).collect()) <= _FEW:
        return len(few), _all(functions.col(identifier(name)).isin(sorted({row[name] for row in few})) for name in columns)
    bounds = [functions.array(functions.min(identifier(name)), functions.max(identifier(name))) for name in columns]
    [found] = keys.agg(functions.count("*"), *bounds).collect()
    return found[0], _all(functions.col(identifier(name)).between(*found[1 + index]) for index, name in enumerate(columns))


def within_files(table: Table, files: Sequence[DataFile]) -> Column:
    """A condition that holds for all rows of some files, by the bounds of the columns that the table is partitioned or sorted by."""
    from pyspark.sql import functions

    sources = {part.source_id for spec in table.specs().values() for part in spec.fields}
    sources |= {part.source_id for part in table.sort_order().fields}
    conditions: list[Column] = []
    for field in table.schema().fields:
        if field.field_id in sources and (bounds := _bounds(field.field_id, field.field_type, files)) is not None:
            lower, upper = (_moment(bound, field.field_type) for bound in bounds)
            conditions.append(functions.col(identifier(field.name)).between(lower, upper))
    return _all(conditions)


def _all(conditions: Iterable[Column]) -> Column:
    from pyspark.sql.functions import lit

    return reduce(lambda one, other: one & other, conditions, lit(True))


def _bounds(field_id: int, type_: IcebergType, files: Sequence[DataFile]) -> tuple[int, int] | None:
    """The least and the greatest value of a column in files; None where it is not known, or some are null."""
    if not isinstance(type_, IntegerType | LongType | DateType | TimestampType | TimestamptzType):
        return None
    bounds = list[int]()
    for file in files:
        lower, upper = (file.lower_bounds or {}).get(field_id), (file.upper_bounds or {}).get(field_id)
        if lower is None or upper is None or (file.null_value_counts or {}).get(field_id) != 0:
            return None
        # An int that became a long is written in four bytes.
        bounds += (int.from_bytes(bound, "little", signed=True) for bound in (lower, upper))
    return min(bounds), max(bounds)


def _moment(value: int, type_: IcebergType) -> Column:
    from pyspark.sql import functions

    if isinstance(type_, DateType):
        return functions.date_from_unix_date(functions.lit(value))
    if isinstance(type_, TimestamptzType | TimestampType):
        moment = functions.timestamp_micros(functions.lit(value))
        return moment if isinstance(type_, TimestamptzType) else moment.cast("timestamp_ntz")
    return functions.lit(value)


def _has_order(type_: pa.DataType) -> bool:
    """Whether Spark and Iceberg put values of a type into the same order, and take one for the other."""
    return pa.types.is_integer(type_) or pa.types.is_date32(type_) or pa.types.is_string(type_)
