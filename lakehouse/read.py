"""A table's rows as Arrow, one data file at a time, whatever their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table

from lakehouse.write import arrow_schema

_BATCH_ROWS = 131_072


def ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches, of which the next is made by another thread while one is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as reader:
        upcoming = reader.submit(next, batches, None)
        while (batch := upcoming.result()) is not None:
            upcoming = reader.submit(next, batches, None)
            yield batch


class CachedRows:
    """Rows of a table's files that are read several times: those of the first files stay in memory, and are decoded once.

    Args:
        memory: bytes of rows to keep.
    """

    # How many times its size in Parquet a file's rows may take; a larger factor only wastes a reading.
    _EXPANSION = 4

    def __init__(self, table: Table, memory: int) -> None:
        self._table, self._room = table, memory
        self._kept: dict[str, list[pa.RecordBatch]] = {}

    def of(self, task: FileScanTask, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """See ``rows_of``."""
        path = task.file.file_path
        if path not in self._kept and task.file.file_size_in_bytes * self._EXPANSION <= self._room:
            self._keep(task)
        if path in self._kept:
            yield from (batch if columns is None else batch.select(columns) for batch in self._kept[path])
        else:
            yield from rows_of(self._table, [task], columns)

    def _keep(self, task: FileScanTask) -> None:
        batches: list[pa.RecordBatch] = []
        for batch in rows_of(self._table, [task]):
            batches.append(batch)
            self._room -= batch.nbytes
            if self._room < 0:
                return
        self._kept[task.file.file_path] = batches


def rows_of(table: Table, tasks: Iterable[FileScanTask], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """All rows of some of a table's files, as Arrow batches with the table's columns, or some of them, in its order."""
    names = [field.name for field in table.schema().fields if columns is None or field.name in columns]
    schema = pa.schema([field for field in arrow_schema(table) if field.name in names])
    scan = ArrowScan(table.metadata, table.io, table.schema().select(*names), AlwaysTrue())
    for task in tasks:  # given all at once, PyIceberg reads them all at once
        with table.io.new_input(task.file.file_path).open() as stream, pq.ParquetFile(stream) as file:
            if not task.delete_files and holds_schema(file.schema_arrow, schema):
                # PyIceberg would hold the whole file, and give a null list of structs as an empty one.
                yield from ahead(file.iter_batches(_BATCH_ROWS, columns=names))
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
