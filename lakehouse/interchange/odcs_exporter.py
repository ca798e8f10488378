"""A template as a data contract of the Open Data Contract Standard.

Source: https://bitol-io.github.io/open-data-contract-standard/v3.2.0/. What the standard has no key for, and a table is not the
same without, are custom properties; ``odcs_importer.py`` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyiceberg import types as ice

from lakehouse.interchange.base import Exported, Exporter, unsaid
from lakehouse.template import Column, TableTemplate
from lakehouse.types import type_string
from lakehouse.yaml_writer import block

API_VERSION = "v3.2.0"
# A template has no version of its own: git has. A contract must have one.
_CONTRACT_VERSION = "1.0.0"
# How a table is filled and kept is no part of what it promises.
_UNSAID = ("pipeline", "source", "publish", "checks", "maintenance")
_LOGICAL: dict[type[ice.IcebergType], dict[str, Any]] = {
    ice.BooleanType: {"logicalType": "boolean"},
    ice.IntegerType: {"logicalType": "integer", "logicalTypeOptions": {"format": "i32"}},
    ice.LongType: {"logicalType": "integer", "logicalTypeOptions": {"format": "i64"}},
    ice.FloatType: {"logicalType": "number", "logicalTypeOptions": {"format": "f32"}},
    ice.DoubleType: {"logicalType": "number", "logicalTypeOptions": {"format": "f64"}},
    ice.DecimalType: {"logicalType": "number"},
    ice.DateType: {"logicalType": "date"},
    ice.TimeType: {"logicalType": "time"},
    ice.TimestampType: {"logicalType": "timestamp", "logicalTypeOptions": {"timezone": False}},
    ice.TimestamptzType: {"logicalType": "timestamp", "logicalTypeOptions": {"timezone": True}},
    ice.StringType: {"logicalType": "string"},
    ice.UUIDType: {"logicalType": "string", "logicalTypeOptions": {"format": "uuid"}},
    ice.BinaryType: {"logicalType": "string", "logicalTypeOptions": {"format": "binary"}},
    ice.FixedType: {"logicalType": "string", "logicalTypeOptions": {"format": "binary"}},
}


class OdcsExporter(Exporter):
    """One contract per table, ``<namespace>.<table>.odcs.yaml``."""

    def export(self, templates: Sequence[TableTemplate]) -> list[Exported]:
        return [_exported(template) for template in templates]


def _exported(template: TableTemplate) -> Exported:
    contract: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": template.table_name,
        "name": template.name,
        "version": _CONTRACT_VERSION,
        "status": "active",
        **({"domain": template.tags["domain"]} if template.tags.get("domain") else {}),
        **({"description": {"purpose": template.description}} if template.description else {}),
        "schema": [_schema(template)],
        **({"team": {"name": template.owner}} if template.owner else {}),
        **({"slaProperties": promised} if (promised := _service_levels(template)) else {}),
    }
    return Exported(f"{template.table_name}.odcs.yaml", block(contract) + "\n", unsaid(template, _UNSAID))


def _schema(template: TableTemplate) -> dict[str, Any]:
    order = [sort.model_dump(exclude_none=True) for sort in template.sort_order]
    custom = {
        "partitionSpec": [part.model_dump() for part in template.partition_spec],
        "sortOrder": order,
        "icebergProperties": dict(template.properties),
    }
    return {
        "name": template.name,
        "physicalName": template.table_name,
        "logicalType": "object",
        "physicalType": "table",
        **({"description": template.description} if template.description else {}),
        **({"tags": [f"{key}:{value}" if value else key for key, value in template.tags.items()]} if template.tags else {}),
        "properties": [_column(template, column) for column in template.columns],
        **_custom({key: value for key, value in custom.items() if value}),
    }


def _column(template: TableTemplate, column: Column) -> dict[str, Any]:
    partitions = list(dict.fromkeys(part.column for part in template.partition_spec))
    custom = {**({"pii": True} if column.pii else {}), **({"renamedFrom": list(column.renamed_from)} if column.renamed_from else {})}
    return {
        "name": column.name,
        **_type(column.iceberg_type),
        "required": column.required,
        **({"description": column.description} if column.description else {}),
        **(
            {"primaryKey": True, "primaryKeyPosition": template.identifier.index(column.name) + 1}
            if column.name in template.identifier
            else {}
        ),
        **({"partitioned": True, "partitionKeyPosition": partitions.index(column.name) + 1} if column.name in partitions else {}),
        "classification": column.access_level,
        **_custom(custom),
    }


def _type(type_: ice.IcebergType) -> dict[str, Any]:
    """The logical type, and the template's own as the physical one."""
    physical = {"physicalType": type_string(type_)}
    match type_:
        case ice.StructType():
            return {
                "logicalType": "object",
                **physical,
                "properties": [{"name": field.name, **_type(field.field_type)} for field in type_.fields],
            }
        case ice.ListType():
            return {"logicalType": "array", **physical, "items": _type(type_.element_type)}
        case ice.MapType():
            return {"logicalType": "map", **physical, "map": {"key": _type(type_.key_type), "value": _type(type_.value_type)}}
        case _:
            return {**_LOGICAL[type(type_)], **physical}


def _custom(values: dict[str, Any]) -> dict[str, Any]:
    return {"customProperties": [{"property": key, "value": value} for key, value in values.items()]} if values else {}


def _service_levels(template: TableTemplate) -> list[dict[str, Any]]:
    """How fresh the newest row is, and for how long rows are kept."""
    found = []
    if template.freshness:
        element = {"element": f"{template.name}.{template.event_time.name}"} if template.event_time else {}
        found.append({"property": "freshness", **_duration(template.freshness), **element})
    if template.maintenance.retention:
        age, column = template.maintenance.retention.split(" on ")
        found.append({"property": "retention", **_duration(age), "element": f"{template.name}.{column}"})
    return found


def _duration(text: str) -> dict[str, Any]:
    return {"value": int(text[:-1]), "unit": {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[text[-1]]}
