"""Makes rows fit a table, by casts that lose nothing, and tells which rows do not fit and why."""

from __future__ import annotations

import itertools
import json
import sys
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import simplejson

from lakehouse.errors import TableMismatchError

# The years 1 to 9999 in days and microseconds: what SQL engines and Python take for dates.
_YEARS = {"date": (-719_162, 2_932_896), "timestamp": (-62_135_596_800_000_000, 253_402_300_799_999_999)}


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
        numbers: each row's number in its file.
        bad: rows that do not fit, and were left out.
        skipped: how many others a rule of the template left out.
    """

    batch: pa.RecordBatch
    numbers: Sequence[int]
    bad: list[BadRow] = field(default_factory=list)
    skipped: int = 0


# Finds further rows that do not fit: the row's index to the column's name and the reason.
Judge = Callable[[pa.RecordBatch], Mapping[int, tuple[str, str]]]


class Conformer:
    """Brings batches to a table's Arrow schema.

    Args:
        schema: the table's; a field that is not nullable is required.
        hidden: columns whose values must not be shown.
        text: whether values came as text (CSV, and JSON's strings), which is parsed; else only lossless casts are made.
        shown: of how many bad rows the value and the record are given.
        skip_null: a column; rows in which it is null are left out, and counted.
        judge: what else rows must observe.
    """

    def __init__(
        self,
        schema: pa.Schema,
        hidden: Collection[str],
        text: bool = False,
        shown: int = sys.maxsize,
        skip_null: str | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.schema = schema
        self._skip_null, self._judge = skip_null, judge
        self._shown = shown
        self._hidden = hidden
        self._text = text

    def check_columns(self, names: Collection[str], what: str, hint: str = "") -> list[str]:
        """The names that the table does not have. ``hint`` is said where all are such.

        Raises:
            TableMismatchError: ``what`` lacks a required column, has one twice, or has none of the table's.
        """
        # What a file without a header takes for names are values: only the table's own are shown.
        known = [name for name in names if name in self.schema.names]
        if len(set(known)) < len(known):
            twice = sorted({name for name in known if known.count(name) > 1})
            raise TableMismatchError(f"{what} has the column {', '.join(twice)} twice. Correct the source.")
        needed = [column.name for column in self.schema if not column.nullable or column.name == self._skip_null]
        missing = [name for name in needed if name not in known]
        if missing or not known:
            lacks = f"no column {', '.join(missing)}, which the table requires" if missing else "none of the table's columns"
            raise TableMismatchError(
                f"{what} has {lacks}. Of the table's columns it has: {', '.join(known) or f'none. {hint}'.strip(' .')}."
            )
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
        rows = self._without_skipped(rows)
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
                bad.setdefault(index, (column.name, f"not {described(column.type)}"))
            for index in _outside_years(converted):
                bad.setdefault(index, (column.name, "a date outside the years 1 to 9999"))
            if not column.nullable and converted.null_count:
                for index in pc.indices_nonzero(converted.is_null()).to_pylist():
                    bad.setdefault(index, (column.name, "null in a required column"))
        # Fields are compared without nullability until the rows that violate it are gone.
        loose = pa.schema([column.with_nullable(True) for column in self.schema])
        good = pa.RecordBatch.from_arrays(columns, schema=loose)
        if self._judge is not None:
            bad = {**self._judge(good), **bad}
        numbers = rows.numbers
        found = [self._bad_row(batch, index, numbers[index], *bad[index]) for index in sorted(bad)]
        if bad:
            mask = pa.array([index not in bad for index in range(batch.num_rows)], pa.bool_())
            good, numbers = good.filter(mask), [number for index, number in enumerate(numbers) if index not in bad]
        return Rows(pa.RecordBatch.from_arrays(good.columns, schema=self.schema), numbers, [*rows.bad, *found], rows.skipped)

    def _without_skipped(self, rows: Rows) -> Rows:
        if self._skip_null is None or not rows.batch.num_rows:
            return rows
        known = self._skip_null in rows.batch.schema.names
        kept = rows.batch.column(self._skip_null).is_valid() if known else pa.repeat(False, rows.batch.num_rows)
        skipped = rows.batch.num_rows - kept.true_count
        if not skipped:
            return rows
        numbers = list(itertools.compress(rows.numbers, kept.to_pylist()))
        return Rows(rows.batch.filter(kept), numbers, rows.bad, rows.skipped + skipped)

    def _convert(self, values: pa.Array, target: pa.DataType) -> tuple[pa.Array, list[int]]:
        if values.type == target:
            return values, []
        if self._text and pa.types.is_string(values.type):
            return _cast_or_find(values, target, lambda part: parse_text(part, target))
        return _cast_or_find(values, target, lambda part: part.cast(target))

    def _bad_row(self, batch: pa.RecordBatch, index: int, number: int, column: str, reason: str) -> BadRow:
        if not self._shown:
            return BadRow(number, column, reason, None, "")
        self._shown -= 1
        value = None
        if column not in self._hidden and column in batch.schema.names:
            found = _readable(batch.column(column), index)
            value = None if found is None else str(found)
        row = {name: _readable(batch.column(name), index) for name in batch.schema.names}
        record = json.dumps(row, default=str, ensure_ascii=False)
        return BadRow(number, column, reason, value, record)


def _cast_or_find(values: pa.Array, target: pa.DataType, cast: Callable[[pa.Array], pa.Array]) -> tuple[pa.Array, list[int]]:
    """Casts all values; where that fails halves them until the failing ones are alone, which become null."""
    try:
        return cast(values), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, OverflowError, RecursionError):
        if len(values) == 1:
            return pa.nulls(1, target), [0]
    half = len(values) // 2
    left, left_failed = _cast_or_find(part_of(values, 0, half), target, cast)
    right, right_failed = _cast_or_find(part_of(values, half, len(values)), target, cast)
    return pa.concat_arrays([left, right]), [*left_failed, *(half + index for index in right_failed)]


def _outside_years(values: pa.Array) -> list[int]:
    """The dates and timestamps that Python cannot hold; also what comes of nanoseconds taken for microseconds."""
    if not (pa.types.is_date32(values.type) or pa.types.is_timestamp(values.type)):
        return []
    first, last = _YEARS["date" if pa.types.is_date32(values.type) else "timestamp"]
    numbers = values.view(pa.int32() if pa.types.is_date32(values.type) else pa.int64())
    found = pc.min_max(numbers)
    if found["min"].as_py() is None or (found["min"].as_py() >= first and found["max"].as_py() <= last):
        return []
    return pc.indices_nonzero(pc.or_(pc.less(numbers, first), pc.greater(numbers, last))).to_pylist()


def part_of(values: pa.Array, start: int, end: int) -> pa.Array:
    """A slice; a copy where values are nested, because a cast of a slice looks at the other rows' elements, too."""
    return values.take(pa.array(range(start, end))) if pa.types.is_nested(values.type) else values.slice(start, end - start)


def _readable(values: pa.Array, index: int) -> Any:
    try:
        return values[index].as_py()
    except Exception:  # nanoseconds or a year 10000, for which Python has no type, also within other values
        return str(values.slice(index, 1)).strip("[]\n ")


def parse_text(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Parses text as a type. Nested values are JSON; binary and fixed are hex, as in Iceberg's JSON serialisation.

    Source: https://iceberg.apache.org/spec/#json-single-value-serialization

    Raises:
        pa.ArrowInvalid, ValueError: a text that is no value of the type.
    """
    if pa.types.is_time64(target):
        moments = pc.binary_join_element_wise("1970-01-01T", values, "")
        return moments.cast(pa.timestamp("us")).cast(target)
    if pa.types.is_floating(target):
        numbers = values.cast(target)
        infinite = values.filter(pc.is_inf(numbers))
        if not pc.all(pc.match_substring_regex(infinite, "^[+-]?inf", ignore_case=True), min_count=0).as_py():
            raise ValueError("a number too large")
        return numbers
    if isinstance(target, pa.UuidType):
        return pa.array([None if text is None else uuid.UUID(text).bytes for text in values.to_pylist()], pa.binary(16)).cast(target)
    if pa.types.is_binary(target) or pa.types.is_fixed_size_binary(target):
        return pa.array([None if text is None else bytes.fromhex(text) for text in values.to_pylist()], target)
    if pa.types.is_nested(target):
        parsed = [
            None if text is None else simplejson.loads(text, object_pairs_hook=no_duplicates, use_decimal=True)
            for text in values.to_pylist()
        ]
        return pa.array([_from_json(value, target) for value in parsed], without_uuids(target)).cast(target)
    return values.cast(target)


def without_uuids(type_: pa.DataType) -> pa.DataType:
    """The type with uuids as bytes: Arrow does not build them below another type."""
    if isinstance(type_, pa.UuidType):
        return pa.binary(16)
    if pa.types.is_struct(type_):
        return pa.struct([child.with_type(without_uuids(child.type)) for child in type_])
    if pa.types.is_map(type_):
        return pa.map_(type_.key_field.with_type(without_uuids(type_.key_type)), type_.item_field.with_type(without_uuids(type_.item_type)))
    if pa.types.is_list(type_):
        return pa.list_(type_.value_field.with_type(without_uuids(type_.value_type)))
    return type_


class DuplicateKeyError(ValueError):
    """A JSON object in which a key stands twice; its text is the key."""


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For ``object_pairs_hook`` of a JSON decoder."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise DuplicateKeyError(key)
        result[key] = value
    return result


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
        keys = value if pa.types.is_string(target.key_type) else parse_text(pa.array(list(value), pa.string()), target.key_type).to_pylist()
        keys = [key.bytes if isinstance(key, uuid.UUID) else key for key in keys]
        if len(set(keys)) < len(value):
            raise ValueError("a key stands twice")
        return [(key, _from_json(item, target.item_type)) for key, item in zip(keys, value.values(), strict=True)]
    if pa.types.is_list(target):
        if not isinstance(value, list):
            raise ValueError("not a list")
        return [_from_json(item, target.value_type) for item in value]
    if not isinstance(value, json_kinds(target)) or (isinstance(value, bool) and not pa.types.is_boolean(target)):
        raise ValueError("another kind of value")
    if pa.types.is_string(target) or pa.types.is_boolean(target):
        return value
    parsed = parse_text(pa.array([str(value)]), target)[0]
    return parsed.value.as_py() if isinstance(target, pa.UuidType) else parsed.as_py()


def json_kinds(target: pa.DataType) -> tuple[type, ...]:
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
        return kinds.is_integer(found) or (kinds.is_decimal(found) and found.scale == 0)
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


def described(type_: pa.DataType) -> str:
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
