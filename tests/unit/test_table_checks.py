"""A table's checks: what its template gives, and how its SodaCL file is read."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse import cli
from lakehouse.cli_checks import checks_of
from lakehouse.lint import load_templates
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings
from quality.checks import Check, table_checks, unused_files
from quality.errors import ChecksError

TEMPLATE = """\
name: orders
namespace: shop
columns:
  - {name: id, type: long, required: true}
  - {name: order, type: int}
  - {name: at, type: timestamptz, required: true}
  - {name: email, type: string, pii: true, access_level: restricted}
  - {name: price, type: "decimal(10,2)"}
  - {name: items, type: "list<struct<order: string, count: int>>"}
identifier: [id, at]
partition_spec: [{column: at, transform: day}]
freshness: 2w
"""
UNCHECKED = """\
checks: {generated: false}
publish: audited
pipeline: {pattern: event_stream, source: {path: /x, format: csv}}
"""
Checks = Callable[..., dict[str, Check]]


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checks:
    """The checks, by name, of a table with this SodaCL file (its list alone) and template."""

    def of(
        listed: str | None = None,
        template: str = TEMPLATE,
        *,
        file: str = "orders_checks.yaml",
        backend: str = "local",
        text: str | None = None,
    ) -> dict[str, Check]:
        templates, folder = tmp_path / "templates", tmp_path / "checks"
        for path in (templates, folder):
            path.mkdir(exist_ok=True)
        (templates / "orders.yaml").write_text(template)
        if listed is not None:
            text = "checks for orders:\n" + textwrap.indent(textwrap.dedent(listed).lstrip("\n"), "  ")
        if text is not None:
            (folder / file).write_text(text)
        clouds = {"gcp": "gs://bucket", "aws-glue": "s3://bucket", "local": str(tmp_path / "warehouse")}
        settings = LakehouseSettings.load(
            LAKEHOUSE_BACKEND=backend,
            LAKEHOUSE_WAREHOUSE=clouds[backend],
            LAKEHOUSE_TEMPLATES=str(templates),
            LAKEHOUSE_CHECKS=str(folder),
            AWS_REGION="eu-central-1",
            GOOGLE_CLOUD_PROJECT="project",
        )
        (loaded,) = load_templates(settings.templates, settings.variables)
        return {check.name: check for check in table_checks(settings, loaded)}

    return of


def test_a_template_gives_checks_of_rows_required_columns_identifier_schema_and_freshness(checks: Checks) -> None:
    found = checks()
    assert [check.definition for check in found.values()] == [
        "row_count > 0",
        "missing_count(id) = 0",
        "missing_count(at) = 0",
        "duplicate_count(id, at) = 0",
        "schema",
        "freshness(at) < 14d",
    ]
    assert [*found] == ["row_count", "missing_count_id", "missing_count_at", "duplicate_count_id_at", "schema", "freshness_at"]
    assert {(check.generated, check.severity, check.blocking, check.shows_value) for check in found.values()} == {
        (True, "error", False, True)
    }
    assert found["duplicate_count_id_at"].columns == {"id", "at"} and found["duplicate_count_id_at"].column is None
    assert found["missing_count_id"].column == "id" and found["missing_count_id"].threshold == "= 0"
    assert found["row_count"].columns == frozenset()
    assert found["schema"].columns is None
    assert all(check.source.endswith("orders.yaml") for check in found.values())


def test_the_checks_of_a_table_can_be_switched_off(checks: Checks) -> None:
    assert checks(template=TEMPLATE + "checks: {generated: false}\n") == {}
    assert [*checks("- row_count > 5", TEMPLATE + "checks: {generated: false}\n")] == ["row_count"]


@pytest.mark.parametrize(
    ("backend", "quoted", "types"),
    [
        (
            "local",
            '"order"',
            ["bigint", "integer", "timestamp with time zone", "varchar", "decimal(10,2)", 'struct("order" varchar, count integer)[]'],
        ),
        ("aws-glue", '"order"', ["bigint", "integer", None, "varchar", "decimal(10,2)", None]),
        ("gcp", "`order`", ["int64", "int64", "timestamp", "string", None, None]),
    ],
)  # fmt: skip
def test_names_and_types_are_those_of_the_data_source(checks: Checks, backend: str, quoted: str, types: list[str | None]) -> None:
    template = TEMPLATE.replace("{name: order, type: int}", "{name: order, type: int, required: true}")
    found = checks(template=template, backend=backend)
    assert found["missing_count_order"].definition == "missing_count(order) = 0"
    assert f"missing_count({quoted}) = 0" in found["missing_count_order"].sodacl
    declared = found["schema"].sodacl["schema"]["fail"]["when mismatching columns"]
    assert [*declared] == ["id", "order", "at", "email", "price", "items"]
    assert [*declared.values()] == types


def test_freshness_is_that_of_the_column_that_says_when_a_row_was(checks: Checks) -> None:
    by_date = TEMPLATE.replace("type: timestamptz", "type: date").replace("transform: day", "transform: identity")
    assert checks(template=by_date)["freshness_at"].definition == "freshness(at) < 14d"
    dimension = """\
        name: orders
        namespace: shop
        columns:
          - {name: id, type: long, required: true}
          - {name: valid_from, type: timestamptz, required: true}
          - {name: valid_to, type: timestamptz}
          - {name: is_current, type: boolean, required: true}
        identifier: [id, valid_from]
        freshness: 36h
        pipeline: {pattern: scd_type2, source: {path: /x, format: csv}, key: [id], effective_at: valid_from}
        """
    assert checks(template=textwrap.dedent(dimension))["freshness_valid_from"].definition == "freshness(valid_from) < 36h"


def test_a_freshness_that_nothing_can_measure_is_an_error_until_the_file_measures_it(checks: Checks) -> None:
    template = TEMPLATE.replace("partition_spec: [{column: at, transform: day}]\n", "")
    with pytest.raises(ChecksError, match=r"orders\.yaml:11: .*no column that says when.*freshness\(<column>\) < 2w"):
        checks(template=template)
    assert "freshness_at" in checks("- freshness(at) < 3h", template)


def test_a_check_of_the_file_replaces_the_generated_one_of_its_name(checks: Checks) -> None:
    found = checks("- row_count > 100\n- missing_count(id) = 0\n")
    assert found["row_count"].definition == "row_count > 100"
    assert not found["row_count"].generated and not found["missing_count_id"].generated
    assert found["row_count"].source.endswith("orders_checks.yaml:2") and found["missing_count_id"].source.endswith("orders_checks.yaml:3")
    assert [*found][-2:] == ["row_count", "missing_count_id"]


@pytest.mark.parametrize(
    ("entry", "name", "threshold", "columns"),
    [
        ("- row_count between 10 and 20", "row_count", "between 10 and 20", set()),
        ("- avg(price) not between (1.5 and 2]", "avg_price", "not between (1.5 and 2]", {"price"}),
        ("- duplicate_count(id,  order) = 0", "duplicate_count_id_order", "= 0", {"id", "order"}),
        ('- missing_count("order") < 5', "missing_count_order", "< 5", {"order"}),
        ("- percentile(price, 0.95) < 100", "percentile_price_0_95", "< 100", {"price"}),
        ("- freshness(at, NOW) < 1d6h", "freshness_at_now", "< 1d6h", {"at"}),
        ("- row_count:\n    warn: when < 9\n    fail: when < 1", "row_count", "warn: when < 9, fail: when < 1", set()),
        ("- invalid_count(price) = 0:\n    valid min: 0", "invalid_count_price", "= 0", {"price"}),
        ("- invalid_count(price) = 0:\n    name: No price is negative!\n    valid min: 0", "no_price_is_negative", "= 0", {"price"}),
        ("- row_count > 0:\n    name: sold\n    filter: price > 0", "sold", "> 0", None),
        ("- failed rows:\n    fail condition: price < 0", "failed_rows", "", None),
        ("- failed rows:\n    name: odd\n    warn: when > 3\n    fail query: select 1 from orders", "odd", "warn: when > 3", None),
        ("- spread < 5:\n    spread expression: max(price) - min(price)", "spread", "< 5", None),
        ("- spread < 5:\n    spread query: select max(price) from orders", "spread", "< 5", None),
        ("- schema:\n    warn:\n      when forbidden column present: [card]", "schema", "", None),
        ("- freshness using at < 1d", "freshness_using_at_1d", "", None),
    ],
)  # fmt: skip
def test_each_form_of_sodacl_has_a_name_a_threshold_and_the_columns_it_reads(
    checks: Checks, entry: str, name: str, threshold: str, columns: set[str] | None
) -> None:
    found = checks(entry, TEMPLATE + "checks: {generated: false}\n")
    (check,) = found.values()
    assert (check.name, check.threshold, check.columns) == (name, threshold, columns)
    ((_, details),) = check.sodacl.items()
    assert details["name"] == name
    assert "\n" not in check.definition


def test_a_definition_is_one_line_with_all_that_matters(checks: Checks) -> None:
    found = checks("- failed rows:\n    name: odd\n    fail query: |\n      select 1\n      from orders\n")
    assert found["odd"].definition == "failed rows: {fail query: select 1 from orders}"


def test_rows_that_fail_are_counted_where_they_are_and_none_is_fetched(checks: Checks) -> None:
    found = checks(
        """
        - failed rows:
            name: odd
            fail query: |
              select id from orders where price < 0;
        - failed rows:
            name: cheap
            fail condition: price < 1 -- euro
            warn: when > 3
        - missing_count(price) = 0:
            samples limit: 100
        """
    )
    assert found["odd"].sodacl == {
        "rows_odd = 0": {"rows_odd query": "select count(*) from (select id from orders where price < 0\n) as failed_rows", "name": "odd"}
    }
    assert found["cheap"].sodacl == {
        "rows_cheap": {"rows_cheap expression": "count(case when (price < 1 -- euro\n) then 1 end)", "warn": "when > 3", "name": "cheap"}
    }
    assert found["missing_count_price"].sodacl == {"missing_count(price) = 0": {"samples limit": 0, "name": "missing_count_price"}}


def test_a_check_with_only_warn_thresholds_warns(checks: Checks) -> None:
    found = checks(
        """
        - row_count:
            warn: when < 9
        - invalid_count(price):
            valid min: 0
            warn: when > 1
            fail: when > 5
        """
    )
    assert found["row_count"].severity == "warn"
    assert found["invalid_count_price"].severity == "error"


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ("- missing_count(email) = 0", True),
        ("- duplicate_percent(email) < 5", True),
        ("- invalid_count(email) = 0:\n    valid format: email", True),
        ("- failed rows:\n    fail condition: email is null", True),
        ("- row_count > 0:\n    filter: email is null", True),
        ("- min(email) > 3", False),
        ("- max_length(email) < 100", False),
        ("- freshness(email) < 1d", False),
        ("- top > 0:\n    top query: select max(length(email)) from orders", False),
        ("- max(price) < 100", True),
        ("- max(price) < 100:\n    filter: email is null", True),
        ("- freshness using at < 1d", False),
        ("- max(price) > 0:\n    max expression: max(length(email))", False),
        ("- row_count > 0:\n    row_count query: select max(length(email)) from orders", False),
    ],
)
def test_a_value_that_could_be_one_of_a_hidden_column_is_not_shown(checks: Checks, entry: str, shown: bool) -> None:
    (check,) = checks(entry, TEMPLATE + "checks: {generated: false}\n").values()
    assert check.shows_value is shown


def test_user_sql_shows_its_value_where_no_column_is_hidden(checks: Checks) -> None:
    template = TEMPLATE.replace(", pii: true, access_level: restricted", "")
    assert checks("- top > 0:\n    top query: select max(price) from orders", template)["top"].shows_value


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("- row_count > 0\n- missing_count(emial) = 0", r"orders_checks\.yaml:3: the check `missing_count\(emial\) = 0` .*mean email\?"),
        ("- avg(x) > 0", r":2: .*about the column x, which .*orders\.yaml does not have\. It has id, order"),
        ("- row_count > 0\n- row_count < 9", r":3: the name row_count stands for another check already, on line 2\..*`name:`"),
        ("- row_count > 0\n- avg(price) > 0:\n    name: Row count", r":3: the name row_count .* on line 2"),
        ("- values in (id) must exist in other (id)", r":2: .*compares with another table"),
        ("- row_count same as other", r":2: .*compares with another table"),
        ("- anomaly detection for row_count", r":2: .*history"),
        ("- change avg last 7 for row_count < 5", r":2: .*history"),
        ("- group by:\n    query: select 1", r":2: .*names its results after values"),
        ("- schema:\n    fail:\n      when schema changes: any", r":2: .*history of schemas"),
        ("- row_count > 0:\n  name: x", r":2: .*several keys beside each other: `row_count > 0`, `name`\. Indent"),
        ("- row_count > 0: 5", r":2: .*no mapping"),
        ("- [row_count > 0]", r":2: .*neither text nor a mapping"),
        ("- row_count", r":2: .*no threshold"),
        ("- row_count > 0:\n    warn: when < 5", r":2: .*Soda ignores `warn:`"),
        ("- failed rows:\n    name: '!'\n    fail condition: id < 0", r":2: .*no letter or digit"),
        ("- row_count > ${LIMIT}", r":2: .*variable.*secrets"),
        ("- row_count > 0:\n    filter: \"email <> '${env_var(\\\"AWS_SECRET_ACCESS_KEY\\\")}'\"", r":2: .*variable"),
        ("- top > 0:\n    top sql_file: top.sql", r":2: .*another file"),
        ("- invalid_count(price) = 0:\n    valid mx: 5", r":2: .*the key `valid mx` below it.* mean `valid max`\?"),
        ("- row_count > 0\n- missing_count(price) = 0:\n    filtre: id > 0", r":3: .*`filtre`.* mean `filter`\?"),
        ("- row_count:\n    warm: when < 5", r":2: .*`warm`.* mean `warn`\?"),
        ("- row_count > 0:\n    valid min: 5", r":2: .*`valid min`.* keys are name, warn, fail, filter"),
        ("- freshness(at) < 1d:\n    valid min: 5", r":2: .*`valid min`"),
        ("- missing_count(price) = 0:\n    valid min: 5", r":2: .*`valid min`"),
        ("- top > 0:\n    tpo query: select 1", r":2: .*`tpo query`.* mean `top query`\?"),
        ("- invalid_count(price) = 0", r":2: .*does not say what is valid.*valid values"),
        ("- invalid_percent(price) < 5:\n    missing values: [0]", r":2: .*does not say what is valid"),
        ("- invalid_count(price) = 0:\n    valid min:", r":2: .*`valid min` without a value"),
        ("- failed rows:\n    fail condition: id < 0\n    filter: price > 0", r":2: .*has a filter.*fail condition"),
        ("- failed rows:\n    name: x", r":2: .*not one of `fail condition` and `fail query`"),
        ("- failed rows:\n    fail condition: id < 0\n    fail query: select 1", r":2: .*not one of"),
        ("- top > 0:\n    top query: select 1\n    filter: id > 0", r":2: .*filter.*not apply.*into the SQL"),
        ("- schema:\n    fail:\n      when required columns missing: [id]", r":2: .* mean `when required column missing`\?"),
        ("- schema:\n    name: columns", r":2: .*no rule"),
        ("- schema:\n    fail: [id]", r":2: .*no rule"),
        ("- row_count > 0:\n    name: Schema drift", r":2: .*name schema_drift.*project's own.*another `name:`"),
        ("- row_count > 0\n- x: [", r"orders_checks\.yaml:\d+:\d+: not valid YAML"),
        ("- row_count > 0:\n    name: a\n    name: b", r"orders_checks\.yaml:4:7: the key `name` stands twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_check_is_an_error_with_file_line_and_remedy(checks: Checks, listed: str, message: str) -> None:
    with pytest.raises(ChecksError, match=message):
        checks(listed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("checks for order:\n  - row_count > 0\n", r":1: `checks for order` is not a section of this table\. Write `checks for orders:`"),
        ("checks for orders:\n  - row_count > 0\nprofile columns:\n  columns: [orders.%]\n", r":3: `profile columns` is not a section"),
        ("checks for orders [today]:\n  - row_count > 0\n", r":1: .*`filter:` belongs to its check"),
        ("checks for orders: row_count > 0\n", r":1: .*has no list"),
        ("checks for orders:\n", r":1: .*has no list"),
        ("", r":1: there are no checks"),
        ("- row_count > 0\n", r":1: there are no checks"),
    ],
)
def test_a_file_holds_the_checks_of_its_table_and_nothing_else(checks: Checks, text: str, message: str) -> None:
    with pytest.raises(ChecksError, match=message):
        checks(text=text)


def test_now_may_be_used_since_soda_itself_sets_it(checks: Checks) -> None:
    assert "recent" in checks("- row_count > 0:\n    name: recent\n    filter: at < timestamp '${NOW}'")


def test_the_file_of_a_tables_full_name_comes_first(checks: Checks) -> None:
    assert checks("- row_count > 1", file="orders_checks.yaml")["row_count"].threshold == "> 1"
    assert checks("- row_count > 2", file="shop.orders_checks.yaml")["row_count"].threshold == "> 2"
    assert checks("- row_count > 3", file="other.orders_checks.yaml")["row_count"].threshold == "> 2"


def test_blocking_checks_are_marked_and_one_that_is_not_there_is_an_error(checks: Checks) -> None:
    found = checks("- avg(price) > 0", TEMPLATE + "checks: {blocking: [avg_price, schema]}\n")
    assert [name for name, check in found.items() if check.blocking] == ["schema", "avg_price"]
    with pytest.raises(
        ChecksError, match=r"orders\.yaml:13: shop\.orders has no check row_cont that could block\. It has .*row_count, schema"
    ):
        checks("- avg(price) > 0", TEMPLATE + "checks: {blocking: [schema, row_cont]}\n")
    with pytest.raises(ChecksError, match=r"orders\.yaml:13: .*has only `warn:` thresholds .*never blocks"):
        checks("- row_count:\n    warn: when < 9", TEMPLATE + "checks: {blocking: [row_count]}\n")


@pytest.mark.parametrize(
    ("template", "listed", "place", "message"),
    [
        (TEMPLATE.replace("partition_spec: [{column: at, transform: day}]\n", ""), None, ("orders.yaml", 11, 1, "freshness"), "no column"),
        (TEMPLATE + "checks: {blocking: [row_cont]}\n", None, ("orders.yaml", 13, 1, "checks.blocking[0]"), "no check row_cont"),
        (TEMPLATE, "- row_count > 0\n- x: [", ("orders_checks.yaml", 3, 1, ""), "not valid YAML"),
        (TEMPLATE, "- row_count > 0\n- row_count > 1", ("orders_checks.yaml", 3, 1, ""), "the name row_count stands"),
        (TEMPLATE.replace("freshness: 2w", UNCHECKED), None, ("orders.yaml", 13, 1, "publish"), "has none"),
    ],
)  # fmt: skip
def test_lint_reports_checks_that_cannot_be_used(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    template: str,
    listed: str | None,
    place: tuple[str, int, int, str],
    message: str,
) -> None:
    for folder in ("templates", "checks"):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(f"LAKEHOUSE_{folder.upper()}", str(tmp_path / folder))
    (tmp_path / "templates" / "orders.yaml").write_text(TEMPLATE if listed else template)
    (tmp_path / "templates" / "others.yaml").write_text(TEMPLATE.replace("name: orders", "name: others"))
    if listed:
        (tmp_path / "checks" / "orders_checks.yaml").write_text("checks for orders:\n" + textwrap.indent(listed, "  ") + "\n")
    monkeypatch.setattr("sys.argv", ["lakehouse", "lint", "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    [problem] = [found for found in json.loads(capsys.readouterr().out) if found["severity"] == "error"]
    assert end.value.code == 1
    file, line, column, key = place
    assert (Path(problem["file"]).name, problem["line"], problem["column"], problem["key"]) == (file, line, column, key)
    assert problem["rule"] == "checks"
    assert message in problem["message"] and problem["remedy"]


def test_a_missing_folder_is_an_error_since_nothing_of_it_would_be_checked(tmp_path: Path) -> None:
    settings = LakehouseSettings.load(LAKEHOUSE_CHECKS=str(tmp_path / "typo"))
    template = next(iter(load_templates(settings.templates, settings.variables)))
    with pytest.raises(ChecksError, match=r"no folder .*typo.* LAKEHOUSE_CHECKS"):
        table_checks(settings, template)


def test_the_shipped_files_are_all_used_and_each_check_has_its_own_columns() -> None:
    settings = LakehouseSettings.load(LAKEHOUSE_TEMPLATES=str(PROJECT_ROOT / "table-templates"))
    templates = load_templates(settings.templates, settings.variables)
    assert unused_files(settings, templates) == []
    found = {template.name: {check.name: check for check in table_checks(settings, template)} for template in templates}
    assert {"row_count", "missing_count_event_id", "duplicate_count_event_id", "freshness_event_timestamp"} <= found["event_stream"].keys()
    assert found["event_stream"]["row_count"].blocking
    assert found["event_stream"]["row_count"].source == "quality/soda_checks/event_stream_checks.yaml:2"
    assert found["event_stream"]["schema"].source == "table-templates/event_stream.yaml"
    assert all(check.shows_value for checks in found.values() for check in checks.values())


def test_a_file_that_no_table_takes_is_told(tmp_path: Path) -> None:
    (tmp_path / "event_straem_checks.yaml").write_text("checks for event_straem:\n  - row_count > 0\n")
    settings = LakehouseSettings.load(LAKEHOUSE_CHECKS=str(tmp_path), LAKEHOUSE_TEMPLATES=str(PROJECT_ROOT / "table-templates"))
    templates = load_templates(settings.templates, settings.variables)
    assert [path.name for path in unused_files(settings, templates)] == ["event_straem_checks.yaml"]


def test_a_quarantine_table_has_no_checks() -> None:
    settings = LakehouseSettings.load(LAKEHOUSE_TEMPLATES=str(PROJECT_ROOT / "table-templates"))
    (quarantine,) = [
        template.quarantine for template in load_templates(settings.templates, settings.variables) if template.quarantine is not None
    ]
    assert table_checks(settings, quarantine) == ()


def test_programs_get_the_checks_as_json() -> None:
    settings = LakehouseSettings.load(LAKEHOUSE_TEMPLATES=str(PROJECT_ROOT / "table-templates"))
    template = next(found for found in load_templates(settings.templates, settings.variables) if found.name == "event_stream")
    rows = json.loads(json.dumps(checks_of(settings, template)))
    assert rows[0].keys() == {"name", "definition", "threshold", "column", "severity", "blocking", "generated", "source"}
    assert [row["name"] for row in rows] == [check.name for check in table_checks(settings, template)]
