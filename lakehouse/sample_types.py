"""The template's type of values in a sample: the narrowest that all have, and that later ones may be expected to have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from lakehouse.arrow_types import arrow_type
from lakehouse.rules.base import is_name
from lakehouse.types import parse_type
from lakehouse.values import is_lossless, parse_text

# More names than that are keys of a map, not fields.
_MAX_FIELDS = 64
_LONG = 2**63
# A leading zero or plus is a code's or a telephone number's, not a number's.
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,18})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_ARROW_PRIMITIVES = [
    (pa.types.is_boolean, "boolean"),
    (lambda type_: pa.types.is_integer(type_) and (type_.bit_width < 32 or type_ == pa.int32()), "int"),
    (pa.types.is_integer, "long"),
    (lambda type_: pa.types.is_floating(type_) and type_.bit_width <= 32, "float"),
    (pa.types.is_floating, "double"),
    (pa.types.is_date, "date"),
    (pa.types.is_time, "time"),
    (lambda type_: pa.types.is_timestamp(type_) and type_.tz is None, "timestamp"),
    (pa.types.is_timestamp, "timestamptz"),
    (lambda type_: pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_), "string"),
    (lambda type_: isinstance(type_, pa.UuidType), "uuid"),
    (pa.types.is_null, "string"),
]


def parquet_type(type_: pa.DataType) -> str | None:
    """The type whose columns take such Parquet columns without loss; None where there is none."""
    found = _of_arrow(type_)
    return found if found is not None and is_lossless(type_, arrow_type(parse_type(found))) else None


def _of_arrow(type_: pa.DataType) -> str | None:
    kinds = pa.types
    if kinds.is_dictionary(type_):
        return _of_arrow(type_.value_type)
    if kinds.is_struct(type_):
        inner = {child.name: _of_arrow(child.type) for child in type_}
        usable = inner and all(type_ and is_name(name) for name, type_ in inner.items())
        return f"struct<{', '.join(f'{name}: {found}' for name, found in inner.items())}>" if usable else None
    if kinds.is_map(type_):
        key, item = _of_arrow(type_.key_type), _of_arrow(type_.item_type)
        return f"map<{key}, {item}>" if key and item and not kinds.is_nested(type_.key_type) else None
    if kinds.is_list(type_) or kinds.is_large_list(type_):
        element = _of_arrow(type_.value_type)
        return f"list<{element}>" if element else None
    if kinds.is_decimal(type_) and type_.precision <= 38 and 0 <= type_.scale <= type_.precision:
        return f"decimal({type_.precision},{type_.scale})"
    if kinds.is_fixed_size_binary(type_):
        return f"fixed[{type_.byte_width}]"
    if kinds.is_binary(type_) or kinds.is_large_binary(type_) or kinds.is_binary_view(type_):
        return "binary"
    return next((name for fits, name in _ARROW_PRIMITIVES if fits(type_)), None)


def text_type(values: Sequence[str | None]) -> str | None:
    """The type of texts of a CSV column; None where all are null."""
    texts = list(dict.fromkeys(value for value in values if value is not None))
    if not texts:
        return None
    if {text.lower() for text in texts} <= {"true", "false"}:
        return "boolean"
    if all(_WHOLE.fullmatch(text) and abs(int(text)) < _LONG for text in texts):
        return "long"
    if all(_NUMBER.fullmatch(text) for text in texts):
        return "double"
    return _moment(texts) or "string"


def _moment(texts: list[str]) -> str | None:
    """Dates, times and uuids: what the reader parses all of these texts as."""
    # A timestamp's reader takes a date, too: what is more is tried last.
    return next((type_ for type_ in ("date", "timestamptz", "timestamp", "time", "uuid") if _parses(texts, type_)), None)


def _parses(texts: list[str], type_: str) -> bool:
    try:
        parse_text(pa.array(texts, pa.string()), arrow_type(parse_type(type_)))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        return False
    # Arrow takes a few digits for a year or an hour, and Python 32 for a uuid.
    return all(len(text) >= 8 for text in texts) if type_ != "uuid" else all(len(text) == 36 for text in texts)


def json_type(values: Sequence[Any]) -> str | None:
    """The type of JSON values; None where all are null. Raises ValueError, saying why, where they have none in common."""
    found = [value for value in values if value is not None]
    kinds = {type(value) for value in found}
    if not found:
        return None
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "long" if all(abs(value) < _LONG for value in found) else "decimal(38,0)"
    if kinds <= {int, float, Decimal}:
        return "double"
    if kinds == {str}:
        return _moment(list(dict.fromkeys(found))) or "string"
    if kinds == {list}:
        return f"list<{json_type([item for value in found for item in value]) or 'string'}>"
    if kinds == {dict}:
        return _object_type(found)
    raise ValueError("it has values of several kinds")


def _object_type(values: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for value in values for name in value))
    if names and len(names) <= _MAX_FIELDS and all(map(is_name, names)):
        fields = {name: json_type([value.get(name) for value in values]) or "string" for name in names}
        return f"struct<{', '.join(f'{name}: {type_}' for name, type_ in fields.items())}>"
    return f"map<string, {json_type([item for value in values for item in value.values()]) or 'string'}>"
