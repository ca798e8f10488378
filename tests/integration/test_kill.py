"""A run that is killed at any moment, and run again, ends where an undisturbed run does."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse

WORKER = Path(__file__).with_name("worker.py")
FILES, ROWS = 5, 800
STEPS = 150  # about what a run prints
pytestmark = pytest.mark.slow


@pytest.fixture
def template(lakehouse: Lakehouse) -> TableTemplate:
    """The table ``lake.t`` with some thousand rows waiting for it, each 100th of which does not fit."""
    template = lakehouse.template("""\
        name: t
        namespace: lake
        columns:
          - {name: id, type: long, required: true}
          - {name: at, type: timestamptz}
          - {name: text, type: string}
        partition_spec: [{column: at, transform: day}]
        sort_order: [{column: id}]
        pipeline:
          pattern: event_stream
          source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}
          on_bad_rows: quarantine
    """)
    for file in range(FILES):
        lines = [
            json.dumps({"id": n if n % 100 else str(n), "at": f"2024-01-0{1 + n % 3}T00:00:00Z", "text": "x" * 40})
            for n in range(file * ROWS, (file + 1) * ROWS)
        ]
        lakehouse.land(f"{file}.jsonl", "\n".join(lines))
    return template


def worker(lakehouse: Lakehouse, stop: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), "load", stop], env={**os.environ, **lakehouse.environment}, stdout=subprocess.PIPE, text=True
    )


def assert_complete(lakehouse: Lakehouse, template: TableTemplate) -> None:
    """Runs again, and finds each row once."""
    lakehouse.run(template)
    total = FILES * ROWS
    assert sorted(lakehouse.rows("lake.t")["id"].to_pylist()) == [n for n in range(total) if n % 100]
    bad = lakehouse.rows("lake.t__quarantine").select(["source_file", "source_row", "reason"]).to_pylist()
    assert sorted((Path(row["source_file"]).name, row["source_row"], row["reason"]) for row in bad) == [
        (f"{n // ROWS}.jsonl", n % ROWS + 1, "id: not a long") for n in range(total) if n % 100 == 0
    ]
    assert lakehouse.run(template).source_files == 0


@pytest.mark.parametrize(
    ("stop", "committed"),
    [
        ("before encode", (0, 0)),
        ("after encode", (0, 0)),
        ("after write", (0, 0)),
        ("before commit t__quarantine", (0, 0)),
        ("after commit t__quarantine", (0, 1)),
        ("before commit t", (0, 1)),
        ("after commit t", (1, 1)),
    ],
)
def test_a_run_killed_at_a_step(lakehouse: Lakehouse, template: TableTemplate, stop: str, committed: tuple[int, int]) -> None:
    with worker(lakehouse, stop) as process:
        steps = process.communicate()[0].splitlines()
    assert process.returncode == -signal.SIGKILL
    assert steps[-1] == stop
    assert tuple(len(lakehouse.table(name).metadata.snapshots) for name in ("lake.t", "lake.t__quarantine")) == committed
    assert_complete(lakehouse, template)


@pytest.mark.parametrize("_attempt", range(6))
def test_a_run_killed_at_random_moments(lakehouse: Lakehouse, template: TableTemplate, _attempt: int) -> None:
    moments = [random.randrange(STEPS), random.randrange(STEPS)]
    for after in moments:
        with worker(lakehouse) as process:
            assert process.stdout is not None
            for number, _line in enumerate(process.stdout):
                if number == after:
                    process.kill()
        assert process.returncode in (0, -signal.SIGKILL), f"killed after {moments} steps"
    assert_complete(lakehouse, template)
