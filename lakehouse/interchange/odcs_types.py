"""The template's type of a property of a data contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lakehouse.types import PRIMITIVES, TypeStringError, parse_type, type_string

# What engines call types, in lower case, where it is not the template's own word.
_SQL_TYPES = {
    **dict.fromkeys(["bool", "bit"], "boolean"),
    **dict.fromkeys(["integer", "int32", "int4", "smallint", "int2", "tinyint", "mediumint", "short", "byte"], "int"),
    **dict.fromkeys(["bigint", "int64", "int8", "serial", "bigserial"], "long"),
    **dict.fromkeys(["float32", "float4", "real"], "float"),
    **dict.fromkeys(["float64", "float8", "double precision"], "double"),
    **dict.fromkeys(["bignumeric", "numeric", "number", "decimal", "money"], "decimal(38,9)"),
    **dict.fromkeys(["datetime", "datetime2", "timestamp_ntz", "timestamp without time zone"], "timestamp"),
    **dict.fromkeys(["timestamp_tz", "timestamp_ltz", "datetimeoffset", "timestamp with time zone"], "timestamptz"),
    **dict.fromkeys(["text", "varchar", "nvarchar", "char", "nchar", "bpchar", "character varying", "str", "json", "jsonb"], "string"),
    **dict.fromkeys(["uniqueidentifier", "guid"], "uuid"),
    **dict.fromkeys(["bytes", "bytea", "blob", "varbinary"], "binary"),
}
_LOGICAL_TYPES = {"boolean": "boolean", "date": "date", "time": "time", "number": "double", "string": "string", "integer": "long"}
_PARAMETERS = re.compile(r"(?P<name>[a-z][a-z0-9_ ]*?)\s*(?:\(\s*(?P<first>\d+|max)\s*(?:,\s*(?P<second>\d+)\s*)?\))?(?P<rest>[a-z ]*)")


def mappings(value: Any) -> list[dict[str, Any]]:
    """The mappings of what should be a list of them: contracts are written by hand, too."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def mapping(value: Any) -> dict[str, Any]:
    """What should be a mapping; empty where it is none."""
    return value if isinstance(value, dict) else {}


def texts(value: Any) -> list[str]:
    """The texts of what should be a list of them."""
    return [str(item) for item in value if isinstance(item, str | int | float)] if isinstance(value, list) else []


def column_type(element: Mapping[str, Any], path: str) -> str:
    """The type string of a property, or of the items, key or value of one.

    What is nested is what the contract has below it; else the physical type decides, and the logical one where that says nothing.

    Raises:
        TypeStringError: naming the property, and what its types are.
    """
    logical = element.get("logicalType")
    if nested := mappings(element.get("properties")):
        fields = [(str(field.get("name")), field) for field in nested]
        inner = [f"{name}: {column_type(field, f'{path}.{name}')}" for name, field in fields]
        return type_string(parse_type(f"struct<{', '.join(inner)}>"))
    if isinstance(element.get("items"), Mapping):
        return f"list<{column_type(element['items'], f'{path}.items')}>"
    if isinstance(element.get("map"), Mapping):
        key, value = (column_type(mapping(element["map"].get(part)), f"{path}.{part}") for part in ("key", "value"))
        return f"map<{key}, {value}>"
    found = _physical(str(element.get("physicalType") or "")) or _logical(element)
    options = mapping(element.get("logicalTypeOptions"))
    if found in ("timestamp", "timestamptz") and isinstance(options.get("timezone"), bool):
        found = "timestamptz" if options["timezone"] else "timestamp"
    if found is None:
        raise TypeStringError(
            f"`{path}` is a {logical or 'property without logicalType'}, {element.get('physicalType') or 'no physicalType'}"
        )
    return found


def _physical(text: str) -> str | None:
    try:
        return type_string(parse_type(text))
    except TypeStringError:
        pass
    match = _PARAMETERS.fullmatch(text.strip().lower())
    if match is None:
        return None
    name = (match["name"] + match["rest"]).strip()
    if name in ("decimal", "numeric", "number", "bignumeric") and match["first"] and match["first"] != "max":
        precision, scale = int(match["first"]), int(match["second"] or 0)
        return f"decimal({precision},{scale})" if scale <= precision <= 38 and precision else None
    return name if name in PRIMITIVES else _SQL_TYPES.get(name)


def _logical(element: Mapping[str, Any]) -> str | None:
    logical, options = str(element.get("logicalType") or ""), mapping(element.get("logicalTypeOptions"))
    form = options.get("format")
    if logical == "timestamp":
        return "timestamptz" if options.get("timezone", True) else "timestamp"
    if logical == "vector":
        return "list<float>"
    if logical == "integer" and form in ("i8", "i16", "i32", "u8", "u16"):
        return "int"
    if logical == "integer" and form in ("i128", "u64", "u128"):
        return "decimal(38,0)"
    if logical == "number" and form == "f32":
        return "float"
    if logical == "string" and form in ("uuid", "binary"):
        return str(form)
    return _LOGICAL_TYPES.get(logical)
