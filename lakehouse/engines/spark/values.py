"""Values of source files as a table's types, in Spark's SQL: what ``lakehouse.values`` and ``conform`` do in Arrow, by the same rules.

Text is looked at before Spark casts it, as Spark takes more for a number or a time than the embedded engine does. Nothing raises:
what does not fit is null, and told by a condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from lakehouse.values import KEY_TWICE, NOT_UTF8, described

# How Arrow reads them, see values.parse_text. Twice the backslashes: they stand in texts of SQL.
_INTEGER = r"^-?\\d+$"
_NUMBER = r"^[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?$"
_INFINITE = r"^[+-]?(?i:inf|infinity)$"
_NAN = r"^[+-]?(?i:nan)$"
_DATE = r"\\d{4}-\\d{2}-\\d{2}"
_TIME = r"([ T]([01]\\d|2[0-3])(:[0-5]\\d(:[0-5]\\d(\\.\\d{1,6})?)?)?)"
_ZONE = r"(Z|[+-]([01]\\d|2[0-3])(:?[0-5]\\d)?)"
_UUID_NOISE = r"urn:|uuid:|[{}-]"


@dataclass(frozen=True)
class Converted:
    """A value as a type.

    Attributes:
        value: its SQL; null where it does not fit.
        bad: conditions, never null, each with why a value does not fit.
    """

    value: str
    bad: Sequence[tuple[str, str]] = ()

    @property
    def any_bad(self) -> str:
        """Whether one of the conditions holds."""
        return f"({' or '.join(condition for condition, _ in self.bad)})" if self.bad else "false"


def sql_type(type_: pa.DataType) -> str:
    """Spark's type for values of a table's type."""
    kinds = pa.types
    if kinds.is_struct(type_):
        return f"struct<{', '.join(f'`{_escaped(child.name)}`: {sql_type(child.type)}' for child in type_)}>"
    if kinds.is_map(type_):
        return f"map<{sql_type(type_.key_type)}, {sql_type(type_.item_type)}>"
    if kinds.is_list(type_):
        return f"array<{sql_type(type_.value_type)}>"
    if kinds.is_decimal(type_):
        return f"decimal({type_.precision}, {type_.scale})"
    if kinds.is_timestamp(type_):
        return "timestamp" if type_.tz else "timestamp_ntz"
    if isinstance(type_, pa.UuidType):
        return "string"
    if kinds.is_binary(type_) or kinds.is_fixed_size_binary(type_):
        return "binary"
    names = {"bool": "boolean", "int32": "int", "int64": "bigint", "float": "float", "double": "double", "date32[day]": "date"}
    return names.get(str(type_), "string")


def from_text(text: str, type_: pa.DataType, into: str = "") -> Converted:
    """A text, whose SQL is given, as a type that is not nested.

    Args:
        into: the column that will hold the value, by which conditions name it, so that it is computed once.
    """
    value = _parsed(text, type_)
    if value == text:
        return Converted(text)
    known = into or f"({value})"
    wrong = f"{known} is null"
    if pa.types.is_floating(type_):
        wrong = f"({wrong} or (abs({known}) = double('inf') and not {text} rlike '{_INFINITE}'))"
    if pa.types.is_decimal(type_):
        wrong = f"({wrong} or not {_is_exact(text, known, type_)})"
    return Converted(value, [(f"({text} is not null and {wrong})", f"not {described(type_)}")])


def json_of(text: str) -> str:
    """A text that is one JSON value, as that; else null. Spark ignores what follows a value, but not within an object and an array."""
    in_object, in_array = f"try_parse_json(concat('{{\"x\":', {text}, '}}'))", f"try_parse_json(concat('[', {text}, ']'))"
    return f"case when {in_object} is not null then try_variant_get({in_array}, '$[0]', 'variant') end"


def is_text_in_json(type_: pa.DataType) -> bool:
    """Whether values of a type are parsed from JSON's texts; decimals are from numbers, too."""
    kinds = pa.types
    native = (kinds.is_nested, kinds.is_boolean, kinds.is_integer, kinds.is_floating, kinds.is_string)
    return not any(is_native(type_) for is_native in native)


def text_of_variant(variant: str, type_: pa.DataType) -> str:
    """The text of a JSON value of the right kind for a type; else null."""
    kind = f"schema_of_variant({variant})"
    right = f"{kind} = 'STRING'" + (f" or {_is_number(kind)}" if pa.types.is_decimal(type_) else "")
    return f"case when {right} then try_variant_get({variant}, '$', 'string') end"


def from_variant(variant: str, type_: pa.DataType, depth: int = 0, into: str = "") -> Converted:
    """A JSON value as a type.

    Args:
        depth: how many lists and maps it is in.
        into: as ``from_text`` has it.
    """
    kinds, given = pa.types, f"({variant} is not null and not is_variant_null({variant}))"
    why = f"not {described(type_)}"
    if kinds.is_struct(type_):
        whole = f"try_variant_get({variant}, '$', 'map<string, variant>')"
        children = [(child.name, from_variant(member(variant, whole, child.name), child.type, depth)) for child in type_]
        fields = ", ".join(f"{literal(name)}, {child.value}" for name, child in children)
        inner = " or ".join(child.any_bad for _, child in children)
        value = f"case when {whole} is not null then named_struct({fields}) end"
        return Converted(value, [(f"({given} and ({whole} is null or {inner}))", why)])
    if kinds.is_list(type_):
        whole, item = f"try_variant_get({variant}, '$', 'array<variant>')", f"x{depth}"
        child = from_variant(item, type_.value_type, depth + 1)
        bad = f"({given} and ({whole} is null or exists({whole}, {item} -> {child.any_bad})))"
        return Converted(f"transform({whole}, {item} -> {child.value})", [(bad, why)])
    if kinds.is_map(type_):
        return _map_from_variant(variant, type_, depth, given, why)
    kind = f"schema_of_variant({variant})"
    if is_text_in_json(type_) or kinds.is_string(type_):
        text = f"({text_of_variant(variant, type_)})"
        parsed = from_text(text, type_)
        return Converted(parsed.value, [(f"({given} and ({into or text} is null or {parsed.any_bad}))", why)])
    right = _is_number(kind) if kinds.is_floating(type_) else f"{kind} = '{'BOOLEAN' if kinds.is_boolean(type_) else 'BIGINT'}'"
    value = f"case when {right} then try_variant_get({variant}, '$', '{sql_type(type_)}') end"
    known = into or f"({value})"
    infinite = f" or abs({known}) = double('inf')" if kinds.is_floating(type_) else ""
    return Converted(value, [(f"({given} and ({known} is null{infinite}))", why)])


def _is_number(kind: str) -> str:
    return f"({kind} in ('BIGINT', 'DOUBLE') or {kind} like 'DECIMAL%')"


def _map_from_variant(variant: str, type_: pa.DataType, depth: int, given: str, why: str) -> Converted:
    whole, item = f"try_variant_get({variant}, '$', 'map<string, variant>')", f"x{depth}"
    key, child = from_text(item, type_.key_type), from_variant(item, type_.item_type, depth + 1)
    keys = f"transform(map_keys({whole}), {item} -> {key.value})"
    bad_keys = f"(exists(map_keys({whole}), {item} -> {key.any_bad}) or size(array_distinct({keys})) < size({keys}))"
    bad = f"({given} and ({whole} is null or {bad_keys} or exists(map_values({whole}), {item} -> {child.any_bad})))"
    items = f"transform(map_values({whole}), {item} -> {child.value})"
    return Converted(f"case when {whole} is not null and not {bad_keys} then map_from_arrays({keys}, {items}) end", [(bad, why)])


def from_typed(value: str, found: pa.DataType, type_: pa.DataType, depth: int = 0, into: str = "") -> Converted:
    """A value of a Parquet file, whose Arrow type is ``found``, as a type to which there is a cast that loses nothing."""
    kinds, why = pa.types, f"not {described(type_)}"
    if kinds.is_null(found):
        return Converted(f"cast(null as {sql_type(type_)})")
    if kinds.is_dictionary(found):
        found = found.value_type
    if kinds.is_struct(type_):
        held = {child.name: child.type for child in found}
        children = [
            from_typed(f"{value}.`{_escaped(child.name)}`", held[child.name], child.type, depth)
            if child.name in held
            else Converted(f"cast(null as {sql_type(child.type)})")
            for child in type_
        ]
        fields = ", ".join(f"{literal(field.name)}, {child.value}" for field, child in zip(type_, children, strict=True))
        bad = [(f"({value} is not null and {condition})", _outer(reason, why)) for child in children for condition, reason in child.bad]
        return Converted(f"case when {value} is not null then named_struct({fields}) end", bad)
    if kinds.is_list(type_):
        item = f"x{depth}"
        child = from_typed(item, found.value_type, type_.value_type, depth + 1)
        return Converted(f"transform({value}, {item} -> {child.value})", _of_elements(value, item, child, why))
    if kinds.is_map(type_):
        item = f"x{depth}"
        key = from_typed(item, found.key_type, type_.key_type, depth + 1)
        child = from_typed(item, found.item_type, type_.item_type, depth + 1)
        keys = f"transform(map_keys({value}), {item} -> {key.value})"
        twice = f"coalesce(size(array_distinct({keys})) < size({keys}), false)"
        bad = [
            (twice, KEY_TWICE),
            *_of_elements(f"map_keys({value})", item, key, why),
            *_of_elements(f"map_values({value})", item, child, why),
        ]
        items = f"transform(map_values({value}), {item} -> {child.value})"
        return Converted(f"case when not {twice} then map_from_arrays({keys}, {items}) end", bad)
    return _primitive_from_typed(value, found, type_, why, into)


def _primitive_from_typed(value: str, found: pa.DataType, type_: pa.DataType, why: str, into: str) -> Converted:
    kinds = pa.types
    if kinds.is_string(type_):
        sound = f"is_valid_utf8({value})"
        return Converted(f"case when {sound} then {value} end", [(f"coalesce(not {sound}, false)", NOT_UTF8)])
    if isinstance(type_, pa.UuidType):
        return Converted(_with_dashes(f"lower(hex({value}))"), [(f"coalesce(length({value}) <> 16, false)", why)])
    if kinds.is_fixed_size_binary(type_):
        return Converted(value, [(f"coalesce(length({value}) <> {type_.byte_width}, false)", why)])
    if kinds.is_timestamp(type_) and found.unit == "ns":
        # Spark reads nanoseconds as a number, see spark.sql.legacy.parquet.nanosAsLong.
        moment = f"timestamp_micros({value} div 1000)"
        cast = moment if type_.tz else f"cast({moment} as timestamp_ntz)"
        return Converted(cast, [(f"coalesce({value} % 1000 <> 0, false)", why)])
    cast = f"try_cast({value} as {sql_type(type_)})"
    if kinds.is_floating(type_) and kinds.is_integer(found):
        limit = 2**24 if type_.bit_width == 32 else 2**53
        return Converted(cast, [(f"coalesce({value} not between -{limit} and {limit}, false)", why)])
    if kinds.is_integer(type_) or kinds.is_decimal(type_):
        known = into or cast
        return Converted(cast, [(f"({value} is not null and ({known} is null or {known} <> {value}))", why)])
    return Converted(cast)


def outside_years(value: str, type_: pa.DataType) -> str | None:
    """Whether a date or timestamp is one that Python cannot hold; None for other types."""
    if not (pa.types.is_date32(type_) or pa.types.is_timestamp(type_)):
        return None
    return f"coalesce(year({value}) not between 1 and 9999, false)"


def literal(text: str) -> str:
    """A text as Spark's SQL has it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def member(variant: str, whole: str, name: str) -> str:
    """A member of a JSON object: by a path where the name can stand in one, else by the object as a map."""
    if name.isidentifier() and name.isascii():
        return f"try_variant_get({variant}, '$.{name}', 'variant')"
    return f"try_element_at({whole}, {literal(name)})"


def _parsed(text: str, type_: pa.DataType) -> str:
    kinds, cast = pa.types, f"try_cast({text} as {sql_type(type_)})"
    if kinds.is_boolean(type_):
        return f"case when lower({text}) in ('true', '1') then true when lower({text}) in ('false', '0') then false end"
    if kinds.is_integer(type_):
        return f"case when {text} rlike '{_INTEGER}' then {cast} end"
    if kinds.is_floating(type_):
        nan = f"cast('NaN' as {sql_type(type_)})"
        return f"case when {text} rlike '{_NUMBER}' or {text} rlike '{_INFINITE}' then {cast} when {text} rlike '{_NAN}' then {nan} end"
    if kinds.is_decimal(type_):
        return f"case when {text} rlike '{_NUMBER}' then {cast} end"
    if kinds.is_date32(type_):
        return f"case when {text} rlike '^{_DATE}$' then {cast} end"
    if kinds.is_timestamp(type_):
        return _moment(text, type_)
    if isinstance(type_, pa.UuidType):
        hex_ = f"regexp_replace(lower({text}), '{_UUID_NOISE}', '')"
        return f"case when {hex_} rlike '^[0-9a-f]{{32}}$' then {_with_dashes(hex_)} end"
    if kinds.is_fixed_size_binary(type_):
        return f"case when {text} rlike '^([0-9a-fA-F]{{2}}){{{type_.byte_width}}}$' then unhex({text}) end"
    if kinds.is_binary(type_):
        return f"case when {text} rlike '^([0-9a-fA-F]{{2}})*$' then unhex({text}) end"
    return text


def _moment(text: str, type_: pa.DataType) -> str:
    """A timestamp: Spark parses the local part, and its offset is taken off, as Spark knows none beyond 18 hours."""
    filled = "concat(substr({clock}, 2), substr('00:00:00', length({clock})))"
    local = f"try_cast(concat(substr({text}, 1, 10), 'T', {filled}) as timestamp_ntz)"
    if not type_.tz:
        return f"case when {text} rlike '^{_DATE}{_TIME}?$' then {local.format(clock=f'substr({text}, 11)')} end"
    clock = f"regexp_replace(substr({text}, 11), '{_ZONE}$', '')"
    zone = f"regexp_extract({text}, '{_ZONE}$', 1)"
    digits = f"regexp_replace({zone}, '[^0-9]', '')"
    minutes = f"int(substr({digits}, 1, 2)) * 60 + int(concat('0', substr({digits}, 3)))"
    offset = f"case when {digits} = '' then 0 when {zone} like '-%' then -({minutes}) else {minutes} end"
    moment = f"cast({local.format(clock=clock)} as timestamp) - make_dt_interval(0, 0, {offset})"
    return f"case when {text} rlike '^{_DATE}{_TIME}{_ZONE}$' then {moment} end"


def _is_exact(text: str, value: str, type_: pa.DataType) -> str:
    """Whether a number that was rounded to a decimal's scale lost nothing. One with an exponent is compared as wider numbers."""
    wide = f"decimal(38, {38 - (type_.precision - type_.scale)})"
    number = f"try_cast({text} as double)"
    near = f"abs({number} - double({value})) <= 1e-15D * abs({number}) and ({value} <> 0 or {text} rlike '^[+-]?[0.]*[eE]')"
    plain = f"{text} rlike '^[^.eE]*(\\\\.\\\\d{{0,{type_.scale}}}0*)?$'"
    return f"({plain} or ({text} rlike '[eE]' and {value} <=> try_cast({text} as {wide}) and {near}))"


def _with_dashes(hex_: str) -> str:
    parts = ", ".join(f"substr({hex_}, {start}, {length})" for start, length in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12)))
    return f"case when {hex_} is not null then concat_ws('-', {parts}) end"


def _of_elements(value: str, item: str, child: Converted, why: str) -> list[tuple[str, str]]:
    return [(f"coalesce(exists({value}, {item} -> {condition}), false)", _outer(reason, why)) for condition, reason in child.bad]


def _outer(reason: str, why: str) -> str:
    """What is told of a nested value: that the whole is not of its type, unless it is more than that."""
    return reason if reason in (NOT_UTF8, KEY_TWICE) else why


def _escaped(name: str) -> str:
    return name.replace("`", "``")
