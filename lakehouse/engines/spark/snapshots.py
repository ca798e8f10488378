"""The rows of a table's newest snapshot, as Spark's SQL reads them: with the columns that the table has now."""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.table import Table

from lakehouse.engines.spark.stage import identifier, table_in_spark
from lakehouse.engines.spark.values import sql_type
from lakehouse.settings import LakehouseSettings
from lakehouse.write import arrow_schema


def is_pinned(table: Table) -> bool:
    """Whether ``rows_sql`` reads the snapshot that is the newest of ``table``, whatever was committed since it was loaded.

    Iceberg gives a snapshot the columns of its time, and looks for files by the columns of today: a table that evolved since is
    read without a snapshot, and whoever reads it finds out whether another came meanwhile.
    """
    snapshot = table.current_snapshot()
    return snapshot is None or snapshot.schema_id == table.metadata.current_schema_id


def rows_sql(settings: LakehouseSettings, table: Table, names: Sequence[str], extra: Sequence[str] = ()) -> str:
    """A query for the rows of a table.

    Args:
        names: columns of the table's schema.
        extra: columns of Iceberg's metadata, such as ``_file``.
    """
    snapshot, types = table.current_snapshot(), arrow_schema(table)
    if snapshot is None:
        nothing = [f"cast(null as {sql_type(types.field(name).type)}) as {identifier(name)}" for name in names]
        return f"select {', '.join([*nothing, *(f'cast(null as string) as {name}' for name in extra)])} where false"
    version = f" version as of {snapshot.snapshot_id}" if is_pinned(table) else ""
    return f"select {', '.join([*map(identifier, names), *extra])} from {table_in_spark(settings, table)}{version}"
