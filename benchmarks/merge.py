"""Merging changes into versions: this project beside PyIceberg's upsert and the limit of writing the files anew.

    python benchmarks/merge.py [--versions 1] [--changes 10000,100000] [--large 10] [--repeat 3]

Nine changes in ten are of keys that are there, spread over the whole table; one opens a new key. Each way has a process of
its own, medians are over the repeats, and the ways take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.apply import apply
from lakehouse.catalog import load_table, open_catalog
from lakehouse.engines import MergeFiles, open_engine
from lakehouse.pipelines import ScdType2Pipeline, Source
from lakehouse.settings import LakehouseSettings
from lakehouse.template import Column, SortField, TableTemplate

MILLION = 1_000_000
BATCH_ROWS = 250_000
START = 1_704_067_200_000_000  # 2024-01-01, microseconds
LIMIT, UPSERT = "limit: reads and writes the files once", "PyIceberg upsert, one key column"
ONE, TWO = "this project, one key column", "this project, two key columns"


def template(key: list[str], landing: Path) -> TableTemplate:
    """A dimension of ten columns whose key is one column or two."""
    types = {
        "tenant": "int",
        "user_id": "string",
        "email": "string",
        "name": "string",
        "country": "string",
        "plan": "string",
        "score": "double",
        "valid_from": "timestamptz",
        "valid_to": "timestamptz",
        "is_current": "boolean",
    }
    return TableTemplate(
        name=f"users_{len(key)}",
        namespace="benchmark",
        columns=[Column(name=name, type=type_, required=name in ("tenant", "user_id", "valid_from")) for name, type_ in types.items()],
        sort_order=[SortField(column="valid_from")],
        properties={"write.parquet.compression-codec": "zstd"},
        pipeline=ScdType2Pipeline(
            pattern="scd_type2", source=Source(path=str(landing), format="parquet"), key=key, effective_at="valid_from"
        ),
    )


def records(numbers: np.ndarray, day: int) -> pa.Table:
    """A change record for each of some keys."""
    dice = np.random.default_rng(day)
    count = len(numbers)
    moments = START + day * 86_400_000_000 + dice.integers(0, 86_400_000_000, count)
    return pa.table(
        {
            "tenant": pa.array((numbers % 97).astype("int32")),
            "user_id": pa.array([f"user-{number:010}" for number in (numbers * 2_654_435_761 % 2**32).tolist()]),
            "email": pa.array([f"{number:x}.{day}@example.com" for number in numbers.tolist()]),
            "name": pa.array([f"Name {number}" for number in dice.integers(0, 50_000, count).tolist()]),
            "country": pa.array(["DE", "FR", "NL", "PL", "ES"]).take(pa.array(dice.integers(0, 5, count))),
            "plan": pa.array(["free", "plus", "pro"]).take(pa.array(dice.integers(0, 3, count))),
            "score": pa.array(dice.random(count)),
            "valid_from": pa.array(moments).cast(pa.timestamp("us", tz="UTC")),
        }
    )


def changes(versions: int, count: int) -> pa.Table:
    """Changes of keys all over the table, and a tenth as new keys."""
    known = np.random.default_rng(1).choice(versions, count * 9 // 10, replace=False)
    return records(np.concatenate([known, np.arange(versions, versions + count - len(known))]), day=400)


def land(landing: Path, name: str, tables: Iterator[pa.Table]) -> None:
    """Writes a source file."""
    landing.mkdir(parents=True, exist_ok=True)
    writer = None
    for table in tables:
        writer = writer or pq.ParquetWriter(landing / name, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def merge(key: list[str]) -> Callable[[Path, Path], None]:
    """The engine's merge of what is new in the landing folder."""

    def run(data: Path, source: Path) -> None:
        settings = LakehouseSettings.load()
        open_engine(settings, open_catalog(settings)).merge_files(MergeFiles(template(key, data / "landing")), "benchmark", lambda _: None)

    return run


def upsert(data: Path, source: Path) -> None:
    """PyIceberg's upsert of the same records, which it gets in memory."""
    table = load_table(open_catalog(LakehouseSettings.load()), "benchmark.users_1")
    rows = pq.read_table(source)
    rows = rows.append_column("valid_to", pa.nulls(len(rows), rows.schema.field("valid_from").type))
    rows = rows.append_column("is_current", pa.repeat(True, len(rows)))
    schema = table.schema().as_arrow()
    table.upsert(rows.select(schema.names).cast(schema), join_cols=["user_id"])


def limit(data: Path, source: Path) -> None:
    """Every data file is read, and written by one thread: what a rewrite of the table costs at least."""
    table = load_table(open_catalog(LakehouseSettings.load()), "benchmark.users_1")
    for task in table.scan().plan_files():
        rows = pq.read_table(task.file.file_path.removeprefix("file://"))
        pq.write_table(rows, data / "limit.parquet", compression="zstd")


WAYS: dict[str, Callable[[Path, Path], None]] = {LIMIT: limit, ONE: merge(["user_id"]), TWO: merge(["tenant", "user_id"]), UPSERT: upsert}


def run_one(way: str, data: Path, source: Path) -> None:
    """Does one way in this process, and prints its figures as JSON."""
    open_engine(LakehouseSettings.load(), open_catalog(LakehouseSettings.load()))  # its modules are loaded before the clock starts
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    WAYS[way](data, source)
    figures = {
        "seconds": time.perf_counter() - start,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "before": before * 1024,
    }
    print("\n" + json.dumps(figures))


def measure(way: str, data: Path, source: Path, memory: str = "1GiB") -> dict[str, float]:
    """Runs one way in a new process on the dimension as it was made."""
    landing = data / "landing"
    shutil.rmtree(landing, ignore_errors=True)
    landing.mkdir()
    os.link(source, landing / source.name)
    environment = {**os.environ, "LAKEHOUSE_WAREHOUSE": str(data / "warehouse"), "LAKEHOUSE_WRITE_MEMORY": memory}
    command = [sys.executable, __file__, "--way", way, "--data", str(data), "--source", str(source)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


class Dimension:
    """A lakehouse with the dimension, loaded by this project's own merge, to which every measurement returns."""

    def __init__(self, folder: Path, versions: int, keys: list[str]) -> None:
        self.folder, self.versions = folder / f"{versions}", versions
        self._catalog, self._copy = self.folder / "warehouse" / "catalog.db", self.folder / "catalog.db"
        settings = LakehouseSettings.load(LAKEHOUSE_WAREHOUSE=str(self.folder / "warehouse"))
        keys_of = {ONE: ["user_id"], TWO: ["tenant", "user_id"]}
        list(apply(settings, open_catalog(settings), [template(keys_of[way], self.folder / "landing") for way in keys]))
        source = self.source("all", (records(np.arange(at, at + BATCH_ROWS), day=1) for at in range(0, versions, BATCH_ROWS)))
        self.loads = {way: measure(way, self.folder, source) for way in keys}
        shutil.copy(self._catalog, self._copy)

    def source(self, name: str, tables: Iterator[pa.Table]) -> Path:
        land(self.folder / "sources", f"{name}.parquet", tables)
        return self.folder / "sources" / f"{name}.parquet"

    def measure(self, way: str, source: Path, memory: str = "1GiB") -> dict[str, float]:
        found = measure(way, self.folder, source, memory)
        shutil.copy(self._copy, self._catalog)
        return found


def main() -> None:
    """Prints times beside the alternatives, then the memory on a larger dimension."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=float, default=1, help="millions of versions")
    parser.add_argument("--changes", default="10000,100000")
    parser.add_argument("--large", type=float, default=10, help="millions of versions at which the memory is measured")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        run_one(options.way, options.data, options.source)
        return
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as name:
        if options.versions:
            compare(console, Path(name), int(options.versions * MILLION), [int(n) for n in options.changes.split(",")], options.repeat)
        if options.large:
            memory(console, Path(name), int(options.large * MILLION))


def compare(console: Console, folder: Path, versions: int, counts: list[int], repeat: int) -> None:
    """Times of every way, for each number of changes."""
    with console.status("loading the dimension …"):
        dimension = Dimension(folder, versions, [ONE, TWO])
    for count in counts:
        source = dimension.source(str(count), iter([changes(versions, count)]))
        results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        with console.status("…") as status:
            for number in range(repeat):
                for way in WAYS:
                    status.update(f"{way}, {number + 1} of {repeat}")
                    results[way].append(dimension.measure(way, source))
        median = {way: statistics.median(run["seconds"] for run in runs) for way, runs in results.items()}
        grid = Grid("way", "seconds", "of upsert", "of the limit", "peak MiB")
        for way, seconds in median.items():
            peak = max(run["peak"] for run in results[way]) / 2**20
            grid.add_row(way, f"{seconds:.2f}", f"{seconds / median[UPSERT]:.2f}", f"{seconds / median[LIMIT]:.2f}", f"{peak:,.0f}")
        console.print(f"{count:,} changes into {versions:,} versions; median of {repeat}")
        console.print(grid)


def memory(console: Console, folder: Path, versions: int) -> None:
    """Peak memory on a large dimension, for two settings."""
    with console.status("loading the large dimension …"):
        dimension = Dimension(folder, versions, [ONE])
    grid = Grid("this project, one key column", "LAKEHOUSE_WRITE_MEMORY", "seconds", "peak MiB", "of it before the first row")
    load = dimension.loads[ONE]
    grid.add_row(f"{versions:,} keys into nothing", "1GiB", f"{load['seconds']:.1f}", *_mib(load))
    for count in (10_000, versions // 10):
        source = dimension.source(str(count), iter([changes(versions, count)]))
        for setting in ("256MiB", "1GiB"):
            with console.status(f"{count:,} changes, {setting} …"):
                found = dimension.measure(ONE, source, setting)
            grid.add_row(f"{count:,} changes into {versions:,} versions", setting, f"{found['seconds']:.1f}", *_mib(found))
    console.print(grid)


def _mib(found: dict[str, float]) -> tuple[str, str]:
    return f"{found['peak'] / 2**20:,.0f}", f"{found['before'] / 2**20:,.0f}"


if __name__ == "__main__":
    main()
