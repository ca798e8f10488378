"""What ``lakehouse maintain`` does and prints."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import typer
from rich.text import Text

from lakehouse.catalog import open_catalog
from lakehouse.cli_output import ERR, OUT, print_json, size_text
from lakehouse.engines import open_engine
from lakehouse.errors import SettingsError
from lakehouse.maintenance.plan import NESSIE
from lakehouse.maintenance.report import STEPS, MaintenanceError, Step, StepReport, TableReport
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

_WORDS = {"retention": "delete rows", "compact": "compact", "expire": "expire", "orphans": "delete files", "pointer": "move the pointer"}
_STYLES = {"done": "green", "planned": "yellow", "skipped": "dim", "failed": "red"}


def steps_of(settings: LakehouseSettings, only: str) -> list[Step]:
    """The steps that ``--only`` names; all without it. Raises SettingsError where they are Nessie's own to do."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in STEPS]:
        raise typer.BadParameter(f"{', '.join(unknown)} is no step. There are {', '.join(STEPS)}.", param_hint="--only")
    if settings.backend == "aws-nessie" and names and set(names) <= {"expire", "orphans"}:
        raise SettingsError(f"{' and '.join(names)} cannot be done here: {NESSIE}")
    return [step for step in STEPS if not names or step in names]


def maintain_tables(
    settings: LakehouseSettings, templates: Sequence[TableTemplate], steps: Sequence[Step], dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Shows what maintenance would do; does it, if it is to be done. Raises MaintenanceError after all others with what failed."""
    if not templates:
        OUT.print("No template has the key `maintenance`. Add it, or name tables.")
        return
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise typer.BadParameter("nobody can be asked here: add --yes to have it done, or --dry-run to see what would be.")
    engine = open_engine(settings, open_catalog(settings))
    if not yes:
        planned = list(engine.maintain(templates, steps, dry_run=True))
        _print(planned, as_json)
        if dry_run or not _is_planned(planned):
            _raise_failures(planned)
            return
        typer.confirm("Do it?", abort=True)
    done: list[TableReport] = []
    for report in engine.maintain(templates, steps, dry_run=False, progress=_progress):
        done.append(report)
        if not as_json:
            _print_table(report)
    _print(done, as_json, lines=False)
    _raise_failures(done)


def _progress(message: str) -> None:
    ERR.print(Text(message, style="dim"))


def _is_planned(reports: Iterable[TableReport]) -> bool:
    return any(step.action == "planned" for report in reports for step in report.steps)


def _print(reports: Sequence[TableReport], as_json: bool, lines: bool = True) -> None:
    if as_json:
        print_json({"version": 1, "tables": [report.as_dict() for report in reports]})
        return
    for report in reports if lines else ():
        _print_table(report)
    freed = size_text(sum(report.freed for report in reports))
    tables = f"{len(reports)} {'table' if len(reports) == 1 else 'tables'}"
    OUT.print(Text(f"{tables}: {freed} {'would be freed' if _is_planned(reports) else 'freed'}"))


def _print_table(report: TableReport) -> None:
    told = [step for step in report.steps if step.action != "nothing"]
    if not told:
        OUT.print(Text(f"{report.table}: ", style="bold").append("nothing to do", style="dim"))
    for step in told:
        line = Text(f"{report.table}: ", style="bold").append(f"{_WORDS[step.step]} ", style="default")
        OUT.print(line.append(f"{step.action} ", style=_STYLES[step.action]).append(_detail(step), style="default"))


def _detail(step: StepReport) -> str:
    size = f"{step.files:,} files, {size_text(step.bytes)}" if step.files and step.action in ("done", "planned") else ""
    return "; ".join(filter(None, [size if step.step == "orphans" else "", step.detail, size if step.step == "compact" else ""]))


def _raise_failures(reports: Iterable[TableReport]) -> None:
    if failures := [failure for report in reports for failure in report.failures]:
        raise MaintenanceError("\n".join(failures) + "\nWhat is not named here is done. See what is left: lakehouse maintain --dry-run")
