"""A template from a live Iceberg table that something else made, so that it is changed by its YAML from then on.

The template plans to no change, but that bounds of restricted columns are left out. What a template cannot say of the live table is an
error or, where `apply` leaves it alone, a note; the template is linted, and compared with the table by the code of `plan`, before anybody
gets it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchIcebergTableError, NoSuchNamespaceError, NoSuchPropertyException, NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.types import ListType, MapType, NestedField, PrimitiveType, StructType

from lakehouse.catalog import catalog_errors, table_location
from lakehouse.errors import CatalogError, TableMismatchError
from lakehouse.inexpressible import inexpressible, nested
from lakehouse.settings import LakehouseSettings
from lakehouse.table_plan import RETRIES, TablePlan
from lakehouse.tables import open_tables
from lakehouse.template import METRICS_DEFAULT, METRICS_PREFIX, NO_BOUNDS, TableTemplate
from lakehouse.template_writer import lint_alone, template_text
from lakehouse.types import type_string

AccessLevel = Literal["public", "internal", "restricted"]
# Iceberg's own settings. Other properties are an engine's or a catalog's bookkeeping, which may change with every commit.
_SETTINGS = ("write.", "read.", "commit.", "history.", "gc.")


@dataclass(frozen=True)
class Imported:
    """A template of a live table.

    Attributes:
        table: ``namespace.name``.
        text: the YAML, which lint takes.
        template: what it says.
        notes: what the template does not say and `apply` leaves as it is, and what is to be decided; a sentence or two each.
    """

    table: str
    text: str
    template: TableTemplate
    notes: list[str]


def import_table(
    settings: LakehouseSettings,
    catalog: Catalog,
    table_name: str,
    access_level: AccessLevel | None = None,
    json_schema: str = "schema.json",
) -> Imported:
    """The template of a live table. Reads metadata only, and changes nothing.

    Args:
        table_name: ``namespace.name``.
        access_level: of every column but those below. None is ``internal``, the narrowest level that is no change: a restricted column
            has no value bounds in Iceberg's metadata, and a live table has them. A column without bounds (its metrics mode is
            ``none``) is ``restricted`` always: somebody kept its values out of metadata. A partition column never is, because
            its values stand in paths. With a restricted column the plan may not be empty: from then on its bounds are left out of
            manifests and footers.
        json_schema: the path of the JSON schema, for editors.

    Raises:
        TableMismatchError: naming every column and every part of the layout that a template cannot describe, and what to do.
        CatalogError: there is no such table, or the catalog does not answer.
    """
    with catalog_errors(f"{table_name} cannot be read"):
        table = _load(catalog, table_name)
        if problems := list(inexpressible(table)):
            raise _error(table_name, problems)
        restricted = _restricted(table, access_level)
        data = _described(table, restricted, "internal" if access_level in (None, "restricted") else access_level)
        notes = [*_notes_of_access(data), *_notes_of_rest(settings, table)]
        while True:
            text = template_text(data, json_schema)
            template, against = _linted(text, table)
            if template is not None:
                backend = open_tables(settings, catalog).properties(template)
                changes = TablePlan(table, template, backend).changes
                if not any(change.kind == "property" and change.subject in backend for change in changes):
                    break
                against = {"description": f"the table's comment and its {', '.join(backend)} differ. Write here what it should be."}
            if not _leave_out(data, against):
                raise _error(table_name, [f"{key}: {why}" for key, why in against.items()])
            notes += [f"The template leaves out {key}: {why}" for key, why in against.items()]
        if others := [str(change) for change in changes if not _leaf(change.subject)]:
            raise _error(table_name, others)
        if fields := {_leaf(change.subject) for change in changes}:
            notes.append(f"Apply will keep the values of {len(fields)} restricted fields out of new metadata: see lakehouse plan.")
        return Imported(table_name, text, template, notes)


def _load(catalog: Catalog, table_name: str) -> Table:
    if table_name.count(".") != 1:
        raise TableMismatchError(f"`{table_name}` is not namespace.table. A template's table is in a namespace of one level.")
    try:
        return catalog.load_table(table_name)
    except (NoSuchIcebergTableError, NoSuchPropertyException):
        raise TableMismatchError(
            f"{table_name} is no Iceberg table, or not yet one. Only Iceberg tables can be imported; the shell of one that Terraform made "
            "has a template: lakehouse apply"
        ) from None
    except (NoSuchTableError, NoSuchNamespaceError):
        raise CatalogError(f"There is no table {table_name} in the catalog. See which there are: lakehouse tables") from None


def _error(table_name: str, problems: Iterable[str]) -> TableMismatchError:
    lines = "".join(f"\n  {problem}" for problem in problems)
    return TableMismatchError(
        f"{table_name} cannot be described by a template:{lines}\nChange the live table in this, or let it be without a template."
    )


def _partition_columns(table: Table) -> list[str]:
    return [table.schema().find_column_name(part.source_id) or "" for part in table.spec().fields]


def _restricted(table: Table, access_level: AccessLevel | None) -> list[str]:
    """The columns that become restricted: those without value bounds, or all; but no partition column."""

    def has_no_bounds(column: NestedField) -> bool:
        leaves = [path for path, type_ in nested(column.field_type, column.name) if isinstance(type_, PrimitiveType)]
        default = table.properties.get(METRICS_DEFAULT)
        return bool(leaves) and all(table.properties.get(METRICS_PREFIX + path, default) == "none" for path in leaves)

    columns = [column for column in table.schema().fields if access_level == "restricted" or has_no_bounds(column)]
    return [column.name for column in columns if column.name not in _partition_columns(table)]


def _described(table: Table, restricted: Collection[str], access_level: AccessLevel) -> dict[str, Any]:
    """The template as the data of its YAML; what is empty is left out there."""
    schema = table.schema()
    return {
        "name": table.name()[-1],
        "namespace": table.name()[-2],
        "description": table.properties.get("comment", ""),
        "owner": table.properties.get("owner", ""),
        "columns": [
            {
                "name": column.name,
                "type": type_string(column.field_type),
                "required": column.required,
                "access_level": "restricted" if column.name in restricted else access_level,
                "description": column.doc or "",
            }
            for column in schema.fields
        ],
        "identifier": [schema.find_column_name(field_id) for field_id in schema.identifier_field_ids],
        "partition_spec": [
            {"column": column, "transform": str(part.transform)}
            for column, part in zip(_partition_columns(table), table.spec().fields, strict=True)
        ],
        "sort_order": [
            {
                "column": schema.find_column_name(sort.source_id),
                "direction": str(sort.direction).lower(),
                "null_order": str(sort.null_order).lower().replace(" ", "_"),
            }
            for sort in table.sort_order().fields
        ],
        # That a restricted column has no bounds follows from its level.
        "properties": {
            key: value for key, value in sorted(table.properties.items()) if _is_setting(key) and _leaf(key).split(".")[0] not in restricted
        },
    }


def _leaf(key: str) -> str:
    """The path of the leaf whose bounds a property is about; empty where it is about something else."""
    return next((key.removeprefix(prefix) for prefix in NO_BOUNDS if key.startswith(prefix)), "")


def _is_setting(key: str) -> bool:
    """Whether a template takes a property; a path is one environment's."""
    return key.startswith(_SETTINGS) and key != RETRIES and not key.endswith(".path")


def _linted(text: str, table: Table) -> tuple[TableTemplate | None, dict[str, str]]:
    """The template of a text, or what lint has against it, by key."""
    template, problems = lint_alone(text, table.name()[-1])
    return template, {found.key: f"{found.message} {found.remedy}" for found in problems if found.severity == "error"}


def _leave_out(data: dict[str, Any], keys: Iterable[str]) -> bool:
    """Takes out of a draft what `apply` leaves alone where no template names it. False, and nothing, where that is not all."""
    for key in keys:
        within = data["properties"] if key.startswith("properties.") else data
        name = key.removeprefix("properties.")
        if (within is data and name not in ("description", "owner")) or not within.get(name):
            return False
        within[name] = ""
    data["properties"] = {key: value for key, value in data["properties"].items() if f"properties.{key}" not in keys}
    return True


def _notes_of_access(data: Mapping[str, Any]) -> Iterator[str]:
    restricted = [column["name"] for column in data["columns"] if column["access_level"] == "restricted"]
    readable = [column["name"] for column in data["columns"] if column["access_level"] != "restricted"]
    if readable:
        yield (
            f"The reader role is to see {', '.join(readable)}. Set `access_level: restricted`, and `pii: true`, where they belong "
            "before permissions follow the template."
        )
    if restricted:
        yield f"The reader role is not to see {', '.join(restricted)}."


def _notes_of_rest(settings: LakehouseSettings, table: Table) -> Iterator[str]:
    """What the template does not say, and where it stays."""
    types = [found for column in table.schema().fields for found in nested(column.field_type, column.name)]
    children = [(f"{path}.{child.name}", child) for path, type_ in types if isinstance(type_, StructType) for child in type_.fields]
    required = [path for path, child in children if child.required]
    required += [f"{path}.element" for path, type_ in types if isinstance(type_, ListType) and type_.element_required]
    required += [f"{path}.value" for path, type_ in types if isinstance(type_, MapType) and type_.value_required]
    if required:
        yield f"These stay required in this table, and would be optional in a new one: {', '.join(required)}."
    if described := [path for path, child in children if child.doc]:
        yield f"The descriptions of nested fields stay in this table, and are not in the template: {', '.join(described)}."
    own = {"comment", "owner", "Description", RETRIES}
    if others := sorted(key for key in table.properties if not (_is_setting(key) or key in own or key.startswith("lakehouse."))):
        yield f"These properties stay in this table, and are not in the template: {', '.join(others)}."
    expected = table_location(settings, *table.name()[-2:])
    if settings.backend != "local" and table.location() != expected:
        yield f"Its files are at {table.location()}; the permissions that Terraform gives are for {expected}."
