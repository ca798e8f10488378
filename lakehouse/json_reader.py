"""Reads JSON as Arrow batches, a block at a time, and finds the lines that are no rows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json
import simplejson

from lakehouse.conform import BadRow, Rows
from lakehouse.json_blocks import array_blocks, line_blocks
from lakehouse.values import DuplicateKeyError, described, json_kinds, no_duplicates

if TYPE_CHECKING:
    from lakehouse.formats import FileReader

# What Arrow's JSON reader understands by itself; the rest is read as text and parsed by conform.parse_text.
# It takes dates as numbers only, and timestamps with or without an offset as if they were the same.
_JSON_NATIVE = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_decimal)
_JSON_SPACE = b" \t\r"


def read_lines(reader: FileReader) -> Iterator[Rows]:
    """The rows of a file with one JSON object on each line."""
    yield from _json_blocks(reader, line_blocks(reader))


def read_array(reader: FileReader) -> Iterator[Rows]:
    """The rows of a file that is one JSON array of objects."""
    yield from _json_blocks(reader, array_blocks(reader))


def first_line_keys(reader: FileReader) -> list[str]:
    """The keys of a file's first record that the table has no column for. Raises what reading the file's start raises."""
    blocks = array_blocks(reader) if reader.source.format == "json" else line_blocks(reader)
    lines = next(blocks, b"").strip(b"\n" + _JSON_SPACE).split(b"\n", 1)
    return _unknown_keys(lines[0], reader.schema)


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
        yield from _parse_block(reader, lines, range(start, start + len(lines)), schema)
        start += len(lines)


def _parse_block(reader: FileReader, lines: list[bytes], numbers: Sequence[int], schema: pa.Schema) -> Iterator[Rows]:
    """Parses lines at once; where that fails, without those of which Python says that they do not fit."""
    try:
        yield _without_strangers(reader, lines, numbers, _parse_lines(lines, schema))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # What a rule leaves out is left out before it is judged, as with the other formats.
        kept = [index for index, line in enumerate(lines) if not _is_skipped(line, reader.skip_null)]
        if len(kept) < len(lines):
            yield Rows(_no_rows(schema), [], skipped=len(lines) - len(kept))
            yield from _parse_block(reader, [lines[index] for index in kept], [numbers[index] for index in kept], schema)
            return
        # Where a column is wrong in every row, this is a hundred times as fast as to look for each by halving.
        reasons = [_why_not(reader.schema, line, schema) for line in lines]
        bad = [_bad_line(reader, line, number, why) for line, number, why in zip(lines, numbers, reasons, strict=True) if why]
        if bad:
            yield Rows(_no_rows(schema), [], bad)
        rest = [index for index, why in enumerate(reasons) if not why]
        yield from _parse_halves(reader, [lines[index] for index in rest], [numbers[index] for index in rest], schema)


def _parse_halves(reader: FileReader, lines: list[bytes], numbers: Sequence[int], schema: pa.Schema) -> Iterator[Rows]:
    """Parses lines at once; where that fails halves them until the failing ones are alone."""
    try:
        yield _without_strangers(reader, lines, numbers, _parse_lines(lines, schema))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(lines) == 1:
            yield Rows(
                _no_rows(schema), [], [_bad_line(reader, lines[0], numbers[0], _why_arrow_does_not(reader.schema, lines[0], schema))]
            )
            return
        half = len(lines) // 2
        yield from _parse_halves(reader, lines[:half], numbers[:half], schema)
        yield from _parse_halves(reader, lines[half:], numbers[half:], schema)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema)


def _bad_line(reader: FileReader, line: bytes, number: int, why: tuple[str, str, str | None]) -> BadRow:
    column, reason, value = why
    return BadRow(number, column, reason, None if column in reader.hidden else value, line.decode(errors="replace"))


def _without_strangers(reader: FileReader, lines: list[bytes], numbers: Sequence[int], batch: pa.RecordBatch) -> Rows:
    """The rows of lines, but for records that have none of the table's columns, which Arrow reads as nulls."""
    empty = None
    if reader.skip_null is not None:
        return Rows(batch, numbers)  # the rule leaves them out
    for column in batch.columns:
        if not column.null_count:
            return Rows(batch, numbers)
        empty = column.is_null() if empty is None else pc.and_(empty, column.is_null())
    strange = {index for index in pc.indices_nonzero(empty).to_pylist() if _is_strange(lines[index], batch.schema.names)}
    if not strange:
        return Rows(batch, numbers)
    bad = [_bad_line(reader, lines[index], numbers[index], ("", "has none of the table's columns", None)) for index in sorted(strange)]
    kept = [index for index in range(len(lines)) if index not in strange]
    return Rows(batch.take(pa.array(kept, pa.int64())), [numbers[index] for index in kept], bad)


def _is_skipped(line: bytes, skip_null: str | None) -> bool:
    """Whether a line is an object in which a column is missing or null, whatever else is wrong with it."""
    if skip_null is None:
        return False
    try:
        # Objects become tuples, so that a key that stands twice is seen; numbers need no parsing.
        record = json.loads(line, object_pairs_hook=tuple, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, tuple) and all(value is None for key, value in record if key == skip_null)


def _is_strange(line: bytes, names: list[str]) -> bool:
    try:
        return json.loads(line).keys().isdisjoint(names)
    except (ValueError, RecursionError):
        return True  # Arrow took it, so the table's columns are not what is wrong with it


def _parse_lines(lines: list[bytes], schema: pa.Schema) -> pa.RecordBatch:
    """The lines' rows. Raises ArrowInvalid where there is not one object on each line, or one does not fit."""
    if not lines:
        return _no_rows(schema)
    block = b"\n".join(lines)
    # Arrow takes objects that share a line or go over several, and crashes on a line that is null. Between two
    # lines of valid JSON "}" and "{" meet only where an object ends and the next begins.
    one_each = block.startswith(b"{") and block.count(b"}\n{") == len(lines) - 1
    table = _parse_json(block, schema) if one_each else None
    if table is None or table.num_rows != len(lines):
        raise pa.ArrowInvalid("not one object a line")
    return table.combine_chunks().to_batches()[0]


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


def _why_not(target: pa.Schema, line: bytes, schema: pa.Schema) -> tuple[str, str, str | None] | None:
    """The column, reason and value that keep a line from being a row; None where only Arrow can tell."""
    try:
        record = json.loads(line, parse_float=Decimal)
    except json.JSONDecodeError:
        return "", "not JSON in UTF-8", None
    except (ValueError, RecursionError):
        return None  # in a key that the table does not have Arrow takes it
    if not isinstance(record, dict):
        return "", "not a JSON object", None
    for column in schema:
        value = record.get(column.name)
        if value is not None and not _may_be(value, column.type):
            try:
                json.loads(line, object_pairs_hook=no_duplicates)
            except DuplicateKeyError:
                return None
            return column.name, f"not {described(target.field(column.name).type)}", _as_json(value)
    return None


def _as_json(value: Any) -> str:
    return simplejson.dumps(value, use_decimal=True, allow_nan=True)


def _may_be(value: Any, type_: pa.DataType) -> bool:
    """Whether a JSON value is of the kind of a type that Arrow reads from JSON; of numbers also, whether they lose nothing."""
    if pa.types.is_integer(type_):
        return type(value) is int and -(2 ** (type_.bit_width - 1)) <= value < 2 ** (type_.bit_width - 1)
    if pa.types.is_struct(type_) or pa.types.is_list(type_):
        return isinstance(value, dict if pa.types.is_struct(type_) else list)
    if pa.types.is_decimal(type_) and isinstance(value, str | Decimal):
        try:
            number = Decimal(value).normalize()
        except ArithmeticError:
            return False
        return not number.is_finite() or -int(number.as_tuple().exponent) <= type_.scale
    return isinstance(value, json_kinds(type_)) and (pa.types.is_boolean(type_) or not isinstance(value, bool))


def _why_arrow_does_not(target: pa.Schema, line: bytes, schema: pa.Schema) -> tuple[str, str, str | None]:
    """As ``_why_not``, of a line that Arrow does not take, and Python would."""
    try:
        record = json.loads(line, object_pairs_hook=no_duplicates)
    except DuplicateKeyError as error:
        # The keys of a map are data.
        return str(error) if str(error) in schema.names else "", "a key stands twice", None
    except (ValueError, RecursionError):
        return "", "not JSON in UTF-8", None
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
