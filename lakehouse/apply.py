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
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate


@dataclass(frozen=True)
class Applied:
    """What was done about one table. ``detail`` says how a table that exists differs from its template."""

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
    """In a few words, how the columns of a live table differ by name."""
    live, wanted = {field.name for field in table.schema().fields}, {column.name for column in template.columns}
    parts = []
    if missing := sorted(wanted - live):
        parts.append(f"it lacks {', '.join(missing)}")
    if extra := sorted(live - wanted):
        parts.append(f"it has {', '.join(extra)}, which the template does not name")
    return "; ".join(parts)
