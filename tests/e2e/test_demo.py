"""The demo as a newcomer runs it, in a folder of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(data: Path, *command: str, code: int = 0) -> str:
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(data / "dagster"),
        "LAKEHOUSE_WAREHOUSE": str(data / "warehouse"),
        "COLUMNS": "200",
    }
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def rows(data: Path) -> dict[str, int]:
    return {table["name"]: table["rows"] for table in json.loads(run(data, "lakehouse", "tables", "--json"))}


def assert_catalog_page(data: Path) -> None:
    """What `make catalog` writes has the sizes, and the results of the checks that ran with the pipelines."""
    (data / "results.json").write_text(run(data, "python", "-m", "dagster_project.check_results"))
    run(data, "lakehouse", "catalog-page", "--checks", str(data / "results.json"), "--output", str(data / "catalog"))
    page = (data / "catalog" / "tables" / "lakehouse.event_stream.html").read_text()
    assert "Rows over 2 commits" in page
    assert "29,997 at first, 60,493 now" in page
    assert "no result" not in page
    assert page.count('class="outcome pass"') > 12


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_demo_loads_what_is_new_and_nothing_twice(tmp_path: Path) -> None:
    first = run(tmp_path, "python", "examples/demo/run.py", "--data", str(tmp_path))
    assert "0 + 29,997 = 29,997 rows" in first
    assert "29,997 + 30,496 = 60,493 rows" in first
    # 2,000 users and 60 changes; then 60 changes, 4 that come back, 4 that came late. Repeats and deletions open no version.
    assert "0 + 2,060 = 2,060 rows" in first
    assert "2,060 + 68 = 2,128 rows" in first
    assert "@example.com" not in first
    assert rows(tmp_path) == {
        "lakehouse.event_stream": 60_493,
        "lakehouse.event_stream__quarantine": 7,
        "lakehouse.feature_table": 4_000,
        "lakehouse.scd_type2": 2_128,
    }
    assert_catalog_page(tmp_path)
    second = run(tmp_path, "python", "examples/demo/run.py", "--data", str(tmp_path))
    assert "60,493 + 30,496 = 90,989 rows" in second
    # The day before the new ones is computed again, for its late rows, and replaced.
    assert "--partition-range 2024-01-02...2024-01-04" in second
    assert rows(tmp_path) == {
        "lakehouse.event_stream": 121_485,
        "lakehouse.event_stream__quarantine": 15,
        "lakehouse.feature_table": 8_000,
        "lakehouse.scd_type2": 2_264,
    }
    found = json.loads(run(tmp_path, "python", "-m", "quality", "--json", code=1))
    outcomes = {(table["table"], check["name"]): check["outcome"] for table in found["tables"] for check in table["checks"]}
    assert len(outcomes) > 30
    # The sample is of January 2024.
    assert {key for key, outcome in outcomes.items() if outcome != "pass"} == {("lakehouse.event_stream", "freshness_event_timestamp")}
