"""A tick of the drift sensor with 1,000 tables on the embedded catalog, and `lakehouse plan` of one, beside alternative and limit.

    python benchmarks/drift.py [--tables 1000] [--repeat 3]

The tick reads the templates and compares every table, through Dagster as its daemon does. The alternative compares one table
after the other, with no time-out; the limit only loads each table. The plan is a whole command, start-up included; its limit
is a Python that only imports what it cannot do without, PyIceberg's catalog, and collects no garbage.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dagster import DagsterInstance, build_sensor_context
from load_code_location import write_templates
from pyiceberg.catalog import Catalog

from dagster_project.definitions import build_definitions
from lakehouse.apply import apply
from lakehouse.catalog import open_catalog
from lakehouse.drift import check_drift
from lakehouse.lint import load_templates
from lakehouse.plan import plan
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate


def only_load(settings: LakehouseSettings, catalog: Catalog, templates: list[TableTemplate]) -> int:
    """The limit. Like all ways it returns how many tables are in step, as far as it knows."""
    return len([catalog.load_table(template.table_name) for template in templates])


def one_after_the_other(settings: LakehouseSettings, catalog: Catalog, templates: list[TableTemplate]) -> int:
    """The alternative: what `lakehouse plan` does."""
    return sum(planned.action == "none" for planned in plan(settings, catalog, templates))


def bounded_threads(settings: LakehouseSettings, catalog: Catalog, templates: list[TableTemplate]) -> int:
    """What the sensor and `lakehouse drift` do."""
    return sum(drift.state == "in step" and drift.aspect == "schema" for drift in check_drift(settings, templates))


def median(repeat: int, expected: int, measured: Callable[[], int]) -> float:
    """Seconds. Fails where the count is not the expected one."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        found = measured()
        seconds.append(time.perf_counter() - start)
        assert found == expected, (found, expected)
    return statistics.median(seconds)


def tick(settings: LakehouseSettings, folder: str, repeat: int, tables: int) -> float:
    """Seconds of a tick, the second of a sensor that has seen all tables before."""
    repository = build_definitions(settings).get_repository_def()
    sensor = repository.get_sensor_def("schema_drift")
    with DagsterInstance.local_temp(folder) as instance:
        cursor = sensor.evaluate_tick(build_sensor_context(instance, repository_def=repository)).cursor

        def once() -> int:
            data = sensor.evaluate_tick(build_sensor_context(instance, cursor=cursor, repository_def=repository))
            return tables if data.skip_message == f"{tables} tables: {tables} in step." else 0

        return median(repeat, tables, once)


def command(repeat: int, folder: str, *words: str) -> float:
    """Seconds of a whole process that succeeds."""
    environment = {**os.environ, "LAKEHOUSE_WAREHOUSE": f"{folder}/one/warehouse", "LAKEHOUSE_TEMPLATES": f"{folder}/one/templates"}

    def once() -> int:
        subprocess.run(words, env=environment, check=True, capture_output=True)
        return 0

    return median(repeat, 0, once)


def plan_of_one(folder: str, repeat: int) -> None:
    (templates := Path(folder) / "one" / "templates").mkdir(parents=True)
    write_templates(templates, 1, pipeline=True)
    python, lakehouse = sys.executable, str(Path(sys.executable).parent / "lakehouse")
    command(1, folder, lakehouse, "apply")
    limit = command(repeat, folder, python, "-c", "import gc; gc.disable(); import pyiceberg.catalog.sql")
    print(f"{'imports alone':20} {limit:6.2f} s")
    print(f"{'plan of one table':20} {command(repeat, folder, lakehouse, 'plan', 'table_0'):6.2f} s")


def main() -> None:
    """Makes the tables, and prints each way's median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "templates").mkdir()
        write_templates(Path(folder) / "templates", options.tables, pipeline=True)
        os.environ |= {"LAKEHOUSE_WAREHOUSE": f"{folder}/warehouse", "LAKEHOUSE_TEMPLATES": f"{folder}/templates"}
        settings = LakehouseSettings.load()
        templates = load_templates(settings.templates, settings.variables)
        catalog = open_catalog(settings)
        assert all(applied.action == "created" for applied in apply(settings, catalog, templates))
        print(f"{options.tables:,} tables of 15 columns, medians of {options.repeat}, {os.cpu_count()} cores")
        for way in (only_load, one_after_the_other, bounded_threads):
            seconds = median(options.repeat, options.tables, lambda way=way: way(settings, catalog, templates))
            print(f"{way.__name__.replace('_', ' '):20} {seconds:6.2f} s")
        print(f"{'a tick of the sensor':20} {tick(settings, folder, options.repeat, options.tables):6.2f} s")
        plan_of_one(folder, max(options.repeat, 5))


if __name__ == "__main__":
    main()
