"""Which live column is which of a template's: ``renamed_from``, and what is behind a column already."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import NestedField

from lakehouse.errors import TableMismatchError
from lakehouse.template import Column, TableTemplate

# Which former names of a field, by its id, are behind it: Iceberg's old schemas may be cleaned up.
FORMER_NAMES = "lakehouse.former-names"


def consumed_names(table: Table) -> dict[int, set[str]]:
    """By field id, the names that a live column had before, or was created instead of."""
    current = {field.field_id: field.name for field in table.schema().fields}
    recorded = _recorded_names(table)
    consumed = {field_id: set(recorded.get(str(field_id), ())) for field_id in current}
    for schema in table.metadata.schemas:
        for field in schema.fields:
            if field.field_id in current and field.name != current[field.field_id]:
                consumed[field.field_id].add(field.name)
    return consumed


def _recorded_names(table: Table) -> dict[str, list[str]]:
    try:
        recorded: dict[str, list[str]] = json.loads(table.properties.get(FORMER_NAMES, "{}"))
        return {field_id: list(names) for field_id, names in recorded.items()}
    except (AttributeError, TypeError, ValueError):
        name = ".".join(table.name())
        raise TableMismatchError(
            f"The property {FORMER_NAMES} of {name} cannot be read: somebody changed it. "
            f"Remove it, if no column of {name} is yet to be renamed."
        ) from None


def former_names_property(template: TableTemplate, schema: Schema) -> dict[str, str]:
    """The property that says which `renamed_from` of the template this schema has behind it; empty where there is none."""
    ids = {field.name: field.field_id for field in schema.fields}
    former = {str(ids[column.name]): column.renamed_from for column in template.columns if column.renamed_from and column.name in ids}
    return {FORMER_NAMES: json.dumps(former, sort_keys=True)} if former else {}


def match_columns(columns: Iterable[Column], live: Schema, consumed: Mapping[int, set[str]]) -> dict[str, NestedField]:
    """The live field of each of a template's columns, by the column's name; a column that is new is not in it.

    A column is the live one of its name, unless a field with one of its former names is still there and this name's
    field has not been renamed from it: then that field is to be renamed, and who has the name now is another.
    """
    by_name = {field.name: field for field in live.fields}
    columns = list(columns)
    by_lower = {name.lower(): name for name in by_name}
    for column in columns:  # Glue, Athena and Spark take them for one
        if column.name not in by_name and column.name in by_lower:
            raise TableMismatchError(
                f"The live column {by_lower[column.name]} and the template's {column.name} differ in case alone. Rename the live column "
                "with the engine that made it: templates have lower-case names."
            )
    found: dict[str, NestedField] = {}
    for column in columns:
        own = by_name.get(column.name)
        pending = [by_name[name] for name in column.renamed_from if name in by_name]
        if pending and (own is None or not set(column.renamed_from) & consumed[own.field_id]):
            found[column.name] = pending[-1]
    taken = {field.field_id for field in found.values()}
    for column in columns:
        own = by_name.get(column.name)
        if column.name not in found and own is not None and own.field_id not in taken:
            found[column.name] = own
    return found
