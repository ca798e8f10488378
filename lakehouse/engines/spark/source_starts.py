"""What Spark has to be told of a source file, or does not tell of it itself: looked at before it reads the file."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable

import pyarrow as pa

from lakehouse.errors import SourceError
from lakehouse.formats import FileReader
from lakehouse.pipelines import CsvOptions
from lakehouse.sources import SourceFile

# Names of files that Spark leaves out, and says nothing.
_NOT_SEEN = re.compile(r"(_(?!.*=)|\.).*|.*\._COPYING_", re.DOTALL)
# Bytes in which a file has the end of a line.
_START = 64 * 1024


def check_name(file: SourceFile) -> None:
    """Raises SourceError where a file's name is one that Spark does not read."""
    name = file.path.rpartition("/")[2]
    # Of a local file Hadoop looks for a checksum under a name that with a colon is none.
    if _NOT_SEEN.fullmatch(name) or (":" in name and "://" not in file.path):
        raise SourceError("cannot be read: Spark does not read files of such a name. Rename it.")


def line_end(reader: FileReader) -> str:
    """What ends a file's lines, but for what may be before it. Told what it is, Spark leaves the ends of lines in values as they are."""
    with reader.folder.open_stream(reader.file) as stream:
        start = stream.read(_START)
    return "\r" if b"\r" in start and b"\n" not in start else "\n"


def records_before(reader: FileReader, options: CsvOptions) -> int:
    """How many records of CSV are before a file's rows: of lines that are skipped those with text, and the header, be it of many lines.

    Raises:
        SourceError: they cannot be told from the rows.
    """
    skipped = list[str]()
    if options.skip_rows:
        with reader.folder.open_stream(reader.file) as stream:
            text = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8-sig", errors="replace", newline="")
            skipped = list(itertools.islice(text, options.skip_rows))
    if any(line.count('"') % 2 for line in skipped):
        raise SourceError("cannot be read: Spark does not skip lines in which a quote is open. Take them out.")
    return sum(1 for line in skipped if line.strip("\r\n")) + (options.column_names is None)


def check_case(fields: Iterable[pa.Field]) -> None:
    """Raises SourceError where names of columns, or of what is in one, differ by case alone: Spark then reads no file beside it, too."""
    seen = dict[str, str]()
    for found in fields:
        if (other := seen.get(found.name.lower())) is not None:
            pair = " and ".join(sorted((found.name, other)))
            raise SourceError(f"cannot be read: Spark does not tell its columns {pair} from each other. Rename one.")
        seen[found.name.lower()] = found.name
        check_case(found.type.field(index) for index in range(found.type.num_fields))
