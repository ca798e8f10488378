"""PyIceberg's FileIO on local disk, with table metadata read by Python: whoever reads no rows does not wait for PyArrow's import."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile

if TYPE_CHECKING:
    from pyiceberg.io.pyarrow import PyArrowFileIO


class LocalFileIO(FileIO):
    """PyIceberg's PyArrowFileIO, loaded when a file is written, deleted, or read that is no table metadata on local disk."""

    @cached_property
    def _arrow(self) -> PyArrowFileIO:
        from pyiceberg.io.pyarrow import PyArrowFileIO

        return PyArrowFileIO(self.properties)

    def new_input(self, location: str) -> InputFile:
        """The file at a location, which is a URI whose path is taken as it stands, without decoding, as PyArrowFileIO does."""
        uri = urlparse(location)
        local = uri.scheme == "file" and not uri.netloc
        return _LocalFile(location, Path(uri.path)) if local and uri.path.endswith(".metadata.json") else self._arrow.new_input(location)

    def new_output(self, location: str) -> OutputFile:
        """The file to write at a location, PyArrow's."""
        return self._arrow.new_output(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Deletes a file. Raises FileNotFoundError where there is none."""
        self._arrow.delete(location)


class _LocalFile(InputFile):
    def __init__(self, location: str, path: Path) -> None:
        super().__init__(location)
        self._path = path

    def __len__(self) -> int:
        return self._path.stat().st_size

    def exists(self) -> bool:
        return self._path.is_file()

    def open(self, seekable: bool = True) -> InputStream:
        return self._path.open("rb")
