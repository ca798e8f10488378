"""``lakehouse``: the command line. Thin: every command loads, calls one function, and prints.

What a command needs is imported when it runs: a command then starts in half the time that all of them would take.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from lakehouse import cli_audit, cli_branch
from lakehouse.cli_output import ERR, OUT, print_grid, print_json
from lakehouse.errors import CatalogError, LakehouseError, Problem, SettingsError, TableMismatchError
from lakehouse.settings import LakehouseSettings, unknown_variables

if TYPE_CHECKING:
    from lakehouse.template import TableTemplate

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="An Apache Iceberg lakehouse from YAML templates."
)
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_branch.app, name="branch")
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def main() -> None:
    """Runs a command; a user's mistake is a message and exit code 1, not a traceback."""
    # Imports make many objects and no garbage; looking for it all the while is a tenth of a command's time.
    gc.set_threshold(100_000, 20, 100)
    try:
        for warning in unknown_variables():
            ERR.print(Text(f"warning: {warning}", style="yellow"))
        app()
    except LakehouseError as error:
        ERR.print(Text(f"error: {error}", style="red"))
        sys.exit(1)


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
    chosen = _chosen(load_templates(settings.templates, settings.variables, tables or []), tables or [])
    planned = list(plan_templates(settings, open_catalog(settings), chosen))
    if as_json:
        print_json({"version": 1, "tables": [table.as_dict() for table in planned]})
    else:
        for line in cli_plan.lines(planned):
            OUT.print(line)
    raise typer.Exit(exit_code(planned))


def _chosen(templates: list[TableTemplate], names: list[str]) -> list[TableTemplate]:
    """The templates of these tables; all without names. Raises SettingsError naming one that no template describes."""
    known = {template.table_name: template for template in templates}
    wanted = {_full_name(name, known) for name in names}
    if unknown := sorted(wanted - known.keys()):
        raise SettingsError(f"No template describes {', '.join(unknown)}. There are {', '.join(sorted(known))}.")
    return [template for name, template in known.items() if not names or name in wanted]


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
    templates = _chosen(load_templates(settings.templates, settings.variables), tables or [])
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
    """Show how live tables, and on AWS grants, differ from the templates. Exit code 0: in step, 2: drift, 1: something is not known."""
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


@app.command("import", epilog="Example: lakehouse import shop.orders --access-level restricted")
def import_(
    table: Annotated[str, typer.Argument(help="namespace.table.")],
    output: Annotated[Path | None, typer.Option("--output", help="A folder or file; default: among the other templates.")] = None,
    access_level: Annotated[
        Literal["public", "internal", "restricted"] | None,
        typer.Option("--access-level", help="Of the columns; default: internal, which the reader role sees."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the template, and write no file.")] = False,
) -> None:
    """Write the template of a live table that has none. It plans to no change; the live table is not touched."""
    from lakehouse import cli_templates
    from lakehouse.catalog import open_catalog
    from lakehouse.import_table import import_table

    settings = LakehouseSettings.load()
    path = cli_templates.template_path(settings, table, output)
    imported = import_table(settings, open_catalog(settings), table, access_level, cli_templates.json_schema_path(settings, path.parent))
    if stdout:
        print(imported.text, end="")
    else:
        cli_templates.write_template(imported, path, force)
        OUT.print(f"{table} is described by {path}. Before a pipeline writes it, add the project's own property: lakehouse apply {table}")
    for note in imported.notes:
        ERR.print(Text(f"note: {note}", style="yellow"))


@app.command(epilog="Example: lakehouse tables --json")
def tables(as_json: Json = False) -> None:
    """List what is in the lakehouse. A table that cannot be read is an error, and hides no other."""
    from lakehouse import cli_show
    from lakehouse.catalog import catalog_errors, load_table, open_catalog
    from lakehouse.inspect import list_tables, summarise

    catalog, found, broken = open_catalog(LakehouseSettings.load()), [], []
    with catalog_errors("The tables cannot be listed"):
        names = list_tables(catalog)
    for name in names:
        try:
            found.append(summarise(load_table(catalog, name)))
        except Exception as error:
            broken.append(f"{name} cannot be read: {type(error).__name__}: {error}")
    if as_json:
        print_json(found)
    else:
        cli_show.print_tables(found)
    if broken:
        raise CatalogError("\n".join(broken) + "\nSee whether its metadata file is there; a snapshot of it may be restored.")


@app.command(epilog="Example: lakehouse show lakehouse.event_stream --rows 5")
def show(
    table: Annotated[str, typer.Argument(help="namespace.table, or the name alone where it is unique.")],
    rows: Annotated[int, typer.Option(help="How many rows to show.", min=0)] = 10,
    reveal: Annotated[bool, typer.Option(help="Show the values of pii and restricted columns.")] = False,
    as_json: Json = False,
) -> None:
    """Show a table: columns, partitions, snapshots and first rows. Values of pii and restricted columns are masked."""
    from lakehouse import cli_show
    from lakehouse.catalog import catalog_errors, load_table, open_catalog
    from lakehouse.inspect import describe, first_rows
    from lakehouse.lint import load_templates

    settings = LakehouseSettings.load()
    templates = {template.table_name: template for template in _with_quarantine(load_templates(settings.templates, settings.variables))}
    name = _full_name(table, templates)
    catalog = open_catalog(settings)
    with catalog_errors(f"{name} cannot be read"):
        live = load_table(catalog, name)
        details = describe(live, templates.get(name))
        details["first_rows"] = first_rows(live, templates.get(name), rows, reveal)
    if as_json:
        print_json(details)
    else:
        cli_show.print_details(details)


def _with_quarantine(templates: list[TableTemplate]) -> list[TableTemplate]:
    return [found for template in templates for found in (template, template.quarantine) if found is not None]


def _full_name(table: str, templates: dict[str, TableTemplate]) -> str:
    matches = [name for name in templates if name.split(".")[-1] == table]
    return table if "." in table or len(matches) != 1 else matches[0]


@app.command(epilog="Example: lakehouse governance lakehouse.event_stream --live")
def governance(
    table: Annotated[str | None, typer.Argument(help="namespace.table, or the name alone where it is unique; default: all.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Compare with Lake Formation's grants; exit code 1 if anything is too open.")
    ] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Revoke what is too open, and look again; implies --live.")] = False,
    as_json: Json = False,
) -> None:
    """Show which role reads which column, or how the live grants differ from it. Quarantine tables are among them."""
    from lakehouse import cli_governance
    from lakehouse.lint import load_templates

    settings = LakehouseSettings.load()
    templates = _with_quarantine(load_templates(settings.templates, settings.variables))
    name = None if table is None else _full_name(table, {template.table_name: template for template in templates})
    report = cli_governance.live(settings, templates, name, fix) if live or fix else cli_governance.matrix(templates, name)
    if as_json:
        print_json(report.items)
    else:
        for line in report.lines:
            OUT.print(Text(line))
        if report.rows:
            print_grid(report.title, list(report.columns), report.rows)
        for remedy in report.remedies:
            OUT.print(Text(remedy, style="dim"))
        OUT.print(Text(report.summary, style="red" if report.failed else ""))
    if report.failed:
        raise typer.Exit(1)


@app.command(epilog="Example: lakehouse checks lakehouse.event_stream")
def checks(
    table: Annotated[str, typer.Argument(help="namespace.table, or the name alone where it is unique.")], as_json: Json = False
) -> None:
    """Show a table's quality checks: those of its SodaCL file, and those that its template gives."""
    from lakehouse import cli_checks
    from lakehouse.lint import load_templates

    settings = LakehouseSettings.load()
    (template,) = _chosen(load_templates(settings.templates, settings.variables), [table])
    found = cli_checks.checks_of(settings, template)
    if as_json:
        print_json(found)
    else:
        cli_checks.print_checks(template, found)


@app.command("check-destroy", epilog="Example: lakehouse check-destroy --terraform terraform/aws")
def check_destroy(
    terraform: Annotated[Path, typer.Option("--terraform", help="The applied Terraform root.")] = Path("terraform/aws"),
) -> None:
    """Say whether terraform destroy would lose files; exit code 1 if warehouse or landing has any. make aws-destroy asks it first."""
    from lakehouse.terraform import check_destroy as buckets_to_destroy

    buckets = buckets_to_destroy(terraform)
    OUT.print(f"Empty: {', '.join(buckets)}" if buckets else "There is no warehouse and no landing bucket in Terraform's state.")


@app.command(epilog="Example: lakehouse env --terraform terraform/aws")
def env(
    terraform: Annotated[
        Path | None, typer.Option("--terraform", help="An applied Terraform root: write its settings to the .env file first.")
    ] = None,
    env_file: Annotated[Path, typer.Option("--env-file", help="With --terraform: the file to write.")] = Path(".env"),
    as_json: Json = False,
) -> None:
    """Show every setting, its value and where it comes from. Secrets are never shown. All are in docs/configuration-reference.md."""
    from lakehouse.terraform import terraform_environment, write_env

    if terraform is not None:
        values = terraform_environment(terraform)
        write_env(env_file, values)
        if not as_json:
            OUT.print(f"{len(values)} settings of {terraform} written to {env_file}")
        for name in sorted(name for name, value in values.items() if os.environ.get(name, value) != value):
            ERR.print(Text(f"warning: {name} is set to another value in the environment, which counts. Unset it.", style="yellow"))
    settings = LakehouseSettings.load()
    rows = [
        {
            "variable": str(field.validation_alias),
            "value": None if (value := getattr(settings, name)) is None else str(value),
            "from": _origin(settings, name, str(field.validation_alias)),
            "meaning": field.description,
        }
        for name, field in LakehouseSettings.model_fields.items()
    ]
    if as_json:
        print_json(rows)
    else:
        print_grid("Settings", ["variable", "value", "from", "meaning"], [list(row.values()) for row in rows])


def _origin(settings: LakehouseSettings, name: str, variable: str) -> str:
    if name not in settings.model_fields_set:
        return "default"
    return "environment" if os.environ.get(variable) else ".env"


if __name__ == "__main__":
    main()
