"""One day of features over a window of 7 days, from 20 million events of 90 days, beside DuckDB's own time for the same query.

    python benchmarks/features.py [--rows 20] [--users 100000] [--repeat 5]

DuckDB reads exactly the data files of the window, the time written out in the query, and hands its result over as Arrow.
The ways take turns in one process, so that a machine whose speed drifts is fair to all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
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
from lakehouse.engines import ComputeDays, open_engine
from lakehouse.lint import load_templates
from lakehouse.settings import LakehouseSettings

MILLION = 1_000_000
DAYS, WINDOW = 90, 7
DAY = date(2024, 3, 15)
SQL = """\
select
    user_id,
    $day as feature_date,
    count(*) as events_7d,
    count(*) filter (where event_type = 'purchase') as purchases_7d,
    sum(amount) filter (where event_type = 'purchase') as revenue_7d,
    max(event_timestamp) as last_event
from {source}
group by user_id
"""
YAML = f"""\
name: user_features
namespace: benchmark
description: Features per user and day.
columns:
  - {{name: user_id, type: string, required: true}}
  - {{name: feature_date, type: date, required: true}}
  - {{name: events_7d, type: long}}
  - {{name: purchases_7d, type: long}}
  - {{name: revenue_7d, type: double}}
  - {{name: last_event, type: timestamptz}}
partition_spec: [{{column: feature_date, transform: identity}}]
sort_order: [{{column: user_id}}]
pipeline:
  pattern: feature_table
  sql: user_features.sql
  inputs: [events]
  window: {WINDOW}d
  partitions: {{start: "2024-01-01"}}
"""


def rows(count: int, users: int) -> Iterator[pa.RecordBatch]:
    """The benchmarks' events, spread over 90 days instead of 9, of so many users."""
    schema = template().arrow_schema
    start = pa.scalar(1_704_067_200_000_000, pa.int64())
    for batch in events(count):
        since = pc.subtract(batch.column("event_timestamp").cast(pa.int64()), start)
        times = pc.add(pc.multiply(since, DAYS // 9), start).cast(pa.timestamp("us", tz="UTC"))
        number = pc.cast(pc.utf8_slice_codeunits(batch.column("user_id"), 5), pa.int64())
        user = pc.cast(pc.subtract(number, pc.multiply(pc.divide(number, users), users)), pa.string())
        columns = {"event_timestamp": times, "user_id": pc.binary_join_element_wise("user", user, "-")}
        yield pa.RecordBatch.from_arrays([columns.get(name, batch.column(name)) for name in schema.names], schema=schema)


def write_events(count: int, users: int) -> None:
    """Fills the table of events through the engine."""
    settings = LakehouseSettings.load()
    open_engine(settings, open_catalog(settings)).append("benchmark.events", rows(count, users), Batch("events"))


def duck(files: list[str], target: Path | None = None) -> int:
    """DuckDB's own run: the result as Arrow, or, as the table has it, in a sorted Parquet file."""
    start, end = DAY + timedelta(days=1 - WINDOW), DAY + timedelta(days=1)
    time_ = f"event_timestamp >= timestamptz '{start} 00:00:00+00' and event_timestamp < timestamptz '{end} 00:00:00+00'"
    source = f"(select * from read_parquet({files}, hive_partitioning = false) where {time_})"
    with duckdb.connect(config={"preserve_insertion_order": False}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        query = SQL.format(source=source)
        if target is None:
            return connection.execute(query, {"day": DAY}).to_arrow_table().num_rows
        query = query.replace("$day", f"date '{DAY}'")
        connection.execute(f"copy ({query} order by user_id) to '{target}' (format parquet, compression zstd)")
        return 0


def timed(way: Callable[[], object]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def main() -> None:
    """Prints the medians beside each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=20, help="millions of events")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "user_features.yaml").write_text(YAML)
        (folder / "user_features.sql").write_text(SQL.format(source="events"))
        os.environ["LAKEHOUSE_WAREHOUSE"] = f"{name}/warehouse"
        measure(LakehouseSettings.load(), folder, int(options.rows * MILLION), options.users, options.repeat)


def measure(settings: LakehouseSettings, folder: Path, count: int, users: int, repeat: int) -> None:
    from lakehouse.engines import features

    console, source = Console(width=120), template()
    (folder / "events.yaml").write_text(as_yaml(source.model_dump(mode="json", exclude_unset=True)))
    templates = {found.name: found for found in load_templates(folder)}
    catalog = open_catalog(settings)
    list(apply(settings, catalog, list(templates.values())))
    engine = open_engine(settings, catalog)
    with console.status(f"writing {count:,} events …"):
        # In a process of its own, whose memory does not count.
        writer = multiprocessing.get_context("spawn").Process(target=write_events, args=(count, users))
        writer.start()
        writer.join()
    files = [task.file.file_path.removeprefix("file://") for task in load_table(catalog, "benchmark.events").scan().plan_files()]
    first, last = DAY + timedelta(days=1 - WINDOW), DAY
    window = [path for path in files if first.isoformat() <= path.split("event_timestamp_day=")[1][:10] <= last.isoformat()]
    work = ComputeDays(templates["user_features"], (templates["events"],), (DAY,))
    before_commit: list[float] = []

    def ours(number: int) -> None:
        begin = time.perf_counter()
        commit = features.replace_rows

        def replacing(
            settings_: LakehouseSettings, table: object, batches: Iterator[pa.RecordBatch], *rest: object, **named: object
        ) -> object:
            held = list(batches)  # what DuckDB's own time is compared with: the result in memory, checked and cast
            before_commit.append(time.perf_counter() - begin)
            return commit(settings_, table, iter(held), *rest, **named)  # type: ignore[arg-type]

        features.replace_rows = replacing  # type: ignore[assignment]
        try:
            engine.compute_days(work, Batch(f"run-{number}"), lambda _: None)
        finally:
            features.replace_rows = commit

    times: dict[str, list[float]] = {"window": [], "written": [], "all": [], "ours": []}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = duck(window)  # the files are in the page cache for all
    duck(files)
    duck(window, folder / "result.parquet")
    ours(-1)
    before_commit.clear()
    with console.status("…"):
        for number in range(repeat):
            times["window"].append(timed(lambda: duck(window)))
            times["written"].append(timed(lambda: duck(window, folder / "result.parquet")))
            times["ours"].append(timed(lambda: ours(number)))  # noqa: B023
            times["all"].append(timed(lambda: duck(files)))
    own, own_written = statistics.median(times["window"]), statistics.median(times["written"])
    grid = Grid("way", "seconds", "of DuckDB's own time", "… with the file")
    for way, seconds in {
        f"DuckDB, the {len(window)} files of the window": times["window"],
        "DuckDB, the same, to a sorted file": times["written"],
        "this project, up to the rows": before_commit,
        "this project, written and committed": times["ours"],
        f"DuckDB, all {len(files)} files": times["all"],
    }.items():
        median = statistics.median(seconds)
        grid.add_row(way, f"{median:.3f}", f"{median / own:.2f}", f"{median / own_written:.2f}")
    console.print(f"{count:,} events of {DAYS} days; features of {found:,} users on {DAY}, from {WINDOW} days; median of {repeat}")
    console.print(grid)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    console.print(f"peak memory of the process {after / 1024:,.0f} MiB, of it {peak / 1024:,.0f} MiB before the first query")


def as_yaml(data: object) -> str:
    import yaml

    return yaml.safe_dump(data, sort_keys=False)


if __name__ == "__main__":
    main()
