"""Eight processes that append to one table at once: every batch is in it once, every file written once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Lakehouse

WORKER = Path(__file__).with_name("worker.py")
PROCESSES, BATCHES = 8, 15


@pytest.mark.slow
def test_eight_processes_append_at_once(lakehouse: Lakehouse) -> None:
    lakehouse.template("""\
        name: t
        namespace: lake
        columns: [{name: id, type: string}]
    """)
    environment = {**os.environ, **lakehouse.environment}
    command = [sys.executable, str(WORKER), "append", "lake.t", str(BATCHES)]
    workers = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    outcomes = [(worker.communicate(timeout=300)[1], worker.returncode) for worker in workers]
    assert [text for text, code in outcomes if code] == []
    ids = lakehouse.rows("lake.t")["id"].to_pylist()
    assert len(ids) == len(set(ids)) == PROCESSES * BATCHES * 10
    table = lakehouse.table("lake.t")
    batches = [snapshot.summary.additional_properties["lakehouse.batch-id"] for snapshot in table.metadata.snapshots if snapshot.summary]
    assert len(batches) == len(set(batches)) == PROCESSES * BATCHES
    referenced = sorted(task.file.file_path.removeprefix("file://") for task in table.scan().plan_files())
    assert referenced == sorted(map(str, Path(lakehouse.settings.warehouse, "lake", "t", "data").rglob("*.parquet")))
