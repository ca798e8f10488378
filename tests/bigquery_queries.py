"""Answers BigQuery's SQL by DuckDB, over the Iceberg metadata that external tables name, for a caller who may not read every column."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io import FileIO, load_file_io
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import StaticTable

from lakehouse.bigquery_schema import leaves, tags_of

_SQL_NAMES = {"BOOLEAN": "BOOL", "INTEGER": "INT64", "FLOAT": "FLOAT64", "RECORD": "STRUCT"}
_COLUMNS = re.compile(r"INFORMATION_SCHEMA\.COLUMNS", re.IGNORECASE)


class RefusedError(Exception):
    """The query reads a column whose policy tag the caller may not read."""


def read_rows(metadata_location: str, io: FileIO | None = None) -> pa.Table:
    """The rows of the table that a metadata file describes."""
    io = io or load_file_io({}, metadata_location)
    metadata = FromInputFile.table_metadata(io.new_input(metadata_location))
    return StaticTable(("static",), metadata, metadata_location, io, NoopCatalog("static")).scan().to_arrow()


def answer_query(
    sql: str, tables: Mapping[str, Any], may_read: Callable[[str], bool], read: Callable[[str], pa.Table] = read_rows
) -> tuple[list[Any], list[list[Any]]]:
    """The fields of the answer and its rows, as the API has them.

    Args:
        tables: the resources of the dataset's tables, by name.
        may_read: whether the caller may read what carries a policy tag.
        read: the rows of the table that a metadata file describes.
    """
    connection = duckdb.connect()
    hidden: dict[str, str] = {}
    for name, resource in tables.items():
        if re.search(rf"\b{re.escape(name)}\b", sql) and not _COLUMNS.search(sql):
            columns = {field["name"]: field for field in resource["schema"]["fields"]}
            refused = {column for column, field in columns.items() if not all(map(may_read, _tags([field])))}
            hidden |= dict.fromkeys(refused, name)
            location = resource["externalDataConfiguration"]["sourceUris"][0]
            connection.register(name, read(location).select([column for column in columns if column not in refused]))
    if _COLUMNS.search(sql):
        connection.register("columns", _information_schema(tables))
        sql = _COLUMNS.sub("columns", sql)
    if hidden and re.search(r"select\s+\*", sql, re.IGNORECASE):
        raise RefusedError(_refusal(*next(iter(hidden.items()))))
    try:
        found = connection.sql(_translated(sql))
    except duckdb.BinderException as error:
        for column, table in hidden.items():
            if re.search(rf"\b{column}\b", sql):
                raise RefusedError(_refusal(column, table)) from error
        raise
    fields = [{"name": name, "type": _type(str(type_)), "mode": "NULLABLE"} for name, type_ in zip(found.columns, found.types, strict=True)]
    return fields, [[_value(value) for value in row] for row in found.fetchall()]


def _translated(sql: str) -> str:
    """What DuckDB says in another way."""
    sql = re.sub(r"\bREGEXP_CONTAINS\(", "regexp_matches(", sql, flags=re.IGNORECASE)
    return re.sub(r"\br'", "'", sql).strip().rstrip(";").replace("`", '"')


def _refusal(column: str, table: str) -> str:
    return f"Access Denied: BigQuery BigQuery: User does not have permission to access policy tag on column {table}.{column}."


def _tags(fields: list[Any]) -> list[str]:
    return [tag for _, field in leaves(fields) for tag in tags_of(field)]


def _information_schema(tables: Mapping[str, Any]) -> pa.Table:
    rows = [
        {"table_name": name, "column_name": field["name"], "data_type": _sql_type(field), "is_nullable": "YES"}
        for name, resource in tables.items()
        for field in resource["schema"]["fields"]
    ]
    names = ("table_name", "column_name", "data_type", "is_nullable")
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))


def _sql_type(field: Any) -> str:
    name = _SQL_NAMES.get(field["type"], field["type"])
    if field.get("fields"):
        nested = ", ".join(f"{inner['name']} {_sql_type(inner)}" for inner in field["fields"])
        name = f"STRUCT<{nested}>"
    return f"ARRAY<{name}>" if field.get("mode") == "REPEATED" else name


def _type(duckdb_type: str) -> str:
    kinds = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "TIMESTAMP": "DATETIME", "DATE": "DATE", "BOOLEAN": "BOOLEAN", "VARCHAR": "STRING"}
    if duckdb_type in kinds:
        return kinds[duckdb_type]
    if duckdb_type in ("DOUBLE", "FLOAT"):
        return "FLOAT"
    return "NUMERIC" if duckdb_type.startswith("DECIMAL") else "INTEGER"


def _value(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case datetime() if value.tzinfo is not None:
            return str(int((value - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000))
        case datetime() | date():
            return value.isoformat()
        case _:
            return str(value)
