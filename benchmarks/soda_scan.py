"""One Soda scan of 20 million events: what this project adds to Soda's own time, and the memory of Soda's process.

    python benchmarks/soda_scan.py [--rows 20] [--repeat 3]

Soda's own start is `soda scan` of one row_count on an empty DuckDB file. The limit is DuckDB by itself: what the checks ask, in one
pass over the same data files, and the duplicates in another. The ways take turns, each in a process of its own, so that a machine
whose speed drifts is fair to all; times are medians over the repeats, memory is the most of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from events import events, template
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.apply import apply
from lakehouse.catalog import load_table, open_catalog
from lakehouse.commit import Batch
from lakehouse.engines import open_engine
from lakehouse.settings import LakehouseSettings
from quality.configuration import duckdb_configuration, write_configuration
from quality.scan import scan_table

MILLION, MIB = 1_000_000, 1024 * 1024
# With those that the template gives (rows, required columns, identifier, schema) ten checks.
CHECKS = """\
checks for events:
  - missing_count(user_id) = 0
  - freshness(event_timestamp) < 99999d
  - min(amount) >= 0
  - invalid_count(event_type) = 0:
      valid min length: 1
  - failed rows:
      name: time_in_range
      fail condition: event_timestamp < timestamptz '2024-01-01 00:00:00+00'
"""
QUERIES = (
    """select count(*), count(event_id), count(event_timestamp), count(user_id), max(event_timestamp), min(amount),
        count(*) filter (length(event_type) < 1), count(*) filter (event_timestamp < timestamptz '2024-01-01 00:00:00+00')
    from {files}""",
    "select count(*) from (select event_id from {files} group by event_id having count(*) > 1)",
)
Figures = tuple[float, float, int]  # seconds, of them outside of Soda's process; bytes of the largest process


def write_events(rows: int) -> None:
    """Fills the table of events through the engine."""
    settings = LakehouseSettings.load()
    open_engine(settings, open_catalog(settings)).append("benchmark.events", unique_events(rows), Batch("events"))


def unique_events(rows: int) -> Iterator[pa.RecordBatch]:
    """The benchmarks' events, whose ids come again, with ids that do not: what a check of duplicates must hold is then the most."""
    for number, batch in enumerate(events(rows)):
        index = batch.schema.get_field_index("event_id")
        ids = pc.binary_join_element_wise(f"{number:04}", batch.column(index), "-")
        yield batch.set_column(index, batch.schema.field(index), ids)


def soda_start(folder: Path) -> Figures:
    """`soda scan` of one check on an empty table, with nothing of this project around it."""
    command = [str(Path(sys.executable).with_name("soda")), "scan", "-d", "lakehouse", "-c", "configuration.yaml", "checks.yaml"]
    environment = {**os.environ, "OTEL_SDK_DISABLED": "true", "HOME": str(folder)}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    return time.perf_counter() - start, 0, peak(resource.RUSAGE_CHILDREN)


def scan(folder: Path) -> Figures:
    """This project's scan: the table is found and shown to Soda, all its checks are run, the results are read."""
    settings = LakehouseSettings.load()
    start = time.perf_counter()
    result = scan_table(settings, template())
    seconds = time.perf_counter() - start
    if result.worst != "pass":
        raise RuntimeError(f"the checks do not pass: {result}")
    return seconds, seconds - result.duration, peak(resource.RUSAGE_CHILDREN)


def limit(folder: Path) -> Figures:
    """DuckDB by itself."""
    settings = LakehouseSettings.load()
    tasks = load_table(open_catalog(settings), "benchmark.events").scan().plan_files()
    files = [task.file.file_path.removeprefix("file://") for task in tasks]
    start = time.perf_counter()
    with duckdb.connect(config={"memory_limit": f"{settings.write_memory // 1024}KiB", "preserve_insertion_order": False}) as connection:
        connection.execute(f"set TimeZone = 'UTC'; set enable_progress_bar = false; set temp_directory = '{folder}/spill'")
        for query in QUERIES:
            connection.execute(query.format(files=f"read_parquet({files}, hive_partitioning = false)")).fetchall()
    return time.perf_counter() - start, 0, peak(resource.RUSAGE_SELF)


def peak(who: int) -> int:
    return resource.getrusage(who).ru_maxrss * 1024


WAYS: dict[str, Callable[[Path], Figures]] = {
    "Soda's own start, an empty table": soda_start,
    "this project's scan": scan,
    "limit: DuckDB by itself": limit,
}


def main() -> None:
    """Prints the ways beside each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=20, help="millions of events")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    rows, console, spawn = int(options.rows * MILLION), Console(width=120), multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, console.status(f"writing {rows:,} events …") as status:
        folder = Path(name)
        os.environ |= {"LAKEHOUSE_WAREHOUSE": f"{name}/warehouse", "LAKEHOUSE_CHECKS": f"{name}/sodacl"}
        (folder / "sodacl").mkdir()
        (folder / "sodacl" / "events_checks.yaml").write_text(CHECKS)
        with duckdb.connect(folder / "empty.duckdb") as connection:
            connection.execute("create table events (event_id varchar)")
        write_configuration(folder / "configuration.yaml", duckdb_configuration(folder / "empty.duckdb", 256 * MIB, folder))
        (folder / "checks.yaml").write_text("checks for events:\n  - row_count = 0\n")
        settings = LakehouseSettings.load()
        list(apply(settings, open_catalog(settings), [template()]))
        writer = spawn.Process(target=write_events, args=(rows,))
        writer.start()
        writer.join()
        figures: dict[str, list[Figures]] = {way: [] for way in WAYS}
        for repeat in range(options.repeat + 1):
            for way, run in WAYS.items():
                status.update(f"{way}, {repeat} of {options.repeat}")
                with spawn.Pool(1) as pool:
                    found = pool.apply(run, (folder,))
                if repeat:  # before the first, the files are not in the page cache
                    figures[way].append(found)
    console.print(f"{rows:,} rows, 8 columns, 10 checks; median of {options.repeat}")
    grid = Grid("way", "seconds", "peak MiB")
    for way, runs in figures.items():
        grid.add_row(way, f"{statistics.median(found[0] for found in runs):.2f}", f"{max(found[2] for found in runs) / MIB:,.0f}")
    console.print(grid)
    ours = figures["this project's scan"]
    added = statistics.median(found[1] for found in ours)
    most = max(found[2] for found in ours) / MIB
    console.print(f"This project adds {added:.2f} s to Soda's process (to stay under 1 s), which took {most:,.0f} MiB (under 2,048).")


if __name__ == "__main__":
    main()
