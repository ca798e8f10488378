"""Orphan files: those below a table's location that nothing names, and that are so old that no run is still to commit them.

They are of runs that died, of commits that gave way, of snapshots that expired. Files are listed folder by folder, twice: first to see
what would go, and that every file that must be there is there, then to delete. Only what Iceberg's writers name so is ever deleted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchIcebergTableError, NoSuchPropertyException, NoSuchTableError, ValidationError
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table, TableProperties

from lakehouse.biglake_io import LentFileIO
from lakehouse.errors import LakehouseError
from lakehouse.inspect import list_tables
from lakehouse.maintenance.live import LiveFiles, live_segments, metadata_at, place
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

# What writers of Iceberg tables name their files. Whatever else lies there is somebody's.
_OURS = re.compile(r".+\.(parquet|avro|orc|puffin|stats|metadata\.json|metadata\.json\.gz|gz\.metadata\.json)")
_HIDDEN = re.compile(r"(^|/)[._]")
_DELETERS = 8
_BATCH = 1000
_PATHS = (TableProperties.WRITE_DATA_PATH, TableProperties.WRITE_METADATA_PATH, "write.object-storage.path", "write.folder-storage.path")


class OrphansError(LakehouseError):
    """Orphan files that cannot be told from others, or that cannot be deleted. What was not deleted stays as it is."""


@dataclass(frozen=True)
class Orphans:
    """Files that nothing names any more."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Place:
    """A folder of a table's files, and what of it is live."""

    folder: str
    live: LiveFiles


class OrphanFiles:
    """The orphan files of one table.

    Args:
        before: files that were last written before are old enough.
    """

    def __init__(self, table: Table, settings: LakehouseSettings, before: datetime) -> None:
        self._table, self._before = table, before
        self._io = PyArrowFileIO(table.io.properties)
        self.live = LiveFiles(table.io, table.location())
        segments = LiveFiles(table.io, table.location())
        for location in live_segments(table):
            segments.add(location)
        name = "/".join((*table.name(), str(table.metadata.table_uuid)))
        self._logs = [Place(f"{settings.warehouse_uri}/_lakehouse/{kind}/{name}", segments) for kind in ("ledger", "moments")]

    def find(self) -> Orphans:
        """How many there are. ``live`` has what is live in the table's location.

        Raises:
            OrphansError: a file that must be there is not listed: it is gone, or is called otherwise than it is listed; or another
                table was, or is, in the same place.
        """
        seen, files, size = 0, 0, 0
        metadata = list[FileInfo]()
        for where in self._places():
            for info, location in self._list(where.folder):
                if where.live is self.live and self.live.is_expected(location):
                    seen += 1
                elif self._is_orphan(where, info, location):
                    files, size = files + 1, size + (info.size or 0)
                    metadata += [info] if where.live is self.live and ".metadata.json" in info.base_name else []
        if seen < self.live.expected:
            raise OrphansError(
                f"{self.live.expected - seen:,} of {self.live.expected:,} files that snapshots of {'.'.join(self._table.name())} name are "
                f"not in {self._table.location()}; nothing is deleted. Restore them, or expire the snapshots that lack them."
            )
        self._check_own(sorted(metadata, key=lambda info: info.mtime))
        return Orphans(files, size)

    def _check_own(self, metadata: Sequence[FileInfo]) -> None:
        """Raises OrphansError where metadata is of another table: of one that was dropped, or lost by its catalog, or is in another one.

        What was there before has the oldest files, and what another catalog's runs write the newest: few have to be read.
        """
        for infos in (metadata, metadata[::-1]):
            if (other := next(filter(None, map(self._table_of, infos)), self._uuid)) != self._uuid:
                name, location = ".".join(self._table.name()), self._table.location()
                raise OrphansError(
                    f"{location} has metadata of another table than {name}, of one that was dropped or is in another catalog; its files "
                    f"would be taken for orphans. Its table-uuid is {other}: register its newest metadata file to have it back; if nobody "
                    "needs it, delete its metadata files, and do this again."
                )

    def _table_of(self, info: FileInfo) -> str | None:
        """The UUID of the table whose metadata a file has; None where it has none, or tells of no rows."""
        below = place(info.path).removeprefix(place(self._table.location())).lstrip("/")
        try:
            metadata = metadata_at(self._table.io, f"{self._table.location()}/{below}")
        except (ValidationError, ValueError, FileNotFoundError):  # of a writer that was killed
            return None
        uuid = str(metadata.table_uuid)
        return uuid if metadata.snapshots or uuid == self._uuid else None

    @property
    def _uuid(self) -> str:
        return str(self._table.metadata.table_uuid)

    def delete(self, progress: Callable[[str], None]) -> Orphans:
        """Deletes them, whatever has been found before; ``live`` must be as new as the table.

        Raises:
            OrphansError: after all others, with the number of those that could not be deleted, and the first reason.
        """
        files, size, failures = 0, 0, list[str]()
        for where in self._places():
            found = ((info, location) for info, location in self._list(where.folder) if self._is_orphan(where, info, location))
            with ThreadPoolExecutor(_DELETERS, thread_name_prefix="delete") as deleters:
                while some := [info for info, _ in islice(found, _BATCH)]:
                    filesystem, _ = self._filesystem(where.folder)
                    reasons = list(deleters.map(lambda info, store=filesystem: _delete(store, info.path), some))
                    done = [info for info, reason in zip(some, reasons, strict=True) if reason is None]
                    files, size = files + len(done), size + sum(info.size or 0 for info in done)
                    failures += filter(None, reasons)
                    progress(f"{'.'.join(self._table.name())}: {files:,} files deleted, {size:,} bytes")
        if failures:
            raise OrphansError(f"{len(failures):,} files could not be deleted, {files:,} were: {failures[0]}. See the permissions.")
        return Orphans(files, size)

    def _places(self) -> list[Place]:
        return [Place(self._table.location(), self.live), *self._logs]

    def _is_orphan(self, where: Place, info: FileInfo, location: str) -> bool:
        below = place(location).removeprefix(place(where.folder)).lstrip("/")
        is_ours = _OURS.fullmatch(info.base_name) is not None and not _HIDDEN.search(below)
        return is_ours and info.mtime is not None and info.mtime < self._before and location not in where.live

    def _filesystem(self, folder: str) -> tuple[FileSystem, str]:
        scheme, netloc, path = PyArrowFileIO.parse_location(folder)
        # Google's catalog lends credentials for one location, and for a time.
        io = self._table.io.arrow(f"{folder}/") if isinstance(self._table.io, LentFileIO) else self._io
        return io.fs_by_scheme(scheme, netloc), path

    def _list(self, folder: str) -> Iterator[tuple[FileInfo, str]]:
        """The files below a folder, with their locations, one folder after the other. Those of ``ab`` are not below ``a``."""
        waiting = [self._filesystem(folder)[1].rstrip("/")]
        while waiting:
            filesystem, _ = self._filesystem(folder)
            # PyArrow's Google Cloud Storage knows no folders but those that are objects themselves: there all is listed at once.
            at_once = filesystem.type_name == "gcs"
            for info in filesystem.get_file_info(FileSelector(waiting.pop(), allow_not_found=True, recursive=at_once)):
                # A link leads to what is somebody else's, or to what is listed anyhow.
                if filesystem.type_name == "local" and Path(info.path).is_symlink():
                    continue
                if info.type == FileType.Directory and not at_once:
                    waiting.append(info.path)
                elif info.type == FileType.File:
                    yield info, info.path


def _delete(filesystem: FileSystem, path: str) -> str | None:
    """Deletes a file; what went wrong, as text."""
    try:
        filesystem.delete_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return None


@dataclass(frozen=True)
class _Neighbour:
    what: str
    folder: str
    is_table: bool = False


class Neighbours:
    """Where else files may lie that no metadata of a table names: other tables', source files.

    Args:
        templates: of pipelines whose source files are looked for, too.
    """

    def __init__(self, settings: LakehouseSettings, catalog: Catalog, templates: Iterable[TableTemplate]) -> None:
        self._settings, self._catalog, self._templates = settings, catalog, list(templates)
        self._places: list[_Neighbour] | None = None

    def check(self, table: Table) -> None:
        """Raises OrphansError where a table shares its folder with others, or it is not known whether it does."""
        name, own = ".".join(table.name()), _folder(table.location())
        for other in self._others():
            within = other.folder.startswith(own) or (other.is_table and own.startswith(other.folder))
            if within and not (other.is_table and other.what == name):
                raise OrphansError(
                    f"{name} is in {table.location()}, where {other.what} is, too: its files would be taken for orphans. Move one of them."
                )

    def _others(self) -> Sequence[_Neighbour]:
        if self._places is None:
            self._places = [_Neighbour("the landing folder", _folder(self._settings.landing)), *self._of_sources(), *self._of_tables()]
        return self._places

    def _of_sources(self) -> Iterator[_Neighbour]:
        for template in self._templates:
            pipeline = template.event_stream or template.scd_type2
            if pipeline is not None:
                location = self._settings.fill_in(pipeline.source.path, f"{template.path}: source.path")
                yield _Neighbour(f"the source of {template.table_name}", _folder(location))

    def _of_tables(self) -> Iterator[_Neighbour]:
        for name in list_tables(self._catalog):
            try:
                table = self._catalog.load_table(name)
            except (NoSuchTableError, NoSuchIcebergTableError, NoSuchPropertyException):
                continue  # dropped meanwhile, no Iceberg table, or not made yet
            except Exception as error:
                raise OrphansError(f"Where {name} is cannot be found out, and so not whether others' files are its: {error}") from error
            yield _Neighbour(name, _folder(table.location()), is_table=True)
            yield from (_Neighbour(name, _folder(table.properties[key]), is_table=True) for key in _PATHS if key in table.properties)


def _folder(location: str) -> str:
    """A folder as it is compared; a local one by the name that it has without links."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", location) or location.startswith("file:"):
        path = re.sub(r"^file:(//(?=/))?", "", location)
        location = os.path.realpath(Path(path).expanduser())
    return place(location).rstrip("/") + "/"
