"""``lakehouse lint``, ``plan``, ``apply``, ``drift`` and ``changelog``: templates, and the tables that they describe."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.text import Text

from lakehouse.cli_arguments import Json, choose
from lakehouse.cli_output import ERR, OUT, print_json
from lakehouse.errors import CatalogError, Problem, TableMismatchError
from lakehouse.settings import LakehouseSettings

app = typer.Typer()


@app.command(epilog="Example: lakehouse lint --json")
def lint(as_json: Json = False, strict: Annotated[bool, typer.Option(help="Warnings, too, make it fail.")] = False) -> None:
    """Check every template and report every finding. Exit code 1 if there is an error."""
    from lakehouse.lint import lint_templates

    # As in cli_checks.py: the command line is the outermost layer, and knows of `quality` when it is asked.
    from quality.lint import lint_checks

    settings = LakehouseSettings.load()
    result = lint_templates(settings.templates, settings.variables)
    result.problems += lint_checks(settings, result.templates)
    if as_json:
        print_json([vars(problem) for problem in result.problems])
    else:
        _print_problems(result.problems)
        warnings = len(result.problems) - len(result.errors)
        OUT.print(f"usable templates: {len(result.templates)}, errors: {len(result.errors)}, warnings: {warnings}, in {settings.templates}")
    if result.errors or (strict and result.problems):
        raise typer.Exit(1)


def _print_problems(problems: list[Problem]) -> None:
    for problem in problems:
        line = Text(f"{problem.file}:{problem.line}:{problem.column}: ", style="bold")
        line.append(f"{problem.severity} [{problem.rule}] ", style="red" if problem.severity == "error" else "yellow")
        line.append(f"{problem.key}: " if problem.key else "").append(problem.message).append(f" {problem.remedy}", style="dim")
        OUT.print(line)


@app.command(epilog="Example: lakehouse plan event_stream --json")
def plan(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, namespace.table or the name alone; default: all.")] = None,
    as_json: Json = False,
) -> None:
    """Show what apply would change. Exit code 0: nothing, 2: changes, 3: breaking ones among them, 1: a table that cannot be planned."""
    from lakehouse import cli_plan
    from lakehouse.catalog import open_catalog
    from lakehouse.lint import load_templates
    from lakehouse.plan import exit_code
    from lakehouse.plan import plan as plan_templates

    settings = LakehouseSettings.load()
    chosen = choose(load_templates(settings.templates, settings.variables, tables or []), tables or [])
    planned = list(plan_templates(settings, open_catalog(settings), chosen))
    if as_json:
        print_json({"version": 1, "tables": [table.as_dict() for table in planned]})
    else:
        for line in cli_plan.lines(planned):
            OUT.print(line)
    raise typer.Exit(exit_code(planned))


@app.command(epilog="Example: lakehouse apply")
def apply(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, namespace.table or the name alone; default: all.")] = None,
    allow_breaking: Annotated[bool, typer.Option("--allow-breaking", help="Make breaking changes, too; see lakehouse plan.")] = False,
    as_json: Json = False,
) -> None:
    """Create missing tables, and change those that differ from their templates. Exit code 1 if one fails or has breaking changes."""
    from lakehouse.apply import apply as apply_templates
    from lakehouse.catalog import CATALOG_REMEDY, open_catalog
    from lakehouse.lint import load_templates

    settings = LakehouseSettings.load()
    templates = choose(load_templates(settings.templates, settings.variables), tables or [])
    done = []
    for applied in apply_templates(settings, open_catalog(settings), templates, allow_breaking):
        done.append(applied)
        if not as_json:
            style = {"created": "green", "changed": "green", "exists": "dim", "refused": "yellow", "failed": "red"}[applied.action]
            OUT.print(Text(f"{applied.action:8} {applied.table}", style=style).append(f"  {applied.detail}" if applied.detail else ""))
    if as_json:
        print_json([vars(applied) for applied in done])
    failed, refused = ([applied.table for applied in done if applied.action == action] for action in ("failed", "refused"))
    if failed:
        message = f"{len(failed)} of {len(done)} tables failed, for the reasons above: {', '.join(failed)}."
        message += f" Breaking changes were not made: {', '.join(refused)}." if refused else ""
        message += " The others are done."
        raise CatalogError(f"{message}\n{CATALOG_REMEDY}")
    if refused:
        raise TableMismatchError(
            f"Breaking changes were not made, for the reasons above: {', '.join(refused)}. Change the templates so that nothing is lost, "
            "or make them all the same: lakehouse apply --allow-breaking"
        )


@app.command(epilog="Example: lakehouse drift --json")
def drift(as_json: Json = False) -> None:
    """Show how live tables, and in the clouds grants, differ from the templates. Exit code 0: in step, 2: drift, 1: something unknown."""
    from lakehouse import cli_drift
    from lakehouse.drift import check_drift
    from lakehouse.lint import load_templates

    settings = LakehouseSettings.load()
    found = check_drift(settings, load_templates(settings.templates, settings.variables))
    if as_json:
        print_json(cli_drift.as_json(found))
    else:
        for line in cli_drift.lines(found):
            OUT.print(line)
    raise typer.Exit(cli_drift.exit_code(found))


@app.command(epilog="Example: lakehouse changelog origin/main --format markdown")
def changelog(
    revision: Annotated[str, typer.Argument(metavar="GIT_REF", help="A commit, branch or tag to compare with.")],
    to: Annotated[str | None, typer.Option("--to", metavar="GIT_REF", help="The newer revision; default: the working tree.")] = None,
    as_json: Json = False,
    style: Annotated[Literal["text", "markdown"], typer.Option("--format", help="markdown is for pull requests.")] = "text",
) -> None:
    """Show what changed in the templates since a git revision; no live table is needed. Exit codes: as those of plan."""
    from lakehouse import cli_templates
    from lakehouse.changelog import changelog as compare_revisions

    log = compare_revisions(LakehouseSettings.load(), revision, to)
    if as_json:
        print_json(log.as_dict())
    elif style == "markdown":
        print("\n".join(cli_templates.changelog_markdown(log)))
    else:
        for line in cli_templates.changelog_lines(log):
            OUT.print(line)
    for warning in log.warnings:
        ERR.print(Text(f"warning: {warning}", style="yellow"))
    raise typer.Exit(log.exit_code)
