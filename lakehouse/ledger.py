"""The ledger of taken files: which source files are in a table, committed with their rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from lakehouse.segments import SegmentLog
from lakehouse.sources import SourceFile

LEDGER = "lakehouse.ledger"
_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("modified", pa.int64(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("bad_rows", pa.int64(), nullable=False),
        pa.field("skipped_rows", pa.int64()),
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
    skipped_rows: int
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
        location: the newest segment; by default the table's, which an audit's is only once it is published.
    """

    def __init__(self, table: Table, root: str, location: str | None = None) -> None:
        self._log = SegmentLog(table, LEDGER, root, _SCHEMA, location)
        self._identities: set[tuple[SourceFile, int]] | None = None

    @property
    def location(self) -> str | None:
        """The newest segment; None where nothing was taken yet."""
        return self._log.location

    @cached_property
    def entries(self) -> pa.Table:
        """Every taken file: path, size, modified, rows, bad_rows, skipped_rows, days, schema_id, batch_id, taken_at."""
        return pa.Table.from_batches(self._log.batches(), _SCHEMA)

    @property
    def locations(self) -> list[str]:
        """The files the ledger consists of; maintenance must keep them."""
        return self._log.locations

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
                "skipped_rows": taken.skipped_rows,
                "days": taken.days,
                "schema_id": taken.schema_id,
                "batch_id": taken.batch_id,
                "taken_at": taken.taken_at,
            }
            for taken in files
        ]
        return self._log.extend([pa.RecordBatch.from_pylist(rows, _SCHEMA)], len(rows))

    def without(self, batches: Collection[str]) -> str:
        """Writes the ledger without the files of some batches, and returns its location. It counts once the table property names it."""
        taken = pc.is_in(self.entries["batch_id"], pa.array(batches, pa.string()))
        return self._log.replace(self.entries.filter(pc.invert(taken)).to_batches())
