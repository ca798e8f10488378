"""A feature table to begin with: one count per key and day, and the SQL that gives it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import duckdb

from lakehouse.duck import quoted
from lakehouse.template import TableTemplate


def feature_data(
    columns: Sequence[dict[str, Any]], name: str, key: Sequence[str], inputs: Sequence[TableTemplate], start: date
) -> dict[str, Any]:
    """What the template of a feature table has besides its name, with the columns of its key.

    Args:
        start: the first day for which there are features.
    """
    order = ("name", "type", "required", "pii", "access_level", "description")
    keys = [{each: value for each in order if (value := {**column, "required": True}.get(each))} for column in columns]
    return {
        "columns": [
            *keys,
            {"name": "feature_date", "type": "date", "required": True, "description": "The UTC day at whose end the features hold."},
            {"name": "rows_seen", "type": "long", "description": f"Rows of {inputs[0].table_name} that were there."},
        ],
        "identifier": [*key, "feature_date"],
        "partition_spec": [{"column": "feature_date", "transform": "identity"}],
        "sort_order": [{"column": key[0], "direction": "asc", "null_order": "nulls_last"}],
        "pipeline": {
            "pattern": "feature_table",
            "sql": f"{name}.sql",
            "inputs": [found.table_name for found in inputs],
            "partitions": {"start": start.isoformat()},
        },
    }


def feature_sql(key: Sequence[str], inputs: Sequence[TableTemplate]) -> str:
    """The SQL, for people to go on with."""
    reserved = _reserved()

    def word(name: str) -> str:
        return ".".join(quoted(part) if part in reserved else part for part in name.split("."))

    keys = [word(name) for name in key]
    rows = f"from {word(inputs[0].table_name)}\nwhere {' and '.join(f'{name} is not null' for name in keys)}"
    others = "".join(f"\n-- Join {word(found.table_name)} here, too." for found in inputs[1:])
    return (
        "-- What is known at the end of the day $day, a UTC date. Each input is seen as it was then: no later row,\n"
        "-- and of an scd_type2 table the versions that had begun. `window` in the template bounds how far back it goes.\n"
        f"select\n    {''.join(f'{name},{chr(10)}    ' for name in keys)}$day as feature_date,\n    count(*) as rows_seen\n"
        f"{rows}\ngroup by {', '.join(keys)}{others}\n"
    )


def _reserved() -> set[str]:
    """The words that DuckDB takes for no name."""
    with duckdb.connect() as connection:
        found = connection.execute("select keyword_name from duckdb_keywords() where keyword_category = 'reserved'").fetchall()
    return {name for (name,) in found}
