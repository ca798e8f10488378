"""``make demo``: sample files arrive, the pipelines load them through Dagster, more files arrive, and only those are loaded."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from land import batches_landed, land_batch
from runner import ROOT, Runner


def main() -> None:
    """Lands and loads two batches; run again, two more."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: run.py --data data")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="The folder for the warehouse and the source files.")
    runner = Runner(data=parser.parse_args().data.absolute(), templates=ROOT / "table-templates")
    runner.say("[bold]A lakehouse from three YAML files[/], on this machine alone.\n")
    runner.command("Checking the templates", "lakehouse", "lint")
    runner.command("Creating the tables that are missing", "lakehouse", "apply")
    first = batches_landed(runner.landing)
    for number in (first, first + 1):

        def land(number: int = number) -> str:
            return f"{len(land_batch(runner.landing, number))} new files in {shown(runner.landing)}/event_stream"

        runner.step("Source files arrive", land)
        runner.materialize("The pipeline loads what is new", "lakehouse.event_stream")
    runner.say("")
    runner.show("lakehouse", "tables")
    runner.say(
        "\nEvery row is loaded once, a file that came late too; a row that does not fit is in [bold]event_stream__quarantine[/].\n"
        "[bold]Next:[/]\n"
        "  .venv/bin/lakehouse show event_stream     columns, partitions, snapshots and rows; personal data is masked\n"
        "  make dev                                  Dagster's web page on this lakehouse\n"
        "  make demo                                 again: two more days of files, and only those are loaded\n"
        "  make demo-flights                         664,839 real events, month by month\n"
        "  table-templates/event_stream.yaml         the file that all of this follows"
    )


def shown(path: Path) -> Path:
    """The path as a user of the checkout would write it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    main()
