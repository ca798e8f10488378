"""A template as Terraform's reader normalises it, ``terraform/modules/table_template``: two readers, one answer.

``tests/terraform/test_conformance.py`` compares the two on a corpus of templates.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pyiceberg.catalog.glue import _IcebergSchemaToGlueType
from pyiceberg.schema import visit
from pyiceberg.types import IcebergType

from lakehouse.governance import ROLES, visible_columns
from lakehouse.pipelines import parse_duration
from lakehouse.template import TableTemplate
from lakehouse.types import type_string


def normalised(template: TableTemplate) -> dict[str, dict[str, Any]]:
    """The template's table and its quarantine table, if it has one, by table name.

    Each has ``namespace``, ``name``, ``description``, ``owner``, ``tags``, ``columns`` (``name``, ``type``, ``glue_type``,
    ``required``, ``description``, ``pii``, ``access_level``, ``renamed_from``),
    ``identifier``, ``partition_fields`` (``column``, ``transform``,
    ``name``), ``sort_order`` (``column``, ``direction``, ``null_order``), ``properties``, ``maintenance`` (``compact``,
    ``keep_snapshots_days``, ``keep_at_least``, ``remove_orphans``, ``retention``), and ``readable_columns`` by role.
    """
    return {found.table_name: _table(found) for found in (template, template.quarantine) if found is not None}


def glue_type(type_: IcebergType) -> str:
    """The type in Glue's words, as PyIceberg writes it there with each commit."""
    return visit(type_, _IcebergSchemaToGlueType())


def _table(template: TableTemplate) -> dict[str, Any]:
    return {
        "namespace": template.namespace,
        "name": template.name,
        "description": template.description,
        "owner": template.owner,
        "tags": dict(template.tags),
        "columns": [
            {
                "name": column.name,
                "type": type_string(column.iceberg_type),
                "glue_type": glue_type(column.iceberg_type),
                "required": column.required,
                "description": column.description,
                "pii": column.pii,
                "access_level": column.access_level,
                "renamed_from": list(column.renamed_from),
            }
            for column in template.columns
        ],
        "identifier": list(template.identifier),
        "partition_fields": [{"column": part.column, "transform": part.transform, "name": part.name} for part in template.partition_spec],
        "sort_order": [
            {"column": sort.column, "direction": sort.direction, "null_order": "nulls_first" if sort.nulls_first else "nulls_last"}
            for sort in template.sort_order
        ],
        "properties": dict(template.properties),
        "maintenance": {
            "compact": template.maintenance.compact,
            "keep_snapshots_days": -(-parse_duration(template.maintenance.keep_snapshots) // timedelta(days=1)),
            "keep_at_least": template.maintenance.keep_at_least,
            "remove_orphans": template.maintenance.remove_orphans,
            "retention": template.maintenance.retention or "",
        },
        "readable_columns": {role: visible_columns(template, role) for role in ROLES},
    }
