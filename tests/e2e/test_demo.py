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


def run(data: Path, *command: str) -> str:
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(data / "dagster"),
        "LAKEHOUSE_WAREHOUSE": str(data / "warehouse"),
        "COLUMNS": "200",
    }
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(data: Path) -> dict[str, int]:
    return {table["name"]: table["rows"] for table in json.loads(run(data, "lakehouse", "tables", "--json"))}


@pytest.mark.slow
def test_demo_loads_what_is_new_and_nothing_twice(tmp_path: Path) -> None:
    first = run(tmp_path, "python", "examples/demo/run.py", "--data", str(tmp_path))
    assert "0 + 29,997 = 29,997 rows" in first
    assert "29,997 + 30,496 = 60,493 rows" in first
    assert rows(tmp_path) == {
        "lakehouse.event_stream": 60_493,
        "lakehouse.event_stream__quarantine": 7,
        "lakehouse.feature_table": 0,
        "lakehouse.scd_type2": 0,
    }
    second = run(tmp_path, "python", "examples/demo/run.py", "--data", str(tmp_path))
    assert "60,493 + 30,496 = 90,989 rows" in second
    assert rows(tmp_path)["lakehouse.event_stream"] == 121_485
