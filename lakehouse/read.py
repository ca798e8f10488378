"""A table's rows as Arrow, one data file at a time, whatever their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.manifest import FileFormat
from pyiceberg.table import FileScanTask, Table
from pyiceberg.transforms import IdentityTransform

from lakehouse.write import arrow_schema

_FIRST_ROWS, _MIN_ROWS, _MAX_ROWS = 32_768, 256, 131_072
_BATCH_BYTES = 16 * 1024 * 1024


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
        kept = self._kept.get(task.file.file_path)
        if kept is None:
            return rows_of(self._table, [task], columns)
        return (batch if columns is None else batch.select(columns) for batch in kept)

    def batches_of(self, task: FileScanTask) -> int:
        """How many batches of a file are in memory; 0 where it is to be read."""
        return len(self._kept.get(task.file.file_path, ()))

    def keep(self, task: FileScanTask) -> None:
        """Reads a file into memory, if it fits."""
        if task.file.file_size_in_bytes * self._EXPANSION > self._room:
            return
        batches, size = list[pa.RecordBatch](), 0
        for batch in rows_of(self._table, [task]):
            batches.append(batch)
            size += batch.nbytes
            if size > self._room:
                return
        self._kept[task.file.file_path] = batches
        self._room -= size


def rows_of(table: Table, tasks: Iterable[FileScanTask], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """All rows of some of a table's files, as Arrow batches with the table's columns, or some of them, in its order."""
    names = [field.name for field in table.schema().fields if columns is None or field.name in columns]
    schema = pa.schema([field for field in arrow_schema(table) if field.name in names])
    for task in tasks:
        with ExitStack() as stack:
            if (file := _readable(table, task, schema, stack)) is not None:
                wanted = {_id(field) for field in schema}
                for batch in ahead(_batches(file, [field.name for field in file.schema_arrow if _id(field) in wanted])):
                    yield _project(batch, schema)
                continue
        # One file at a time: PyIceberg reads all that it is given at once, and holds them whole.
        yield from ArrowScan(table.metadata, table.io, table.schema().select(*names), AlwaysTrue()).to_record_batches([task])


def _readable(table: Table, task: FileScanTask, schema: pa.Schema, stack: ExitStack) -> pq.ParquetFile | None:
    """The file, if all that is wanted of its rows is in it: else rows are deleted, or it does not say which column is which."""
    if task.delete_files or task.file.file_format != FileFormat.PARQUET:
        return None
    file = stack.enter_context(pq.ParquetFile(stack.enter_context(table.io.new_input(task.file.file_path).open())))
    ids = [_id(field) for field in file.schema_arrow]
    partitions = table.specs()[task.file.spec_id].fields
    by_value = {part.source_id for part in partitions if isinstance(part.transform, IdentityTransform)}
    missing = [table.schema().find_field(field.name) for field in schema if _id(field) not in ids]
    # A column that a file lacks may have the value of its partition, or a default.
    elsewhere = any(field.field_id in by_value or field.initial_default is not None for field in missing)
    return None if elsewhere or not all(map(_has_ids, file.schema_arrow)) else file


def _batches(file: pq.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows in batches of some megabytes, however wide they are: as many rows as the last row group's width allows."""
    # Of the first group only its size in the file is known, in which a value that repeats stands once.
    first = file.metadata.row_group(0) if file.num_row_groups else None
    rows = min(_FIRST_ROWS, batch_rows(first.total_byte_size, first.num_rows)) if first else _FIRST_ROWS
    for group in range(file.num_row_groups):
        for batch in file.iter_batches(rows, row_groups=[group], columns=names):
            yield batch
            rows = batch_rows(batch.nbytes, batch.num_rows)


def batch_rows(size: int, rows: int) -> int:
    """How many rows a batch may have, if ``rows`` of them take ``size`` bytes."""
    return max(_MIN_ROWS, min(_MAX_ROWS, _BATCH_BYTES * rows // max(1, size)))


def holds_schema(file: pa.Schema, schema: pa.Schema) -> bool:
    """Whether a data file has these columns as they are, in this order, nested ones and field ids included."""
    found = pa.schema([field for field in file if field.name in schema.names])
    return found.equals(schema) and [*map(field_ids, found)] == [*map(field_ids, schema)]


def field_ids(field: pa.Field) -> list[Any]:
    """The field's id, and those of the fields nested in it."""
    return [_id(field), *map(field_ids, _children(field.type))]


def _id(field: pa.Field) -> bytes | None:
    return (field.metadata or {}).get(b"PARQUET:field_id")


def _has_ids(field: pa.Field) -> bool:
    return _id(field) is not None and all(map(_has_ids, _children(field.type)))


def _children(type_: pa.DataType) -> list[pa.Field]:
    if pa.types.is_struct(type_):
        return list(type_)
    if pa.types.is_map(type_):
        return [type_.key_field, type_.item_field]
    return [type_.value_field] if pa.types.is_list(type_) or pa.types.is_large_list(type_) else []


def _project(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows with the table's columns: what an older schema called them, or lacked, or held in narrower types.

    Source: https://iceberg.apache.org/spec/#column-projection
    """
    found = {_id(field): index for index, field in enumerate(batch.schema)}
    columns = [
        _as(batch.column(found[_id(field)]), batch.schema.field(found[_id(field)]), field)
        if _id(field) in found
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _as(values: pa.Array, found: pa.Field, wanted: pa.Field) -> pa.Array:
    """Values of a field of a file as those of the table's field with the same id."""
    if found.type == wanted.type and field_ids(found) == field_ids(wanted):
        return values
    if pa.types.is_struct(wanted.type):
        children = {_id(field): (child, field) for child, field in zip(values.flatten(), found.type, strict=True)}
        fields = list(wanted.type)
        arrays = [_as(*children[_id(field)], field) if _id(field) in children else pa.nulls(len(values), field.type) for field in fields]
        return pa.StructArray.from_arrays(arrays, fields=fields, mask=values.is_null())
    if pa.types.is_map(wanted.type):
        keys = _as(values.keys, found.type.key_field, wanted.type.key_field)
        items = _as(values.items, found.type.item_field, wanted.type.item_field)
        return pa.MapArray.from_arrays(_offsets(values), keys, items, type=wanted.type, mask=values.is_null())
    if pa.types.is_list(wanted.type):
        elements = _as(values.values, found.type.value_field, wanted.type.value_field)
        offsets = _offsets(values).cast(pa.int32())
        return pa.ListArray.from_arrays(offsets, elements, type=wanted.type, mask=values.is_null())
    return values.cast(wanted.type)


def _offsets(values: pa.Array) -> pa.Array:
    """Where each list or map begins; a copy, as Arrow takes none that is a part of a longer one together with a mask."""
    return pc.add(values.offsets, 0)
