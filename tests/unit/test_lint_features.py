"""What lint finds in feature tables and their SQL."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse.lint import LintResult, lint_templates
from lakehouse.settings import PROJECT_ROOT

Lint = Callable[..., LintResult]
EVENTS = """\
name: events
namespace: shop
description: One row per event.
columns:
  - {name: user_id, type: string, required: true}
  - {name: at, type: timestamptz, required: true}
  - {name: amount, type: "decimal(18,2)"}
  - {name: visit, type: uuid}
partition_spec: [{column: at, transform: day}]
"""
FEATURES = """\
name: features
namespace: shop
description: One row per user and day.
columns:
  - {name: user_id, type: string, required: true}
  - {name: day, type: date, required: true}
  - {name: events, type: int}
  - {name: ratio, type: double}
  - {name: visit, type: uuid}
partition_spec: [{column: day, transform: identity}]
pipeline:
  pattern: feature_table
  sql: features.sql
  inputs: [events]
  partitions: {start: "2024-01-01"}
"""  # what a test adds starts on line 16
SQL = "select user_id, $day as day, count(*) as events\nfrom events\ngroup by user_id"
Found = list[tuple[str, int, str, str]]


@pytest.fixture
def problems(lint: Lint) -> Callable[..., Found]:
    """Lints a feature table, its SQL and its input: severity and rule, line, key, message and remedy of each finding."""

    def find(features: str = FEATURES, sql: str | bytes | None = SQL, events: str = EVENTS, **others: str) -> Found:
        files: dict[str, str | bytes] = {"features.yaml": features, "events.yaml": events}
        files |= {f"{name}.yaml": text for name, text in others.items()}
        result = lint(files if sql is None else {**files, "features.sql": sql})
        return [(f"{found.severity}[{found.rule}]", found.line, found.key, f"{found.message} {found.remedy}") for found in result.problems]

    return find


def test_a_feature_table_that_is_right(problems: Callable[..., Found]) -> None:
    assert problems() == []
    assert problems(features=FEATURES + '  window: 168h\n  lookback: 36h\n  cron: "0 2 * * *"\n') == []
    assert problems(features=FEATURES + "  lookback: 7d\nmaintenance: {keep_snapshots: 1w}\n") == []


def test_whoever_asks_for_one_table_is_not_kept_waiting_by_the_sql_of_another(tmp_path: Path) -> None:
    for name, text in {"events.yaml": EVENTS, "features.yaml": FEATURES, "features.sql": "select nothing"}.items():
        (tmp_path / name).write_text(text)
    assert lint_templates(tmp_path, only=["events"]).errors == []
    for asked in ([], ["features"], ["shop.features", "events"]):
        assert {error.file for error in lint_templates(tmp_path, only=asked).errors} == {str(tmp_path / "features.yaml")}
    assert [template.name for template in lint_templates(tmp_path, only=["events"]).templates] == ["events", "features"]


def test_snapshots_that_expire_before_the_lookback_is_over(problems: Callable[..., Found]) -> None:
    assert problems(features=FEATURES + "  lookback: 9d\nmaintenance: {keep_at_least: 1}\n") == [
        (
            "warning[keep-snapshots]",
            17,
            "maintenance.keep_snapshots",
            "snapshots expire before the lookback of 9d is over: its days are computed again each time. Keep them for 9d at least.",
        )
    ]


START = 'partitions: {start: "2024-01-01"}'
DAY = "{name: day, type: date, required: true}"
SPEC = "[{column: day, transform: identity}]"
KEYS: list[tuple[str, str, str, int, str, str]] = [
    (START, "lookback: 1d", "error[missing-key]", 11, "pipeline.partitions", "the key `partitions` is missing. Add it."),
    ("  sql: features.sql\n", "", "error[missing-key]", 11, "pipeline.sql", "the key `sql` is missing. Add it."),
    *((START, f"{START}\n  {key}: 3 days", "error[duration]", 16, f"pipeline.{key}",
       "`3 days` is not a duration. Write a number and a unit: 90m, 24h, 7d or 2w.") for key in ("window", "lookback")),
    (START, f"{START}\n  lookback: 3", "error[wrong-value]", 16, "pipeline.lookback",
     "`lookback` must be text, it is a number. Correct it. Quote it."),
    *((START, f"{START}\n  window: {window}", "error[feature-window]", 16, "pipeline.window",
       f"`{window}` is no number of whole days. Write days or weeks: 7d or 2w.") for window in ("90m", "36h")),
    *(("2024-01-01", day, "error[partition-days]", 15, "pipeline.partitions.start",
       f'`{day}` is not a day. Write it as "YYYY-MM-DD", quoted.') for day in ("2024-13-01", "20240101", "9999-12-31", "2023-02-29")),
    ('"2024-01-01"', '"2024-01-02", end: "2024-01-01"', "error[partition-days]", 15, "pipeline.partitions.end",
     "it is before the start. Name the last day."),
    ('"2024-01-01"', '"2024-01-02", end: soon', "error[partition-days]", 15, "pipeline.partitions.end",
     '`soon` is not a day. Write it as "YYYY-MM-DD", quoted.'),
    (DAY, DAY.replace(", required: true", ""), "error[feature-day]", 10, "partition_spec[0].column",
     "`day` is not required. Set `required: true`."),
    (SPEC, "[{column: day, transform: month}]", "error[feature-day]", 10, "partition_spec",
     "none of its fields says the day that a run replaces. Write `- {column: <a required date column>, transform: identity}`."),
    (SPEC, "[{column: events, transform: identity}]", "error[feature-day]", 10, "partition_spec",
     "none of its fields says the day that a run replaces. Write `- {column: <a required date column>, transform: identity}`."),
    (f"partition_spec: {SPEC}\n", "", "error[feature-day]", 1, "partition_spec",
     "none of its fields says the day that a run replaces. Write `- {column: <a required date column>, transform: identity}`."),
    (f"  - {DAY}\n", f"  - {DAY}\n  - {{name: at, type: timestamp}}\n", "", 0, "", ""),
    ("[events]", "[]", "error[wrong-value]", 14, "pipeline.inputs",
     "`inputs`: List should have at least 1 item after validation, not 0. Correct it."),
    ("[events]", "[events, b]", "error[feature-inputs]", 14, "pipeline.inputs[1]",
     "no template describes `b`. Tables: shop.events, shop.features."),
    *(("[events]", f"[events, {name}]", "error[feature-inputs]", 14, "pipeline.inputs[1]",
       "it is the table itself. Name the tables that the SQL reads.") for name in ("features", "shop.features")),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "rule", "line", "key", "says"), KEYS)
def test_keys(problems: Callable[..., Found], old: str, new: str, rule: str, line: int, key: str, says: str) -> None:
    assert old in FEATURES
    assert problems(features=FEATURES.replace(old, new)) == ([(rule, line, key, says)] if rule else [])


def test_a_second_field_that_is_a_time(problems: Callable[..., Found]) -> None:
    features = FEATURES.replace("- {name: events, type: int}", "- {name: at, type: timestamp}")
    features = features.replace(SPEC, "[{column: day, transform: day}, {column: at, transform: hour}]")
    assert problems(features, SQL.replace("count(*) as events", "min(at) as at")) [0] == (
        "error[feature-day]", 10, "partition_spec", "another field is a time, too. Partition by the day alone.",
    )  # fmt: skip


@pytest.mark.parametrize("sql", ["missing.sql", "../outside.sql", "/etc/hosts", "folder.sql", '"\\0"', "x" * 5000])
def test_the_file_stands_beside_the_template(problems: Callable[..., Found], tmp_path: Path, sql: str) -> None:
    (tmp_path / "folder.sql").mkdir()
    (tmp_path.parent / "outside.sql").write_text(SQL)
    found = problems(features=FEATURES.replace("features.sql", sql), sql=None)
    assert [(rule, line, key) for rule, line, key, _ in found] == [("error[feature-sql]", 13, "pipeline.sql")]


FROM = "\nfrom events"
QUERIES: dict[str, tuple[str | bytes, list[str]]] = {
    "a wrong column": (
        SQL.replace("user_id, ", "usr_id as user_id, "),
        ['features.sql:1: Referenced column "usr_id" not found in FROM clause. Candidate bindings: "user_id", "visit".'],
    ),
    "a wrong column, further down": (
        SQL.replace("group by user_id", "where amont > 0\ngroup by user_id"),
        ['features.sql:3: Referenced column "amont" not found in FROM clause. Candidate bindings: "amount", "at".'],
    ),
    "a wrong table": (
        SQL.replace("from events", "from evnts"),
        [
            "features.sql:2: Table with name evnts does not exist. Correct the name, or add the table to pipeline.inputs. "
            'Did you mean "events"?'
        ],
    ),
    "a wrong function": (
        SQL.replace("count(*)", "cuont(user_id)"),
        ['features.sql:1: Scalar Function with name cuont does not exist. Did you mean "count"?'],
    ),
    "a type that does not fit the function": (
        SQL.replace("count(*)", "sum(user_id)"),
        [
            "features.sql:1: No function matches the given name and argument types 'sum(VARCHAR)'. "
            "You might need to add explicit type casts. "
            "Correct it."
        ],
    ),
    "no SQL": ("\nselct 1", ['features.sql:2: syntax error at or near "selct". Correct it.']),
    "nothing": ("-- later\n", ["features.sql:1: it is empty. Write one query; `with` names its parts."]),
    "two statements": (
        f";{SQL};;\n-- and;\n{SQL};",
        ["features.sql:5: a second statement begins here. Write one query; `with` names its parts."],
    ),
    **{
        f"another statement: {sql}": (
            f"-- one\n{sql}",
            [f"features.sql:2: it is a {word} statement, and no SELECT. Write one query; `with` names its parts."],
        )
        for sql, word in (("delete from events", "DELETE"), ("(describe select 1)", "DESCRIBE"), ("show tables", "SHOW"))
    },
    "a pivot by what rows say": (
        "pivot events on user_id using count(*)",
        ["features.sql:1: the columns of its PIVOT depend on the rows. Name the values: `pivot … on column in ('a', 'b')`."],
    ),
    "a struct without names": (
        SQL.replace("count(*)", "row(1, 2)"),
        ["features.sql gives `events` as a struct without names. Name the struct's fields: {'a': …}, not row(…)."],
    ),
    "a type that no table has": (
        SQL.replace("count(*)", "1::variant"),
        ["features.sql:1: Unsupported Arrow type VARIANT. Cast it to a type that a table can have."],
    ),
    "not text": (
        b"\xff",
        [
            "features.sql:1: it cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte. "
            "Make it a readable file of UTF-8 text."
        ],
    ),
    "another parameter": (
        "-- not $least\n" + SQL.replace("group", "where amount > $least and user_id <> '$least'\ngroup"),
        ["features.sql:4: $least has no value. The only parameter is $day."],
    ),
    "parameters without names": (
        SQL.replace("group", "where amount > ?\ngroup").replace("$day", "date '2024-01-01'"),
        ["features.sql:3: $1 has no value. The only parameter is $day."],
    ),
    "a file": (
        SQL.replace("from events", "from read_csv('/etc/passwd')"),
        [
            'features.sql:2: Cannot access file "/etc/passwd" - file system operations are disabled by configuration. '
            "A feature table reads its pipeline's inputs and nothing else."
        ],
    ),
    "a variable of the process": (
        SQL.replace("from events", "from connection"),
        ["features.sql:2: Table with name connection does not exist. Correct the name, or add the table to pipeline.inputs."],
    ),
    "a required column that it lacks": (
        "select $day as day, count(*) as events from events",
        ["features.sql gives no column `user_id`, which is required. Select it."],
    ),
    "a column that the table lacks": (
        SQL.replace("$day as day", "$day as day, $day + 1"),
        ["features.sql gives a column `($day + 1)`, which the table lacks. Add it to columns, or leave it out."],
    ),
    "a column twice": (
        SQL.replace("$day as day", "$day as day, 1 as events"),
        ["features.sql gives the column `events` twice. Name one of them otherwise."],
    ),
    "types that do not fit": (
        "select user_id, $day + interval 1 day as day, sum(amount) as events, sum(amount) as ratio, 'x' as visit from events group by all",
        [
            "features.sql gives `day` as a timestamp without zone; the table has a date. "
            "Cast it in the SQL, or make the column another type than date.",
            "features.sql gives `events` as a decimal(38, 2); the table has an int. "
            "Cast it in the SQL, or make the column another type than int.",
            "features.sql gives `ratio` as a decimal(38, 2); the table has a double. "
            "Cast it in the SQL, or make the column another type than double.",
            "features.sql gives `visit` as a string; the table has a uuid. Cast it in the SQL, or make the column another type than uuid.",
        ],
    ),
}


@pytest.mark.parametrize("name", QUERIES)
def test_queries(problems: Callable[..., Found], name: str) -> None:
    sql, says = QUERIES[name]
    assert problems(sql=sql) == [("error[feature-query]", 13, "pipeline.sql", text) for text in says]


@pytest.mark.parametrize(
    "sql",
    [
        SQL + " ; -- that is all\n;",
        ";;\n" + SQL,
        SQL.replace("from events", "from shop.events"),
        SQL.replace("from events", "from Events").replace("$day", "$DAY"),
        SQL.replace("count(*)", "sum(cast(1 as bigint))"),  # a HUGEINT, whose values are looked at when they come
        SQL.replace("count(*) as events", "any_value(visit) as visit, 1 / 0 as ratio"),
        f"with recent as ({SQL}) from recent",
        SQL.replace("count(*)", "(select count(*) from range(1000000000000))"),  # nothing is run
    ],
)
def test_queries_that_are_right(problems: Callable[..., Found], sql: str) -> None:
    assert problems(sql=sql) == []


HASH = "Take what is the same each time: a hash of the row's key, say."


@pytest.mark.parametrize(
    ("old", "new", "line", "name"),
    [
        ("count(*)", "count(*) filter (where events.at > now())", 1, "now"),
        ("count(*)", "count(*) filter (where age(events.at) < interval 1 day and age($day, events.at) > interval 1 day)", 1, "age"),
        ("group by", "-- ä\nwhere cast(events.at as date) < current_date\ngroup by", 4, "current_date"),
        ("count(*)", "cast(random() * 10 as int)", 1, "random"),
        ("from events", "from events tablesample 10 rows", 2, "sample"),
    ],
)
def test_a_clock_or_dice(problems: Callable[..., Found], old: str, new: str, line: int, name: str) -> None:
    remedy = {"random": HASH, "sample": HASH, "age": "Give it two: `age($day, …)`."}.get(name, "Use $day.")
    says = f"features.sql:{line}: `{name}` gives other features whenever a day is computed again. {remedy}"
    assert problems(sql=SQL.replace(old, new)) == [("warning[feature-clock]", 13, "pipeline.sql", says)]


def test_an_input_without_a_time_is_a_warning(problems: Callable[..., Found]) -> None:
    [found] = problems(events=EVENTS.replace("partition_spec: [{column: at, transform: day}]\n", ""))
    says = "shop.events is partitioned by no time: the SQL sees all its rows, also those of later days. "
    remedy = "Partition it by the day of its event time, or see to it that its rows never change."
    assert found == ("warning[feature-event-time]", 14, "pipeline.inputs[0]", says + remedy)


@pytest.mark.parametrize("namespace", ["temp", "memory", "system", "pg_catalog", "information_schema"])
def test_a_namespace_that_duckdb_has_itself(problems: Callable[..., Found], namespace: str) -> None:
    says = f"SQL cannot name a table in `{namespace}`, which DuckDB has itself. Use another namespace."
    assert problems(events=EVENTS.replace("namespace: shop", f"namespace: {namespace}")) == [
        ("error[feature-inputs]", 14, "pipeline.inputs[0]", says)
    ]


def test_a_struct_with_and_without_names(problems: Callable[..., Found]) -> None:
    features = FEATURES.replace("type: int}", 'type: "struct<a: int, b: int>"}')
    assert problems(features, SQL.replace("count(*)", "{'a': 1, 'b': 2}")) == []
    [(rule, *_, says)] = problems(features, SQL.replace("count(*)", "row(1, 2)"))
    assert rule == "error[feature-query]"
    assert says == "features.sql gives `events` as a struct without names. Name the struct's fields: {'a': …}, not row(…)."


def test_many_threads_lint_at_once(tmp_path: Path) -> None:
    for name, text in (("features.yaml", FEATURES), ("events.yaml", EVENTS), ("features.sql", SQL)):
        (tmp_path / name).write_text(text)
    with ThreadPoolExecutor(8) as threads:
        assert {len(result.problems) for result in threads.map(lint_templates, [tmp_path] * 40)} == {0}


@pytest.mark.parametrize(
    "wrong", ["columns: x\n", "columns: [{name: user_id, type: strin}]\n", "columns: [{name: user_id, type: string}]\nowner: 1\n"]
)
def test_the_sql_waits_for_inputs_that_are_wrong_themselves(problems: Callable[..., Found], wrong: str) -> None:
    found = problems(events=EVENTS.split("columns:")[0] + wrong, sql="select nonsense from events")
    assert found
    assert not [rule for rule, *_ in found if "feature" in rule]


def test_features_of_features_and_cycles(problems: Callable[..., Found]) -> None:
    second = FEATURES.replace("name: features", "name: second")
    assert problems(second=second.replace("[events]", "[features, events]")) == []
    second = second.replace("[events]", "[events, third]")
    third = second.replace("name: second", "name: third").replace("third]", "features]")
    features = FEATURES.replace("[events]", "[events, second]")
    key, rule, remedy = "pipeline.inputs[1]", "error[feature-cycle]", "Take one of these inputs out."
    assert problems(features=features, second=second, third=third) == [
        (rule, 14, key, f"it is computed from this table: {way}. {remedy}")
        for way in (
            "shop.second from shop.third from shop.features",
            "shop.third from shop.features from shop.second",
            "shop.features from shop.second from shop.third",
        )
    ]


def test_an_input_is_found_in_the_tables_own_namespace_first(problems: Callable[..., Found]) -> None:
    other = EVENTS.replace("shop", "other").replace("user_id", "person")
    assert [rule for rule, *_ in problems(other=other)] == ["error[file-name]"]
    elsewhere = FEATURES.replace("namespace: shop", "namespace: ml")
    assert problems(features=elsewhere, other=other)[0] == (
        "error[feature-inputs]", 14, "pipeline.inputs[0]", "`events` may be other.events or shop.events. Write namespace.name.",
    )  # fmt: skip


def test_tables_of_one_name_are_told_apart_by_their_namespace(problems: Callable[..., Found], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    features = FEATURES.replace("namespace: shop", "namespace: ml").replace("[events]", "[shop.events, two.events]")
    two = EVENTS.replace("shop", "two").replace("user_id", "person")
    sql = SQL.replace("from events", "from shop.events semi join two.events on person = user_id")
    assert [rule for rule, *_ in problems(features, sql, events=EVENTS, two=two)] == ["error[file-name]"]


def test_without_feature_tables_duckdb_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "events.yaml").write_text(EVENTS)
    program = f"""
        import sys
        from pathlib import Path
        import dagster_project.schedules
        from dagster_project.assets import build_assets
        from lakehouse.lint import load_templates
        build_assets(load_templates(Path({str(tmp_path)!r})))
        assert "duckdb" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=PROJECT_ROOT, check=True)
