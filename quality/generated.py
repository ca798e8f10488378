"""The checks that a template gives: its rows are there, its required columns filled, its identifier unique, its schema as declared."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pyiceberg import types as ice

from lakehouse.bigquery_schema import sql_type
from lakehouse.errors import TableMismatchError
from lakehouse.pipelines import parse_duration
from lakehouse.template import Column, TableTemplate

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType

Dialect = Literal["duckdb", "athena", "bigquery"]

_DUCKDB: dict[type[ice.IcebergType], str] = {
    ice.BooleanType: "BOOLEAN",
    ice.IntegerType: "INTEGER",
    ice.LongType: "BIGINT",
    ice.FloatType: "FLOAT",
    ice.DoubleType: "DOUBLE",
    ice.DateType: "DATE",
    ice.TimeType: "TIME",
    ice.TimestampType: "TIMESTAMP",
    ice.TimestamptzType: "TIMESTAMP WITH TIME ZONE",
    ice.StringType: "VARCHAR",
    ice.UUIDType: "UUID",
    ice.BinaryType: "BLOB",
    ice.FixedType: "BLOB",
}
# Only what the engines' documentation leaves no doubt of; the type of any other column is not compared there.
# https://trino.io/docs/current/connector/iceberg.html#type-mapping
_ATHENA: dict[type[ice.IcebergType], str] = {
    ice.BooleanType: "boolean",
    ice.IntegerType: "integer",
    ice.LongType: "bigint",
    ice.DoubleType: "double",
    ice.DateType: "date",
    ice.StringType: "varchar",
    ice.BinaryType: "varbinary",
}


def generated_entries(template: TableTemplate, dialect: Dialect) -> list[Any]:
    """The entries of SodaCL that a template gives, in the form in which a ``checks for`` list has them.

    Freshness is that of the newest row's event time: an scd_type2 table's ``valid_from``, else the column the table is
    partitioned by as a time or date. A date counts as that day's end. No column of that kind, no check of freshness.

    Args:
        dialect: the data source's SQL: how it quotes names, and what it calls types.
    """

    def name(column: str) -> str:
        # Always quoted: SodaCL and each engine's SQL have words of their own, such as `order` and `last`.
        return f"`{column}`" if dialect == "bigquery" else f'"{column}"'

    entries: list[Any] = ["row_count > 0"]
    entries += [f"missing_count({name(column.name)}) = 0" for column in template.columns if column.required]
    if template.identifier:
        entries.append(f"duplicate_count({', '.join(map(name, template.identifier))}) = 0")
    types = {column.name: data_type(column.iceberg_type, dialect) for column in template.columns}
    entries.append({"schema": {"fail": {"when mismatching columns": types}}})
    newest = freshness_column(template)
    if template.freshness is not None and newest is not None:
        entries.append(f"freshness({name(newest.name)}) < {_threshold(template.freshness)}")
    return entries


def freshness_column(template: TableTemplate) -> Column | None:
    """The column whose newest value says how fresh a table is; None where it has none."""
    if template.scd_type2 is not None:
        return next((column for column in template.columns if column.name == "valid_from"), None)
    return template.event_time


def data_type(type_: ice.IcebergType, dialect: Dialect) -> str | None:
    """What the data source's information_schema calls an Iceberg type, in lower case; None where it cannot be compared."""
    if dialect == "bigquery":
        return _bigquery_type(type_)
    if isinstance(type_, ice.DecimalType):
        return f"decimal({type_.precision},{type_.scale})"
    if dialect == "duckdb" and not isinstance(type_, ice.PrimitiveType):
        return str(_duckdb_type(type_)).lower()
    found = {"duckdb": _DUCKDB, "athena": _ATHENA}[dialect].get(type(type_))
    return found.lower() if found else None


def _bigquery_type(type_: ice.IcebergType) -> str | None:
    """What BigQuery is told that a column is, by the schema of its external table; None where it has no such type."""
    # How it writes a precision, or a nested field that is named as a word of SQL, was not seen: a check must not fail for a blank.
    if isinstance(type_, ice.DecimalType) or not isinstance(type_, ice.PrimitiveType):
        return None
    try:
        return sql_type(type_).lower()
    except TableMismatchError:
        return None


def _duckdb_type(type_: ice.IcebergType) -> DuckDBPyType:
    import duckdb  # loads in the time of some tables, and only nested types need it

    match type_:
        case ice.ListType():
            return duckdb.list_type(_duckdb_type(type_.element_type))
        case ice.MapType():
            return duckdb.map_type(_duckdb_type(type_.key_type), _duckdb_type(type_.value_type))
        case ice.StructType():
            return duckdb.struct_type({field.name: _duckdb_type(field.field_type) for field in type_.fields})
        case ice.DecimalType():
            return duckdb.decimal_type(type_.precision, type_.scale)
        case _:
            return duckdb.sqltype(_DUCKDB[type(type_)])


def _threshold(freshness: str) -> str:
    """A template's duration in SodaCL, which has no weeks."""
    return f"{parse_duration(freshness) // timedelta(days=1)}d" if freshness.endswith("w") else freshness
