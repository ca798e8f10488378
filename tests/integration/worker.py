"""A process of its own, for the tests of concurrency and of sudden death. Usage: worker.py append TABLE N |
append-versions N NUMBER | merge N NUMBER | load STOP.

``load`` prints a line at each step of a run, and kills itself at the step named STOP, if there is one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from dimension import START, changes_of

from lakehouse import json_blocks
from lakehouse.catalog import open_catalog
from lakehouse.commit import Batch
from lakehouse.engines import AppendFiles, MergeFiles, open_engine, targets
from lakehouse.lint import load_templates
from lakehouse.settings import LakehouseSettings
from lakehouse.write import DataFileWriter


def append(table: str, count: int) -> None:
    """Appends ``count`` batches of ten rows."""
    settings = LakehouseSettings.load()
    engine, name = open_engine(settings, open_catalog(settings)), os.getpid()
    for number in range(count):
        rows = pa.RecordBatch.from_pydict({"id": [f"{name}-{number}-{row}" for row in range(10)]})
        engine.append(table, [rows], Batch(f"{name}-{number}", run_id=str(name)))


def append_versions(count: int, number: int) -> None:
    """Appends ``count`` batches of ten versions, as a program that does not merge would."""
    settings = LakehouseSettings.load()
    engine = open_engine(settings, open_catalog(settings))
    for batch in range(count):
        ids = [f"appended-{number}-{batch}-{row}" for row in range(10)]
        rows = {"id": ids, "region": [1] * 10, "valid_from": [START] * 10, "is_current": [True] * 10}
        schema = pa.schema({"id": "string", "region": "int32", "valid_from": pa.timestamp("us", "UTC"), "is_current": "bool"})
        engine.append("lake.users", [pa.RecordBatch.from_pydict(rows, schema)], Batch(f"{number}-{batch}"))


def merge(count: int, number: int) -> None:
    """Delivers ``count`` files of changes, and runs the pipeline after each."""
    settings = LakehouseSettings.load()
    [template] = load_templates(settings.templates, settings.variables)
    for batch in range(count):
        path = Path(settings.landing, f"{number}-{batch}.jsonl")
        partial = path.with_name(f"_{path.name}")
        partial.write_text("\n".join(change.line() for change in changes_of(number, batch)))
        partial.rename(path)
        open_engine(settings, open_catalog(settings)).merge_files(MergeFiles(template), f"{number}-{batch}", lambda message: None)


def load(stop: str) -> None:
    """Loads the source files of the only template, in small blocks."""

    def step(name: str) -> None:
        print(name, flush=True)
        if name == stop:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: Any, name: str, step_name: Callable[[Any], str], after: bool = False) -> None:
        real = getattr(owner, name)

        def wrapped(first: Any, *args: Any, **kwargs: Any) -> Any:
            if not after:
                step(f"before {step_name(first)}")
            result = real(first, *args, **kwargs)
            step(f"after {step_name(first)}")
            return result

        setattr(owner, name, wrapped)

    json_blocks._BLOCK = 4000
    around(targets, "commit_append", lambda table: f"commit {table.name()[-1]}")
    around(DataFileWriter, "write", lambda writer: "write", after=True)
    around(pq.ParquetWriter, "write_table", lambda writer: "encode")
    settings = LakehouseSettings.load()
    [template] = load_templates(settings.templates, settings.variables)
    open_engine(settings, open_catalog(settings)).append_files(AppendFiles(template), "worker", lambda message: None)


if __name__ == "__main__":
    if sys.argv[1] == "append":
        append(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1] == "append-versions":
        append_versions(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] == "merge":
        merge(int(sys.argv[2]), int(sys.argv[3]))
    else:
        load(sys.argv[2])
