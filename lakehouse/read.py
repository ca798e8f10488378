"""A table's rows as Arrow, one data file at a time, whatever their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table

from lakehouse.write import arrow_schema


def rows_of(table: Table, tasks: Iterable[FileScanTask], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """All rows of some of a table's files, as Arrow batches with the table's columns, or some of them, in its order."""
    names = [field.name for field in table.schema().fields if columns is None or field.name in columns]
    schema = pa.schema([field for field in arrow_schema(table) if field.name in names])
    scan = ArrowScan(table.metadata, table.io, table.schema().select(*names), AlwaysTrue())
    for task in tasks:  # given all at once, PyIceberg reads them all at once
        with table.io.new_input(task.file.file_path).open() as stream, pq.ParquetFile(stream) as file:
            if not task.delete_files and holds_schema(file.schema_arrow, schema):
                # PyIceberg would hold the whole file, and give a null list of structs as an empty one.
                yield from file.iter_batches(columns=names)
                continue
        yield from scan.to_record_batches([task])


def holds_schema(file: pa.Schema, schema: pa.Schema) -> bool:
    """Whether a data file has these columns as they are, in this order, nested ones and field ids included."""
    found = pa.schema([field for field in file if field.name in schema.names])
    return found.equals(schema) and [*map(_field_ids, found)] == [*map(_field_ids, schema)]


def _field_ids(field: pa.Field) -> list[Any]:
    """The field's id, and those of the fields nested in it."""
    nested: list[pa.Field] = []
    if pa.types.is_struct(field.type):
        nested = list(field.type)
    elif pa.types.is_map(field.type):
        nested = [field.type.key_field, field.type.item_field]
    elif pa.types.is_list(field.type):
        nested = [field.type.value_field]
    return [(field.metadata or {}).get(b"PARQUET:field_id"), *map(_field_ids, nested)]
