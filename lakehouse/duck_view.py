"""A table's snapshot for another process to query: a DuckDB file of its own, with the rows as a view of the table's name.

Data files on local disk are read where they are, by field id, so that renamed, added and widened columns are right
(https://iceberg.apache.org/spec/#column-projection). The rows of others, of which only the columns that are needed, are
copied into the file, one data file at a time: of object stores, with deleted rows, or which do not say which column is which.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import FileFormat
from pyiceberg.table import FileScanTask, Table
from pyiceberg.transforms import IdentityTransform

from lakehouse.duck import GLOB, quoted, sql_text
from lakehouse.read import field_ids, rows_of
from lakehouse.write import arrow_schema

_ID = b"PARQUET:field_id"
_LOADED = "__loaded"
_WIDENINGS = {
    (pa.int32(), pa.int64()),
    (pa.float32(), pa.float64()),
    (pa.large_string(), pa.string()),
    (pa.large_binary(), pa.binary()),
}


def write_view(
    path: Path,
    table: Table,
    name: str,
    *,
    snapshot_id: int | None = None,
    columns: Collection[str] | None = None,
    without_data: Collection[str] = (),
    memory: int,
) -> None:
    """Makes the file ``path``, in which ``name`` has the table's rows with the columns that the table has now.

    Args:
        snapshot_id: whose rows; without it, those of the table's current snapshot.
        columns: only these; without it, all.
        without_data: columns that are there, too, with their types, and null in every row: nothing of them is read or copied.
        memory: bytes that DuckDB may hold while rows are copied.

    Raises:
        ValueError: the table has no such snapshot, one that expired perhaps, or no such column.
    """
    if snapshot_id is not None and table.snapshot_by_id(snapshot_id) is None:
        # PyIceberg finds no rows in it, and checks of no rows pass.
        raise ValueError(f"{'.'.join(table.name())} has no snapshot {snapshot_id}")
    every = arrow_schema(table)
    if unknown := sorted({*(columns or ()), *without_data} - set(every.names)):
        raise ValueError(f"{'.'.join(table.name())} has no column {', '.join(unknown)}")
    schema = pa.schema([field for field in every if columns is None or field.name in columns])
    in_place, others = list[FileScanTask](), list[FileScanTask]()
    for task in table.scan(snapshot_id=snapshot_id).plan_files():
        (in_place if _is_readable(table, task, schema) else others).append(task)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory // 1024}KiB",
        "autoinstall_known_extensions": False,
    }
    with duckdb.connect(str(path), config=config) as connection:
        connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")  # it would go to standard output
        types = _types(connection, every)
        sources = [_reading(in_place, schema, types)] if in_place else []
        if others or not in_place:
            _load(connection, table, others, schema)
            sources.append(quoted(_LOADED))
        shown = ", ".join(
            quoted(field) if field in schema.names else f"cast(null as {types[field]}) as {quoted(field)}"
            for field in every.names
            if field in schema.names or field in without_data
        )
        rows = " union all ".join(f"select {shown} from {source}" for source in sources)
        connection.execute(f"create view {quoted(name)} as {rows}")


def _is_readable(table: Table, task: FileScanTask, schema: pa.Schema) -> bool:
    """Whether DuckDB gets from the file itself what the table says of its rows."""
    scheme, _, path = PyArrowFileIO.parse_location(task.file.file_path)
    if scheme != "file" or task.delete_files or task.file.file_format != FileFormat.PARQUET or GLOB & set(path):
        return False
    found = {(field.metadata or {}).get(_ID): field for field in pq.read_schema(path)}
    if None in found:
        return False
    by_value = {part.source_id for part in table.specs()[task.file.spec_id].fields if isinstance(part.transform, IdentityTransform)}
    for field in schema:
        held = found.get(field.metadata[_ID])
        if held is None:
            declared = table.schema().find_field(field.name)
            # Its value may be that of the partition, or a default.
            if declared.field_id in by_value or declared.initial_default is not None:
                return False
        # DuckDB maps ids of columns, not of what is nested in them.
        elif not (field_ids(held) == field_ids(field) if held.type == field.type else _widens(held.type, field.type)):
            return False
    return True


def _widens(held: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether DuckDB casts a column to another type as Iceberg does.

    It does not where other writers hold a timestamp or a uuid in another way than the table's own.
    """
    if pa.types.is_decimal(held) and pa.types.is_decimal(wanted):
        return bool(held.scale == wanted.scale and held.precision <= wanted.precision)
    return (held, wanted) in _WIDENINGS


def _types(connection: duckdb.DuckDBPyConnection, schema: pa.Schema) -> dict[str, str]:
    """DuckDB's types of the columns."""
    connection.register("__empty", pa.RecordBatchReader.from_batches(schema, []))
    try:
        return {row[0]: row[1] for row in connection.execute("describe from __empty").fetchall()}
    finally:
        connection.unregister("__empty")


def _reading(tasks: Sequence[FileScanTask], schema: pa.Schema, types: dict[str, str]) -> str:
    paths = ", ".join(sql_text(PyArrowFileIO.parse_location(task.file.file_path)[2]) for task in tasks)
    columns = ", ".join(
        f"{int(field.metadata[_ID])}: {{name: {sql_text(field.name)}, type: {sql_text(types[field.name])}, default_value: NULL}}"
        for field in schema
    )
    return f"read_parquet([{paths}], schema = MAP {{{columns}}}, hive_partitioning = false)"


def _load(connection: duckdb.DuckDBPyConnection, table: Table, tasks: Sequence[FileScanTask], schema: pa.Schema) -> None:
    """Copies rows into a table of the file, a data file at a time."""

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in rows_of(table, tasks, schema.names):
            yield batch.cast(schema)

    connection.register("__rows", pa.RecordBatchReader.from_batches(schema, batches()))
    try:
        connection.execute(f"create table {quoted(_LOADED)} as from __rows")
    finally:
        connection.unregister("__rows")
