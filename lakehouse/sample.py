"""What a sample file says of a table's columns: their types as the pipeline's reader would take them.

Looks at the first rows alone, and keeps to what these have in common; nothing of their values leaves this module but types and counts.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import simplejson

from lakehouse.errors import SourceError, without_credentials
from lakehouse.formats import FileReader
from lakehouse.json_blocks import array_blocks, line_blocks
from lakehouse.names import snake_case
from lakehouse.pipelines import CsvOptions, Source
from lakehouse.rules.base import is_name
from lakehouse.sample_types import json_type, parquet_type, text_type
from lakehouse.sources import SourceFolder

Format = Literal["parquet", "csv", "json", "jsonl"]
MAX_ROWS = 10_000
_HEAD = 64 * 1024
_FORMATS: dict[str, Format] = {
    ".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
_COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4")


@dataclass(frozen=True)
class SampleColumn:
    """A column of a sample.

    Attributes:
        type: the template's.
        values: those of the first rows, as the file has them; texts of CSV.
    """

    name: str
    type: str
    values: Sequence[Any] = field(repr=False)

    @property
    def has_nulls(self) -> bool:
        return any(value is None for value in self.values)

    @property
    def is_unique(self) -> bool:
        """Whether no value stands twice; of one row that says nothing."""
        found = [value for value in self.values if value is not None]
        return len(found) > 1 and len(found) == len(set(map(repr, found)))


@dataclass(frozen=True)
class Sample:
    """What a sample file has.

    Attributes:
        source: as the template is to have it; its path is the sample's.
        rows: how many were looked at.
        notes: what is left out or renamed, and why; a sentence each.
    """

    source: Source
    columns: list[SampleColumn]
    rows: int
    notes: list[str]


def read_sample(location: str, format_: Format | None = None, delimiter: str | None = None) -> Sample:
    """Looks at a file, local or in an object store.

    Args:
        format_: None is what its name says; a ``.json`` with an object on each line is jsonl.
        delimiter: of a CSV file; None finds it out.

    Raises:
        SourceError: it cannot be read, has no rows, or no column that a template can have.
    """
    folder = SourceFolder(location)
    files = folder.list()
    shown = without_credentials(location)
    if len(files) != 1:
        raise SourceError(f"{shown} is a folder with {len(files)} files. Name one file as the sample.")
    suffixes = [suffix for suffix in PurePosixPath(files[0].path.lower()).suffixes if suffix not in _COMPRESSIONS]
    found = format_ or _FORMATS.get(suffixes[-1] if suffixes else "")
    if found is None:
        raise SourceError(f"{shown} has a name that tells no format. Say it: --format parquet, csv, json or jsonl.")
    if found == "json" and format_ is None:
        with folder.open_stream(files[0]) as stream:
            found = "jsonl" if stream.read(_HEAD).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "json"
    reader = FileReader(folder, files[0], Source(path=location, format=found), pa.schema([]), frozenset())
    try:
        sample = _READERS[found](reader, delimiter)
    except SourceError as error:
        raise SourceError(f"{shown}: {error}") from None
    except (OSError, ValueError, csv.Error, pa.ArrowException, RecursionError) as error:  # without its text, which may quote the data
        raise SourceError(f"{shown} cannot be read as {found}: {type(error).__name__}. Correct it, or say its format: --format") from None
    if not sample.rows or not sample.columns:
        told = "".join(f"\n  {note}" for note in sample.notes)
        raise SourceError(f"{shown} has no {'columns' if sample.rows else 'rows'} that a template can be made of.{told}")
    return sample


def misfits(sample: Sample, schema: pa.Schema, columns: frozenset[str]) -> dict[str, int]:
    """How many of the first rows the pipeline's reader would not take into a table, by reason; without any value."""
    folder = SourceFolder(sample.source.path)
    reader = FileReader(folder, folder.list()[0], sample.source, schema, columns)
    found: dict[str, int] = {}
    rows = 0
    try:
        for part in reader.rows():
            for bad in part.bad:
                reason = f"{bad.column}: {bad.reason}" if bad.column else bad.reason
                found[reason] = found.get(reason, 0) + 1
            rows += part.batch.num_rows + len(part.bad)
            if rows >= MAX_ROWS:
                break
    except SourceError as error:
        raise SourceError(f"{without_credentials(sample.source.path)} {error}") from None
    return found


def _parquet(reader: FileReader, _: str | None) -> Sample:
    with reader.folder.open_file(reader.file) as handle, pq.ParquetFile(handle) as file:
        schema = file.schema_arrow
        batches = list(itertools.islice(file.iter_batches(batch_size=MAX_ROWS), 1))
    table = pa.Table.from_batches(batches, schema)
    notes: list[str] = []
    columns = []
    for name in _usable(schema.names, notes):
        if (type_ := parquet_type(schema.field(name).type)) is None:
            notes.append(f"The column `{name}` is left out: a template has no type for {schema.field(name).type}.")
        else:
            columns.append(SampleColumn(name, type_, _values(table[name])))
    return Sample(reader.source, columns, table.num_rows, notes)


def _values(values: pa.ChunkedArray) -> list[Any]:
    try:
        return values.to_pylist()
    except (ValueError, OverflowError):  # nanoseconds and the like, for which Python has no type
        return ["" if valid else None for valid in values.is_valid().to_pylist()]


def _csv(reader: FileReader, delimiter: str | None) -> Sample:
    with reader.folder.open_stream(reader.file) as stream:
        found = delimiter or _delimiter(_text(stream).read(_HEAD))
    with reader.folder.open_stream(reader.file) as stream:
        lines = csv.reader(_text(stream), delimiter=found)
        header = next(filter(None, lines), [])
        rows = list(itertools.islice(filter(None, lines), MAX_ROWS))
    fitting = [row for row in rows if len(row) == len(header)]
    notes = [f"{len(rows) - len(fitting)} rows have more or fewer fields than the header."] if len(fitting) < len(rows) else []
    names = [name if is_name(name) else snake_case(name) for name in header]
    options: dict[str, Any] = {"delimiter": found} if found != "," else {}
    if names != header:
        renamed = [f"`{name}` is `{new}`" for name, new in zip(header, names, strict=True) if name != new]
        notes.append(f"Names are a template's: {', '.join(renamed)}.")
        options |= {"column_names": names, "skip_rows": 1}
    if len(set(names)) < len(names) or not all(names):
        raise SourceError("its header has a name twice, or an empty one. Correct the header.")
    source = reader.source.model_copy(update={"csv_options": CsvOptions(**options) if options else None})
    columns = []
    for index, name in enumerate(names):
        values = [row[index] or None for row in fitting]
        columns.append(_column(name, values, text_type(values), notes))
    return Sample(source, columns, len(rows), notes)


def _text(stream: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8-sig", newline="")


def _delimiter(head: str) -> str:
    try:
        return csv.Sniffer().sniff(head, ",;|\t").delimiter
    except csv.Error:  # one column, say
        return ","


def _json(reader: FileReader, _: str | None) -> Sample:
    blocks = line_blocks(reader) if reader.source.format == "jsonl" else array_blocks(reader)
    lines = (line for block in blocks for line in block.split(b"\n") if line.strip())
    rows = [simplejson.loads(line, use_decimal=True) for line in itertools.islice(lines, MAX_ROWS)]
    notes: list[str] = []
    objects = [row for row in rows if isinstance(row, dict)]
    if len(objects) < len(rows):
        notes.append(f"{len(rows) - len(objects)} of the first {len(rows):,} records are no objects.")
    columns = []
    for name in _usable(list(dict.fromkeys(key for row in objects for key in row)), notes):
        values = [row.get(name) for row in objects]
        try:
            columns.append(_column(name, values, json_type(values), notes))
        except ValueError as error:
            notes.append(f"The column `{name}` is left out: {error}.")
    return Sample(reader.source, columns, len(objects), notes)


def _column(name: str, values: Sequence[Any], type_: str | None, notes: list[str]) -> SampleColumn:
    if type_ is None:
        notes.append(f"`{name}` has no value in the sample: it is a string until you know better.")
    return SampleColumn(name, type_ or "string", [str(value) if isinstance(value, Decimal) else value for value in values])


def _usable(names: list[str], notes: list[str]) -> list[str]:
    """The names that a template can have: Parquet's and JSON's columns are found by their names alone."""
    odd = [name for name in names if not is_name(name)]
    notes += [f"The column `{re.sub(r'[^ -~]', '?', name)}` is left out: write it as `{snake_case(name)}` in the files." for name in odd]
    return [name for name in names if is_name(name)]


_READERS: dict[Format, Callable[[FileReader, str | None], Sample]] = {"parquet": _parquet, "csv": _csv, "json": _json, "jsonl": _json}
