"""``make demo``: sample files arrive, the pipelines take them through Dagster, more files arrive, and only those are taken."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from land import batches_landed, day_of, land_batch
from pyiceberg.expressions import EqualTo
from pyiceberg.table import Table
from rich.table import Table as Grid
from runner import ROOT, Runner

from lakehouse.catalog import load_table, open_catalog
from lakehouse.settings import LakehouseSettings

EVENTS, USERS, FEATURES = "lakehouse.event_stream", "lakehouse.scd_type2", "lakehouse.feature_table"


def main() -> None:
    """Lands and loads two batches, and computes their days' features; run again, two more."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: run.py --data data")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="The folder for the warehouse and the source files.")
    runner = Runner(data=parser.parse_args().data.absolute(), templates=ROOT / "table-templates")
    runner.say("[bold]A lakehouse from three YAML files[/], on this machine alone.\n")
    runner.command("Checking the templates", "lakehouse", "lint")
    runner.command("Creating the tables that are missing", "lakehouse", "apply")
    first = batches_landed(runner.landing)
    for number in (first, first + 1):
        # The sample is of 2024: it is to be fresh at the end of the day that arrives.
        os.environ["LAKEHOUSE_FRESHNESS_NOW"] = f"{day_of(number + 1)}T00:00Z"

        def land(number: int = number) -> str:
            return f"{len(land_batch(runner.landing, number))} new files in {runner.shown(runner.landing)}"

        runner.step("Source files arrive", land)
        runner.materialize("The pipelines take what is new", EVENTS, USERS)
    # The first batch has late rows of the day before.
    runner.materialize("The features of these days are computed", FEATURES, days=(day_of(max(first - 1, 0)), day_of(first + 1)))
    runner.say("")
    runner.show("lakehouse", "tables")
    show_user(runner)
    runner.say(
        "\nEvery row is loaded once, a file that came late too; a row that does not fit is in [bold]event_stream__quarantine[/].\n"
        "A user's features on a day are those that were known at its end: the plan is the version's that held then.\n"
        "[bold]Next:[/]\n"
        "  .venv/bin/lakehouse show event_stream     columns, partitions, snapshots and rows; personal data is masked\n"
        "  make dev                                  Dagster's web page on this lakehouse\n"
        "  make quality                              every check of these tables; freshness fails, for the sample is of 2024\n"
        "  make demo                                 again: two more days of files, and only those are loaded\n"
        "  make demo-flights                         664,839 real events, month by month\n"
        "  table-templates/*.yaml                    the files that all of this follows"
    )


def show_user(runner: Runner) -> None:
    """Prints the versions and features of a user whose plan changed between days, without the columns that are personal data."""
    catalog = open_catalog(LakehouseSettings.load())
    users, features = load_table(catalog, USERS), load_table(catalog, FEATURES)
    plans = features.scan(selected_fields=("user_id", "plan")).to_arrow().group_by("user_id").aggregate([("plan", "count_distinct")])
    user = plans.sort_by([("plan_count_distinct", "descending"), ("user_id", "ascending")])["user_id"][0].as_py()
    version = ("valid_from", "valid_to", "is_current", "plan", "country")
    feature = ("feature_date", "events_7d", "purchases_7d", "revenue_7d", "plan", "country")
    print_rows(runner, "One user, version by version: scd_type2", users, user, version)
    print_rows(runner, "The same user's features, day by day: feature_table", features, user, feature)


def print_rows(runner: Runner, title: str, table: Table, user: str, columns: tuple[str, ...]) -> None:
    """Prints these columns of a user's rows, in the order of the first."""
    grid = Grid(title=title, title_justify="left", header_style="bold")
    for column in columns:
        grid.add_column(column)
    for row in table.scan(EqualTo("user_id", user), selected_fields=columns).to_arrow().sort_by(columns[0]).to_pylist():
        grid.add_row(*(cell(row[column]) for column in columns))
    runner.say("")
    runner.console.print(grid)


def cell(value: Any) -> str:
    """A value as people read it; times, which are in UTC, to the minute."""
    return "" if value is None else f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)


if __name__ == "__main__":
    main()
