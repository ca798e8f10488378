"""What a template means in Iceberg's and Arrow's terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.schema import assign_fresh_schema_ids
from pyiceberg.table.sorting import NullOrder, SortDirection
from pyiceberg.transforms import parse_transform
from pyiceberg.types import ListType, NestedField, StringType

from lakehouse.lint import LintResult
from lakehouse.pipelines import EventStreamPipeline
from lakehouse.template import TableTemplate


def _table(**keys: Any) -> TableTemplate:
    columns = [
        {"name": "id", "type": "long", "required": True, "description": "The key."},
        {"name": "at", "type": "timestamptz"},
        {"name": "tags", "type": "list<string>"},
        {"name": "address", "type": "struct<street: string, parts: map<string, list<int>>>", "access_level": "restricted"},
        {"name": "phones", "type": "list<struct<number: string>>", "pii": True},
        {"name": "email", "type": "string", "pii": True},
    ]
    return TableTemplate.model_validate({"name": "users", "namespace": "shop", "columns": columns, **keys})


def _bounds(template: TableTemplate) -> dict[str, str]:
    """What the table's properties say of manifests and footers."""
    prefixes = ("write.metadata.metrics.", "write.parquet.stats-enabled.")
    return {key: value for key, value in template.table_properties.items() if key.startswith(prefixes)}


def test_schema_is_that_of_a_new_table() -> None:
    schema = _table(identifier=["id"]).iceberg_schema
    assert schema == assign_fresh_schema_ids(schema)
    assert schema.identifier_field_ids == [1]
    assert schema.find_field("id") == NestedField(1, "id", schema.find_type("id"), required=True, doc="The key.")
    assert schema.find_type("tags") == ListType(7, StringType(), element_required=False)
    assert [field.field_id for field in schema.fields] == [1, 2, 3, 4, 5, 6]


def test_arrow_schema_reads_back_as_the_iceberg_schema() -> None:
    template = _table()
    plain = _table(columns=[{**column.model_dump(), "description": ""} for column in template.columns])
    assert pyarrow_to_schema(template.arrow_schema).as_struct() == plain.iceberg_schema.as_struct()


def test_partition_spec_and_sort_order_refer_to_field_ids() -> None:
    transforms = {"at": "hour", "id": "bucket[16]", "tags": "identity", "email": "truncate[3]"}
    template = _table(
        partition_spec=[{"column": column, "transform": transform} for column, transform in transforms.items()],
        sort_order=[{"column": "at"}, {"column": "id", "direction": "desc"}, {"column": "email", "null_order": "nulls_last"}],
    )
    spec = template.iceberg_partition_spec(template.iceberg_schema)
    assert [(field.source_id, field.field_id, field.name) for field in spec.fields] == [
        (2, 1000, "at_hour"),
        (1, 1001, "id_bucket"),
        (3, 1002, "tags"),
        (6, 1003, "email_trunc"),
    ]
    assert [field.transform for field in spec.fields] == [parse_transform(text) for text in transforms.values()]
    order = template.iceberg_sort_order(template.iceberg_schema)
    assert [(field.source_id, field.direction, field.null_order) for field in order.fields] == [
        (2, SortDirection.ASC, NullOrder.NULLS_FIRST),
        (1, SortDirection.DESC, NullOrder.NULLS_LAST),
        (6, SortDirection.ASC, NullOrder.NULLS_LAST),
    ]
    bare = _table()
    assert bare.iceberg_partition_spec(bare.iceberg_schema).is_unpartitioned()
    assert bare.iceberg_sort_order(bare.iceberg_schema).is_unsorted


def test_bounds_of_every_leaf_of_hidden_columns_are_off() -> None:
    leaves = ("address.street", "address.parts.key", "address.parts.value.element", "phones.element.number", "email")
    assert _bounds(_table(properties={"write.metadata.metrics.column.id": "full", "write.parquet.stats-enabled.column.at": "true"})) == {
        "write.metadata.metrics.column.id": "full",
        "write.parquet.stats-enabled.column.at": "true",
        **{f"write.metadata.metrics.column.{leaf}": "none" for leaf in leaves},
        **{f"write.parquet.stats-enabled.column.{leaf}": "false" for leaf in leaves},
    }


def test_pii_and_restricted_columns_are_hidden() -> None:
    assert _table().hidden_columns == {"address", "phones", "email"}


def test_table_properties_are_text_and_carry_what_the_project_needs() -> None:
    given = {"a": 134217728, "b": 0.00001, "c": True, "d": 2.0, "e": 1e16, "f": "x"}
    properties = _table(description="Users.", owner="team", properties=given).table_properties
    assert properties.items() >= {
        *(("a", "134217728"), ("b", "0.00001"), ("c", "true"), ("d", "2"), ("e", "10000000000000000"), ("f", "x")),
        *(("commit.retry.num-retries", "0"), ("comment", "Users."), ("owner", "team")),
    }
    assert _table().table_properties.keys().isdisjoint({"comment", "owner"})


def test_the_short_form_stands_for_an_event_stream(lint: Callable[..., LintResult]) -> None:
    text = """\
name: trips
namespace: lakehouse
columns:
  - {name: trip_id, type: long}
  - {name: started_at, type: timestamp}
partition_spec:
  - {column: started_at, transform: year}
  - {column: started_at, transform: month}
properties: {write.target-file-size-bytes: 134217728}
source:
  path: data/trips.csv
  format: csv
  csv_options: {delimiter: "|", column_names: [trip_id, started_at], skip_rows: 1}
"""
    result = lint({"trips.yaml": text})
    assert {problem.rule for problem in result.problems} == {"no-description", "redundant-partition"}
    assert not result.errors
    (template,) = result.templates
    assert (template.pipeline, template.identifier, template.path.name) == (None, [], "trips.yaml")
    assert isinstance(template.event_stream, EventStreamPipeline)
    assert template.event_stream.cron is None
    options = template.event_stream.source.csv_options
    assert options
    assert (options.delimiter, options.column_names, options.skip_rows) == ("|", ["trip_id", "started_at"], 1)
    assert template.quarantine is None


@pytest.mark.parametrize("pattern", ["event_stream", "scd_type2"])
def test_quarantine_is_a_table_of_its_own(pattern: str) -> None:
    source = {"path": "x", "format": "csv"}
    extra = {"key": ["id"], "effective_at": "at"} if pattern == "scd_type2" else {}
    pipeline = {"pattern": pattern, "source": source, "on_bad_rows": "quarantine", **extra}
    template = _table(owner="team", pipeline=pipeline)
    quarantine = template.quarantine
    assert quarantine
    assert (quarantine.table_name, quarantine.owner, quarantine.quarantine) == ("shop.users__quarantine", "team", None)
    assert all(column.access_level == "restricted" and column.iceberg_type for column in quarantine.columns)
    assert {"source_file", "source_row", "reason", "record", "batch_id"} <= quarantine.hidden_columns
    assert _bounds(quarantine) == {
        **{f"write.metadata.metrics.column.{column.name}": "none" for column in quarantine.columns},
        **{f"write.parquet.stats-enabled.column.{column.name}": "false" for column in quarantine.columns},
    }
    assert _table(pipeline={**pipeline, "on_bad_rows": "fail"}).quarantine is None
    assert (template.event_stream is not None) == (pattern == "event_stream")


def test_templates_without_a_pipeline_that_takes_rows_have_no_quarantine() -> None:
    feature = {"pattern": "feature_table", "sql": "a.sql", "inputs": ["a"], "partitions": {"start": "2024-01-01"}}
    assert _table().quarantine is None
    assert _table(pipeline=feature).quarantine is None
    assert _table().event_stream is None
    assert _table(pipeline=feature).event_stream is None


def test_templates_load_in_order_of_their_names(lint: Callable[..., LintResult]) -> None:
    text = "name: {}\nnamespace: {}\ndescription: x\ncolumns: [{{name: a, type: int}}]\n"
    result = lint({f"{name}.yaml": text.format(name, namespace) for name, namespace in (("a", "z"), ("c", "b"), ("b", "z"))})
    assert [template.table_name for template in result.templates] == ["b.c", "z.a", "z.b"]
