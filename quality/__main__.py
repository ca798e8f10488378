"""``python -m quality [TABLE …]``: scans tables by their checks, and prints what was found. ``make quality`` runs it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from typing import NoReturn

from rich.table import Table as Grid
from rich.text import Text

from lakehouse.cli_output import ERR, OUT, print_json
from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.lint import load_templates
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate
from quality.checks import shown, unused_files
from quality.processes import kill_processes
from quality.results import Outcome, ScanResult
from quality.scan import held_back_by, scan_table

# Each is a process of its own with a DuckDB of its own.
_SCANS_AT_ONCE = 2
_STYLES: dict[Outcome, str] = {"pass": "green", "warn": "yellow", "fail": "bold red", "error": "bold red"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the scans. Returns the exit code: 1 where a check fails or is in error, or a scan cannot be made; warnings are no failure."""
    parser = argparse.ArgumentParser(
        "python -m quality", description="Scan tables by their checks.", epilog="Example: python -m quality event_stream --json"
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="namespace.table, or the name alone; default: all")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    options = parser.parse_args(arguments)
    try:
        settings = LakehouseSettings.load()
        templates = load_templates(settings.templates, settings.variables)
        chosen = _chosen(templates, options.tables)
        for path in unused_files(settings, templates):
            _tell("warning", f"{shown(path)} is the SodaCL file of no table here: its checks are not run.", "yellow")
    except LakehouseError as error:
        _tell("error", str(error), "red")
        return 1
    results, errors = _scan_all(settings, chosen)
    if options.json:
        tables = [{**result.as_dict(), "held_back_by": held_back_by(result)} for result in results]
        print_json({"version": 1, "at": datetime.now(UTC).isoformat(timespec="seconds"), "tables": tables, "errors": errors})
    else:
        _print_results(results)
    return 1 if errors or any(result.worst in ("fail", "error") for result in results) else 0


def _chosen(templates: list[TableTemplate], names: Sequence[str]) -> list[TableTemplate]:
    if unknown := [name for name in names if not any(name in (template.table_name, template.name) for template in templates)]:
        known = ", ".join(template.table_name for template in templates)
        raise SettingsError(f"No template describes {', '.join(unknown)}. There are {known}.")
    return [template for template in templates if not names or template.table_name in names or template.name in names]


def _scan_all(settings: LakehouseSettings, templates: Sequence[TableTemplate]) -> tuple[list[ScanResult], dict[str, str]]:
    """The results in the order of the templates, and by table why a scan could not be made: one hides no other."""
    results: dict[str, ScanResult] = {}
    errors: dict[str, str] = {}
    pool = ThreadPoolExecutor(_SCANS_AT_ONCE, thread_name_prefix="scan")
    scans = {pool.submit(scan_table, settings, template): template.table_name for template in templates}
    try:
        for scan in as_completed(scans):
            table = scans[scan]
            try:
                result = scan.result()
            except LakehouseError as error:
                errors[table] = str(error)
                _tell(table, str(error), "red")
            else:
                if result.checks:
                    results[table] = result
                    _tell(table, f"{len(result.checks)} checks in {result.duration:.1f} s", "dim")
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        kill_processes()
        raise
    tables = [template.table_name for template in templates]
    return [results[table] for table in tables if table in results], {table: errors[table] for table in tables if table in errors}


def _print_results(results: Sequence[ScanResult]) -> None:
    grid = Grid(title="Quality", title_justify="left", header_style="bold")
    for column in ("table", "check", "outcome"):
        grid.add_column(column)
    for column in ("value", "threshold"):
        grid.add_column(column, justify="right")
    for result in results:
        for check in result.checks:
            grid.add_row(
                Text(result.table),
                Text(check.name),
                Text(check.outcome, _STYLES[check.outcome]),
                Text(check.value_text),
                Text(check.threshold),
            )
        grid.add_section()
    OUT.print(grid)
    for result in results:
        for error in result.errors:
            _tell(result.table, error, "red")
        for check in result.checks:
            if check.message:
                OUT.print(Text(f"{result.table}, {check.name}: {check.message}"))
    counts: dict[Outcome, int] = {
        outcome: sum(check.outcome == outcome for found in results for check in found.checks) for outcome in _STYLES
    }
    OUT.print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))


def _tell(what: str, message: str, style: str) -> None:
    ERR.print(Text(f"{what}: {message}", style=style))


class _Terminated(BaseException):
    """The process was asked to end, as an orchestrator asks it."""


def _terminate(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once: a second would keep the scans from being ended
    raise _Terminated


def run() -> NoReturn:
    """The program. Ctrl-C and SIGTERM end it at once, with exit code 130 or 143, its scans, and the rows that were copied for them."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with tempfile.TemporaryDirectory(prefix="lakehouse-quality-", ignore_cleanup_errors=True) as folder:
            tempfile.tempdir = folder  # so that whatever a scan leaves goes with it
            code = main()
    except (KeyboardInterrupt, _Terminated) as ended:
        _tell("error", "interrupted; no scan runs any more.", "red")
        # A thread that copies rows would go on until it has them all.
        os._exit(128 + (signal.SIGTERM if isinstance(ended, _Terminated) else signal.SIGINT))
    sys.exit(code)


if __name__ == "__main__":
    run()
