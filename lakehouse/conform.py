"""Makes rows fit a table, by casts that lose nothing, and tells which rows do not fit and why."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import simplejson

from lakehouse.errors import TableMismatchError


@dataclass(frozen=True)
class BadRow:
    """A row that does not fit.

    Attributes:
        row: its number in its file, from 1.
        column: empty where the row as a whole cannot be read.
        reason: why, without any value.
        value: the value that does not fit, as text; None where it must not be shown or is null.
        record: the whole row as JSON or text, for the quarantine only.
    """

    row: int
    column: str
    reason: str
    value: str | None
    record: str

    def __str__(self) -> str:
        place = f"row {self.row}" + (f", column {self.column}" if self.column else "")
        return f"{place}: {self.reason}" + (f" (value: {self.value[:80]!r})" if self.value is not None else "")


@dataclass
class Rows:
    """Rows on their way from a file to a table.

    Attributes:
        batch: the rows.
        numbers: int64, each row's number in its file.
        bad: rows that were left out.
    """

    batch: pa.RecordBatch
    numbers: pa.Array
    bad: list[BadRow] = field(default_factory=list)


class Conformer:
    """Brings batches to a table's Arrow schema.

    Args:
        schema: the table's; a field that is not nullable is required.
        hidden: columns whose values must not be shown.
        text: whether values came as text (CSV, and JSON's strings), which is parsed; else only lossless casts are made.
    """

    def __init__(self, schema: pa.Schema, hidden: Collection[str], text: bool = False) -> None:
        self.schema = schema
        self._hidden = hidden
        self._text = text

    def check_columns(self, names: Collection[str], what: str) -> list[str]:
        """The names that the table does not have.

        Raises:
            TableMismatchError: ``what`` lacks a required column.
        """
        missing = [column.name for column in self.schema if not column.nullable and column.name not in names]
        if missing:
            raise TableMismatchError(f"{what} has no column {', '.join(missing)}, which the table requires. Its columns: {', '.join(names)}.")
        return [name for name in names if name not in self.schema.names]

    def check_types(self, schema: pa.Schema, what: str) -> None:
        """Raises TableMismatchError where a column's type has no lossless way to the table's."""
        for column in self.schema:
            if column.name in schema.names and not is_lossless(schema.field(column.name).type, column.type):
                found = schema.field(column.name).type
                raise TableMismatchError(
                    f"{what} has {column.name} as {found}, the table as {column.type}: there is no cast that loses nothing. "
                    "Correct the source, or the column's type in the template."
                )

    def conform(self, rows: Rows) -> Rows:
        """The rows that fit, in the table's schema; the others join ``bad``."""
        batch, bad = rows.batch, dict[int, tuple[str, str]]()
        columns: list[pa.Array] = []
        for column in self.schema:
            if column.name not in batch.schema.names:
                columns.append(pa.nulls(batch.num_rows, column.type))
                continue
            values = batch.column(column.name)
            converted, failed = self._convert(values, column.type)
            columns.append(converted)
            for index in failed:
                bad.setdefault(index, (column.name, f"not {_described(column.type)}"))
            if not column.nullable and converted.null_count:
                for index in pc.indices_nonzero(converted.is_null()).to_pylist():
                    bad.setdefault(index, (column.name, "null in a required column"))
        # Fields are compared without nullability until the rows that violate it are gone.
        loose = pa.schema([column.with_nullable(True) for column in self.schema])
        good = pa.RecordBatch.from_arrays(columns, schema=loose)
        numbers = rows.numbers
        found = [self._bad_row(batch, index, numbers[index].as_py(), *bad[index]) for index in sorted(bad)]
        if bad:
            mask = pa.array([index not in bad for index in range(batch.num_rows)], pa.bool_())
            good, numbers = good.filter(mask), numbers.filter(mask)
        return Rows(pa.RecordBatch.from_arrays(good.columns, schema=self.schema), numbers, [*rows.bad, *found])

    def _convert(self, values: pa.Array, target: pa.DataType) -> tuple[pa.Array, list[int]]:
        if values.type == target:
            return values, []
        if self._text and pa.types.is_string(values.type):
            return _cast_or_find(values, target, lambda part: parse_text(part, target))
        return _cast_or_find(values, target, lambda part: part.cast(target))

    def _bad_row(self, batch: pa.RecordBatch, index: int, number: int, column: str, reason: str) -> BadRow:
        value = None
        if column not in self._hidden and column in batch.schema.names:
            found = batch.column(column)[index].as_py()
            value = None if found is None else str(found)
        record = json.dumps(batch.slice(index, 1).to_pylist()[0], default=str, ensure_ascii=False)
        return BadRow(number, column, reason, value, record)


def _cast_or_find(values: pa.Array, target: pa.DataType, cast: Callable[[pa.Array], pa.Array]) -> tuple[pa.Array, list[int]]:
    """Casts all values; where that fails halves them until the failing ones are alone, which become null."""
    try:
        return cast(values), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        if len(values) == 1:
            return pa.nulls(1, target), [0]
    half = len(values) // 2
    left, left_failed = _cast_or_find(values.slice(0, half), target, cast)
    right, right_failed = _cast_or_find(values.slice(half), target, cast)
    return pa.concat_arrays([left, right]), [*left_failed, *(half + index for index in right_failed)]


def parse_text(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Parses text as a type. Nested values are JSON; binary and fixed are hex, as in Iceberg's JSON serialisation.

    Source: https://iceberg.apache.org/spec/#json-single-value-serialization

    Raises:
        pa.ArrowInvalid, ValueError: a text that is no value of the type.
    """
    if pa.types.is_time64(target):
        moments = pc.binary_join_element_wise("1970-01-01T", values, "")
        return moments.cast(pa.timestamp("us")).cast(target)
    if isinstance(target, pa.UuidType):
        return pa.array([None if text is None else uuid.UUID(text).bytes for text in values.to_pylist()], pa.binary(16)).cast(target)
    if pa.types.is_binary(target) or pa.types.is_fixed_size_binary(target):
        return pa.array([None if text is None else bytes.fromhex(text) for text in values.to_pylist()], target)
    if pa.types.is_nested(target):
        return pa.array([None if text is None else _from_json(simplejson.loads(text, use_decimal=True), target) for text in values.to_pylist()], target)
    return values.cast(target)


def _from_json(value: Any, target: pa.DataType) -> Any:
    """A JSON value as what Arrow's builders take for a type; maps are JSON objects."""
    if value is None:
        return None
    if pa.types.is_struct(target):
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return {child.name: _from_json(value.get(child.name), child.type) for child in target}
    if pa.types.is_map(target):
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return [(_from_json(key, target.key_type), _from_json(item, target.item_type)) for key, item in value.items()]
    if pa.types.is_list(target):
        if not isinstance(value, list):
            raise ValueError("not a list")
        return [_from_json(item, target.value_type) for item in value]
    if not isinstance(value, _json_kinds(target)) or (isinstance(value, bool) and not pa.types.is_boolean(target)):
        raise ValueError("another kind of value")
    if pa.types.is_string(target) or pa.types.is_boolean(target):
        return value
    parsed = parse_text(pa.array([str(value)]), target)[0]
    return parsed.value.as_py() if isinstance(target, pa.UuidType) else parsed.as_py()


def _json_kinds(target: pa.DataType) -> tuple[type, ...]:
    """The kinds of JSON value that a primitive type is written as."""
    if pa.types.is_boolean(target):
        return (bool,)
    if pa.types.is_integer(target):
        return (int,)
    if pa.types.is_floating(target):
        return (int, float, Decimal)
    return (str, int, float, Decimal) if pa.types.is_decimal(target) else (str,)


def is_lossless(found: pa.DataType, target: pa.DataType) -> bool:
    """Whether values of one type can be cast to another without loss; ranges are checked value by value when casting."""
    kinds = pa.types
    if found == target or kinds.is_null(found):
        return True
    if kinds.is_dictionary(found):
        return is_lossless(found.value_type, target)
    if kinds.is_string(target):
        return kinds.is_large_string(found) or kinds.is_string_view(found)
    if isinstance(target, pa.UuidType):
        return found == pa.binary(16)
    if kinds.is_binary(target) or kinds.is_fixed_size_binary(target):
        return kinds.is_binary(found) or kinds.is_large_binary(found) or kinds.is_binary_view(found) or kinds.is_fixed_size_binary(found)
    if kinds.is_integer(target):
        return kinds.is_integer(found)
    if kinds.is_floating(target):
        return kinds.is_integer(found) or (kinds.is_floating(found) and found.bit_width <= target.bit_width)
    if kinds.is_decimal(target):
        return kinds.is_decimal(found)
    if kinds.is_timestamp(target):
        return kinds.is_timestamp(found) and (found.tz is None) == (target.tz is None)
    if kinds.is_time(target):
        return kinds.is_time(found)
    if kinds.is_date(target):
        return kinds.is_date(found)
    if kinds.is_struct(target):
        names = {child.name: child.type for child in target}
        return kinds.is_struct(found) and all(child.name not in names or is_lossless(child.type, names[child.name]) for child in found)
    if kinds.is_map(target):
        return kinds.is_map(found) and is_lossless(found.key_type, target.key_type) and is_lossless(found.item_type, target.item_type)
    if kinds.is_list(target):
        return (kinds.is_list(found) or kinds.is_large_list(found)) and is_lossless(found.value_type, target.value_type)
    return False


def _described(type_: pa.DataType) -> str:
    """A type for people: what the template calls it."""
    names = {
        "int32": "an int",
        "int64": "a long",
        "bool": "a boolean",
        "string": "a string",
        "timestamp[us, tz=UTC]": "a timestamp with a zone offset",
        "timestamp[us]": "a timestamp without zone",
        "date32[day]": "a date",
        "extension<arrow.uuid>": "a uuid",
    }
    text = str(type_)
    return names.get(text, text.replace("decimal128", "a decimal") if "decimal" in text else f"a {text}")
