"""The writer: a stream of Arrow batches becomes sorted Parquet files of the target size, in bounded memory.

Batches are collected per partition. What is enough for one file is sorted, encoded and uploaded by one of two
threads while the next rows are read. Where rows of many partitions come mixed, the largest collections wait on
local disk, so that files still reach their size. Nothing is visible before the commit (``commit.py``).
"""

from __future__ import annotations

import itertools
import math
import tempfile
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionFieldValue
from pyiceberg.table import Table, TableProperties
from pyiceberg.typedef import Record

from lakehouse.arrow_types import arrow_schema_of
from lakehouse.data_file import DataFileEncoder, storage
from lakehouse.partition_rows import PartitionKey, PartitionRows
from lakehouse.sorting import sort_indices, take

_ENCODERS = 2
# Of a row group that is written as its rows come.
_ROW_GROUP_ROWS, _ROW_GROUP_BYTES = 131_072, 32 * 1024 * 1024


class DataFileWriter:
    """Writes a table's data files from batches in the table's Arrow schema.

    Use it as a context manager and call ``finish`` inside; leaving without ``finish`` deletes what was written.

    Args:
        memory: bytes of rows to hold at most, in collections and in encoders together.
        hidden: columns without bounds in the metadata, besides those that the table's properties name.
    """

    def __init__(self, table: Table, memory: int, hidden: Collection[str] = ()) -> None:
        self._table = table
        self._metadata = table.metadata
        self._schema = table.schema()
        self._arrow_schema = arrow_schema(table)
        target = table.properties.get(TableProperties.WRITE_TARGET_FILE_SIZE_BYTES)
        self._target = int(target or TableProperties.WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT)
        # A third of the memory is for collections, a third for each encoder: a file's rows, and copies of some of them.
        self._collect_limit = memory // 3
        self._file_limit = memory // (2 * _ENCODERS)
        self._encoder = DataFileEncoder(table, hidden)
        self._collections: dict[tuple[Any, ...], PartitionRows] = {}
        self._transforms = [
            (
                field,
                self._schema.find_field(field.source_id).name,
                field.transform.pyarrow_transform(self._schema.find_type(field.source_id)),
            )
            for field in table.spec().fields
        ]
        self._encoders = ThreadPoolExecutor(_ENCODERS, thread_name_prefix="encoder")
        self._slots = threading.Semaphore(_ENCODERS)
        self._futures: list[Future[DataFile | None]] = []
        self._locations: list[str] = []
        self._spill = tempfile.TemporaryDirectory(prefix="lakehouse-spill-")
        self._counter = itertools.count()
        self._write_id = uuid.uuid4()
        self._clock = 0
        self._arrow_bytes = 0
        self._file_bytes = 0
        self._finished = False

    def __enter__(self) -> DataFileWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._encoders.shutdown(wait=True, cancel_futures=True)
        self._spill.cleanup()
        if not self._finished:
            delete_files(self._table, self._locations)

    def write(self, batch: pa.RecordBatch) -> None:
        """Takes rows in. Blocks while both encoders are busy and another file is full."""
        # A batch may be a whole table: taken in parts, none of which fills a file.
        parts = 1 + 4 * batch.nbytes // self._bytes_per_file()
        size = max(1, -(-batch.num_rows // parts))
        for start in range(0, batch.num_rows, size):
            self._collect(batch.slice(start, size))

    def _collect(self, batch: pa.RecordBatch) -> None:
        self._clock += batch.nbytes
        for key, rows in self._split(batch):
            collection = self._collections.get(key)
            if collection is None:
                collection = self._collections[key] = PartitionRows(self._partition_key(key))
            collection.add(rows, self._clock)
        for key, collection in list(self._collections.items()):
            # Input mostly comes in the order of time: a partition that gets no more rows is complete.
            cold = self._clock - collection.touched > self._collect_limit // 4
            if collection.bytes >= (self._file_limit // 16 if cold else self._bytes_per_file()):
                self._encode(self._collections.pop(key))
        self._keep_within_memory()

    def rewrite(self, file: DataFile, batches: Iterator[pa.RecordBatch]) -> None:
        """Takes in rows of one of the table's data files, in their order there; they become a file of their own.

        Where that file is of another partition spec or sort order, they go the way of all rows. ``batches`` is read in
        another thread.
        """
        layout = (self._metadata.default_spec_id, self._metadata.default_sort_order_id or None)
        if (file.spec_id, file.sort_order_id or None) != layout:
            for batch in batches:
                self.write(batch)
            return
        self.write_sorted(file.partition, batches)

    def write_sorted(self, partition: Record, batches: Iterator[pa.RecordBatch]) -> None:
        """Takes in rows of one partition, in the table's sort order; they become one file, whatever its size.

        ``batches`` is read in another thread.
        """
        key = PartitionKey.of(partition, self._table.spec(), self._schema) if self._transforms else None
        self._submit(self._rewrite_file, key, partition, batches)

    def finish(self) -> list[DataFile]:
        """Writes what still waits and returns every file. Raises what an encoder raised."""
        for collection in self._collections.values():
            self._encode(collection)
        self._collections = {}
        files = [file for future in self._futures if (file := future.result()) is not None]
        self._finished = True
        return files

    def _bytes_per_file(self) -> int:
        """How many bytes of Arrow make a file of the target size, by the compression seen so far."""
        ratio = self._file_bytes / self._arrow_bytes if self._arrow_bytes else 1 / 3
        return min(int(self._target / ratio), self._file_limit)

    def _keep_within_memory(self) -> None:
        in_memory = sum(collection.memory for collection in self._collections.values())
        if in_memory <= self._collect_limit:
            return
        for collection in sorted(self._collections.values(), key=lambda found: (found.touched, -found.memory)):
            if not collection.memory:
                continue
            in_memory -= collection.memory
            collection.spill(Path(self._spill.name) / f"{next(self._counter)}.arrow")
            if in_memory <= self._collect_limit // 2:
                return

    def _split(self, batch: pa.RecordBatch) -> Iterator[tuple[tuple[Any, ...], pa.RecordBatch]]:
        """The batch's rows by their partition values, without a copy where all have the same."""
        if not self._transforms:
            yield (), batch
            return
        values = [transform(batch.column(name)) for _, name, transform in self._transforms]
        encoded = [storage(column).dictionary_encode("encode") for column in values]
        if all(len(column.dictionary) == 1 for column in encoded):
            yield tuple(_key(column.dictionary[0]) for column in encoded), batch
            return
        groups = encoded[0].indices.cast(pa.int64())
        for column in encoded[1:]:
            groups = pc.add(pc.multiply(groups, len(column.dictionary)), column.indices.cast(pa.int64()))
            groups = groups.dictionary_encode().indices.cast(pa.int64())  # small again, whatever their number
        order = pc.sort_indices(groups)
        sorted_groups = groups.take(order)
        start = 0
        for run in pc.run_end_encode(sorted_groups).run_ends.to_pylist():
            indices = order.slice(start, run - start)
            first = indices[0].as_py()
            yield tuple(_key(column[first]) for column in values), batch.take(indices)
            start = run

    def _partition_key(self, values: tuple[Any, ...]) -> PartitionKey | None:
        if not self._transforms:
            return None
        fields = [PartitionFieldValue(field, value) for (field, _, _), value in zip(self._transforms, values, strict=True)]
        return PartitionKey(fields, self._table.spec(), self._schema)

    def _encode(self, collection: PartitionRows) -> None:
        self._submit(self._encode_file, collection.key, collection)

    def _submit(self, write: Callable[..., DataFile | None], key: PartitionKey | None, *arguments: Any) -> None:
        """Has one of the encoders write a file."""
        self._slots.acquire()
        location = self._table.location_provider().new_data_location(f"{next(self._counter):05d}-{self._write_id}.parquet", key)
        self._locations.append(location)

        def run() -> DataFile | None:
            try:
                return write(*arguments, location)
            finally:
                self._slots.release()

        self._futures.append(self._encoders.submit(run))
        for future in self._futures:
            if future.done():
                future.result()  # raises here, not only at the end, when an encoder failed

    def _encode_file(self, collection: PartitionRows, location: str) -> DataFile:
        return self._write_file(collection.take(), collection.key, location)

    def _rewrite_file(self, partition: Record, batches: Iterator[pa.RecordBatch], location: str) -> DataFile | None:
        rows = _row_groups(batches)
        if (first := next(rows, None)) is None:
            return None
        return self._encoder.encode(itertools.chain([first], rows), first, location, partition)

    def _write_file(self, rows: pa.Table, key: PartitionKey | None, location: str) -> DataFile:
        order, row_count, byte_count = sort_indices(self._table, rows), rows.num_rows, rows.nbytes
        group = min(self._encoder.row_group_rows, max(1, row_count * self._file_limit // (8 * max(1, byte_count))))
        parts = (
            rows.slice(start, group) if order is None else take(rows, order.slice(start, group)) for start in range(0, row_count, group)
        )
        file = self._encoder.encode(parts, rows, location, key.partition if key else Record())
        self._arrow_bytes, self._file_bytes = self._arrow_bytes + byte_count, self._file_bytes + file.file_size_in_bytes
        return file


def _row_groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows of batches in tables that make a row group each: neither wide nor many."""
    group, rows, size = list[pa.RecordBatch](), 0, 0
    for batch in batches:
        group, rows, size = [*group, batch], rows + batch.num_rows, size + batch.nbytes
        if rows >= _ROW_GROUP_ROWS or size >= _ROW_GROUP_BYTES:
            yield pa.Table.from_batches(group)
            group, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(group)


def _key(value: pa.Scalar) -> Any:
    """A partition value; all NaNs are the one that equals itself, by identity."""
    key = value.as_py()
    return math.nan if key != key else key


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of a table's rows, every field with its Iceberg field id."""
    return arrow_schema_of(table.schema())


def write_files(table: Table, batches: Iterable[pa.RecordBatch], memory: int, hidden: Collection[str] = ()) -> list[DataFile]:
    """Writes ``batches``, which have the table's Arrow schema, as data files that no snapshot names yet."""
    with DataFileWriter(table, memory, hidden) as writer:
        for batch in batches:
            writer.write(batch)
        return writer.finish()


def delete_files(table: Table, locations: Iterable[str]) -> None:
    """Deletes files that are certainly not in any snapshot. What cannot be deleted is left to maintenance."""
    for location in locations:
        try:
            table.io.delete(location)
        except OSError:
            continue
