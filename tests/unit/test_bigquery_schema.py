"""What each Iceberg type is in BigQuery."""

from __future__ import annotations

import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField

from lakehouse.bigquery_schema import bigquery_fields, comparable, leaves, sql_type
from lakehouse.errors import TableMismatchError
from lakehouse.types import parse_type


def fields(*types: str) -> Schema:
    return Schema(*(NestedField(number, f"c{number}", parse_type(text), required=True) for number, text in enumerate(types, start=1)))


@pytest.mark.parametrize(
    ("iceberg", "api", "sql"),
    [
        ("boolean", "BOOLEAN", "BOOL"),
        ("int", "INTEGER", "INT64"),
        ("long", "INTEGER", "INT64"),
        ("float", "FLOAT", "FLOAT64"),
        ("double", "FLOAT", "FLOAT64"),
        ("decimal(38,9)", "NUMERIC", "NUMERIC"),
        ("decimal(29,0)", "NUMERIC", "NUMERIC"),
        ("decimal(30,0)", "BIGNUMERIC", "BIGNUMERIC"),
        ("decimal(20,10)", "BIGNUMERIC", "BIGNUMERIC"),
        ("date", "DATE", "DATE"),
        ("time", "TIME", "TIME"),
        ("timestamp", "DATETIME", "DATETIME"),
        ("timestamptz", "TIMESTAMP", "TIMESTAMP"),
        ("string", "STRING", "STRING"),
        ("uuid", "BYTES", "BYTES"),
        ("fixed[16]", "BYTES", "BYTES"),
        ("binary", "BYTES", "BYTES"),
    ],
)
def test_a_primitive_type(iceberg: str, api: str, sql: str) -> None:
    assert bigquery_fields(fields(iceberg)) == [{"name": "c1", "type": api, "mode": "NULLABLE"}]
    assert sql_type(parse_type(iceberg)) == sql


def test_nested_types() -> None:
    text = "struct<a: list<struct<b: int>>, m: map<string, list<decimal(38,10)>>>"
    assert sql_type(parse_type(text)) == ("STRUCT<a ARRAY<STRUCT<b INT64>>, m ARRAY<STRUCT<key STRING, value ARRAY<BIGNUMERIC>>>>")
    (field,) = bigquery_fields(fields(text))
    assert [path for path, _ in leaves([field])] == ["c1.a.b", "c1.m.key", "c1.m.value"]
    modes = {path: leaf["mode"] for path, leaf in leaves([field])}
    assert modes == {"c1.a.b": "NULLABLE", "c1.m.key": "NULLABLE", "c1.m.value": "REPEATED"}


@pytest.mark.parametrize(("text", "path"), [("list<list<int>>", "c1"), ("struct<a: list<map<string, int>>>", r"c1\.a")])
def test_an_array_of_arrays_is_an_error_with_its_place(text: str, path: str) -> None:
    with pytest.raises(TableMismatchError, match=f"^{path} is a list of lists or of maps"):
        bigquery_fields(fields(text))


def test_names_that_bigquery_may_answer_with_are_the_same() -> None:
    tag = "locations/eu/taxonomies/1/policyTags/2"
    sent = [{"name": "a", "type": "INTEGER", "mode": "NULLABLE", "policyTags": {"names": [f"projects/lake/{tag}"]}}]
    answered = [{"name": "a", "type": "INT64", "policyTags": {"names": [f"projects/123/{tag}"]}}]
    assert comparable(sent) == comparable(answered)
    assert comparable(sent) != comparable([{"name": "a", "type": "INT64"}])
