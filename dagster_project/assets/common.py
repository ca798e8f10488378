"""What every asset says of its table, taken from the template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dagster import (
    AssetKey,
    CodeReferencesMetadataValue,
    LocalFileCodeReference,
    TableColumn,
    TableColumnConstraints,
    TableSchema,
    UrlCodeReference,
)

from lakehouse.settings import PROJECT_ROOT
from lakehouse.template import Column, TableTemplate

_ADDRESS_OR_TEAM = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}|team:.+"


def asset_key(template: TableTemplate) -> AssetKey:
    """``namespace/name``; the IO manager reads the table's name off it."""
    return AssetKey([template.namespace, template.name])


def asset_attributes(template: TableTemplate) -> dict[str, Any]:
    """The arguments of ``@asset`` that are the same for every pattern."""
    return {
        "key": asset_key(template),
        "description": template.description or None,
        "group_name": template.namespace,
        "kinds": {"iceberg", "python"},
        "owners": [_owner(template.owner)] if template.owner else None,
        "tags": dict(template.tags),
        "metadata": {
            "dagster/column_schema": column_schema(template),
            "dagster/storage_kind": "iceberg",
            "dagster/table_name": template.table_name,
        },
        # No freshness policy: Dagster's looks at when a run was, also one that found no new rows, and would always be met.
        # With a limit of 1 in the instance's settings, one deployment's runs on a table wait for each other.
        "pool": f"{template.namespace}_{template.name}",
    }


def column_schema(template: TableTemplate) -> TableSchema:
    """The columns with types, descriptions, nullability, and tags for pii and access level."""
    return TableSchema(columns=[_column(column) for column in template.columns])


def code_references(template: TableTemplate, repository_url: str | None) -> CodeReferencesMetadataValue:
    """The template, and the SQL of a feature table: in the repository, as far as they are the project's and its URL is known, else here."""
    sql = [template.path.with_name(template.feature_table.sql)] if template.feature_table else []
    return CodeReferencesMetadataValue(code_references=[_reference(path.absolute(), repository_url) for path in (template.path, *sql)])


def _reference(path: Path, repository_url: str | None) -> UrlCodeReference | LocalFileCodeReference:
    if repository_url is not None and path.is_relative_to(PROJECT_ROOT):
        return UrlCodeReference(url=f"{repository_url.rstrip('/')}/{path.relative_to(PROJECT_ROOT).as_posix()}", label=path.name)
    return LocalFileCodeReference(file_path=str(path), line_number=1, label=path.name)


def _column(column: Column) -> TableColumn:
    tags = {"access_level": column.access_level, **({"pii": ""} if column.pii else {})}
    return TableColumn(
        name=column.name,
        type=column.type,
        description=column.description or None,
        constraints=TableColumnConstraints(nullable=not column.required),
        tags=tags,
    )


def _owner(owner: str) -> str:
    """Dagster takes e-mail addresses and ``team:`` names, and does not load with anything else."""
    return owner if re.fullmatch(_ADDRESS_OR_TEAM, owner) else f"team:{owner}"
