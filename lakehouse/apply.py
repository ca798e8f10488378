"""Makes the catalog hold what the templates describe. This version creates what is missing and changes nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.table import Table
from sqlalchemy.exc import IntegrityError

from lakehouse.catalog import table_location
from lakehouse.inspect import partition_texts, sort_texts
from lakehouse.settings import LakehouseSettings
from lakehouse.template import METRICS_PREFIX, TableTemplate
from lakehouse.types import type_string


@dataclass(frozen=True)
class Applied:
    """What was done about one table. ``detail`` says how a table that exists differs from its template, or why it failed."""

    table: str
    action: Literal["created", "exists", "failed"]
    detail: str = ""


def apply(settings: LakehouseSettings, catalog: Catalog, templates: Iterable[TableTemplate]) -> Iterator[Applied]:
    """Creates each missing table, and its quarantine table. A table that fails does not keep the others from being made."""
    for template in templates:
        for wanted in filter(None, (template, template.quarantine)):
            try:
                yield _apply_one(settings, catalog, wanted)
            except Exception as error:
                yield Applied(wanted.table_name, "failed", f"{type(error).__name__}: {error}")


def _apply_one(settings: LakehouseSettings, catalog: Catalog, template: TableTemplate) -> Applied:
    try:
        return Applied(template.table_name, "exists", _difference(catalog.load_table(template.table_name), template))
    except NoSuchTableError:
        pass
    _ensure_namespace(catalog, template.namespace)
    schema = template.iceberg_schema
    try:
        catalog.create_table(
            template.table_name,
            schema,
            location=table_location(settings, template.namespace, template.name),
            partition_spec=template.iceberg_partition_spec(schema),
            sort_order=template.iceberg_sort_order(schema),
            properties={"format-version": "2", **template.table_properties},
        )
    except TableAlreadyExistsError:  # another apply was faster, and made the same
        return Applied(template.table_name, "exists")
    return Applied(template.table_name, "created")


def _ensure_namespace(catalog: Catalog, namespace: str) -> None:
    try:
        if not catalog.namespace_exists(namespace):
            catalog.create_namespace(namespace)
    except (NamespaceAlreadyExistsError, IntegrityError):
        return


def _difference(table: Table, template: TableTemplate) -> str:
    """How a live table differs from its template, in words; empty where it does not."""
    return "; ".join([*_columns(table, template), *_layout(table, template), *_properties(table, template)])


def _columns(table: Table, template: TableTemplate) -> Iterator[str]:
    live, wanted = ({field.name: field for field in schema.fields} for schema in (table.schema(), template.iceberg_schema))
    if missing := sorted(wanted.keys() - live.keys()):
        yield f"it lacks {', '.join(missing)}"
    if extra := sorted(live.keys() - wanted.keys()):
        yield f"it has {', '.join(extra)}, which the template does not name"
    both = [(live[name], field) for name, field in wanted.items() if name in live]
    for old, new in both:
        if (is_type := type_string(old.field_type)) != (type_ := type_string(new.field_type)):
            yield f"{old.name} is {is_type}, not {type_}"
        if old.required != new.required:
            yield f"{old.name} {'is required' if old.required else 'may be null'} there"
    if described := [old.name for old, new in both if (old.doc or "") != (new.doc or "")]:
        yield f"other descriptions of {', '.join(described)}"


def _layout(table: Table, template: TableTemplate) -> Iterator[str]:
    schema, wanted = table.schema(), template.iceberg_schema
    for what, is_, should in (
        ("identifier", sorted(schema.identifier_field_names()), sorted(template.identifier)),
        ("partitions", partition_texts(schema, table.spec()), partition_texts(wanted, template.iceberg_partition_spec(wanted))),
        ("sort order", sort_texts(schema, table.sort_order()), sort_texts(wanted, template.iceberg_sort_order(wanted))),
    ):
        if is_ != should:
            yield f"{what} {', '.join(is_) or 'none'}, not {', '.join(should) or 'none'}"


def _properties(table: Table, template: TableTemplate) -> Iterator[str]:
    differing = {key: value for key, value in template.table_properties.items() if table.properties.get(key) != value}
    bounds = [key.removeprefix(METRICS_PREFIX) for key in differing if key.startswith(METRICS_PREFIX) and differing[key] == "none"]
    for key, value in differing.items():
        if key.removeprefix(METRICS_PREFIX) not in bounds:
            yield f"{key} is {table.properties.get(key, 'not set')}, not {value}"
    if bounds:
        yield f"bounds of {', '.join(bounds)} are still written by other engines"
