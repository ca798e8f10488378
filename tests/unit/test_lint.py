"""Every bad input is reported with rule, line, key and remedy, all of them at once."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lakehouse.errors import SettingsError, TemplateError
from lakehouse.lint import LintResult, lint_templates, load_templates
from lakehouse.template import json_schema

Lint = Callable[..., LintResult]
TABLE = """\
name: trips
namespace: lakehouse
description: One row per trip.
columns:
  - {name: trip_id, type: long, required: true}
  - {name: started_at, type: timestamptz}
  - {name: fare, type: double, required: true}
  - {name: rider, type: string, access_level: restricted}
  - {name: stops, type: list<string>, required: true}
  - {name: phone, type: string, pii: true, access_level: internal}
  - {name: day, type: date}
"""  # what a test adds starts on line 12
EVENTS = "pipeline:\n  pattern: event_stream\n  source: {path: /landing, format: jsonl}\n"
SOURCE = "source:\n  path: /landing\n  format: csv\n"
ERROR, WARNING = "error", "warning"


def _found(result: LintResult) -> list[tuple[str, str, int, str]]:
    return [(problem.severity, problem.rule, problem.line, problem.key) for problem in result.problems]


# What is added to TABLE, and the one finding: rule, line, key, a part of what it says.
ADDED: list[tuple[str, str, int, str, str]] = [
    ("descripton: x", "unknown-key", 12, "descripton", "Did you mean `description`?"),
    (EVENTS.replace("path", "pth"), "missing-key", 14, "pipeline.source.path", "`path` is missing"),
    (EVENTS + "  corn: x", "unknown-key", 15, "pipeline.corn", "Did you mean `cron`?"),
    (EVENTS + "  key: [a]", "unknown-key", 15, "pipeline.key", "Keys: cron, on_bad_rows, pattern, source."),
    ("sort_order:\n  - {column: day, directon: asc}", "unknown-key", 13, "sort_order[0].directon", "Did you mean `direction`?"),
    ("pipeline: {pattern: stream}", "wrong-value", 12, "pipeline", "event_stream, scd_type2 or feature_table"),
    ("pipeline: {cron: x}", "missing-key", 12, "pipeline", "pattern"),
    (EVENTS + "  event_stream: {event_stream: 1}", "unknown-key", 15, "pipeline.event_stream", "Keys: cron"),
    ("pipeline: []", "wrong-value", 12, "pipeline", "must be a mapping, it is a list"),
    ("identifier: trip_id", "wrong-value", 12, "identifier", "must be a list, it is text"),
    ("owner: 12", "wrong-value", 12, "owner", "must be text, it is a number. Correct it. Quote it."),
    ("owner:", "wrong-value", 12, "owner", "it is empty"),
    ("tags: {a: [b]}", "wrong-value", 12, "tags.a", "must be text, it is a list"),
    ("checks: {generated: 1}", "wrong-value", 12, "checks.generated", "true or false"),
    ("maintenance: {keep_at_least: 0}", "wrong-value", 12, "maintenance.keep_at_least", "greater than or equal to 1"),
    ("publish: later", "wrong-value", 12, "publish", "'direct' or 'audited'"),
    ("publish: [[direct]]", "wrong-value", 12, "publish", "the value is not allowed"),
    ("publish: audited", "publish-audited", 12, "publish", "the table has no pipeline"),
    ("identifier: [trip]", "unknown-column", 12, "identifier[0]", "Columns: day, fare"),
    ("identifier: [trip_id, trip_id]", "identifier-column", 12, "identifier[1]", "stands twice"),
    ("identifier:\n  - trip_id\n  - day", "identifier-column", 14, "identifier[1]", "required: true"),
    ("identifier: [fare]", "identifier-column", 12, "identifier[0]", "double"),
    ("identifier: [stops]", "identifier-column", 12, "identifier[0]", "nested"),
    ("partition_spec:\n  - {column: dai}", "unknown-column", 13, "partition_spec[0].column", "`dai`"),
    ("partition_spec:\n  - {column: rider}", "hidden-partition", 13, "partition_spec[0].column", "pii or restricted"),
    ("partition_spec:\n  - {column: phone, transform: 'bucket[8]'}", "hidden-partition", 13, "partition_spec[0].column", "manifests"),
    ("partition_spec:\n  - {column: day}\n  - {column: day}", "partition-name", 14, "partition_spec[1]", "named `day`"),
    ("sort_order:\n  - {column: x}", "unknown-column", 13, "sort_order[0].column", "`x`"),
    ("sort_order:\n  - {column: stops}", "sort-column", 13, "sort_order[0].column", "nested"),
    ("sort_order: [{column: day}, {column: day}]", "sort-column", 12, "sort_order[1].column", "twice"),
    ("sort_order: [{column: day, direction: up}]", "wrong-value", 12, "sort_order[0].direction", "'asc' or 'desc'"),
    ("properties:\n  a: [1]", "wrong-value", 13, "properties.a", "must be text"),
    ("properties:\n  commit.retry.num-retries: 4", "managed-property", 13, "properties.commit.retry.num-retries", "set by the project"),
    ("properties:\n  lakehouse.x: 4", "managed-property", 13, "properties.lakehouse.x", "set by the project"),
    ("properties: {write.metadata.metrics.column.rider: full}", "hidden-bounds", 12,
     "properties.write.metadata.metrics.column.rider", "bounds of `rider`"),
    ("properties: {write.parquet.stats-enabled.column.rider: true}", "hidden-bounds", 12,
     "properties.write.parquet.stats-enabled.column.rider", "bounds of `rider`"),
    *((f"properties: {{{name}: {value}}}", "property-value", 12, f"properties.{name}", says) for name, value, says in (
        ("write.target-file-size-bytes", "64MB", "64 MiB is 67108864"),
        ("write.target-file-size-bytes", "0", "above 0"),
        ("write.parquet.row-group-limit", "1.5", "Write the number alone"),
        ("write.parquet.page-size-bytes", "-1", "67108864"),
        ("write.parquet.page-row-limit", "many", "number"),
        ("write.parquet.dict-size-bytes", "2 MiB", "67108864"),
        ("write.parquet.compression-level", "high", "number"),
        ("write.metadata.previous-versions-max", "all", "number"),
        ("commit.manifest.min-count-to-merge", "x", "number"),
        ("history.expire.max-snapshot-age-ms", "7d", "number"),
        ("write.parquet.compression-codec", "zst", "Use uncompressed, snappy, gzip, lz4, zstd or brotli"),
        ("write.parquet.compression-codec", "ZSTD", "is not a codec"),
    )),
    ("properties: {write.parquet.compression-codec: snappy, write.parquet.compression-level: 3}", "property-value", 12,
     "properties.write.parquet.compression-level", "snappy has no levels"),
    ("tags: {a b: c}", "tag", 12, "tags.a b", "1 to 63 letters"),
    ("tags:\n  a: b/c", "tag", 13, "tags.a", "1 to 63 letters"),
    (f"tags: {{a: {'x' * 64}}}", "tag", 12, "tags.a", "1 to 63 letters"),
    ("freshness: 1 day", "duration", 12, "freshness", "24h"),
    ("freshness: 0h", "duration", 12, "freshness", "24h"),
    ("freshness: 9999999w", "duration", 12, "freshness", "24h"),
    ('freshness: "24h\\n"', "duration", 12, "freshness", "24h"),
    ("maintenance: {keep_snapshots: forever}", "duration", 12, "maintenance.keep_snapshots", "24h"),
    ("maintenance: {retention: 400d}", "retention", 12, "maintenance.retention", "400d on event_time"),
    ("maintenance: {retention: 400d on nothing}", "unknown-column", 12, "maintenance.retention", "nothing"),
    ("maintenance: {retention: 400d on trip_id}", "retention", 12, "maintenance.retention", "date, timestamp or timestamptz"),
    (SOURCE + EVENTS, "two-sources", 12, "source", "pipeline.source"),
    ("source: {path: /landing, format: xml}", "wrong-value", 12, "source.format", "'parquet', 'csv', 'json' or 'jsonl'"),
    ("source: {path: /l, format: json, csv_options: {}}", "csv-options", 12, "source.csv_options", "format is json"),
    (SOURCE + '  csv_options: {delimiter: ""}', "csv-options", 15, "source.csv_options.delimiter", "one ASCII character"),
    (SOURCE + '  csv_options: {delimiter: "||"}', "csv-options", 15, "source.csv_options.delimiter", "one ASCII character"),
    (SOURCE + "  csv_options: {delimiter: '\"'}", "csv-options", 15, "source.csv_options.delimiter", "one ASCII character"),
    (SOURCE + "  csv_options:\n    column_names: [a, a]", "csv-options", 16, "source.csv_options.column_names", "twice"),
    (SOURCE + "  csv_options: {skip_rows: -1}", "wrong-value", 15, "source.csv_options.skip_rows", "greater than"),
    *((f"source: {{path: '{path}', format: csv}}", "variable-format", 12, "source.path", "${NAME}")
      for path in ("$LANDING/x", "a$", "${1}/x", "${}/x", "${LANDING")),
    *((EVENTS + f'  cron: "{cron}"', "cron", 15, "pipeline.cron", "weekday")
      for cron in ("hourly", "@daily", "* * * *", "60 * * * *", "0 0 31 2 *", "* * * * * *", "", "0 0 * * 5L", "0 0 LW * *", "² * * * *")),
    *((f"partition_spec: [{{column: {column}, transform: '{transform}'}}]", "partition-transform", 12, "partition_spec[0].transform", says)
      for column, transform, says in (
        ("day", "hour", "does not take `day`, a date"),
        ("trip_id", "day", "does not take `trip_id`, a long"),
        ("stops", "identity", "does not take `stops`"),
        ("fare", "identity", "NaN"),
        ("fare", "bucket[4]", "does not take `fare`"),
        *(("day", transform, "is not a transform") for transform in (
            "bucket[0]", "bucket[00]", "truncate[0]", "bucket", "bucket[]", "bucket[-1]", "bucket[4]x", "bucket[٣]", "bucket[9999999999]",
            "Day", "days", "void", "unknown", "",
        )),
      )),
]  # fmt: skip


@pytest.mark.parametrize(("added", "rule", "line", "key", "says"), ADDED)
def test_bad_input_is_reported_at_its_key(lint: Lint, tmp_path: Path, added: str, rule: str, line: int, key: str, says: str) -> None:
    other = TABLE.replace("name: trips", "name: a")
    result = lint({"trips.yaml": TABLE + added, "a.yaml": other})
    errors = [found for found in _found(result) if found[0] == ERROR]
    assert errors[0] == (ERROR, rule, line, key)
    assert {found[3] for found in errors} <= {key, key.replace(".path", ".pth")}
    assert says in str(result.errors[0])
    assert [template.name for template in result.templates] == ["a"]


@pytest.mark.parametrize("type_", ["float", "double"])
def test_a_floating_point_identifier_is_refused(lint: Lint, type_: str) -> None:
    result = lint({"trips.yaml": TABLE.replace("type: double", f"type: {type_}") + "identifier: [fare]"})
    assert _found(result) == [(ERROR, "identifier-column", 12, "identifier[0]")]
    assert type_ in result.problems[0].message


COLUMN: list[tuple[str, str, str, str]] = [
    ("{name: x}", "missing-key", "columns[7].type", "`type` is missing"),
    ("{type: string}", "missing-key", "columns[7].name", "`name` is missing"),
    ("{name: x, type: string, requird: true}", "unknown-key", "columns[7].requird", "Did you mean `required`?"),
    ("{name: x, type: string, required: 'yes'}", "wrong-value", "columns[7].required", "must be true or false, it is text"),
    ("{name: x, type: string, access_level: secret}", "wrong-value", "columns[7].access_level", "`secret` is not allowed"),
    ("{name: x, type: [string]}", "wrong-value", "columns[7].type", "must be text, it is a list"),
    ("x", "wrong-value", "columns[7]", "must be a mapping"),
    ("{name: day, type: string}", "duplicate-column", "columns[7].name", "`day` stands twice"),
    ("{name: Day, type: string}", "name-format", "columns[7].name", "lower-case"),
    ("{name: 1st, type: string}", "name-format", "columns[7].name", "lower-case"),
    ("{name: a b, type: string}", "name-format", "columns[7].name", "lower-case"),
    ('{name: "x\\n", type: string}', "name-format", "columns[7].name", "lower-case"),
    ("{name: x, type: strng}", "column-type", "columns[7].type", "unknown type 'strng'"),
    ("{name: x, type: list<bool>}", "column-type", "columns[7].type", "did you mean 'boolean'"),
    ("{name: x, type: 'map<string, struct<a: list<INT>>>'}", "column-type", "columns[7].type", "did you mean 'int'"),
    ("{name: x, type: 'decimal(39,0)'}", "column-type", "columns[7].type", "precision"),
    ("{name: x, type: 'decimal(²,0)'}", "column-type", "columns[7].type", "whole number"),
    ("{name: x, type: 'fixed[0]'}", "column-type", "columns[7].type", "at least 1 byte"),
    *((f"{{name: x, type: '{type_}'}}", "map-key", "columns[7].type", "nested") for type_ in (
        "map<list<int>, int>", "list<map<struct<a: int>, int>>", "struct<a: map<string, map<map<int, int>, int>>>")),
    ("{name: x, type: ''}", "column-type", "columns[7].type", "is empty"),
    ("{name: x, type: %s}" % ("list<" * 17 + "int" + ">" * 17), "column-type", "columns[7].type", "nested deeper"),
    ("{name: x, type: int, renamed_from: [x]}", "renamed-from", "columns[7].renamed_from[0]", "from itself"),
    ("{name: x, type: int, renamed_from: [w, Way]}", "renamed-from", "columns[7].renamed_from[1]", "is not a name"),
    ("{name: x, type: int, renamed_from: [w, w]}", "renamed-from", "columns[7].renamed_from[1]", "former name of `x` too"),
    ("{name: x, type: int, description: %s}" % ("d" * 256), "description-length", "columns[7].description", "has 256 characters"),
    ('{name: x, type: int, description: "a\\nb"}', "description-length", "columns[7].description", "several lines"),
    ("{name: x, type: int, renamed_from: w}", "wrong-value", "columns[7].renamed_from", "must be a list"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "rule", "key", "says"), COLUMN)
def test_a_bad_column_is_reported_at_its_key(lint: Lint, column: str, rule: str, key: str, says: str) -> None:
    result = lint({"trips.yaml": f"{TABLE}  - {column}\n"})
    assert _found(result) == [(ERROR, rule, 12, key)]
    assert says in str(result.problems[0])


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"trips.yaml": "namespace: a\ncolumns: [{name: a, type: int}]"}, ("missing-key", 1, "name")),
        ({"trips.yaml": TABLE.replace("namespace: lakehouse", "owner: x")}, ("missing-key", 1, "namespace")),
        ({"trips.yaml": "name: trips\nnamespace: a\ndescription: x"}, ("missing-key", 1, "columns")),
        ({"trips.yaml": "name: trips\nnamespace: a\ncolumns: []"}, ("wrong-value", 3, "columns")),
        ({"trips.yaml": TABLE.replace("name: trips", "name: 12")}, ("wrong-value", 1, "name")),
        ({"trips.yaml": TABLE.replace("name: trips", "name: trip")}, ("file-name", 1, "name")),
        ({"Trips.yaml": TABLE.replace("name: trips", "name: Trips")}, ("name-format", 1, "name")),
        ({"trips.yaml": TABLE.replace("e: lakehouse", "e: lake-house")}, ("name-format", 2, "namespace")),
        ({"my__trips.yaml": TABLE.replace("name: trips", "name: my__trips")}, ("reserved-name", 1, "name")),
        ({"trips.yaml": ""}, ("empty-file", 1, "")),
        ({"trips.yaml": "{}"}, ("empty-file", 1, "")),
        ({"trips.yaml": "# nothing yet\n"}, ("empty-file", 1, "")),
        ({"trips.yaml": "- a\n- b"}, ("empty-file", 1, "")),
        ({"trips.yaml": "just text"}, ("empty-file", 1, "")),
        ({"trips.yaml": TABLE + "tags: {a: b"}, ("yaml-syntax", 12, "")),
        ({"trips.yaml": TABLE + "tags: {on: x}"}, ("yaml-ambiguous", 12, "tags.on")),
        ({"trips.yaml": TABLE + "name: trips"}, ("yaml-duplicate-key", 12, "name")),
        ({"trips.yaml": TABLE + "owner: !x z"}, ("yaml-tag", 12, "owner")),
        ({"trips.yaml": TABLE + "owner: &x z"}, ("yaml-anchor", 12, "owner")),
        ({"trips.yaml": TABLE + "---\nname: x"}, ("yaml-documents", 12, "")),
        ({"trips.yaml": "\ufeff" + TABLE}, ("yaml-encoding", 1, "")),
        ({"trips.yaml": TABLE.encode() + b"owner: \xe9"}, ("yaml-encoding", 12, "")),
        ({"trips.yaml": TABLE + "owner: \x00"}, ("yaml-syntax", 12, "")),
        ({}, ("no-templates", 1, "")),
    ],
)
def test_a_file_that_is_no_template_is_reported(lint: Lint, files: dict[str, str | bytes], found: tuple[str, int, str]) -> None:
    assert _found(lint(files)) == [(ERROR, *found)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TABLE, None),
        (TABLE.replace("description: One row per trip.\n", ""), ("no-description", 1, "name")),
        (
            f"{TABLE}  - {{name: x, type: int, access_level: restricted, renamed_from: [day]}}",
            ("former-name", 12, "columns[7].renamed_from[0]"),
        ),
        (TABLE.replace("access_level: internal", "access_level: public"), ("pii-public", 10, "columns[5]")),
        (TABLE + "source: {path: '${NOT_SET}/${LANDING}', format: csv}", ("variable-unset", 12, "source.path")),
        (TABLE + "partition_spec:\n  - {column: started_at, transform: day}\n  - {column: started_at, transform: hour}",
         ("redundant-partition", 14, "partition_spec[1]")),
        (TABLE + "source: {path: '${LANDING}', format: csv}", None),
        (TABLE + "properties: {a: 1, b: 0.5, c: true}\ntags: {a: 1, b: ''}", None),
        (TABLE + "identifier: [trip_id]\nsort_order: [{column: day}]\npartition_spec: [{column: trip_id, transform: 'bucket[16]'}]", None),
        (TABLE + EVENTS + '  cron: "0 0 L * MON-FRI"', None),
        (TABLE + "properties: {write.metadata.metrics.column.rider: none, write.parquet.compression-level: -3}", None),
        (TABLE + "properties: {write.parquet.stats-enabled.column.rider: false, write.parquet.stats-enabled.column.day: true}", None),
        (TABLE + "properties: {commit.retry.min-wait-ms: 0}", None),
        (TABLE + "properties: {write.parquet.compression-codec: uncompressed, write.target-file-size-bytes: '67108864'}", None),
        (TABLE + "  - {name: x, type: 'map<string, map<int, list<long>>>'}", None),
        ("columns:\r\n- name: a\r\n  type: int\r\ndescription: x\r\nname: trips\r\nnamespace: b\r\n", None),
    ],
)  # fmt: skip
def test_warnings_leave_the_template_usable(lint: Lint, text: str, found: tuple[str, int, str] | None) -> None:
    result = lint({"trips.yaml": text}, ("LANDING",))
    assert _found(result) == ([(WARNING, *found)] if found else [])
    assert [template.table_name for template in result.templates] == [f"{yaml.safe_load(text)['namespace']}.trips"]


def test_a_file_that_is_not_read_is_a_warning(lint: Lint) -> None:
    result = lint({"trips.yaml": TABLE, "other.yml": TABLE})
    assert _found(result) == [(WARNING, "file-extension", 1, "")]
    assert "other.yaml" in result.problems[0].remedy
    assert len(result.templates) == 1


def test_every_error_of_every_file_is_reported_at_once(lint: Lint, tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    no_name = TABLE.replace("name: trips\n", "") + "identifier: [x]\nfreshness: soon\n"
    many = TABLE.replace("type: long", "type: bigint").replace("type: date", "typ: date") + "ownr: x\nidentifier: [x]\nowner: yes\n"
    files = {"a.yaml": no_name, "b.yaml": no_name, "c.yaml": "a: [", "copy.yaml": TABLE, "good.yaml": TABLE.replace("trips", "good")}
    result = lint({**files, "trips.yaml": many})
    assert {Path(problem.file).name: [] for problem in result.problems}.keys() == {
        *("a.yaml", "b.yaml", "c.yaml", "copy.yaml", "folder.yaml", "gone.yaml", "trips.yaml")
    }
    found = [(Path(problem.file).name, problem.rule, problem.line, problem.key) for problem in result.problems]
    assert found == [
        *((name, rule, line, key) for name in ("a.yaml", "b.yaml") for rule, line, key in (
            ("missing-key", 1, "name"), ("unknown-column", 11, "identifier[0]"), ("duration", 12, "freshness"))),
        ("c.yaml", "yaml-syntax", 1, ""),
        ("copy.yaml", "file-name", 1, "name"),
        ("folder.yaml", "unreadable", 1, ""),
        ("gone.yaml", "unreadable", 1, ""),
        ("trips.yaml", "column-type", 5, "columns[0].type"),
        ("trips.yaml", "missing-key", 11, "columns[6].type"),
        ("trips.yaml", "unknown-key", 11, "columns[6].typ"),
        ("trips.yaml", "unknown-key", 12, "ownr"),
        ("trips.yaml", "unknown-column", 13, "identifier[0]"),
        ("trips.yaml", "yaml-ambiguous", 14, "owner"),
        ("trips.yaml", "duplicate-table", 1, "name"),
    ]  # fmt: skip
    assert [template.name for template in result.templates] == ["good"]
    with pytest.raises(TemplateError) as error:
        load_templates(tmp_path)
    assert error.value.problems == result.errors
    assert all(str(problem) in str(error.value) for problem in result.errors)


def test_items_keep_their_index_in_the_file_where_others_are_wrong(lint: Lint) -> None:
    bad = TABLE.replace("type: timestamptz", "typo: x").replace("{name: rider,", "{nam: rider,").replace("type: date", "type: dat")
    assert ("error", "column-type", 11, "columns[6].type") in _found(lint({"trips.yaml": bad}))


def test_two_files_for_one_table(lint: Lint) -> None:
    result = lint({"a.yaml": TABLE, "trips.yaml": TABLE, "z.yaml": TABLE.replace("lakehouse", "other")})
    assert [(Path(p.file).name, p.rule) for p in result.problems] == [
        ("a.yaml", "file-name"),
        ("z.yaml", "file-name"),
        ("trips.yaml", "duplicate-table"),
    ]
    assert "a.yaml" in result.problems[-1].message


def test_a_missing_folder_names_the_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="LAKEHOUSE_TEMPLATES"):
        lint_templates(tmp_path / "missing")
    with pytest.raises(TemplateError, match="no template in this folder"):
        load_templates(tmp_path)


def test_an_alias_bomb_is_one_finding(lint: Lint) -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24))
    assert [found[1] for found in _found(lint({"trips.yaml": TABLE + bomb}))] == ["yaml-anchor"]


FULL: dict[str, Any] = yaml.safe_load(TABLE + EVENTS) | {
    "identifier": ["trip_id"],
    "partition_spec": [{"column": "day", "transform": "month"}],
    "sort_order": [{"column": "day", "direction": "asc", "null_order": "nulls_last"}],
    "properties": {"a": 1},
    "tags": {"a": "b"},
    "source": {"path": "/x", "format": "csv", "csv_options": {"delimiter": ";", "column_names": ["a"]}},
    "checks": {"generated": True, "blocking": ["row_count"]},
    "maintenance": {"compact": True, "keep_snapshots": "7d", "keep_at_least": 1, "retention": "1d on day"},
    "freshness": "1d",
}
PIPELINES: list[Any] = [
    FULL["pipeline"],
    {"pattern": "scd_type2", "source": FULL["source"], "key": ["trip_id"], "effective_at": "started_at", "operation": "op"},
    {"pattern": "feature_table", "sql": "a.sql", "inputs": ["a"], "partitions": {"start": "2024-01-01"}, "lookback": "1d"},
]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 3), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5),
    st.sampled_from(["trip_id", "day", "pattern", "scd_type2", "event_stream", "bucket[2]", "1d", "* * * * *", "${A}", "list<int>"]),
).flatmap(lambda value: st.sampled_from([value, [value], {"x": value}, [[value]], [{"name": value}], {}, []]))  # fmt: skip


def _paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(deeper for key, value in items for deeper in _paths(value, (*path, key)))]


@given(st.data(), st.sampled_from(PIPELINES), st.booleans())
@settings(deadline=None)
def test_any_mutation_is_reported_or_fits_the_editors_schema(data: st.DataObject, pipeline: Any, short: bool) -> None:
    template = copy.deepcopy({**FULL, "pipeline": pipeline})
    del template["pipeline" if short else "source"]
    for _ in range(data.draw(st.integers(1, 4))):
        *parents, key = data.draw(st.sampled_from(_paths(template)[1:]))
        place = template
        for parent in parents:
            place = place[parent]
        action = data.draw(st.sampled_from(["replace", "delete", "add"]))
        if action == "delete":
            del place[key]
        elif action == "add" and isinstance(place, dict):
            place[data.draw(st.sampled_from(["event_stream", "x", "name", "source"]))] = data.draw(VALUES)
        else:
            place[key] = data.draw(VALUES)
        if not template:
            break
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "trips.yaml").write_text(yaml.safe_dump(template, allow_unicode=True))
        result = lint_templates(Path(folder))
    if not result.errors:
        Draft202012Validator(json_schema()).validate(template)
        assert len(result.templates) == 1
