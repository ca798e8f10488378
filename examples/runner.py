"""Runs the project's own commands, one after the other, as a user would type them, and says how it goes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.console import Console

from lakehouse.catalog import load_table, open_catalog
from lakehouse.inspect import summarise
from lakehouse.settings import LakehouseSettings

ROOT = Path(__file__).resolve().parent.parent
_BIN = Path(sys.executable).parent


@dataclass
class Runner:
    """A lakehouse on the embedded backend, below ``data``.

    Attributes:
        data: the folder that holds its warehouse and landing folders.
        templates: the folder with its templates.
    """

    data: Path
    templates: Path

    def __post_init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.landing.mkdir(parents=True, exist_ok=True)
        os.environ.update(self.variables)
        home = Path(os.environ["DAGSTER_HOME"])
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "dagster.yaml").exists():
            shutil.copy(ROOT / "dagster_project" / "dagster.yaml", home)

    @property
    def landing(self) -> Path:
        """Where source files arrive."""
        return self.data / "landing"

    @property
    def variables(self) -> dict[str, str]:
        """The settings that commands need to work on this lakehouse."""
        return {
            "LAKEHOUSE_BACKEND": "local",
            "LAKEHOUSE_WAREHOUSE": str(self.data / "warehouse"),
            "LAKEHOUSE_LANDING": str(self.landing),
            "LAKEHOUSE_TEMPLATES": str(self.templates),
            "DAGSTER_HOME": str(self.data / "dagster"),
        }

    def say(self, text: str) -> None:
        """A line of what is going on."""
        self.console.print(text)

    def step(self, what: str, do: Callable[[], str]) -> None:
        """Does something in this process, shows that it is under way, and what came of it."""
        start = time.monotonic()
        with self.console.status(f"{what} …"):
            result = do()
        self.console.print(f"[green]✓[/] {what} [dim]({time.monotonic() - start:.1f} s)[/] {result}")

    def command(self, what: str, *words: str, result: Callable[[], str] = str) -> None:
        """Runs one of the project's commands; where it fails, shows its output and exits. ``result`` says what came of it."""

        def run() -> str:
            done = subprocess.run([str(_BIN / words[0]), *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                self.console.print(done.stdout + done.stderr, markup=False)
                self.console.print(f"[red]failed:[/] {' '.join(words)}")
                sys.exit(1)
            return f"{result()} [dim]{' '.join(words)}[/]".strip()

        self.step(what, run)

    def materialize(self, what: str, *tables: str, days: tuple[date, date] | None = None) -> None:
        """Materialises the assets of some tables in one run, and says how many rows came.

        Args:
            days: the first and the last daily partition; None for tables that are not partitioned by Dagster.
        """
        before = {table: self.row_count(table) for table in tables}

        def result() -> str:
            after = {table: self.row_count(table) for table in tables}
            names = {table: f"{table.split('.')[-1]} " if len(tables) > 1 else "" for table in tables}
            return ", ".join(
                f"{names[table]}{before[table]:,} + {after[table] - before[table]:,} = {after[table]:,} rows" for table in tables
            )

        select = ["--select", ",".join(table.replace(".", "/") for table in tables)]
        partitions = ["--partition-range", "...".join(map(str, days))] if days else []
        self.command(what, "dagster", "asset", "materialize", "-m", "dagster_project.definitions", *select, *partitions, result=result)

    def row_count(self, table: str) -> int:
        """The rows in a table now."""
        return int(summarise(load_table(open_catalog(LakehouseSettings.load()), table))["rows"])

    def shown(self, path: Path) -> Path:
        """The path as a user of the checkout would write it."""
        return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path

    def show(self, *words: str) -> None:
        """Runs one of the project's commands and lets its output be seen."""
        self.console.print(f"[bold]$ {' '.join(words)}[/]")
        sys.stdout.flush()
        subprocess.run([str(_BIN / words[0]), *words[1:]], cwd=ROOT, check=True)
