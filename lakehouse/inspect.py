"""What is in the lakehouse, for the command line and whoever else asks. Reads metadata, and rows only for ``first_rows``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import BadRequestError, NoSuchNamespaceError
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.sorting import SortOrder
from pyiceberg.typedef import Identifier

from lakehouse.governance import ROLES, visible_columns
from lakehouse.history import RUN_ID, audit_snapshot, committed_at, published, summary_of
from lakehouse.template import TableTemplate
from lakehouse.types import type_string

MASK = "***"


def list_tables(catalog: Catalog) -> list[str]:
    """The name of every table of the catalog, as ``namespace.table``, those in nested namespaces as ``outer.inner.table``."""
    return sorted(".".join(identifier) for namespace in _namespaces(catalog) for identifier in _tables_of(catalog, namespace))


def _namespaces(catalog: Catalog, parent: Identifier = ()) -> Iterator[Identifier]:
    """Those below a namespace, at any depth; by default all."""
    try:
        found = catalog.list_namespaces(parent)
    except (NoSuchNamespaceError, BadRequestError):
        if not parent:
            raise
        return  # dropped meanwhile, or the catalog refuses a parent because it has no nested namespaces
    for namespace in found:
        yield namespace
        yield from _namespaces(catalog, namespace)


def _tables_of(catalog: Catalog, namespace: Identifier) -> list[Identifier]:
    try:
        return catalog.list_tables(namespace)
    except NoSuchNamespaceError:  # dropped meanwhile, or only the parent of others
        return []


def summarise(table: Table) -> dict[str, Any]:
    """A table's ``name``, ``rows``, ``files``, ``bytes``, ``snapshot_id`` and ``committed_at`` (ISO 8601, UTC)."""
    snapshot = table.current_snapshot()
    summary = summary_of(snapshot)
    return {
        "name": ".".join(table.name()),
        "rows": int(summary.get("total-records", 0)),
        "files": int(summary.get("total-data-files", 0)),
        "bytes": int(summary.get("total-files-size", 0)),
        "snapshot_id": snapshot.snapshot_id if snapshot else None,
        "committed_at": _time(snapshot) if snapshot else None,
    }


def describe(table: Table, template: TableTemplate | None) -> dict[str, Any]:
    """Columns, layout, properties and snapshots of a table, with what its template adds, and ``audit``: the snapshot of an open one."""
    schema = table.schema()
    columns = {column.name: column for column in template.columns} if template else {}
    readable = {role: visible_columns(template, role) for role in ROLES} if template else {}
    audit = audit_snapshot(table)
    return {
        **summarise(table),
        "location": table.location(),
        "description": template.description if template else "",
        "owner": template.owner if template else "",
        "managed": template is not None,
        "columns": [
            {
                "id": field.field_id,
                "name": field.name,
                "type": type_string(field.field_type),
                "required": field.required,
                "pii": columns[field.name].pii if field.name in columns else None,
                "access_level": columns[field.name].access_level if field.name in columns else None,
                "readable_by": [role for role in ROLES if field.name in readable[role]] if field.name in columns else None,
                "description": field.doc or "",
            }
            for field in schema.fields
        ],
        "identifier": sorted(schema.identifier_field_names()),
        "partitions": partition_texts(schema, table.spec()),
        "sort_order": sort_texts(schema, table.sort_order()),
        "properties": dict(sorted(table.properties.items())),
        "audit": _details(audit) if audit else None,
        "snapshots": [_details(snapshot) for snapshot in published(table)],
    }


def _details(snapshot: Snapshot) -> dict[str, Any]:
    summary = summary_of(snapshot)
    return {
        "snapshot_id": snapshot.snapshot_id,
        "committed_at": _time(snapshot),
        "operation": snapshot.summary.operation.value if snapshot.summary else None,
        "added_rows": int(summary.get("added-records", 0)),
        "total_rows": int(summary.get("total-records", 0)),
        "run_id": summary.get(RUN_ID),
    }


def partition_texts(schema: Schema, spec: PartitionSpec) -> list[str]:
    """A partition spec as people read it: ``day(event_timestamp)``."""
    return [f"{part.transform}({schema.find_column_name(part.source_id)})" for part in spec.fields]


def sort_texts(schema: Schema, order: SortOrder) -> list[str]:
    """A sort order as people read it: ``event_timestamp ASC NULLS LAST``."""
    return [f"{schema.find_column_name(sort.source_id)} {sort.direction} {sort.null_order}" for sort in order.fields]


def first_rows(table: Table, template: TableTemplate | None, limit: int, reveal: bool) -> list[dict[str, Any]]:
    """Some rows. Values of pii and restricted columns, and of any column that no template describes, are masked, and not even read."""
    top = [field.name for field in table.schema().fields]
    open_columns = {column.name for column in template.columns if not column.hidden} if template else set[str]()
    shown = top if reveal else [name for name in top if name in open_columns]
    if not shown:
        return [dict.fromkeys(top, MASK) for _ in range(min(limit, summarise(table)["rows"]))]
    scan = table.scan(limit=limit, selected_fields=tuple(shown))
    rows = (row for batch in scan.to_arrow_batch_reader() for row in batch.to_pylist())
    return [{name: row[name] if name in shown else MASK for name in top} for row in islice(rows, limit)]


def _time(snapshot: Snapshot) -> str:
    return committed_at(snapshot).isoformat(timespec="milliseconds")
