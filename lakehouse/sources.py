"""Source files: which there are, and how to open them, on a local folder, S3 or Google Cloud Storage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from lakehouse.errors import SourceError, without_credentials

# Seconds for which PyArrow tries a call of Google's again; its own 15 minutes are also for who has no credentials.
_GCS_PATIENCE = 60


@dataclass(frozen=True, order=True)
class SourceFile:
    """A file as the ledger knows it.

    Attributes:
        path: absolute path or URI.
        size: bytes.
        modified: nanoseconds since the epoch, as the store gives it.
    """

    path: str
    size: int
    modified: int


class SourceFolder:
    """A folder, prefix or single file that a pipeline reads from.

    Args:
        shown: what errors call the location, which may hold credentials.

    Raises:
        SourceError: the location cannot be reached, or is a local folder that does not exist.
    """

    def __init__(self, location: str, shown: str = "") -> None:
        self._shown = shown or without_credentials(location)
        try:
            if "://" in location and not location.startswith("file://"):
                self._filesystem, self._root = fs.FileSystem.from_uri(_patient(location))
                self._scheme = location.split("://")[0] + "://"
            else:
                # Not resolved: a link that is set to another folder does not make other files of those in it.
                root = str(Path(location.removeprefix("file://")).expanduser().absolute())
                self._filesystem, self._root, self._scheme = fs.LocalFileSystem(), root, ""
        except (OSError, pa.ArrowInvalid) as error:
            told = without_credentials(str(error))
            raise SourceError(f"The source {self._shown} cannot be opened: {told}. Correct `source.path`.") from None

    def list(self) -> list[SourceFile]:
        """The files, by path. Names that start with ``.`` or ``_`` or end in ``.tmp``, also of folders, are not taken."""
        root = self._root.rstrip("/")
        try:
            info = self._filesystem.get_file_info(root)
            if info.type == fs.FileType.File:
                return [self._source_file(info)]
            if info.type == fs.FileType.NotFound and not self._scheme:
                raise SourceError(f"There is no folder {root}. Create it, or correct `source.path`.")
            bucket = root.split("/")[0]
            if self._scheme and self._filesystem.get_file_info(bucket).type == fs.FileType.NotFound:
                raise SourceError(f"There is no bucket {bucket}, or it may not be listed. Correct `source.path`, or the permissions.")
            # In an object store a prefix exists from its first object on.
            selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
            infos = self._filesystem.get_file_info(selector)
        except OSError as error:
            told = without_credentials(str(error))
            raise SourceError(f"The source {self._shown} cannot be listed: {told}. Check the path and the permissions.") from None
        files = [info for info in infos if info.type == fs.FileType.File and _is_data(info.path[len(root) :])]
        return sorted(self._source_file(info) for info in files)

    def open_stream(self, file: SourceFile) -> pa.NativeFile:
        """The file from its start, decompressed as its extension says (.gz, .bz2, .zst, .lz4)."""
        return self._filesystem.open_input_stream(self._inner(file))

    def open_file(self, file: SourceFile) -> pa.NativeFile:
        """The file for reading at random, as Parquet needs it."""
        return self._filesystem.open_input_file(self._inner(file))

    def is_unchanged(self, file: SourceFile) -> bool:
        """Whether the file still is what was listed: a file that is still being written is not to be taken."""
        return self._source_file(self._filesystem.get_file_info(self._inner(file))) == file

    def _inner(self, file: SourceFile) -> str:
        return file.path.removeprefix(self._scheme)

    def _source_file(self, info: fs.FileInfo) -> SourceFile:
        return SourceFile(self._scheme + info.path, info.size or 0, info.mtime_ns or 0)


def _patient(location: str) -> str:
    """A URI of Google Cloud Storage with a bound to attempts, if it has none."""
    if not location.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in location:
        return location
    return f"{location}{'&' if '?' in location else '?'}retry_limit_seconds={_GCS_PATIENCE}"


def _is_data(relative: str) -> bool:
    parts = [part for part in relative.split("/") if part]
    return not any(part.startswith((".", "_")) or part.endswith(".tmp") for part in parts)
