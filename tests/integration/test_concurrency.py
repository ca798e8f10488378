"""Eight processes that write to one table at once: every batch is in it once, every file written once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dimension import Change, Dimension, changes_of, expected

if TYPE_CHECKING:
    from conftest import Lakehouse

WORKER = Path(__file__).with_name("worker.py")
PROCESSES, BATCHES = 8, 8
MERGES = 3
pytestmark = pytest.mark.slow


def run_at_once(lakehouse: Lakehouse, commands: list[list[str]]) -> None:
    """Runs workers at the same time; each ends well."""
    environment = {**os.environ, **lakehouse.environment}
    workers = [
        subprocess.Popen([sys.executable, str(WORKER), *command], env=environment, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    outcomes = [(worker.communicate(timeout=300)[1], worker.returncode) for worker in workers]
    assert [text for text, code in outcomes if code] == []


def assert_no_other_file(lakehouse: Lakehouse, table_name: str) -> None:
    """The folder of the table holds the files of its snapshots, and no others."""
    table = lakehouse.table(table_name)
    named = {path.removeprefix("file://") for path in table.inspect.all_files()["file_path"].to_pylist()}
    assert named == set(map(str, Path(lakehouse.settings.warehouse, *table_name.split("."), "data").rglob("*.parquet")))


def batch_ids(lakehouse: Lakehouse, table_name: str) -> list[str]:
    snapshots = lakehouse.table(table_name).metadata.snapshots
    return [snapshot.summary.additional_properties["lakehouse.batch-id"] for snapshot in snapshots if snapshot.summary]


def test_eight_processes_append_at_once(lakehouse: Lakehouse) -> None:
    lakehouse.template("""\
        name: t
        namespace: lake
        columns: [{name: id, type: string}]
    """)
    run_at_once(lakehouse, [["append", "lake.t", str(BATCHES)]] * PROCESSES)
    ids = lakehouse.rows("lake.t")["id"].to_pylist()
    assert len(ids) == len(set(ids)) == PROCESSES * BATCHES * 10
    batches = batch_ids(lakehouse, "lake.t")
    assert len(batches) == len(set(batches)) == PROCESSES * BATCHES
    assert_no_other_file(lakehouse, "lake.t")


def test_eight_processes_append_and_merge_at_once(lakehouse: Lakehouse) -> None:
    """Four deliver changes of the same few keys and merge them, four append versions of keys of their own."""
    users = Dimension(lakehouse)
    users.merge(Change("user-0", 0, "first"))
    kinds = [["append-versions", str(BATCHES)], ["merge", str(MERGES)]] * (PROCESSES // 2)
    run_at_once(lakehouse, [[*kind, str(number)] for number, kind in enumerate(kinds)])
    found = users.versions
    appended = [version for version in found if version[0].startswith("appended")]
    assert len(appended) == len(set(appended)) == PROCESSES // 2 * BATCHES * 10
    changes = [change for number in range(1, PROCESSES, 2) for merge in range(MERGES) for change in changes_of(number, merge)]
    assert [version for version in found if version not in set(appended)] == expected([Change("user-0", 0, "first"), *changes])
    batches = batch_ids(lakehouse, "lake.users")
    assert len(batches) == len(set(batches)) > PROCESSES // 2 * BATCHES
    assert_no_other_file(lakehouse, "lake.users")
