"""Values in Arrow: parsing them from text, which casts lose nothing, and what is wrong with them."""

from __future__ import annotations

import bisect
import re
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import simplejson

# The years 1 to 9999 in days and microseconds: what SQL engines and Python take for dates.
_YEARS = {"date": (-719_162, 2_932_896), "timestamp": (-62_135_596_800_000_000, 253_402_300_799_999_999)}
_ALL = 2**31 - 1
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MAY_OVERFLOW = r"[eE]|^[+-]?0*\.?0*(\d\.?){39}"
NOT_UTF8 = "not UTF-8"
KEY_TWICE = "a key of the map stands twice"


def outside_years(values: pa.Array) -> list[int]:
    """The dates and timestamps that Python cannot hold; also what comes of nanoseconds taken for microseconds."""
    if not (pa.types.is_date32(values.type) or pa.types.is_timestamp(values.type)):
        return []
    first, last = _YEARS["date" if pa.types.is_date32(values.type) else "timestamp"]
    numbers = values.view(pa.int32() if pa.types.is_date32(values.type) else pa.int64())
    found = pc.min_max(numbers)
    if found["min"].as_py() is None or (found["min"].as_py() >= first and found["max"].as_py() <= last):
        return []
    return pc.indices_nonzero(pc.or_(pc.less(numbers, first), pc.greater(numbers, last))).to_pylist()


def unsound(values: pa.Array) -> dict[int, str]:
    """Rows with a string that is not UTF-8 or a map with a key twice, at any depth. Arrow takes them; Python and DuckDB fail.

    Each leaf is looked at as a whole, within the bounds of the rows, which may be a slice. Null keys need no look: Arrow
    makes no such map, and refuses Parquet files that allow them.
    """
    type_ = values.type
    found: dict[int, str] = {}
    if pa.types.is_string(type_):
        return dict.fromkeys(_not_utf8(values), NOT_UTF8)
    if pa.types.is_struct(type_):
        for child in range(type_.num_fields):
            found.update(unsound(values.field(child)))
    elif pa.types.is_list(type_) or pa.types.is_map(type_):
        is_map = pa.types.is_map(type_)
        leaves = [values.keys, values.items] if is_map else [values.values]
        # Lists of these bounds without nulls: only of them Arrow tells the row of each element.
        lists = [pa.ListArray.from_arrays(values.offsets, leaf) for leaf in leaves]
        if is_map:
            found.update(dict.fromkeys(_with_key_twice(lists[0]), KEY_TWICE))
        for part in lists:
            if inner := unsound(part.flatten()):
                starts = part.offsets.to_pylist()
                found.update((bisect.bisect_right(starts, starts[0] + element) - 1, reason) for element, reason in inner.items())
    # What is below a null is nobody's value.
    return {row: reason for row, reason in found.items() if values[row].is_valid}


def _not_utf8(values: pa.Array, first: int = 0) -> list[int]:
    """The indices of strings that are not UTF-8, by halving; the first has the index ``first``."""
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        half = len(values) // 2
        return [first] if not half else [*_not_utf8(values.slice(0, half), first), *_not_utf8(values.slice(half), first + half)]
    return []


def _with_key_twice(maps: pa.ListArray) -> list[int]:
    """The indices of maps, of which these are the keys, in which a key stands twice."""
    if (pc.max(maps.value_lengths()).as_py() or 0) < 2:
        return []
    encoded = _as_code(maps.flatten()).dictionary_encode()
    size = pa.scalar(len(encoded.dictionary), pa.int64())
    places = pc.add(pc.multiply(pc.list_parent_indices(maps), size), encoded.indices.cast(pa.int64())).sort()
    twice = places.slice(1).filter(pc.equal(places.slice(1), places.slice(0, len(places) - 1)))
    return pc.unique(pc.divide(twice, size)).to_pylist()


def _as_code(keys: pa.Array) -> pa.Array:
    """The keys as a type that Arrow encodes, in which those that are equal in SQL are equal."""
    if isinstance(keys.type, pa.UuidType):
        return keys.storage
    if pa.types.is_floating(keys.type):
        return pc.add(keys, pa.scalar(0.0, keys.type))  # -0.0 is 0.0
    if pa.types.is_nested(keys.type):
        return pa.array([repr(readable(keys, index)) for index in range(len(keys))], pa.string())
    return keys


def part_of(values: pa.Array, start: int, end: int) -> pa.Array:
    """A slice; a copy where values are nested, because a cast of a slice looks at the other rows' elements, too."""
    return values.take(pa.array(range(start, end))) if pa.types.is_nested(values.type) else values.slice(start, end - start)


def readable(values: pa.Array, index: int) -> Any:
    try:
        return values[index].as_py()
    except Exception:  # nanoseconds or a year 10000, for which Python has no type, or not UTF-8; also within other values
        if isinstance(values, pa.StringArray | pa.LargeStringArray):
            return values[index].as_buffer().to_pybytes().decode(errors="replace")
    # Arrow, too, replaces what is not UTF-8.
    text: str = values.slice(index, 1).to_string(window=_ALL, container_window=_ALL, element_size_limit=_ALL)
    return text.strip("[]\n ")


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
    if pa.types.is_decimal(target):
        # Of more digits than fit into 128 bits Arrow keeps the lower bits, and says nothing.
        if pc.any(pc.match_substring_regex(values, _MAY_OVERFLOW), min_count=0).as_py():
            return pa.array([None if text is None else _exact_decimal(text, target) for text in values.to_pylist()], target)
        return values.cast(target)
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


def _exact_decimal(text: str, target: pa.DataType) -> Decimal:
    """A number as a decimal of the type's scale. Raises ValueError where it is none, or where digits would be lost."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    sign, digits, exponent = Decimal(text).as_tuple()
    number, shift = int("".join(map(str, digits))), int(exponent) + target.scale
    # A number of so many digits as the text has cannot be moved further and still be one of the type.
    if number and abs(shift) > target.precision + len(digits):
        raise ValueError("too many digits")
    number, rest = (number * 10 ** max(shift, 0), 0) if shift >= 0 or not number else divmod(number, 10**-shift)
    if rest or number >= 10**target.precision:
        raise ValueError("too many digits")
    return Decimal((sign, tuple(map(int, str(number))), -target.scale))


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
