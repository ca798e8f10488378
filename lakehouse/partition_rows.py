"""Rows of one partition that wait for enough company to fill a file. See ``write.py``."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pyiceberg.partitioning import PartitionKey as IcebergPartitionKey
from pyiceberg.partitioning import PartitionSpec, partition_record_value
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record


class PartitionKey(IcebergPartitionKey):
    """PyIceberg's, but also for several transforms of one column."""

    @cached_property
    def partition(self) -> Record:
        return Record(*(partition_record_value(value.field, value.value, self.schema) for value in self.field_values))

    @classmethod
    def of(cls, partition: Record, spec: PartitionSpec, schema: Schema) -> PartitionKey:
        """The key of a partition whose values are a data file's already."""
        key = cls([], spec, schema)
        key.__dict__["partition"] = partition
        return key


class PartitionRows:
    """Rows of one partition that wait for enough company to fill a file: in memory, or spilled to disk."""

    def __init__(self, key: PartitionKey | None) -> None:
        self.key = key
        self.batches: list[pa.RecordBatch] = []
        self.spilled: list[Path] = []
        self.memory = 0
        self.bytes = 0
        self.touched = 0

    def add(self, batch: pa.RecordBatch, clock: int) -> None:
        """Adds rows; ``clock`` counts the bytes of all rows seen so far."""
        self.touched = clock
        self.batches.append(batch)
        self.memory += batch.nbytes
        self.bytes += batch.nbytes

    def spill(self, path: Path) -> None:
        """Moves the rows in memory to a new file."""
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, self.batches[0].schema, options=options) as writer:
            for batch in self.batches:
                writer.write_batch(batch)
        self.spilled.append(path)
        self.batches, self.memory = [], 0

    def take(self) -> pa.Table:
        """All rows, in the order in which they came."""
        tables: list[pa.Table] = []
        for path in self.spilled:
            with pa.OSFile(str(path), "rb") as source:
                tables.append(pa.ipc.open_stream(source).read_all())
            path.unlink()
        if self.batches:
            tables.append(pa.Table.from_batches(self.batches))
        self.batches, self.spilled = [], []
        return pa.concat_tables(tables)
