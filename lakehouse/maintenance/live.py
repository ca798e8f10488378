"""Which files of a table something still names. What is not among them may be deleted, once it is old enough.

A file is live by its name alone, whatever folder it is named in: one and the same folder can have many names (a link, a mount, another
bucket's name, ``%20``), and Iceberg's writers give no two files the same name. That all files are there is told by whole locations,
without their scheme, and however many slashes they have: engines differ on both (``file:/…``, ``s3a://…``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata

from lakehouse.errors import TableMismatchError
from lakehouse.history import MOMENTS_BEFORE, NO_MOMENTS, audit_snapshot, promised_properties, summary_of
from lakehouse.ledger import LEDGER
from lakehouse.merge import MOMENTS
from lakehouse.segments import SegmentLog

_READERS = 8


def place(location: str) -> str:
    """A location as it is compared: without scheme, and with single slashes."""
    return re.sub(r"/+", "/", re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*:", "", location)).lstrip("/")


def _name(location: str) -> str:
    return location.rsplit("/", 1)[-1]


class LiveFiles:
    """The files that a table's metadata names.

    Of each only hashes are kept, so that a million files take less than 200 MB. Where two have the same hash, a file stays.

    Args:
        folder: the table's location. Files elsewhere count as live, too, but are not among the ``expected``.

    Attributes:
        expected: how many of the files that must be there are below ``folder``; metadata files before the newest need not.
    """

    def __init__(self, io: FileIO, folder: str) -> None:
        self._io, self._prefix = io, place(folder).rstrip("/") + "/"
        self._required: set[int] = set()
        self._names: set[int] = set()
        self._read: set[int] = set()
        self.expected = 0

    def __contains__(self, location: str) -> bool:
        return hash(_name(location)) in self._names

    def is_expected(self, location: str) -> bool:
        """Whether a file is one of those that must be there."""
        return hash(place(location)) in self._required

    def add(self, location: str, required: bool = False) -> None:
        """Counts a file as live."""
        where = place(location)
        self._names.add(hash(_name(where)))
        if required and (found := hash(where)) not in self._required:
            self._required.add(found)
            self.expected += where.startswith(self._prefix)

    def add_metadata(self, metadata: TableMetadata, location: str, without: Collection[int] = ()) -> None:
        """Counts as live what one version of a table's metadata names: of every snapshot, be it of a branch, of a tag or of neither.

        Args:
            without: snapshots that do not count, as they are about to expire.

        Raises:
            TableMismatchError: a snapshot of the first kind of metadata, of which not all files can be found out.
        """
        self.add(location, required=True)
        for entry in metadata.metadata_log:
            self.add(entry.metadata_file)
        for statistics in (*metadata.statistics, *metadata.partition_statistics):
            self.add(statistics.statistics_path)
        kept = [snapshot for snapshot in metadata.snapshots if snapshot.snapshot_id not in without]
        for snapshot in kept:
            if not snapshot.manifest_list:
                raise TableMismatchError(f"Snapshot {snapshot.snapshot_id} has no manifest list. Rewrite the table's manifests with Spark.")
            self.add(snapshot.manifest_list, required=True)
        unread = (manifest for snapshot in kept for manifest in snapshot.manifests(self._io) if self._is_new(manifest))
        with ThreadPoolExecutor(_READERS, thread_name_prefix="manifests") as readers:
            while some := list(islice(unread, 4 * _READERS)):
                for locations in readers.map(self._files_of, some):
                    for found in locations:
                        self.add(found, required=True)

    def _is_new(self, manifest: ManifestFile) -> bool:
        found = hash(manifest.manifest_path)
        if found in self._read:
            return False
        self._read.add(found)
        self.add(manifest.manifest_path, required=True)
        return True

    def _files_of(self, manifest: ManifestFile) -> list[str]:
        return [entry.data_file.file_path for entry in manifest.fetch_manifest_entry(self._io, discard_deleted=True)]


def metadata_at(io: FileIO, location: str) -> TableMetadata:
    """The metadata in a file. Raises FileNotFoundError."""
    return FromInputFile.table_metadata(io.new_input(location))


def live_segments(table: Table) -> Iterator[str]:
    """The segments of the logs beside a table, of those that an open audit will set, and of those that a rollback would go back to.

    Raises:
        TableMismatchError: one is gone, so that others may be named by it.
    """
    audit = audit_snapshot(table)
    promised = promised_properties(audit) if audit is not None else {}
    before = {summary_of(snapshot).get(MOMENTS_BEFORE, NO_MOMENTS) for snapshot in table.metadata.snapshots} - {NO_MOMENTS}
    for key in (LEDGER, MOMENTS):
        named = {table.properties.get(key), promised.get(key)} | (before if key == MOMENTS else set())
        for location in named - {None}:
            yield from SegmentLog(table, key, "", pa.schema([]), location).locations
