"""Appending events: this project beside PyIceberg, dagster-iceberg and the limit of one Parquet writer, each in its own process.

    python benchmarks/append.py [--rows 20] [--memory 5,20,60] [--repeat 3]

Rates are medians over the repeats; the ways take turns, so that a machine whose speed drifts is fair to all.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from events import events, template
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.apply import apply
from lakehouse.catalog import load_table, open_catalog
from lakehouse.commit import Batch
from lakehouse.engines import open_engine
from lakehouse.settings import LakehouseSettings

MILLION = 1_000_000
# Above these the whole table is in memory at once, more than the machine may have.
HELD_ROWS = 20 * MILLION


def limit(rows: int, folder: Path, catalog: Catalog, table: Table) -> None:
    """One thread that writes the same rows, unsorted, to one plain file."""
    with pq.ParquetWriter(folder / "limit.parquet", template().arrow_schema, compression="zstd") as writer:
        for batch in events(rows):
            writer.write_batch(batch)


def ours(rows: int, folder: Path, catalog: Catalog, table: Table) -> None:
    """The engine's append, each file sorted."""
    open_engine(LakehouseSettings.load(), catalog).append(".".join(table.name()), events(rows), Batch("benchmark"))


def pyiceberg(rows: int, folder: Path, catalog: Catalog, table: Table) -> None:
    """PyIceberg's ``table.append`` of the whole, unsorted."""
    table.append(pa.Table.from_batches(events(rows)))


def dagster_iceberg(rows: int, folder: Path, catalog: Catalog, table: Table) -> None:
    """dagster-iceberg's own IO manager, unpartitioned, the only layout in which it appends such rows by itself."""
    from dagster import asset, materialize
    from dagster_iceberg.config import IcebergCatalogConfig
    from dagster_iceberg.io_manager.arrow import PyArrowIcebergIOManager

    catalog.create_namespace("theirs")
    properties = {key: catalog.properties[key] for key in ("type", "uri", "warehouse")}
    manager = PyArrowIcebergIOManager(name=catalog.name, config=IcebergCatalogConfig(properties=properties), namespace="theirs")

    @asset(metadata={"write_mode": "append"})
    def unpartitioned() -> pa.Table:
        return pa.Table.from_batches(events(rows))

    materialize([unpartitioned], resources={"io_manager": manager})


WAYS: dict[str, Callable[[int, Path, Catalog, Table], None]] = {
    "limit: one ParquetWriter, no table": limit,
    "this project, sorted": ours,
    "PyIceberg table.append": pyiceberg,
    "dagster-iceberg IO manager, unpartitioned": dagster_iceberg,
}


def run_one(way: str, rows: int) -> None:
    """Does one way in this process and prints its figures as JSON."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        settings = LakehouseSettings.load(LAKEHOUSE_WAREHOUSE=f"{name}/warehouse")
        os.environ["LAKEHOUSE_WAREHOUSE"] = settings.warehouse
        catalog = open_catalog(settings)
        list(apply(settings, catalog, [template()]))
        table = load_table(catalog, "benchmark.events")
        for _ in events(8 * 262_144):  # make the random values before the clock starts
            pass
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        WAYS[way](rows, Path(name), catalog, table)
        seconds = time.perf_counter() - start
        snapshot = table.refresh().current_snapshot()
        summary = snapshot.summary.additional_properties if snapshot and snapshot.summary else {}
        figures = {
            "seconds": seconds,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "before": before * 1024,
            "files": int(summary.get("added-data-files", 0)),
            "bytes": int(summary.get("added-files-size", 0)),
            "rows": int(summary.get("added-records", 0)),
        }
        print("\n" + json.dumps(figures))


def measure(way: str, rows: int) -> dict[str, float]:
    """Runs one way in a new process."""
    command = [sys.executable, __file__, "--way", way, "--rows", str(rows / MILLION)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints rates beside the alternatives, then memory for several sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=20, help="millions of rows")
    parser.add_argument("--memory", default="5,20,60", help="millions of rows at which this project's peak memory is measured")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = int(options.rows * MILLION)
    if options.way:
        run_one(options.way, rows)
        return
    console = Console(width=120)
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with console.status("…") as status:
        for repeat in range(options.repeat):
            for way in WAYS:
                status.update(f"{way}, {repeat + 1} of {options.repeat}")
                results[way].append(measure(way, min(rows, HELD_ROWS) if way.startswith("dagster") else rows))
    rate = {way: statistics.median(rows / found["seconds"] for found in runs) for way, runs in results.items()}
    grid = Grid("way", "million rows/s", "of the limit", "of table.append", "peak MiB", "files", "MiB a file")
    for way, runs in results.items():
        files = runs[-1]["files"]
        grid.add_row(
            way,
            f"{rate[way] / MILLION:.2f}",
            f"{rate[way] / rate['limit: one ParquetWriter, no table']:.2f}",
            f"{rate[way] / rate['PyIceberg table.append']:.2f}",
            f"{max(found['peak'] for found in runs) / 2**20:,.0f}",
            f"{files:.0f}" if files else "",
            f"{runs[-1]['bytes'] / files / 2**20:.0f}" if files else "",
        )
    console.print(f"{rows:,} rows, 8 columns, day(event_timestamp), zstd; median of {options.repeat}")
    console.print(grid)
    grid = Grid("this project, rows", "peak MiB", "of it before the first row", "million rows/s")
    for millions in options.memory.split(","):
        found = measure("this project, sorted", int(float(millions) * MILLION))
        rate_here = float(millions) / found["seconds"]
        grid.add_row(f"{millions} million", f"{found['peak'] / 2**20:,.0f}", f"{found['before'] / 2**20:,.0f}", f"{rate_here:.2f}")
    console.print(grid)


if __name__ == "__main__":
    main()
