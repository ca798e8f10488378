"""The ledger of taken files: which source files are in a table, committed with their rows.

A table property names the newest segment, an immutable Parquet file outside the table's location. A segment
holds the files of one or more batches and names the older segments that are still part of the ledger. Small
segments are merged as they come, so that there are few: about the logarithm of the number of batches.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.table import Table

from lakehouse.sources import SourceFile

LEDGER = "lakehouse.ledger"
_OLDER = b"lakehouse.older-segments"
_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("modified", pa.int64(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("bad_rows", pa.int64(), nullable=False),
        pa.field("days", pa.string(), nullable=False),
        pa.field("schema_id", pa.int32(), nullable=False),
        pa.field("batch_id", pa.string(), nullable=False),
        pa.field("taken_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)


@dataclass(frozen=True)
class TakenFile:
    """One line of the ledger.

    Attributes:
        days: the UTC days its rows touch, as ranges.
        schema_id: the schema of the pipeline's table that its rows were made to fit.
    """

    file: SourceFile
    rows: int
    bad_rows: int
    days: str
    schema_id: int
    batch_id: str
    taken_at: datetime


@dataclass(frozen=True)
class Selection:
    """What of a listing is new, and what was taken with another content."""

    new: list[SourceFile]
    changed: list[SourceFile]
    taken: int


class Ledger:
    """The ledger of one table, as of one version of its metadata.

    Args:
        root: where the ledgers of the lakehouse are, ``<warehouse>/_lakehouse/ledger``.
    """

    def __init__(self, table: Table, root: str) -> None:
        self.location = table.properties.get(LEDGER)
        self._io: FileIO = table.io
        self._folder = f"{root}/{'/'.join(table.name())}/{table.metadata.table_uuid}"
        self._identities: set[tuple[SourceFile, int]] | None = None
        self._segments: list[tuple[str, pa.Table]] = []
        if self.location is not None:
            newest = self._read(self.location)
            older = json.loads((newest.schema.metadata or {}).get(_OLDER, b"[]"))
            self._segments = [*((location, self._read(location)) for location in older), (self.location, newest)]

    @property
    def entries(self) -> pa.Table:
        """Every taken file: path, size, modified, rows, bad_rows, days, schema_id, batch_id, taken_at."""
        return pa.concat_tables([segment.replace_schema_metadata() for _, segment in self._segments] or [_SCHEMA.empty_table()])

    @property
    def locations(self) -> list[str]:
        """The files the ledger consists of; maintenance must keep them."""
        return [location for location, _ in self._segments]

    def select(self, listed: Sequence[SourceFile]) -> Selection:
        """Tells which listed files are new. Time plays no part: a file that shows up late is new."""
        entries = self.entries
        known = entries.filter(pc.is_in(entries["path"], pa.array([file.path for file in listed], pa.string())))
        taken = {row["path"]: (row["size"], row["modified"]) for row in known.select(["path", "size", "modified"]).to_pylist()}
        return Selection(
            new=[file for file in listed if file.path not in taken],
            changed=[file for file in listed if file.path in taken and taken[file.path] != (file.size, file.modified)],
            taken=len(taken),
        )

    def holds(self, file: SourceFile, schema_id: int) -> bool:
        """Whether exactly this file, with this size and time, was taken, and made to fit this schema."""
        if self._identities is None:
            rows = self.entries.select(["path", "size", "modified", "schema_id"]).to_pylist()
            self._identities = {(SourceFile(row["path"], row["size"], row["modified"]), row["schema_id"]) for row in rows}
        return (file, schema_id) in self._identities

    def extend(self, files: Iterable[TakenFile]) -> str:
        """Writes a new segment and returns its location. It counts once the table property names it."""
        rows = [
            {
                "path": taken.file.path,
                "size": taken.file.size,
                "modified": taken.file.modified,
                "rows": taken.rows,
                "bad_rows": taken.bad_rows,
                "days": taken.days,
                "schema_id": taken.schema_id,
                "batch_id": taken.batch_id,
                "taken_at": taken.taken_at,
            }
            for taken in files
        ]
        segment, older = pa.Table.from_pylist(rows, _SCHEMA), list(self._segments)
        while older and older[-1][1].num_rows <= 2 * segment.num_rows:
            segment = pa.concat_tables([older.pop()[1].replace_schema_metadata(), segment])
        location = f"{self._folder}/{uuid.uuid4()}.parquet"
        metadata = {_OLDER: json.dumps([name for name, _ in older]).encode()}
        with self._io.new_output(location).create() as stream:
            pq.write_table(segment.replace_schema_metadata(metadata), stream, compression="zstd")
        return location

    def _read(self, location: str) -> pa.Table:
        with self._io.new_input(location).open() as stream:
            return pq.read_table(stream)
