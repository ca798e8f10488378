"""Reads source files as Arrow batches, a block at a time: one function per format, registered in ``_READERS``."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq
import simplejson

from lakehouse.conform import BadRow, Conformer, DuplicateKeyError, Rows, described, no_duplicates
from lakehouse.errors import SourceError, TableMismatchError
from lakehouse.sources import SourceFile, SourceFolder
from lakehouse.template import CsvOptions, Source

_BLOCK = 8 * 1024 * 1024
_MAX_RECORD = 64 * 1024 * 1024
_HEADER_BLOCK = 64 * 1024
_BATCH_ROWS = 65_536
_SPACE = re.compile(r"[ \t\r\n]*")
# What Arrow's JSON reader understands by itself; the rest is read as text and parsed by conform.parse_text.
# It takes dates as numbers only, and timestamps with or without an offset as if they were the same.
_JSON_NATIVE = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_decimal)
_JSON_SPACE = b" \t\r"


class FileReader:
    """Reads one source file.

    Attributes:
        unknown: columns of the file that the table does not have; known once reading has begun.
    """

    def __init__(self, folder: SourceFolder, file: SourceFile, source: Source, schema: pa.Schema, hidden: frozenset[str]) -> None:
        self.unknown: list[str] = []
        self.folder, self.file, self.source = folder, file, source
        self.conformer = Conformer(schema, hidden, text=source.format != "parquet")
        self.schema, self.hidden = schema, hidden

    def rows(self) -> Iterator[Rows]:
        """The file's rows in the table's schema, with those that do not fit.

        Raises:
            SourceError: the file cannot be read (further), or changed while it was read.
        """
        try:
            for rows in _READERS[self.source.format](self):
                yield self.conformer.conform(rows)
            unchanged = self.folder.is_unchanged(self.file)
        except (OSError, EOFError, pa.ArrowException, UnicodeError, csv.Error, TableMismatchError) as error:
            told = str(error).splitlines() if isinstance(error, TableMismatchError | OSError) else []
            raise SourceError(f"{self.file.path} cannot be read: {told[0] if told else _without_values(error)}") from error
        if not unchanged:
            raise SourceError(f"{self.file.path} changed while it was read. Write files under a name that starts with _ and rename them.")


def _without_values(error: BaseException) -> str:
    """Arrow's parse errors may quote the data."""
    return f"{type(error).__name__} while parsing it as the template's format"


def _parquet(reader: FileReader) -> Iterator[Rows]:
    with pq.ParquetFile(reader.folder.open_file(reader.file)) as file:
        schema = file.schema_arrow
        reader.unknown = reader.conformer.check_columns(schema.names, "the file")
        reader.conformer.check_types(schema, "the file")
        columns = [name for name in reader.schema.names if name in schema.names]
        start = 1
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            yield Rows(batch, range(start, start + batch.num_rows))
            start += batch.num_rows


def _csv(reader: FileReader) -> Iterator[Rows]:
    options = reader.source.csv_options or CsvOptions()
    names, skip, has_rows = _csv_start(reader, options)
    if not names:
        return
    reader.unknown = reader.conformer.check_columns(names, "the file")
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


def _csv_start(reader: FileReader, options: CsvOptions) -> tuple[list[str], int, bool]:
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


def _jsonl(reader: FileReader) -> Iterator[Rows]:
    yield from _json_blocks(reader, _line_blocks(reader))


def _json(reader: FileReader) -> Iterator[Rows]:
    yield from _json_blocks(reader, _array_blocks(reader))


def _json_blocks(reader: FileReader, blocks: Iterator[bytes]) -> Iterator[Rows]:
    as_text = [column.name for column in reader.schema if pa.types.is_nested(column.type) and not _is_json_native(column.type)]
    schema = pa.schema([(column.name, column.type if _is_json_native(column.type) else pa.string()) for column in reader.schema])
    start = 1
    for block in blocks:
        lines = [line for text in block.split(b"\n") if (line := text.strip(_JSON_SPACE))]
        if start == 1 and lines:
            reader.unknown = _unknown_keys(lines[0], reader.schema)
        if as_text:
            lines = [_nested_as_text(line, as_text) for line in lines]
        for table, numbers, bad in _parse_lines(reader, lines, schema, start):
            batch = table.combine_chunks().to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], schema)
            yield Rows(batch, numbers, bad)
        start += len(lines)


def _parse_lines(
    reader: FileReader, lines: list[bytes], schema: pa.Schema, start: int
) -> Iterator[tuple[pa.Table, Sequence[int], list[BadRow]]]:
    """Parses lines at once; where that fails halves them until the failing ones are alone."""
    if not lines:
        return
    block = b"\n".join(lines)
    try:
        # Arrow takes objects that share a line or go over several, and crashes on a line that is null. Between two
        # lines of valid JSON "}" and "{" meet only where an object ends and the next begins.
        one_each = block.startswith(b"{") and block.count(b"}\n{") == len(lines) - 1
        table = _parse_json(block, schema) if one_each else None
        if table is None or table.num_rows != len(lines):
            raise pa.ArrowInvalid("not one object a line")
        yield table, range(start, start + len(lines)), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(lines) == 1:
            column, reason, value = _why_not(reader.schema, lines[0], schema)
            bad = BadRow(start, column, reason, None if column in reader.hidden else value, lines[0].decode(errors="replace"))
            yield schema.empty_table(), [], [bad]
            return
        half = len(lines) // 2
        yield from _parse_lines(reader, lines[:half], schema, start)
        yield from _parse_lines(reader, lines[half:], schema, start + half)


def _parse_json(block: bytes, schema: pa.Schema) -> pa.Table:
    table = pa_json.read_json(
        io.BytesIO(block),
        pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
        pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    table.validate(full=True)  # Arrow's reader does not look whether strings are UTF-8
    if any(_has_infinity(chunk) for column in table.columns for chunk in column.chunks):
        raise pa.ArrowInvalid("a number too large")  # JSON has no infinity, Arrow makes one
    return table


def _has_infinity(values: pa.Array) -> bool:
    if pa.types.is_floating(values.type):
        return pc.any(pc.is_inf(values)).as_py() or False
    if pa.types.is_struct(values.type):
        return any(map(_has_infinity, values.flatten()))
    return pa.types.is_list(values.type) and _has_infinity(values.flatten())


def _why_not(target: pa.Schema, line: bytes, schema: pa.Schema) -> tuple[str, str, str | None]:
    """The column, reason and value that keep a line from being a row."""
    try:
        record = json.loads(line, object_pairs_hook=no_duplicates)
    except DuplicateKeyError as error:
        # The keys of a map are data.
        return str(error) if str(error) in schema.names else "", "a key stands twice", None
    except (ValueError, RecursionError):
        return "", "not JSON in UTF-8", None
    if not isinstance(record, dict):
        return "", "not a JSON object", None
    for column in schema:
        if column.name in record:
            try:
                _parse_json(json.dumps({column.name: record[column.name]}).encode(), pa.schema([column]))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                return column.name, f"not {described(target.field(column.name).type)}", json.dumps(record[column.name])
    return "", "not one JSON object a line", None


def _unknown_keys(line: bytes, schema: pa.Schema) -> list[str]:
    """The keys of the first record that the table has no column for."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return [key for key in record if key not in schema.names] if isinstance(record, dict) else []


def _nested_as_text(line: bytes, columns: list[str]) -> bytes:
    """The line with the values of some columns as JSON text; as it is where it cannot be read."""
    try:
        record = simplejson.loads(line, object_pairs_hook=no_duplicates, use_decimal=True)
    except (ValueError, RecursionError):
        return line
    if not isinstance(record, dict):
        return line
    for name in columns:
        if record.get(name) is not None:
            record[name] = simplejson.dumps(record[name], use_decimal=True)
    return simplejson.dumps(record, use_decimal=True).encode()


def _is_json_native(type_: pa.DataType) -> bool:
    if pa.types.is_struct(type_):
        return all(_is_json_native(child.type) for child in type_)
    if pa.types.is_list(type_):
        return _is_json_native(type_.value_type)
    return any(is_native(type_) for is_native in _JSON_NATIVE)


def _line_blocks(reader: FileReader) -> Iterator[bytes]:
    """The file in blocks of whole lines."""
    rest, start = b"", True
    with reader.folder.open_stream(reader.file) as stream:
        while chunk := stream.read(_BLOCK):
            chunk, start = chunk.removeprefix(codecs.BOM_UTF8) if start else chunk, False
            end = chunk.rfind(b"\n")
            if end < 0:
                rest += chunk
                if len(rest) > _MAX_RECORD:
                    raise SourceError(f"{reader.file.path} has a line of more than {_MAX_RECORD:,} bytes. Is its format jsonl?")
                continue
            yield rest + chunk[:end]
            rest = chunk[end + 1 :]
    if rest.strip():
        yield rest


def _array_blocks(reader: FileReader) -> Iterator[bytes]:
    """The objects of one JSON array, one a line, in blocks."""
    lines, size = list[str](), 0
    for value in _array_values(reader):
        lines.append(value.replace("\n", " ").replace("\r", " "))
        size += len(value)
        if size >= _BLOCK:
            yield "\n".join(lines).encode()
            lines, size = [], 0
    if lines:
        yield "\n".join(lines).encode()


def _array_values(reader: FileReader) -> Iterator[str]:
    """The text of each value of one JSON array."""
    decoder, text, position, count = json.JSONDecoder(), "", 0, 0
    expected = "["  # then "value]" a value or the end, "," a comma or the end, "value", and "" only white space
    with reader.folder.open_stream(reader.file) as stream:
        source = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8-sig")
        while chunk := source.read(_BLOCK):
            text, position = text[position:] + chunk, 0
            while (position := _past_space(text, position)) < len(text):
                if text[position] == "[" and expected == "[":
                    expected, position = "value]", position + 1
                elif text[position] == "," and expected == ",":
                    expected, position = "value", position + 1
                elif text[position] == "]" and expected in ("value]", ","):
                    expected, position = "", position + 1
                elif expected.startswith("value"):
                    try:
                        _, end = decoder.raw_decode(text, position)
                    except (ValueError, RecursionError):
                        end = len(text)
                    if end == len(text):
                        break  # the value may go on in the next chunk
                    yield text[position:end]
                    expected, position, count = ",", end, count + 1
                elif expected == "[":
                    raise SourceError(f"{reader.file.path} is not a JSON array. If it holds one object a line, its format is jsonl.")
                else:
                    raise SourceError(f"{reader.file.path} is not a valid JSON array after {count:,} records.")
            if len(text) - position > _MAX_RECORD:
                raise SourceError(
                    f"{reader.file.path} is not valid JSON after {count:,} records, or has one of more than {_MAX_RECORD:,} bytes."
                )
    if expected not in ("[", ""):
        raise SourceError(f"{reader.file.path} is not valid JSON after {count:,} records, or ends before its JSON array does.")


def _past_space(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]  # the pattern matches anything


_READERS: dict[str, Callable[[FileReader], Iterator[Rows]]] = {"parquet": _parquet, "csv": _csv, "json": _json, "jsonl": _jsonl}
