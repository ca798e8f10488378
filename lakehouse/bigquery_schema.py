"""What an Iceberg schema is in BigQuery: the fields of an external table, in the form of its API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyiceberg import types as ice
from pyiceberg.schema import Schema

from lakehouse.errors import TableMismatchError

# https://cloud.google.com/bigquery/docs/iceberg-external-tables#convert-data-types, by the names that the API answers with
# (https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema); SQL's are in _SQL_NAMES.
_TYPES: dict[type[ice.IcebergType], str] = {
    ice.BooleanType: "BOOLEAN",
    ice.IntegerType: "INTEGER",
    ice.LongType: "INTEGER",
    ice.FloatType: "FLOAT",
    ice.DoubleType: "FLOAT",
    ice.DateType: "DATE",
    ice.TimeType: "TIME",
    ice.TimestampType: "DATETIME",
    ice.TimestamptzType: "TIMESTAMP",
    ice.StringType: "STRING",
    ice.UUIDType: "BYTES",
    ice.FixedType: "BYTES",
    ice.BinaryType: "BYTES",
}
_SQL_NAMES = {"BOOLEAN": "BOOL", "INTEGER": "INT64", "FLOAT": "FLOAT64", "RECORD": "STRUCT"}
_API_NAMES = {sql: api for api, sql in _SQL_NAMES.items()}
# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#parameterized_decimal_type
_NUMERIC_INTEGER_DIGITS, _NUMERIC_SCALE = 29, 9
_DESCRIPTION_LENGTH = 1024  # https://cloud.google.com/bigquery/quotas#standard_tables

Field = dict[str, Any]


def bigquery_fields(schema: Schema) -> list[Field]:
    """The fields of an external table over an Iceberg schema. No field is REQUIRED: BigQuery only reads the table.

    Raises:
        TableMismatchError: a list of lists or of maps, which BigQuery does not have, or a type that it does not know.
    """
    return [_field(field.name, field.field_type, field.name, field.doc) for field in schema.fields]


def _field(name: str, type_: ice.IcebergType, path: str, doc: str | None = None) -> Field:
    described = {"description": doc if len(doc) <= _DESCRIPTION_LENGTH else f"{doc[: _DESCRIPTION_LENGTH - 1]}…"} if doc else {}
    return {"name": name, **_type(type_, path), **described}


def _type(type_: ice.IcebergType, path: str) -> Field:
    match type_:
        case ice.StructType():
            nested = [_field(field.name, field.field_type, f"{path}.{field.name}", field.doc) for field in type_.fields]
            return {"type": "RECORD", "mode": "NULLABLE", "fields": nested}
        case ice.MapType():
            pair = [_field("key", type_.key_type, f"{path}.key"), _field("value", type_.value_type, f"{path}.value")]
            return {"type": "RECORD", "mode": "REPEATED", "fields": pair}
        case ice.ListType():
            if isinstance(type_.element_type, ice.ListType | ice.MapType):
                raise TableMismatchError(
                    f"{path} is a list of lists or of maps, and BigQuery has no array of arrays (a map is an array of pairs there). "
                    "Put the inner one into a struct: list<struct<items: …>>."
                )
            return {**_type(type_.element_type, path), "mode": "REPEATED"}
        case ice.DecimalType():
            fits = type_.scale <= _NUMERIC_SCALE and type_.precision - type_.scale <= _NUMERIC_INTEGER_DIGITS
            return {"type": "NUMERIC" if fits else "BIGNUMERIC", "mode": "NULLABLE"}
    if type(type_) not in _TYPES:
        raise TableMismatchError(f"{path} is of the Iceberg type {type_}, which BigQuery does not read. Give the column another type.")
    return {"type": _TYPES[type(type_)], "mode": "NULLABLE"}


def sql_type(type_: ice.IcebergType) -> str:
    """What BigQuery's INFORMATION_SCHEMA calls an Iceberg type, e.g. ``ARRAY<STRUCT<sku STRING, quantity INT64>>``.

    Raises:
        TableMismatchError: BigQuery does not have it.
    """
    return _sql_of(_type(type_, "A column"))


def _sql_of(field: Field) -> str:
    kind: str = field["type"]
    name = _SQL_NAMES.get(kind, kind)
    if kind == "RECORD":
        nested = ", ".join(f"{inner['name']} {_sql_of(inner)}" for inner in field["fields"])
        name = f"STRUCT<{nested}>"
    return f"ARRAY<{name}>" if field["mode"] == "REPEATED" else name


def leaves(fields: Iterable[Field]) -> Iterator[tuple[str, Field]]:
    """The fields that hold values, by their dotted paths. Only they can carry a policy tag: BigQuery has none on a RECORD."""
    return ((path, field) for path, field in all_fields(fields) if not field.get("fields"))


def all_fields(fields: Iterable[Field], around: str = "") -> Iterator[tuple[str, Field]]:
    """Every field by its dotted path, those around others first."""
    for field in fields:
        path = f"{around}{field['name']}"
        yield path, field
        yield from all_fields(field.get("fields") or (), f"{path}.")


def tags_of(field: Field) -> tuple[str, ...]:
    """The resource names of a field's policy tags; BigQuery allows one at most."""
    return tuple((field.get("policyTags") or {}).get("names") or ())


def tag_keys(field: Field) -> tuple[str, ...]:
    """A field's policy tags without their project, which an answer may name by its number."""
    return tuple(tag_key(name) for name in tags_of(field))


def tag_key(name: str) -> str:
    """A policy tag's resource name without its project."""
    return name.partition("/locations/")[2] or name


def comparable(fields: Iterable[Field]) -> list[Any]:
    """What of fields a difference is worth a call: whichever of its names for types and defaults BigQuery answers with."""
    return [
        (
            field["name"],
            _API_NAMES.get(field["type"], field["type"]),
            field.get("mode") or "NULLABLE",
            (field.get("description") or "").strip(),
            tag_keys(field),
            comparable(field.get("fields") or ()),
        )
        for field in fields
    ]
