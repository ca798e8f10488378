"""The engines beside each other on one machine: appending events, merging changes into versions; and the limit of both.

    python benchmarks/spark.py [--rows 20] [--versions 1] [--changes 10000] [--large 6] [--repeat 3]

Spark runs in this process's own JVM, `local[*]`; its start is measured apart. Each way has a process of its own, medians are over
the repeats, and the ways take turns. At last each engine merges into a dimension that is larger than the memory that it has.
Needs `make spark` and Java 17.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from events import events
from events import template as events_template
from merge import BATCH_ROWS, changes, land, records
from merge import template as dimension_template
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.apply import apply
from lakehouse.catalog import open_catalog
from lakehouse.engines import AppendFiles, MergeFiles, WriteResult, open_engine
from lakehouse.pipelines import EventStreamPipeline, Source
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

MILLION = 1_000_000
FILES = 20
LIMIT, EMBEDDED, SPARK = "limit: reads the source files, one thread writes a file", "embedded engine", "Spark, local[*]"


def appended(landing: Path) -> TableTemplate:
    """The events, from Parquet files."""
    source = Source(path=str(landing), format="parquet")
    return events_template().model_copy(update={"pipeline": EventStreamPipeline(pattern="event_stream", source=source)})


def merged(landing: Path) -> TableTemplate:
    """The dimension of benchmarks/merge.py, with a key of one column."""
    return dimension_template(["user_id"], landing)


TABLES: dict[str, Callable[[Path], TableTemplate]] = {"append": appended, "merge": merged}


def load(template: TableTemplate) -> WriteResult:
    """Runs the pipeline on what is new in its landing folder."""
    settings = LakehouseSettings.load()
    engine = open_engine(settings, open_catalog(settings))
    if template.scd_type2 is not None:
        return engine.merge_files(MergeFiles(template), "benchmark", lambda _: None)
    return engine.append_files(AppendFiles(template), "benchmark", lambda _: None)


def limit(landing: Path) -> None:
    """What reading and writing the rows costs at least."""
    files = sorted(landing.glob("*.parquet"))
    with pq.ParquetWriter(landing.parent / "limit.out", pq.read_schema(files[0]), compression="zstd") as writer:
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(262_144):
                writer.write_batch(batch)


def run_one(way: str, what: str, data: Path) -> None:
    """Does one way in this process, and prints its figures as JSON."""
    template, start_up, jvm = TABLES[what](data / "landing"), 0.0, 0
    settings = LakehouseSettings.load()
    open_engine(settings, open_catalog(settings))  # its modules are loaded before the clock starts
    if way == SPARK:
        from lakehouse.engines.spark.session import in_session

        start = time.perf_counter()
        in_session(settings, lambda _: None, lambda session: session.sql("select 1").collect())
        start_up = time.perf_counter() - start
    start = time.perf_counter()
    if way == LIMIT:
        limit(data / "landing")
    else:
        load(template)
    seconds = time.perf_counter() - start
    if way == SPARK:
        from pyspark import SparkContext

        assert SparkContext._gateway is not None
        status = Path(f"/proc/{SparkContext._gateway.proc.pid}/status").read_text()
        jvm = int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) * 1024  # type: ignore[union-attr]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("\n" + json.dumps({"seconds": seconds, "start": start_up, "peak": peak + jvm}))


def measure(way: str, what: str, data: Path, memory: str = "1GiB") -> dict[str, float]:
    """Runs one way in a new process."""
    variables = {
        "LAKEHOUSE_WAREHOUSE": str(data / "warehouse"),
        "LAKEHOUSE_WRITE_MEMORY": memory,
        "LAKEHOUSE_ENGINE": "spark" if way == SPARK else "embedded",
    }
    command = [sys.executable, __file__, "--way", way, "--what", what, "--data", str(data)]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


class Lake:
    """A lakehouse with one table, to whose state every measurement returns."""

    def __init__(self, folder: Path, what: str) -> None:
        self.folder, self._what = folder, what
        self.landing, self._catalog, self._copy = folder / "landing", folder / "warehouse" / "catalog.db", folder / "catalog.db"
        self.landing.mkdir(parents=True)
        settings = LakehouseSettings.load(LAKEHOUSE_WAREHOUSE=str(folder / "warehouse"))
        list(apply(settings, open_catalog(settings), [TABLES[what](self.landing)]))
        self.keep()

    def keep(self) -> None:
        """What is in the table now is what measurements begin with."""
        shutil.copy(self._catalog, self._copy)

    def measure(self, way: str, memory: str = "1GiB") -> dict[str, float]:
        found = measure(way, self._what, self.folder, memory)
        shutil.copy(self._copy, self._catalog)
        return found


def events_lake(folder: Path, rows: int) -> Lake:
    """An empty table of events, and files of so many rows for it."""
    lake, batches = Lake(folder, "append"), iter(events(rows))
    size = -(-rows // 262_144 // FILES)
    for number in range(FILES):
        if part := list(islice(batches, max(1, size))):
            pq.write_table(pa.Table.from_batches(part), lake.landing / f"{number:02}.parquet")
    for batch in batches:
        pq.write_table(pa.Table.from_batches([batch]), lake.landing / "rest.parquet")
    return lake


def dimension_lake(folder: Path, versions: int, count: int) -> Lake:
    """A dimension of so many versions, and a file of changes for it."""

    def all_records() -> Iterator[pa.Table]:
        return (records(np.arange(at, min(at + BATCH_ROWS, versions)), day=1) for at in range(0, versions, BATCH_ROWS))

    lake = Lake(folder, "merge")
    land(lake.landing, "all.parquet", all_records())
    measure(EMBEDDED, "merge", folder)
    lake.keep()
    land(lake.landing, "changes.parquet", iter([changes(versions, count)]))
    return lake


def compare(console: Console, title: str, lake: Lake, ways: list[str], repeat: int) -> None:
    """Prints the times of the ways."""
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with console.status("…") as status:
        for number in range(repeat):
            for way in ways:
                status.update(f"{title}: {way}, {number + 1} of {repeat}")
                results[way].append(lake.measure(way))
    median = {way: statistics.median(run["seconds"] for run in runs) for way, runs in results.items()}
    grid = Grid("way", "seconds", "and to start", "of Spark", "of the limit", "peak MiB")
    for way, seconds in median.items():
        start, peak = (statistics.median(run[name] for run in results[way]) for name in ("start", "peak"))
        of_limit = f"{seconds / median[LIMIT]:.2f}" if LIMIT in median else ""
        grid.add_row(
            way, f"{seconds:.2f}", f"{start:.1f}" if start else "", f"{seconds / median[SPARK]:.2f}", of_limit, f"{peak / 2**20:,.0f}"
        )
    console.print(f"{title}; median of {repeat}")
    console.print(grid)


def main() -> None:
    """Prints both engines' times, then a merge into what does not fit into memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=20, help="millions of events")
    parser.add_argument("--versions", type=float, default=1, help="millions of versions")
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--large", type=float, default=6, help="millions of versions that are merged into with 256 MiB")
    parser.add_argument("--repeat", type=int, default=3)
    for name in ("--way", "--what"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        run_one(options.way, options.what, options.data)
        return
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as name:
        if options.rows:
            rows = int(options.rows * MILLION)
            lake = events_lake(Path(name) / "events", rows)
            compare(console, f"Appending {rows:,} events of Parquet files", lake, [LIMIT, EMBEDDED, SPARK], options.repeat)
            shutil.rmtree(lake.folder)
        if options.versions:
            versions = int(options.versions * MILLION)
            lake = dimension_lake(Path(name) / "versions", versions, options.changes)
            compare(console, f"Merging {options.changes:,} changes into {versions:,} versions", lake, [EMBEDDED, SPARK], options.repeat)
            shutil.rmtree(lake.folder)
        if options.large:
            versions = int(options.large * MILLION)
            lake = dimension_lake(Path(name) / "large", versions, versions // 10)
            grid = Grid("engine", "LAKEHOUSE_WRITE_MEMORY", "seconds", "peak MiB")
            for way in (EMBEDDED, SPARK):
                found = lake.measure(way, "256MiB")
                grid.add_row(way, "256MiB", f"{found['seconds']:.1f}", f"{found['peak'] / 2**20:,.0f}")
            console.print(
                f"Merging {versions // 10:,} changes into {versions:,} versions, {_size(lake.folder / 'warehouse')} MiB of Parquet"
            )
            console.print(grid)


def _size(folder: Path) -> str:
    return f"{sum(file.stat().st_size for file in folder.rglob('*.parquet')) / 2**20:,.0f}"


if __name__ == "__main__":
    main()
