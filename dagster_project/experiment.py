"""``python -m dagster_project.experiment NAME [TABLE …]``: the pipelines on a branch of their own. ``make experiment`` runs it.

Tables are made and changed on the branch as their templates say, new source files are taken into it, and the features that are then
due are computed there. Nobody else sees any of it. Dagster's records are in a folder of the experiment's own: no check that fails
here blocks main's tables.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from dotenv import dotenv_values
from rich.text import Text

from lakehouse.branches import MAIN, check_name, create, open_client
from lakehouse.catalog import catalog_errors, load_newest, open_catalog
from lakehouse.cli_output import ERR, OUT
from lakehouse.days import day_ranges, parse_days
from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.feature_runs import FeatureRun, in_order, plan_runs
from lakehouse.inspect import summarise
from lakehouse.lint import load_templates
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings
from lakehouse.staleness import DueDays
from lakehouse.template import TableTemplate

_CODE_LOCATION = ("-m", "dagster_project.definitions")


class ExperimentFailedError(LakehouseError):
    """A command of an experiment failed; its output has been printed."""


@dataclass(frozen=True)
class Experiment:
    """Pipelines on a branch.

    Attributes:
        settings: of the branch; home: the folder of Dagster's records.
        tables: those to run; templates: all.
        days: first and last day to compute features of; None for those that are due.
    """

    settings: LakehouseSettings
    home: Path
    tables: Sequence[TableTemplate]
    templates: Sequence[TableTemplate]
    days: tuple[date, date] | None = None

    def run(self) -> None:
        """Makes the tables, then takes files, then computes features. Raises ExperimentFailedError at the first that fails."""
        self.home.mkdir(parents=True, exist_ok=True)
        if not (self.home / "dagster.yaml").exists():
            shutil.copy(Path(__file__).parent / "dagster.yaml", self.home)
        self._command("The tables are made as their templates say", ["lakehouse.cli", "apply"])
        files = [template for template in self.tables if template.feature_table is None]
        if files:
            self._materialize("The pipelines take new source files", files)
        features = [template for template in self.tables if template.feature_table is not None]
        with catalog_errors(f"The tables of {self.settings.branch} cannot be read"):
            runs = self._feature_runs(features) if features else []
        for run in runs:
            self._materialize(f"Features of {run.first} to {run.last} are computed", run.tables, (run.first, run.last))
        if features and not runs:
            OUT.print(
                Text(f"No day of {', '.join(template.name for template in features)} is due: name days, e.g. DAYS=2024-01-01..2024-01-31")
            )

    def _feature_runs(self, tables: Sequence[TableTemplate]) -> list[FeatureRun]:
        due = DueDays(open_catalog(self.settings), {found.table_name: found for found in self.templates}, datetime.now(UTC).date())
        ordered = in_order(due, tables)
        return plan_runs(due, ordered, {}) if self.days is None else [FeatureRun(tuple(ordered), *self.days)]

    def _materialize(self, what: str, tables: Sequence[TableTemplate], days: tuple[date, date] | None = None) -> None:
        before = self._rows(tables)

        def result() -> str:
            after = self._rows(tables)
            return ", ".join(f"{name} {before[name]:,} + {after[name] - before[name]:,} rows" for name in after)

        partitions = ["--partition-range", "...".join(map(str, days))] if days else []
        select = ["--select", ",".join(template.table_name.replace(".", "/") for template in tables)]
        self._command(what, ["dagster", "asset", "materialize", *_CODE_LOCATION, *select, *partitions], result)

    def _rows(self, tables: Sequence[TableTemplate]) -> dict[str, int]:
        with catalog_errors(f"The tables of {self.settings.branch} cannot be read"):
            catalog = open_catalog(self.settings)
            return {template.name: summarise(load_newest(catalog, template.table_name))["rows"] for template in tables}

    def _command(self, what: str, module: Sequence[str], result: Callable[[], str] = str) -> None:
        """Runs a module on the branch; where it fails, prints what it said."""
        start = time.monotonic()
        with OUT.status(f"{what} …"):
            # Not in this folder: Dagster would put the variables of its .env, perhaps another branch, over those given here.
            done = subprocess.run(
                [sys.executable, "-m", *module], env=self._environment(), cwd=self.home, capture_output=True, text=True, check=False
            )
        if done.returncode:
            OUT.print(Text(done.stdout + done.stderr))
            raise ExperimentFailedError(
                f"{what}: this failed, as said above. {self.settings.branch} stays as it is: correct it, and run the experiment again, "
                f"or drop the branch: lakehouse branch drop {self.settings.branch}"
            )
        line = Text("✓ ", style="green").append(what, style="default").append(f" ({time.monotonic() - start:.1f} s) ", style="dim")
        OUT.print(line.append(result(), style="default"))

    def _environment(self) -> dict[str, str]:
        """What ``.env`` and the environment say, in this order, with paths that mean the same in every folder, and the branch."""
        settings = self.settings
        landing = settings.landing if ":" in settings.landing else str(Path(settings.landing).absolute())
        return {
            **{name: value for name, value in dotenv_values(".env").items() if value is not None},
            **os.environ,
            "LAKEHOUSE_TEMPLATES": str(settings.templates.absolute()),
            "LAKEHOUSE_CHECKS": str(settings.checks.absolute()),
            "LAKEHOUSE_LANDING": landing,
            "LAKEHOUSE_BRANCH": settings.branch,
            "DAGSTER_HOME": str(self.home),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs an experiment. Returns the exit code: 1 where something failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        "python -m dagster_project.experiment",
        description="Run the pipelines on a branch of Nessie, which is made if it is not there.",
        epilog="Example: python -m dagster_project.experiment new-plans event_stream",
    )
    parser.add_argument("name", metavar="NAME", help="the branch")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="namespace.table, or the name alone; default: all with a cron")
    parser.add_argument("--days", metavar="FIRST..LAST", help="the days to compute features of; default: those that are due")
    parser.add_argument("--home", type=Path, metavar="FOLDER", help="for Dagster's records; default: data/experiments/NAME")
    options = parser.parse_args(arguments)
    try:
        _experiment(options).run()
    except LakehouseError as error:
        ERR.print(Text(f"error: {error}", style="red"))
        return 1
    except KeyboardInterrupt:
        again = f"run the experiment again, or drop the branch: lakehouse branch drop {options.name}"
        ERR.print(Text(f"error: interrupted. {options.name} stays as it is: {again}", style="red"))
        return 130
    name = options.name
    OUT.print(
        Text(
            f"\nLook at it:   lakehouse branch diff {name}, and any command with LAKEHOUSE_BRANCH={name}\n"
            f"Take it over: lakehouse branch merge {name} --checked\n"
            f"Or drop it:   lakehouse branch drop {name}"
        )
    )
    return 0


def _experiment(options: argparse.Namespace) -> Experiment:
    """What is to be run; the branch is there afterwards."""
    settings = LakehouseSettings.load()
    client, source = open_client(settings), settings.branch
    if options.name == MAIN:
        raise SettingsError(f"An experiment is not run on {MAIN}. Choose another name.")
    check_name(options.name)
    templates = load_templates(settings.templates, settings.variables)
    tables = _chosen(templates, options.tables)
    days = _days(options.days) if options.days else None
    if client.find(options.name) is None:
        create(client, options.name, source)
        OUT.print(Text(f"{options.name} is created from {source}; no file is copied"))
    else:
        OUT.print(Text(f"{options.name} is there already: it goes on from where it is"))
    home = (options.home or PROJECT_ROOT / "data" / "experiments" / options.name).absolute()
    return Experiment(settings.model_copy(update={"branch": options.name}), home, tables, templates, days)


def _chosen(templates: Sequence[TableTemplate], names: Sequence[str]) -> list[TableTemplate]:
    with_pipeline = [template for template in templates if template.event_stream or template.pipeline]
    if unknown := [name for name in names if not any(name in (found.table_name, found.name) for found in with_pipeline)]:
        known = ", ".join(template.table_name for template in with_pipeline)
        raise SettingsError(f"No template describes a pipeline of {', '.join(unknown)}. There are {known}.")
    if names:
        return [template for template in with_pipeline if template.table_name in names or template.name in names]
    found = [template for template in with_pipeline if getattr(template.event_stream or template.pipeline, "cron", None)]
    if not found:
        raise SettingsError("No pipeline has a `cron`. Name the tables to run: make experiment NAME=… TABLES=…")
    return found


def _days(text: str) -> tuple[date, date]:
    try:
        [days] = day_ranges(parse_days(text))
    except ValueError:  # also where there are none, or a gap is between them
        raise SettingsError(f"{text!r} is no range of days. Write FIRST..LAST, as 2024-01-01..2024-01-31.") from None
    return days


if __name__ == "__main__":
    sys.exit(main())
