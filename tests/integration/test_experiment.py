"""Experiments: pipelines on a branch, which is merged once every table on it passes its checks, all or none."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pyarrow as pa
import pytest
from command_line import run_command
from pyiceberg.expressions import AlwaysTrue

from dagster_project.experiment import main as experiment
from lakehouse import branch_checks
from lakehouse.branches import open_client
from lakehouse.commit import Batch
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

BACKENDS = ["aws-nessie"]
Run = Callable[..., tuple[int, str, str]]
ORDERS = """\
    name: orders
    namespace: shop
    columns:
      - {name: id, type: long, required: true}
      - {name: at, type: timestamptz}
    identifier: [id]
    partition_spec: [{column: at, transform: day}]
    freshness: 1d
    pipeline:
      pattern: event_stream
      source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}
      cron: "0 * * * *"
"""
DAILY = """\
    name: daily
    namespace: shop
    columns:
      - {name: day, type: date, required: true}
      - {name: orders, type: long}
    identifier: [day]
    partition_spec: [{column: day, transform: identity}]
    pipeline:
      pattern: feature_table
      sql: daily.sql
      inputs: [orders]
      partitions: {start: "2024-01-01"}
      cron: "0 2 * * *"
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``lakehouse branch`` in this process: exit code, output, errors."""
    return lambda *arguments: run_command(capsys, "branch", *arguments)


@pytest.fixture
def shop(lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    """The tables ``shop.orders`` and ``shop.daily``."""
    (tmp_path / "checks").mkdir()
    monkeypatch.setenv("LAKEHOUSE_CHECKS", str(tmp_path / "checks"))
    (lakehouse.settings.templates / "daily.sql").write_text("select $day as day, count(*) as orders from orders having count(*) > 0")
    lakehouse.template(ORDERS)
    lakehouse.template(DAILY)
    return lakehouse


def on(lakehouse: Lakehouse, branch: str) -> Lakehouse:
    return replace(lakehouse, settings=LakehouseSettings.load(LAKEHOUSE_BRANCH=branch))


def fill(lakehouse: Lakehouse, table: str, rows: dict[str, list[Any]]) -> None:
    batch = Batch(f"{table}-{len(lakehouse.table(table).snapshots())}")
    lakehouse.engine.replace(table, [pa.RecordBatch.from_pydict(rows)], AlwaysTrue(), batch)


def counts(lakehouse: Lakehouse) -> dict[str, int]:
    return {name: lakehouse.rows(f"shop.{name}").num_rows for name in ("orders", "daily")}


@pytest.mark.slow
def test_the_pipelines_run_on_a_branch_and_what_they_did_is_taken_over_as_a_whole(
    shop: Lakehouse, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dagster puts a .env of the folder that it runs in over the environment, and relative paths are of this folder.
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("LAKEHOUSE_BRANCH=main\n")
    monkeypatch.setenv("LAKEHOUSE_TEMPLATES", "templates")
    shop.land("a.jsonl", '{"id": 1, "at": "2024-01-01T08:00:00Z"}\n{"id": 2, "at": "2024-01-02T08:00:00Z"}')
    template = shop.settings.templates / "orders.yaml"
    template.write_text(template.read_text().replace("required: true}", "required: true}\n  - {name: note, type: string}", 1))
    for path in shop.settings.templates.glob("*.yaml"):
        path.write_text(f"{path.read_text()}checks: {{generated: false}}\n")  # each would be some seconds of the runs
    arguments = ["summer", "--days", "2024-01-01..2024-01-02", "--home", str(tmp_path / "dagster")]
    assert experiment(arguments) == 0, capsys.readouterr()
    out = capsys.readouterr().out
    for part in (
        "summer is created from main", "orders 0 + 2 rows", "Features of 2024-01-01 to 2024-01-02", "daily 0 + 2 rows",
        "lakehouse branch diff summer", "lakehouse branch merge summer --checked", "lakehouse branch drop summer",
    ):  # fmt: skip
        assert part in out
    assert counts(on(shop, "summer")) == {"orders": 2, "daily": 2}
    assert (counts(shop), shop.table("shop.orders").schema().column_names) == ({"orders": 0, "daily": 0}, ["id", "at"])

    assert run("merge", "summer")[0] == 0
    assert (counts(shop), shop.table("shop.orders").schema().column_names) == ({"orders": 2, "daily": 2}, ["id", "note", "at"])

    # A change that `apply` does not make by itself: the experiment fails, says so, and main is as it was.
    template.write_text(template.read_text().replace("\n  - {name: note, type: string}", ""))
    assert experiment(arguments) == 1
    told = capsys.readouterr()
    assert "summer is there already" in told.out
    assert "breaking" in told.out
    assert "The tables are made as their templates say: this failed, as said above." in told.err


def test_one_table_that_fails_its_checks_holds_back_all(shop: Lakehouse, run: Run) -> None:
    client = open_client(shop.settings)
    client.create("summer", "main")
    branch = on(shop, "summer")
    fill(branch, "shop.orders", {"id": [1, 1], "at": [None, None]})
    fill(branch, "shop.daily", {"day": pa.array([1], pa.date32()), "orders": [1]})
    for name in ("plain", "plain__quarantine"):
        branch.catalog.create_table(f"shop.{name}", branch.table("shop.orders").schema())
    code, out, err = run("merge", "summer", "--checked")
    assert code == 1
    assert re.search(r"changed  shop\.orders  held back: .*duplicate_count\(id\) = 0 failed", out)
    for name in ("plain", "plain__quarantine"):
        assert re.search(rf"created  shop\.{name}  held back: there is no check that its rows could pass", out)
    assert re.search(r"changed  shop\.daily  \d pass", out)
    assert "summer is not merged into main; none of its tables is:" in err
    assert "shop.orders: duplicate_count(id) = 0 failed" in err
    assert "lakehouse branch drop summer" in err
    assert counts(shop) == {"orders": 0, "daily": 0}

    # Rows of 2024 are not fresh, which holds nothing back.
    fill(branch, "shop.orders", {"id": [1, 2], "at": [datetime(2024, 1, 1, tzinfo=UTC)] * 2})
    for name in ("plain", "plain__quarantine"):
        branch.catalog.drop_table(f"shop.{name}")
    code, out, err = run("merge", "summer", "--checked")
    assert code == 0, err
    assert re.search(r"changed  shop\.daily  \d pass\n", out)
    assert re.search(r"changed  shop\.orders  \d pass, 1 fail  freshness_at: old rows hold nothing back\n", out)
    assert "summer is merged into main, 2 tables." in out
    assert counts(shop) == {"orders": 2, "daily": 1}
    assert run("merge", "summer", "--checked", "--json") == (0, "[]\n", "")


def test_a_branch_that_is_changed_while_its_checks_run_is_not_merged(shop: Lakehouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    open_client(shop.settings).create("summer", "main")
    branch = on(shop, "summer")
    fill(branch, "shop.daily", {"day": pa.array([1], pa.date32()), "orders": [1]})

    def passes(name: str, tables: list[str]) -> dict[str, Any]:
        fill(branch, "shop.daily", {"day": pa.array([1, 1], pa.date32()), "orders": [1, 1]})
        return {"tables": [{"table": table, "checks": [], "held_back_by": []} for table in tables], "errors": {}}

    def fails(name: str, tables: list[str]) -> dict[str, Any]:
        return {"tables": [], "errors": dict.fromkeys(tables, "no memory")}

    monkeypatch.setattr(branch_checks, "_scan", passes)
    code, _, err = run("merge", "summer", "--checked")
    assert (code, "summer was changed meanwhile, so that it is not what was checked; nothing was merged. Do it again." in err) == (1, True)
    assert counts(shop) == {"orders": 0, "daily": 0}

    monkeypatch.setattr(branch_checks, "_scan", fails)
    code, out, err = run("merge", "summer", "--checked", "--json")
    expected = {"table": "shop.daily", "change": "changed", "conflict": False, "checks": [], "held_back_by": ["no memory"]}
    assert (code, json.loads(out), "shop.daily: no memory" in err) == (1, [expected], True)


def test_checks_that_cannot_be_run_merge_nothing(shop: Lakehouse, run: Run) -> None:
    open_client(shop.settings).create("summer", "main")
    fill(on(shop, "summer"), "shop.daily", {"day": pa.array([1], pa.date32()), "orders": [1]})
    with mock.patch.object(sys, "executable", "/bin/false"):
        code, _, err = run("merge", "summer", "--checked")
    assert (code, "The checks of summer could not be run (exit code 1), and nothing was merged." in err) == (1, True)
    assert counts(shop) == {"orders": 0, "daily": 0}


def test_an_experiment_that_is_interrupted_or_whose_tables_cannot_be_read_says_how_to_go_on(
    shop: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    arguments = ["summer", "orders", "--home", str(tmp_path / "dagster")]
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", interrupted)
        assert experiment(arguments) == 130
    assert "interrupted. summer stays as it is: run the experiment again, or drop the branch: lakehouse branch drop summer" in (
        capsys.readouterr().err
    )
    on(shop, "summer").catalog.drop_table("shop.orders")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: subprocess.CompletedProcess((), 0))
    assert experiment(arguments) == 1
    assert "error: The tables of summer cannot be read: NoSuchTableError: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["main"], "An experiment is not run on main"),
        (["x", "nothing"], "No template describes a pipeline of nothing. There are "),
        (["x", "--days", "today"], "'today' is no range of days"),
        (["x", "--days", "2024-01-01,2024-12-31"], "'2024-01-01,2024-12-31' is no range of days"),
        (["x", "--days", "2024-01-31..2024-01-01"], "'2024-01-31..2024-01-01' is no range of days"),
        (["a/b"], "'a/b' cannot be a branch"),
        (["."], "'.' cannot be a branch"),
        (["audit.shop.orders"], "audit.shop.orders cannot be used: names that begin with audit. are those of audits"),
    ],
)
def test_an_experiment_that_cannot_be_makes_no_branch(
    shop: Lakehouse, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert experiment(arguments) == 1
    assert message in capsys.readouterr().err
    assert [branch.name for branch in open_client(shop.settings).branches()] == ["main"]
