"""Reads source files as Arrow batches, a block at a time: one function per format, registered in ``_READERS``."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq
import simplejson

from lakehouse.conform import BadRow, Conformer, Rows
from lakehouse.errors import SourceError, TableMismatchError
from lakehouse.sources import SourceFile, SourceFolder
from lakehouse.template import CsvOptions, Source

_BLOCK = 8 * 1024 * 1024
_MAX_RECORD = 64 * 1024 * 1024
_BATCH_ROWS = 65_536
_BETWEEN_VALUES = re.compile(r"\s*(?:,\s*)?")
# What Arrow's JSON reader understands by itself; the rest is read as text and parsed by conform.parse_text.
_JSON_NATIVE = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_decimal,
                pa.types.is_date32, pa.types.is_timestamp)  # fmt: skip


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
        except (OSError, EOFError, pa.ArrowException, UnicodeError, TableMismatchError) as error:
            reason = str(error).splitlines()[0] if isinstance(error, TableMismatchError | OSError) else _without_values(error)
            raise SourceError(f"{self.file.path} cannot be read: {reason}") from error
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
            yield Rows(batch, pa.array(range(start, start + batch.num_rows), pa.int64()))
            start += batch.num_rows


def _csv(reader: FileReader) -> Iterator[Rows]:
    options = reader.source.csv_options or CsvOptions()
    names = options.column_names or _csv_header(reader, options)
    if not names:
        return
    reader.unknown = reader.conformer.check_columns(names, "the file")
    columns = [name for name in reader.schema.names if name in names]
    skipped: list[BadRow] = []

    def on_invalid(row: Any) -> str:
        reason = f"{row.actual_columns} fields instead of {row.expected_columns}"
        skipped.append(BadRow(row.number or 0, "", reason, None, row.text))
        return "skip"

    stream = pa_csv.open_csv(
        reader.folder.open_stream(reader.file),
        # One thread: Arrow counts invalid rows only then.
        pa_csv.ReadOptions(
            use_threads=False, block_size=_BLOCK, skip_rows=options.skip_rows + (options.column_names is None), column_names=names
        ),
        pa_csv.ParseOptions(delimiter=options.delimiter, newlines_in_values=True, invalid_row_handler=on_invalid),
        pa_csv.ConvertOptions(
            column_types={name: pa.string() for name in columns},
            include_columns=columns,
            null_values=options.null_values,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    row, invalid = 0, 0
    for batch in stream:
        if not batch.num_rows and not skipped[invalid:]:
            continue
        bad = skipped[invalid:]
        invalid = len(skipped)
        # Arrow numbers invalid rows among all rows of the file; the others fill the gaps.
        taken = {found.row for found in bad}
        numbers: list[int] = []
        while len(numbers) < batch.num_rows:
            row += 1
            if row not in taken:
                numbers.append(row)
        yield Rows(batch, pa.array(numbers, pa.int64()), bad)
    if skipped[invalid:]:
        yield _only_bad(reader, skipped[invalid:])


def _csv_header(reader: FileReader, options: CsvOptions) -> list[str]:
    with reader.folder.open_stream(reader.file) as stream:
        text = io.TextIOWrapper(io.BufferedReader(stream, _MAX_RECORD // 64), encoding="utf-8-sig", newline="")
        for _ in range(options.skip_rows):
            text.readline()
        return next(csv.reader(text, delimiter=options.delimiter), [])


def _jsonl(reader: FileReader) -> Iterator[Rows]:
    yield from _json_blocks(reader, _line_blocks(reader))


def _json(reader: FileReader) -> Iterator[Rows]:
    yield from _json_blocks(reader, _array_blocks(reader))


def _json_blocks(reader: FileReader, blocks: Iterator[bytes]) -> Iterator[Rows]:
    as_text = [column.name for column in reader.schema if pa.types.is_nested(column.type) and not _is_json_native(column.type)]
    schema = pa.schema([(column.name, column.type if _is_json_native(column.type) else pa.string()) for column in reader.schema])
    start, first = 1, True
    for block in blocks:
        if first:
            first = False
            reader.unknown = _unknown_keys(block, reader.schema)
        lines = [line for line in block.split(b"\n") if line.strip()]
        if as_text:
            lines = [_nested_as_text(line, as_text) for line in lines]
        for table, numbers, bad in _parse_lines(lines, schema, start, reader.hidden):
            batch = table.combine_chunks().to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], schema)
            yield Rows(batch, numbers, bad)
        start += len(lines)


def _parse_lines(
    lines: list[bytes], schema: pa.Schema, start: int, hidden: frozenset[str]
) -> Iterator[tuple[pa.Table, pa.Array, list[BadRow]]]:
    """Parses lines at once; where that fails halves them until the failing ones are alone."""
    if not lines:
        return
    try:
        table = _parse_json(b"\n".join(lines), schema)
        if table.num_rows != len(lines):
            raise pa.ArrowInvalid("not one object a line")
        yield table, pa.array(range(start, start + len(lines)), pa.int64()), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(lines) == 1:
            column, reason, value = _why_not(lines[0], schema)
            bad = BadRow(start, column, reason, None if column in hidden else value, lines[0].decode(errors="replace"))
            yield schema.empty_table(), pa.array([], pa.int64()), [bad]
            return
        half = len(lines) // 2
        yield from _parse_lines(lines[:half], schema, start, hidden)
        yield from _parse_lines(lines[half:], schema, start + half, hidden)


def _parse_json(block: bytes, schema: pa.Schema) -> pa.Table:
    table = pa_json.read_json(
        io.BytesIO(block),
        pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
        pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    table.validate(full=True)  # Arrow's reader does not look whether strings are UTF-8
    return table


def _why_not(line: bytes, schema: pa.Schema) -> tuple[str, str, str | None]:
    """The column, reason and value that keep a line from being a row."""
    try:
        record = json.loads(line, object_pairs_hook=_no_duplicates)
    except _DuplicateKeyError as error:
        return str(error), "the key stands twice", None
    except (ValueError, RecursionError):
        return "", "not JSON in UTF-8", None
    if not isinstance(record, dict):
        return "", "not a JSON object", None
    for column in schema:
        if column.name in record:
            try:
                _parse_json(json.dumps({column.name: record[column.name]}).encode(), pa.schema([column]))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                return column.name, f"not {'a string' if pa.types.is_string(column.type) else column.type}", json.dumps(record[column.name])
    return "", "not one JSON object a line", None


class _DuplicateKeyError(ValueError):
    pass


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _DuplicateKeyError(key)
        result[key] = value
    return result


def _unknown_keys(block: bytes, schema: pa.Schema) -> list[str]:
    """The keys of the first record that the table has no column for."""
    try:
        record = json.loads(block.split(b"\n", 1)[0])
    except ValueError:
        return []
    return [key for key in record if key not in schema.names] if isinstance(record, dict) else []


def _nested_as_text(line: bytes, columns: list[str]) -> bytes:
    """The line with the values of some columns as JSON text; as it is where it cannot be read."""
    try:
        record = simplejson.loads(line, object_pairs_hook=_no_duplicates, use_decimal=True)
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
    rest = b""
    with reader.folder.open_stream(reader.file) as stream:
        while chunk := stream.read(_BLOCK):
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
    decoder, lines, size = json.JSONDecoder(), list[str](), 0
    text, position, opened = "", 0, False
    with reader.folder.open_stream(reader.file) as stream:
        source = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8")
        while True:
            chunk = source.read(_BLOCK)
            text, position = text[position:] + chunk, 0
            if not opened:
                text = text.lstrip()
                if text and text[0] != "[":
                    raise SourceError(f"{reader.file.path} is not a JSON array. If it holds one object a line, its format is jsonl.")
                opened, position = bool(text), min(len(text), 1)
            while (position := _next_value(text, position)) < len(text) and text[position] != "]":
                try:
                    _, end = decoder.raw_decode(text, position)
                except (ValueError, RecursionError) as error:
                    if chunk and len(text) - position < _MAX_RECORD:
                        break  # the value may go on in the next chunk
                    raise SourceError(f"{reader.file.path} is not valid JSON after {len(lines)} more records of a block.") from error
                lines.append(text[position:end].replace("\n", " ").replace("\r", " "))
                size += end - position
                position = end
                if size >= _BLOCK:
                    yield "\n".join(lines).encode()
                    lines, size = [], 0
            if not chunk:
                break
    if opened and text[position:].strip() != "]":
        raise SourceError(f"{reader.file.path} ends before its JSON array does.")
    if lines:
        yield "\n".join(lines).encode()


def _next_value(text: str, position: int) -> int:
    """Where the next value of an array begins, past white space and one comma."""
    return position + len(_BETWEEN_VALUES.match(text, position)[0])  # type: ignore[index]  # the pattern matches anything


_READERS: dict[str, Callable[[FileReader], Iterator[Rows]]] = {"parquet": _parquet, "csv": _csv, "json": _json, "jsonl": _jsonl}
