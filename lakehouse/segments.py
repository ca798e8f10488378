"""A log beside a table: immutable Parquet files outside the table's location, committed with the table's rows.

A table property names the newest segment, which names the older ones that are still part of the log. Small segments
are merged as they come, so that there are few: about the logarithm of the number of commits.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.table import Table

from lakehouse.errors import TableMismatchError

_OLDER = b"lakehouse.older-segments"


@dataclass(frozen=True)
class _Segment:
    location: str
    rows: int


class SegmentLog:
    """The log as of one version of a table's metadata.

    Args:
        key: the table property that names the newest segment.
        folder: where the logs of this kind are, ``<warehouse>/_lakehouse/<kind>``.
        schema: of the rows. A column that an older segment lacks is null there.
        location: the newest segment, where the property is not to be asked: of a log that waits with an audit.

    Attributes:
        location: the newest segment; None where there is no log yet.
    """

    def __init__(self, table: Table, key: str, folder: str, schema: pa.Schema, location: str | None = None) -> None:
        self.location = location or table.properties.get(key)
        self.schema = schema
        self._io: FileIO = table.io
        self._table = ".".join(table.name())
        self._folder = f"{folder}/{'/'.join(table.name())}/{table.metadata.table_uuid}"
        self._segments = list(self._find()) if self.location else []

    @property
    def locations(self) -> list[str]:
        """The files the log consists of, oldest first; maintenance must keep them."""
        return [segment.location for segment in self._segments]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, oldest first, a part of a segment at a time."""
        for segment in self._segments:
            yield from self._read(segment)

    def extend(self, batches: Iterable[pa.RecordBatch], rows: int) -> str:
        """Writes a new segment of ``rows`` rows and returns its location. It counts once the table property names it."""
        kept, absorbed = list(self._segments), list[_Segment]()
        while kept and kept[-1].rows <= 2 * (rows + sum(segment.rows for segment in absorbed)):
            absorbed.insert(0, kept.pop())
        return self._add(kept, chain(*map(self._read, absorbed), (batch.cast(self.schema) for batch in batches)))

    def replace(self, batches: Iterable[pa.RecordBatch]) -> str:
        """Writes a segment that takes the place of all others, and returns its location. It counts once the table property names it."""
        return self._add([], batches)

    def _add(self, kept: list[_Segment], batches: Iterable[pa.RecordBatch]) -> str:
        location = f"{self._folder}/{uuid.uuid4()}.parquet"
        schema = self.schema.with_metadata({_OLDER: json.dumps([segment.location for segment in kept]).encode()})
        try:
            self._write(location, schema, batches)
        except BaseException:
            self._io.delete(location)
            raise
        return location

    def _write(self, location: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        # No statistics: what they would tell of may be personal data.
        with (
            self._io.new_output(location).create() as stream,
            pq.ParquetWriter(stream, schema, compression="zstd", write_statistics=False) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch)

    def _find(self) -> Iterator[_Segment]:
        location = self.location or ""
        with self._open(location) as newest:
            older: list[str] = json.loads((newest.schema_arrow.metadata or {}).get(_OLDER, b"[]"))
            rows = newest.metadata.num_rows
        for name in older:
            with self._open(name) as segment:
                yield _Segment(name, segment.metadata.num_rows)
        yield _Segment(location, rows)

    def _read(self, segment: _Segment) -> Iterator[pa.RecordBatch]:
        with self._open(segment.location) as file:
            names = file.schema_arrow.names
            for batch in file.iter_batches():
                columns = [
                    batch.column(field.name).cast(field.type) if field.name in names else pa.nulls(batch.num_rows, field.type)
                    for field in self.schema
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    @contextmanager
    def _open(self, location: str) -> Iterator[pq.ParquetFile]:
        try:
            stream = self._io.new_input(location).open()
        except FileNotFoundError:
            raise TableMismatchError(f"The file {location}, which a property of {self._table} names, is gone. Restore it.") from None
        with stream, pq.ParquetFile(stream) as file:
            yield file
