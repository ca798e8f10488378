"""Templates as dbt's sources: what dbt models on top of the tables refer to.

Source: https://docs.getdbt.com/reference/source-properties; ``freshness``, ``meta`` and ``tags`` below ``config``, as from dbt 1.10 on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from pyiceberg.types import IcebergType

from lakehouse.interchange.base import Exported, Exporter, unsaid
from lakehouse.pipelines import parse_duration
from lakehouse.template import Column, TableTemplate
from lakehouse.yaml_writer import block

_UNSAID = ("partition_spec", "sort_order", "properties", "pipeline", "source", "publish", "checks", "maintenance")


class DbtSourcesExporter(Exporter):
    """One file per namespace, ``<namespace>_sources.yml``, with the types of the engine that readers of the backend use."""

    def export(self, templates: Sequence[TableTemplate]) -> list[Exported]:
        type_name = _TYPE_NAMES[self.backend]()
        by_namespace = groupby(sorted(templates, key=lambda template: template.table_name), key=lambda template: template.namespace)
        return [_exported(namespace, list(tables), type_name) for namespace, tables in by_namespace]


def _exported(namespace: str, templates: list[TableTemplate], type_name: Callable[[IcebergType], str]) -> Exported:
    notes = [note for template in templates for note in unsaid(template, _UNSAID)]
    notes += [
        f"{template.table_name}: dbt has no test of its own for an identifier of several columns: {', '.join(template.identifier)}."
        for template in templates
        if len(template.identifier) > 1
    ]
    notes += [
        f"{template.table_name}: dbt asks a column how fresh a table is, and this one has no event time: no freshness."
        for template in templates
        if template.freshness and template.event_time is None
    ]
    source = {"name": namespace, "schema": namespace, "tables": [_table(template, type_name) for template in templates]}
    return Exported(f"{namespace}_sources.yml", block({"version": 2, "sources": [source]}) + "\n", notes)


def _table(template: TableTemplate, type_name: Callable[[IcebergType], str]) -> dict[str, Any]:
    owner = {"owner": template.owner} if template.owner else {}
    config = {
        **({"meta": owner | dict(template.tags)} if owner or template.tags else {}),
        **_freshness(template),
    }
    return {
        "name": template.name,
        **_description(template.description),
        **({"config": config} if config else {}),
        "columns": [_column(template, column, type_name) for column in template.columns],
    }


def _description(text: str) -> dict[str, str]:
    """A description that dbt does not take for Jinja."""
    if re.search(r"\{[{%#]", text):
        text = "{% raw %}" + text + "{% endraw %}"
    return {"description": text} if text else {}


def _freshness(template: TableTemplate) -> dict[str, Any]:
    """dbt counts minutes, hours or days, and asks a column; without one a table has no freshness there."""
    if template.freshness is None or template.event_time is None:
        return {}
    minutes = int(parse_duration(template.freshness).total_seconds()) // 60
    size, period = next((size, period) for size, period in ((1440, "day"), (60, "hour"), (1, "minute")) if minutes % size == 0)
    return {"loaded_at_field": template.event_time.name, "freshness": {"error_after": {"count": minutes // size, "period": period}}}


def _column(template: TableTemplate, column: Column, type_name: Callable[[IcebergType], str]) -> dict[str, Any]:
    tests = [*(["not_null"] if column.required else []), *(["unique"] if template.identifier == [column.name] else [])]
    meta = {"access_level": column.access_level, **({"pii": True} if column.pii else {})}
    return {
        "name": column.name,
        "data_type": type_name(column.iceberg_type),
        **_description(column.description),
        "config": {"meta": meta},
        **({"data_tests": tests} if tests else {}),
    }


def _glue_types() -> Callable[[IcebergType], str]:
    """Athena's, as it shows a table's columns."""
    from lakehouse.catalog import require_extra

    require_extra("boto3", "aws", "The types of Athena")
    from lakehouse.normalise import glue_type

    return glue_type


def _bigquery_types() -> Callable[[IcebergType], str]:
    from lakehouse.bigquery_schema import sql_type

    return sql_type


def _duckdb_types() -> Callable[[IcebergType], str]:
    """DuckDB says itself what it makes of a column."""
    import duckdb
    import pyarrow as pa

    from lakehouse.arrow_types import arrow_type

    connection = duckdb.connect()

    @cache
    def type_name(type_: IcebergType) -> str:
        return str(connection.from_arrow(pa.schema([("a", arrow_type(type_))]).empty_table()).types[0])

    return type_name


_TYPE_NAMES: dict[str, Callable[[], Callable[[IcebergType], str]]] = {
    "local": _duckdb_types,
    "aws-glue": _glue_types,
    "aws-nessie": _glue_types,
    "gcp": _bigquery_types,
}
