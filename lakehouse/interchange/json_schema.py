"""A template as the JSON Schema of a row, as its pipeline takes rows from JSON.

Draft 2020-12, https://json-schema.org/draft/2020-12. How values are written is Iceberg's way, but that maps are objects:
https://iceberg.apache.org/spec/#json-single-value-serialization.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pyiceberg import types as ice

from lakehouse.interchange.base import Exported, Exporter
from lakehouse.template import Column, TableTemplate

_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"\d{2}:\d{2}:\d{2}(\.\d{1,6})?"
_NUMBER = r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"
_PRIMITIVES: dict[type[ice.IcebergType], dict[str, Any]] = {
    ice.BooleanType: {"type": "boolean"},
    ice.IntegerType: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    ice.LongType: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    ice.FloatType: {"type": "number"},
    ice.DoubleType: {"type": "number"},
    # Digits may be lost in a JSON number, so that the text of one is taken, too.
    ice.DecimalType: {"type": ["number", "string"], "pattern": f"^{_NUMBER}$"},
    ice.DateType: {"type": "string", "format": "date"},
    ice.TimeType: {"type": "string", "pattern": f"^{_TIME}$"},
    ice.TimestampType: {"type": "string", "pattern": f"^{_DATE}[T ]{_TIME}$"},
    ice.TimestamptzType: {"type": "string", "pattern": rf"^{_DATE}[T ]{_TIME}(Z|[+-]\d{{2}}(:?\d{{2}})?)$"},
    ice.StringType: {"type": "string"},
    ice.UUIDType: {"type": "string", "format": "uuid"},
    ice.BinaryType: {"type": "string", "pattern": "^([0-9a-fA-F]{2})*$"},
}


class JsonSchemaExporter(Exporter):
    """One schema per table, ``<namespace>.<table>.schema.json``."""

    def export(self, templates: Sequence[TableTemplate]) -> list[Exported]:
        return [
            Exported(f"{template.table_name}.schema.json", json.dumps(_schema(template), indent=2, ensure_ascii=False) + "\n")
            for template in templates
        ]


def _schema(template: TableTemplate) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:iceberg:{template.namespace}:{template.name}",
        "title": template.table_name,
        **({"description": template.description} if template.description else {}),
        "type": "object",
        # Further keys are no error: the pipeline names them, and leaves them out.
        "properties": {column.name: _column(column) for column in template.columns},
        "required": [column.name for column in template.columns if column.required],
        **({"x-identifier": list(template.identifier)} if template.identifier else {}),
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        **(_type(column.iceberg_type) if column.required else _nullable(_type(column.iceberg_type))),
        **({"description": column.description} if column.description else {}),
        **({"x-pii": True} if column.pii else {}),
        "x-access-level": column.access_level,
        "x-iceberg-type": column.type,
    }


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    found = schema["type"]
    return {**schema, "type": [*(found if isinstance(found, list) else [found]), "null"]}


def _type(type_: ice.IcebergType) -> dict[str, Any]:
    match type_:
        case ice.StructType():
            return {"type": "object", "properties": {field.name: _nullable(_type(field.field_type)) for field in type_.fields}}
        case ice.ListType():
            return {"type": "array", "items": _nullable(_type(type_.element_type))}
        case ice.MapType():
            value = _nullable(_type(type_.value_type))
            return {"type": "object", "additionalProperties": value, **_keys(type_.key_type)}
        case ice.FixedType():
            return {"type": "string", "pattern": f"^[0-9a-fA-F]{{{2 * len(type_)}}}$"}
        case _:
            return dict(_PRIMITIVES[type(type_)])


def _keys(type_: ice.IcebergType) -> dict[str, Any]:
    """What an object's names are like: texts of the map's keys."""
    found = _type(type_)
    if found["type"] == "string":
        return {"propertyNames": {key: value for key, value in found.items() if key != "type"}} if len(found) > 1 else {}
    patterns = {"boolean": "^(true|false)$", "integer": "^-?[0-9]+$"}
    return {"propertyNames": {"pattern": patterns.get(str(found["type"]), f"^{_NUMBER}$")}}
