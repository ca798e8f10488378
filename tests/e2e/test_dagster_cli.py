"""The ``dagster`` command line as a deployment runs it: real processes, a new DAGSTER_HOME, another working directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from lakehouse.settings import PROJECT_ROOT

CODE_LOCATION = ("-m", "dagster_project.definitions")
TEMPLATES = {
    "event_stream": (PROJECT_ROOT / "table-templates" / "event_stream.yaml").read_text(),
    "daily": """
        name: daily
        namespace: shop
        columns:
          - {name: day, type: date, required: true}
          - {name: batch, type: string}
        partition_spec: [{column: day, transform: identity}]
    """,
}
FEATURES = """
    name: features
    namespace: shop
    columns:
      - {name: day, type: date, required: true}
      - {name: events, type: long}
    partition_spec: [{column: day, transform: identity}]
    pipeline:
      pattern: feature_table
      sql: features.sql
      inputs: [lakehouse.event_stream]
      window: 2d
      partitions: {start: "2024-01-01"}
"""
FEATURES_SQL = "select $day as day, count(*) as events from lakehouse.event_stream"
# What a team adds: an asset of its own, through the project's IO manager.
DAILY_MODULE = """
    import os
    from datetime import date

    import pyarrow as pa
    from dagster import AssetExecutionContext, BackfillPolicy, DailyPartitionsDefinition, Definitions, asset

    from dagster_project.resources.iceberg import LakehouseIOManager


    @asset(
        key=["shop", "daily"],
        partitions_def=DailyPartitionsDefinition(start_date="2024-01-01"),
        backfill_policy=BackfillPolicy.single_run(),
        metadata={"partition_expr": "day"},
    )
    def daily(context: AssetExecutionContext) -> pa.RecordBatchReader:
        days = [date.fromisoformat(key) for key in context.partition_keys]
        return pa.table({"day": days, "batch": [os.environ["BATCH"]] * len(days)}).to_reader()


    defs = Definitions(assets=[daily], resources={"io_manager": LakehouseIOManager(name="lakehouse")})
"""


@dataclass
class Deployment:
    """Environment and working directory of the processes."""

    folder: Path
    environment: dict[str, str]

    def run(self, module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *arguments]
        variables = {**self.environment, **environment}
        return subprocess.run(command, cwd=self.folder / "cwd", env=variables, capture_output=True, text=True, check=False)

    def materialize(self, *arguments: str, **environment: str) -> None:
        done = self.run("dagster", "asset", "materialize", *arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr

    def show(self, table: str) -> tuple[list[dict[str, str]], int]:
        """Rows and number of snapshots, by the project's own command line."""
        shown = self.run("lakehouse.cli", "show", table, "--rows", "100", "--json")
        assert shown.returncode == 0, shown.stderr
        found = json.loads(shown.stdout)
        return found["first_rows"], len(found["snapshots"])

    def land(self, name: str, day: int) -> None:
        row = {"event_id": name, "event_type": "page_view", "event_timestamp": f"2024-01-{day:02}T00:00:00Z"}
        path = self.folder / "landing" / "event_stream" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row) + "\n")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    for name in ("cwd", "home", "templates", "modules"):
        (tmp_path / name).mkdir()
    for name, text in TEMPLATES.items():
        (tmp_path / "templates" / f"{name}.yaml").write_text(textwrap.dedent(text))
    (tmp_path / "modules" / "daily_assets.py").write_text(textwrap.dedent(DAILY_MODULE))
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return Deployment(
        tmp_path,
        {
            **{name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))},
            "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), str(tmp_path / "modules")]),
            "DAGSTER_HOME": str(tmp_path / "home"),
            "LAKEHOUSE_WAREHOUSE": str(tmp_path / "warehouse"),
            "LAKEHOUSE_LANDING": str(tmp_path / "landing"),
            "LAKEHOUSE_TEMPLATES": str(tmp_path / "templates"),
        },
    )


@pytest.fixture
def applied(deployment: Deployment) -> Deployment:
    """A deployment whose tables are there."""
    done = deployment.run("lakehouse.cli", "apply")
    assert done.returncode == 0, done.stdout + done.stderr
    return deployment


def test_definitions_validate(deployment: Deployment) -> None:
    done = deployment.run("dagster", "definitions", "validate", *CODE_LOCATION)
    assert done.returncode == 0, done.stdout + done.stderr
    (deployment.folder / "templates" / "broken.yaml").write_text("name: broken\nnamespace: shop\nsauce: {}\n")
    done = deployment.run("dagster", "definitions", "validate", *CODE_LOCATION)
    assert done.returncode != 0
    assert "broken.yaml:3:1: error[unknown-key]" in done.stdout + done.stderr


def test_partitions_and_ranges_of_an_asset_of_ones_own(applied: Deployment) -> None:
    select = ("-m", "daily_assets", "--select", "shop/daily")
    applied.materialize(*select, "--partition-range", "2024-01-01...2024-01-03", BATCH="range")
    applied.materialize(*select, "--partition", "2024-01-02", BATCH="one")
    rows, snapshots = applied.show("shop.daily")
    expected = {"2024-01-01": "range", "2024-01-02": "one", "2024-01-03": "range"}
    assert ({row["day"]: row["batch"] for row in rows}, len(rows), snapshots) == (expected, 3, 2)


def test_files_are_taken_once_and_features_are_of_a_day_and_of_a_range(deployment: Deployment) -> None:
    """A YAML with a pipeline and a SQL file is enough."""
    (deployment.folder / "templates" / "features.yaml").write_text(textwrap.dedent(FEATURES))
    (deployment.folder / "templates" / "features.sql").write_text(FEATURES_SQL)
    assert deployment.run("lakehouse.cli", "apply").returncode == 0
    for day in (1, 2, 3):
        deployment.land(f"{day}.jsonl", day)
    deployment.materialize(*CODE_LOCATION, "--select", "lakehouse/event_stream")
    deployment.materialize(*CODE_LOCATION, "--select", "shop/features", "--partition-range", "2024-01-01...2024-01-04")
    deployment.land("late.jsonl", 3)
    deployment.materialize(*CODE_LOCATION, "--select", "lakehouse/event_stream")
    rows, snapshots = deployment.show("lakehouse.event_stream")
    assert (sorted(row["event_id"] for row in rows), snapshots) == (["1.jsonl", "2.jsonl", "3.jsonl", "late.jsonl"], 2)
    deployment.materialize(*CODE_LOCATION, "--select", "shop/features", "--partition", "2024-01-03")
    rows, snapshots = deployment.show("shop.features")
    expected = {"2024-01-01": 1, "2024-01-02": 2, "2024-01-03": 3, "2024-01-04": 1}
    assert ({row["day"]: row["events"] for row in rows}, len(rows), snapshots) == (expected, 4, 2)
