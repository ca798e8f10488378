"""What changed in the templates of a git repository, without a live table."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import run_command
from template_corpus import generated_template

from lakehouse.apply import apply
from lakehouse.catalog import open_catalog
from lakehouse.changelog import Changelog, changelog
from lakehouse.errors import TemplateError
from lakehouse.lint import load_templates
from lakehouse.plan import plan
from lakehouse.revisions import RevisionError
from lakehouse.settings import LakehouseSettings

COLUMNS = {
    "id": "type: long, required: true",
    "at": "type: timestamptz",
    "email": "type: string, access_level: restricted",
    "count": "type: int",
    "price": 'type: "decimal(9,2)"',
    "address": 'type: "struct<street: string, number: int>"',
}
STREAM = "pipeline: {pattern: event_stream, source: {path: /data/orders/, format: csv}}\n"
DAILY = """\
name: daily
namespace: shop
columns:
  - {name: day, type: date, required: true}
  - {name: rows, type: long}
partition_spec: [{column: day}]
pipeline: {pattern: feature_table, sql: daily.sql, inputs: [orders], partitions: {start: "2024-01-01"}}
"""
SQL = "select $day as day, count(*) as rows from orders\n"


class Repository:
    """A git repository whose folder ``lake/tables`` has the templates."""

    def __init__(self, path: Path) -> None:
        self.path, self.templates = path, path / "lake" / "tables"
        self.templates.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.settings = LakehouseSettings.load(LAKEHOUSE_TEMPLATES=str(self.templates))

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *identity, *arguments], cwd=self.path, check=True, capture_output=True, text=True).stdout

    def write(self, columns: dict[str, str], rest: str = "", name: str = "orders") -> None:
        lines = "\n".join(f"  - {{name: {column}, {text}}}" for column, text in columns.items())
        (self.templates / f"{name}.yaml").write_text(f"name: {name}\nnamespace: shop\ndescription: An order.\ncolumns:\n{lines}\n{rest}")

    def commit(self, tag: str = "v1") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", tag)
        self.git("tag", tag)

    def since(self, before: str = "v1", after: str | None = None) -> Changelog:
        return changelog(self.settings, before, after)

    def told(self, before: str = "v1", after: str | None = None) -> dict[str, list[tuple[str, str]]]:
        """By table: its action where it is not a change, and each change with its class."""
        return {
            found.table: [(found.action, "")] * (found.action != "change") + [(str(change), change.level) for change in found.changes]
            for found in self.since(before, after).tables
        }


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """One with the table of COLUMNS at the tag v1."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAKEHOUSE_WAREHOUSE", str(tmp_path / "warehouse"))
    found = Repository(tmp_path / "repository")
    monkeypatch.setenv("LAKEHOUSE_TEMPLATES", str(found.templates))
    found.write(COLUMNS)
    found.commit()
    return found


@pytest.mark.parametrize(
    ("columns", "rest", "told"),
    [
        (COLUMNS | {"count": "type: long"}, "", [("widen column count: int -> long", "safe")]),
        (COLUMNS | {"note": "type: string"}, "", [("add column note: string", "safe")]),
        (COLUMNS | {"note": "type: string, required: true"}, "", [("add column note: string required", "breaking")]),
        (COLUMNS | {"count": "type: string"}, "", [("retype column count: int -> string", "breaking")]),
        (COLUMNS | {"at": "type: timestamptz, required: true"}, "", [("require column at: may be null -> required", "breaking")]),
        ({name: text for name, text in COLUMNS.items() if name != "at"}, "", [("drop column at: timestamptz", "breaking")]),
        (COLUMNS | {"address": 'type: "struct<street: string>"'}, "", [("drop column address.number: int", "breaking")]),
        (COLUMNS, "partition_spec: [{column: at, transform: day}]", [("partition: none -> day(at)", "care")]),
        (COLUMNS, "identifier: [id]", [("identifier: none -> id", "care")]),
        (COLUMNS, "sort_order: [{column: at}]", [("sort order: none -> at ASC NULLS FIRST", "safe")]),
        (COLUMNS, "properties: {some.key: 1}", [("property some.key: not set -> 1", "safe")]),
        (COLUMNS | {"email": "type: string, access_level: internal"}, "", [("access level email: restricted -> internal", "care")]),
        (
            COLUMNS | {"count": "type: int, access_level: restricted"},
            "",
            [
                ("property write.metadata.metrics.column.count: not set -> none", "safe"),
                ("property write.parquet.stats-enabled.column.count: not set -> false", "safe"),
                ("access level count: public -> restricted", "safe"),
            ],
        ),
        (COLUMNS | {"email": "type: string, access_level: restricted, pii: true"}, "", [("pii email: false -> true", "safe")]),
        (
            {("mail" if name == "email" else name): text for name, text in COLUMNS.items()}
            | {"mail": "type: string, renamed_from: [email]"},
            "",
            [("rename column mail: email -> mail", "safe"), ("access level mail: restricted -> public", "care")],
        ),
        (COLUMNS, "tags: {domain: shop}\nfreshness: 24h", [("tags domain: none -> shop", "safe"), ("freshness: none -> 24h", "safe")]),
        (COLUMNS, "maintenance: {keep_snapshots: 2d}", [("maintenance keep_snapshots: 7d -> 2d", "care")]),
        (COLUMNS, STREAM, [("pipeline: none -> event_stream", "care")]),
    ],
)
def test_a_change_has_the_class_that_it_has_for_a_table_with_rows(
    repository: Repository, columns: dict[str, str], rest: str, told: list[tuple[str, str]]
) -> None:
    assert repository.since().exit_code == 0
    repository.write(columns, rest + "\n")
    assert repository.told() == {"shop.orders": told}
    assert repository.since().exit_code == (3 if any(level == "breaking" for _, level in told) else 2)


def test_what_is_taken_back_is_told_as_well(repository: Repository) -> None:
    repository.write({"id": "type: long, pii: true, access_level: internal"}, "properties: {some.key: x}\nowner: me\n")
    repository.commit("v2")
    repository.write({"id": "type: long"})
    assert repository.told("v2") == {
        "shop.orders": [
            ("property owner: me -> not set", "safe"),
            ("property some.key: x -> not set", "safe"),
            ("access level id: internal -> public", "safe"),
            ("pii id: true -> false", "care"),
        ]
    }


def test_a_change_without_an_effect_on_tables_is_none(repository: Repository) -> None:
    path = repository.templates / "orders.yaml"
    path.write_text(f"# A comment.\n{path.read_text()}\n".replace("name: count, type: int", "type: int, name: count, access_level: public"))
    log = repository.since()
    assert (log.tables, log.warnings, log.exit_code) == ([], [], 0)


def test_tables_that_come_and_go_are_told_with_those_of_quarantine(repository: Repository) -> None:
    repository.write({"id": "type: long"}, STREAM.replace("}}", "}, on_bad_rows: quarantine}"), name="visits")
    assert repository.told() == {"shop.visits": [("create", "")], "shop.visits__quarantine": [("create", "")]}
    repository.commit("v2")
    assert repository.told("v1", "v2") == repository.told()
    repository.write({"id": "type: long"}, STREAM, name="visits")
    (repository.templates / "orders.yaml").unlink()
    gone = [("drop", ""), ("drop table", "breaking")]
    assert repository.told("v2") == {
        "shop.orders": gone,
        "shop.visits": [("pipeline on_bad_rows: quarantine -> fail", "safe")],
        "shop.visits__quarantine": gone,
    }
    [change] = repository.since("v2").tables[0].changes
    assert "retired_tables" in change.note
    assert repository.since("v2").exit_code == 3


def test_what_fills_a_table_is_told_key_by_key_and_the_short_form_is_the_long_one(repository: Repository) -> None:
    repository.write(COLUMNS, STREAM)
    repository.commit("v2")
    repository.write(COLUMNS, "source: {path: /data/orders/, format: csv}\n")
    assert repository.told("v2") == {}
    options = "csv_options: {skip_rows: 1}"
    repository.write(COLUMNS, f'pipeline: {{pattern: event_stream, source: {{path: /x, format: csv, {options}}}, cron: "0 * * * *"}}\n')
    assert repository.told("v2")["shop.orders"] == [
        ("pipeline cron: none -> 0 * * * *", "safe"),
        ("pipeline source.path: /data/orders/ -> /x", "care"),
        ("pipeline source.csv_options.delimiter: none -> ,", "care"),
        ("pipeline source.csv_options.skip_rows: none -> 1", "care"),
        ('pipeline source.csv_options.null_values: none -> [""]', "care"),
    ]


def test_a_feature_tables_sql_is_part_of_its_template(repository: Repository) -> None:
    repository.write(COLUMNS, STREAM + "partition_spec: [{column: at, transform: day}]\n")
    (repository.templates / "daily.yaml").write_text(DAILY)
    (repository.templates / "daily.sql").write_text(SQL)
    repository.commit("v2")
    (repository.templates / "daily.sql").write_bytes(SQL.replace("\n", "\r\n").encode())
    assert repository.told("v2") == {}
    (repository.templates / "daily.sql").write_text(SQL.replace("count(*)", "count(id)"))
    edited = {"shop.daily": [("pipeline sql: daily.sql -> daily.sql, with another text", "care")]}
    assert repository.told("v2") == edited
    repository.commit("v3")
    assert repository.told("v2", "v3") == edited
    (repository.templates / "daily.sql").rename(repository.templates / "days.sql")
    (repository.templates / "daily.yaml").write_text(DAILY.replace("daily.sql", "days.sql"))
    assert repository.told("v3") == {"shop.daily": [("pipeline sql: daily.sql -> days.sql", "care")]}


def test_a_table_that_cannot_be_compared_is_exit_code_1(repository: Repository) -> None:
    # Lint refuses upper case now; the revision is from before.
    repository.write({"Id": "type: long", "dropped": "type: string"})
    repository.commit("old")
    repository.write({"id": "type: long"})
    log = repository.since("old")
    assert (log.tables, log.not_compared, log.exit_code) == ([], ["shop.orders"], 1)
    assert "differ in case alone" in log.warnings[-1]
    (repository.templates / "orders.yaml").write_text("name: [\n")
    repository.commit("broken")
    repository.write({"id": "type: long"})
    assert repository.since("broken").exit_code == 1


def test_an_old_template_that_lint_refuses_now_is_compared_as_far_as_it_can_be_read(repository: Repository) -> None:
    odd = "partition_spec: [{column: nowhere, transform: day}]\nidentifier: [at]\nretention: 7d\n"
    repository.write(COLUMNS | {"blob": "type: variant", "count": "type: int, mask: true"}, odd)
    (repository.templates / "broken.yaml").write_text("name: [\n")
    (repository.templates / "nameless.yaml").write_text("columns: [{name: id, type: long}]\n")
    repository.commit("old")
    for name in ("broken", "nameless"):
        (repository.templates / f"{name}.yaml").unlink()
    repository.write(COLUMNS | {"count": "type: long"})
    log = repository.since("old")
    assert repository.told("old") == {"shop.orders": [("widen column count: int -> long", "safe")]}
    assert [warning.split(" ")[0] for warning in log.warnings] == [
        f"old:lake/tables/{name}.yaml" for name in ("broken", "nameless", "orders")
    ]
    assert "counts as if it was not there. not valid YAML" in log.warnings[0].replace(". : ", ". ")
    for told in ("retention", "mask", "the type of blob cannot be read"):
        assert told in log.warnings[2]
    repository.commit("new")
    assert repository.told("new", "old") == {"shop.orders": [("retype column count: long -> int", "breaking")]}


@pytest.mark.parametrize(
    "rest",
    [
        "identifier: [price]",
        "identifier: [count, nowhere]",
        "partition_spec: [{column: address, transform: day}]",
        'partition_spec: [{column: at, transform: "bucket[x]"}, {column: at, transform: weekly}]',
        "sort_order: [{column: nowhere}, {column: address}]",
    ],
)
def test_an_old_layout_that_cannot_be_is_left_out(repository: Repository, rest: str) -> None:
    repository.write(COLUMNS | {"price": "type: double, required: true"}, f"{rest}\n")
    repository.commit("old")
    repository.write(COLUMNS | {"price": "type: double, required: true", "note": "type: string"})
    assert repository.told("old") == {"shop.orders": [("add column note: string", "safe")]}
    [warning] = repository.since("old").warnings
    assert warning.endswith(f"{rest.split(':')[0]}: not all of it can be read.")


def test_a_column_that_stands_twice_in_an_old_template_counts_once(repository: Repository) -> None:
    path = repository.templates / "orders.yaml"
    path.write_text(path.read_text().replace("columns:\n", "columns:\n  - {name: id, type: string}\n"))
    repository.commit("old")
    repository.write(COLUMNS)
    assert repository.told("old") == {
        "shop.orders": [("retype column id: string -> long", "breaking"), ("require column id: may be null -> required", "breaking")]
    }


def test_a_template_of_the_working_tree_must_be_right(repository: Repository) -> None:
    repository.write(COLUMNS | {"blob": "type: variant"})
    with pytest.raises(TemplateError, match=r"orders\.yaml"):
        repository.since()


def test_a_folder_that_a_revision_does_not_have_counts_as_empty(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "--orphan", "other")
    repository.git("rm", "--quiet", "-r", "--cached", ".")
    repository.git("commit", "--quiet", "--allow-empty", "--message", "empty")
    repository.git("tag", "empty")
    log = repository.since("empty")
    assert [(table.table, table.action) for table in log.tables] == [("shop.orders", "create")]
    assert log.warnings == ["empty has no folder lake/tables/: every table counts as new."]


def test_a_template_that_is_a_symbolic_link_or_at_the_top_of_a_repository_is_read(repository: Repository) -> None:
    (repository.path / "orders.yaml").symlink_to("lake/tables/orders.yaml")
    repository.commit("v2")
    settings = LakehouseSettings.load(LAKEHOUSE_TEMPLATES=str(repository.path))
    assert changelog(settings, "v2").tables == []
    repository.write(COLUMNS | {"count": "type: long"})
    assert [str(change) for change in changelog(settings, "v2").tables[0].changes] == ["widen column count: int -> long"]


def test_a_hook_of_git_sees_the_same(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.write(COLUMNS | {"count": "type: long"})
    expected = repository.told()
    for name, value in {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "GIT_INDEX_FILE": "nothing", "GIT_PREFIX": "x/"}.items():
        monkeypatch.setenv(name, value)
    assert repository.told() == expected


@pytest.mark.parametrize("revision", ["nowhere", "", "--help", "-1", "v1:lake", "a b\n"])
def test_a_revision_that_is_not_there_is_told(repository: Repository, revision: str) -> None:
    with pytest.raises(RevisionError, match="has no revision"):
        repository.since(revision)
    with pytest.raises(RevisionError, match="has no revision"):
        repository.since("v1", revision)


def test_templates_outside_of_a_repository_and_a_missing_git_are_told(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "orders.yaml").write_text((repository.templates / "orders.yaml").read_text())
    with pytest.raises(RevisionError, match=r"outside are in no git repository .*: not a git repository"):
        changelog(LakehouseSettings.load(LAKEHOUSE_TEMPLATES=str(outside)), "v1")
    monkeypatch.setenv("PATH", str(outside))
    with pytest.raises(RevisionError, match="no program git"):
        repository.since()


def test_the_command_prints_a_diff_json_or_markdown_and_exits_as_plan_does(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(capsys, "changelog", "v1") == (0, "no table changes between v1 and working tree\n", "")
    assert run_command(capsys, "changelog", "v1", "--format", "markdown")[:2] == (
        0,
        "**Table templates:** no table changes between v1 and working tree\n",
    )
    columns = {name: text for name, text in COLUMNS.items() if name != "at"}
    repository.write(columns | {"tags": 'type: list<string>, description: "a | b `c` @team"'}, "owner: |\n  a\n  `b|\n")
    code, out, _ = run_command(capsys, "changelog", "v1")
    assert code == 3
    assert out.startswith(
        "~ shop.orders  change\n    + add column tags: list<string>\n    - drop column at: timestamptz  [breaking]  its data"
    )
    assert out.endswith("0 new, 1 changed, 0 without a template any more (1 breaking changes), between v1 and working tree\n")
    code, out, _ = run_command(capsys, "changelog", "v1", "--json")
    [table] = (answer := json.loads(out))["tables"]
    assert (code, answer["version"], answer["before"], answer["after"], answer["warnings"]) == (3, 1, "v1", "working tree", [])
    assert (table["table"], table["action"], table["level"]) == ("shop.orders", "change", "breaking")
    assert [change["kind"] for change in table["changes"]] == ["add-column", "drop-column", "property"]
    repository.write({"id": "type: long"}, name="visits")
    code, out, _ = run_command(capsys, "changelog", "v1", "--format", "markdown")
    lines = out.splitlines()
    assert lines[0] == (
        "**Table templates:** 1 new, 1 changed, 0 without a template any more (1 breaking changes), between v1 and working tree"
    )
    assert [line for line in lines if line.startswith("`shop")] == ["`shop.orders`: changed", "`shop.visits`: new table"]
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")] == ["| class", "| ---", "| **breaking**", "| safe", "| safe"]
    assert "| safe | ``property owner: not set -> a `b\\|`` |  |" in lines
    assert run_command(capsys, "changelog", "nowhere")[0] == 1


def test_warnings_are_told_on_the_error_output(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.write(COLUMNS, "retention: 7d\n")
    repository.commit("old")
    repository.write(COLUMNS)
    code, out, err = run_command(capsys, "changelog", "old")
    assert (code, out) == (0, "no table changes between old and working tree\n")
    assert err.startswith("warning: old:lake/tables/orders.yaml is compared without what cannot be read in it.")


def test_any_change_is_told_as_plan_tells_it_of_a_live_table_with_rows(repository: Repository) -> None:
    generator = random.Random(3)
    (repository.templates / "orders.yaml").unlink()
    names = [f"t{index}" for index in range(25)]
    texts = {name: [generated_template(generator, name).replace("web_1", "shop") for _ in range(2)] for name in names}
    for name, (text, _) in texts.items():
        (repository.templates / f"{name}.yaml").write_text(text)
    repository.commit("before")
    settings, catalog = repository.settings, open_catalog(repository.settings)
    templates = load_templates(repository.templates)
    assert {applied.action for applied in apply(settings, catalog, templates)} == {"created"}
    for template in templates:
        for made in filter(None, (template, template.quarantine)):
            with catalog.load_table(made.table_name).transaction() as transaction, transaction.update_snapshot().fast_append():
                pass  # a snapshot is what makes `plan` expect rows
    for name, (_, text) in texts.items():
        (repository.templates / f"{name}.yaml").write_text(text)
    planned = {found.table: found.changes for found in plan(settings, catalog, load_templates(repository.templates)) if found.changes}
    kinds = {change.kind for changes in planned.values() for change in changes}
    told = {
        found.table: [change for change in found.changes if change.kind in kinds and change.after != "not set"]
        for found in repository.since("before").tables
        if found.action == "change"
    }
    assert {table: changes for table, changes in told.items() if changes} == planned
    levels = {change.level for changes in planned.values() for change in changes}
    assert levels == {"safe", "care", "breaking"}


def test_no_catalog_is_opened(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.write(COLUMNS | {"count": "type: string", "at": "type: timestamptz, required: true"})
    done: Any = subprocess.run(
        [sys.executable, "-m", "lakehouse.cli", "changelog", "v1"],
        env=os.environ | {"LAKEHOUSE_BACKEND": "aws-nessie", "LAKEHOUSE_WAREHOUSE": "s3://nowhere", "AWS_REGION": "eu-central-1",
                          "NESSIE_URI": "http://127.0.0.1:1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
