"""Reads source files as Arrow batches, a block at a time: one function per format, registered in ``_READERS``."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from lakehouse import json_reader
from lakehouse.conform import BadRow, Conformer, Judge, Rows
from lakehouse.errors import SourceError, TableMismatchError, without_credentials
from lakehouse.pipelines import CsvOptions, Source
from lakehouse.sources import SourceFile, SourceFolder

CHANGED = "changed while it was read. Write files under a name that starts with _ and rename them."
_BLOCK = 8 * 1024 * 1024
_HEADER_BLOCK = 64 * 1024
_BATCH_ROWS = 65_536
_PARQUET_BUFFER = 1024 * 1024


class FileReader:
    """Reads one source file. Its errors do not name it: who reads many files does.

    Attributes:
        unknown: columns of the file that the table does not have; known once reading has begun.
    """

    def __init__(
        self,
        folder: SourceFolder,
        file: SourceFile,
        source: Source,
        schema: pa.Schema,
        hidden: frozenset[str],
        skip_null: str | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.unknown: list[str] = []
        self.folder, self.file, self.source = folder, file, source
        if source.format == "csv" and hidden:
            hidden = frozenset(schema.names)  # a delimiter too many puts a hidden value under another column's name
        self.conformer = Conformer(schema, hidden, text=source.format != "parquet", skip_null=skip_null, judge=judge)
        self.schema, self.hidden, self.skip_null = schema, hidden, skip_null

    def rows(self) -> Iterator[Rows]:
        """The file's rows in the table's schema, with those that do not fit.

        Raises:
            SourceError: the file cannot be read (further), or changed while it was read.
        """
        try:
            for rows in _READERS[self.source.format](self):
                yield self.conformer.conform(rows)
            unchanged = self.folder.is_unchanged(self.file)
        except SourceError:
            raise
        except (TableMismatchError, OSError) as error:
            told = without_credentials(next(iter(str(error).splitlines()), type(error).__name__))
            raise SourceError(f"cannot be read: {told}") from None
        except Exception as error:  # whatever is wrong with one file keeps no other out
            # Without its text: Arrow's parse errors quote the data.
            what = "not UTF-8 or not well formed" if self.source.format == "csv" else "not well formed"
            raise SourceError(f"cannot be read: {type(error).__name__}. It is {what} {self.source.format}: convert it.") from None
        if not unchanged:
            raise SourceError(CHANGED)


def _parquet(reader: FileReader) -> Iterator[Rows]:
    # Buffered, else whole column chunks are held. A ParquetFile does not close what it is given.
    with (
        reader.folder.open_file(reader.file) as handle,
        pq.ParquetFile(handle, buffer_size=_PARQUET_BUFFER, pre_buffer=False) as file,
    ):
        schema = file.schema_arrow
        reader.unknown = reader.conformer.check_columns(schema.names, "the file")
        reader.conformer.check_types(schema, "the file")
        columns = [name for name in reader.schema.names if name in schema.names]
        start = 1
        size = sum(file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups))
        batch_rows = max(1, min(_BATCH_ROWS, _BLOCK * file.metadata.num_rows // max(1, size)))
        for batch in file.iter_batches(batch_size=batch_rows, columns=columns):
            yield Rows(batch, range(start, start + batch.num_rows))
            start += batch.num_rows


def _csv(reader: FileReader) -> Iterator[Rows]:
    options = reader.source.csv_options or CsvOptions()
    names, skip, has_rows = csv_start(reader, options)
    if not names:
        return
    hint = "Look at the case of its names, and at csv_options in the template: delimiter, skip_rows, column_names"
    reader.unknown = reader.conformer.check_columns(names, "the file", hint)
    if not has_rows:
        return
    columns = [name for name in reader.schema.names if name in names]
    invalid: list[BadRow] = []
    # Arrow counts invalid rows among all rows, and finds them a block ahead of the batch it returns.
    numbers_ahead: set[int] = set()

    def on_invalid(row: Any) -> str:
        number = (row.number or 0) - skip
        numbers_ahead.add(number)
        reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
        invalid.append(BadRow(number, "", reason, None, row.text))
        return "skip"

    stream = pa_csv.open_csv(
        reader.folder.open_stream(reader.file),
        # One thread: Arrow counts invalid rows only then.
        pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK, skip_rows=skip, column_names=names),
        pa_csv.ParseOptions(delimiter=options.delimiter, newlines_in_values=True, invalid_row_handler=on_invalid),
        pa_csv.ConvertOptions(
            column_types={name: pa.string() for name in columns},
            include_columns=columns,
            null_values=options.null_values,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    row = 0
    for batch in stream:
        numbers: list[int] = []
        while len(numbers) < batch.num_rows:
            if not numbers_ahead:
                numbers += range(row + 1, row + 1 + batch.num_rows - len(numbers))
                row = numbers[-1]
                break
            row += 1
            if row in numbers_ahead:
                numbers_ahead.remove(row)
            else:
                numbers.append(row)
        bad = list(invalid)
        invalid.clear()
        yield Rows(batch, numbers, bad)
    if invalid:
        yield Rows(pa.RecordBatch.from_pylist([], reader.schema), [], invalid)


def csv_start(reader: FileReader, options: CsvOptions) -> tuple[list[str], int, bool]:
    """The names of a file's columns, how many lines are before its rows, and whether there are rows."""
    with reader.folder.open_stream(reader.file) as stream:
        # What is not UTF-8 is found when the rows are read.
        text = io.TextIOWrapper(io.BufferedReader(stream, _HEADER_BLOCK), encoding="utf-8-sig", errors="replace", newline="")
        skipped = sum(1 for _ in itertools.islice(text, options.skip_rows))
        names = options.column_names or []
        if options.column_names is None:
            header = csv.reader(text, delimiter=options.delimiter)
            names = next(filter(None, header), [])
            skipped += header.line_num
        return names, skipped, any(line.strip() for line in text)


_READERS: dict[str, Callable[[FileReader], Iterator[Rows]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "json": json_reader.read_array,
    "jsonl": json_reader.read_lines,
}
