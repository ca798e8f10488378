"""``lakehouse tables``, ``show``, ``health``, ``maintain``, ``sync``, ``governance`` and ``checks``: the tables that are there."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from lakehouse.cli_arguments import Json, choose, full_name
from lakehouse.cli_output import OUT, print_grid, print_json
from lakehouse.errors import CatalogError
from lakehouse.settings import LakehouseSettings

app = typer.Typer()


@app.command(epilog="Example: lakehouse tables --json")
def tables(as_json: Json = False) -> None:
    """List what is in the lakehouse. A table that cannot be read is an error, and hides no other."""
    from lakehouse import cli_show
    from lakehouse.catalog import catalog_errors, load_newest, open_catalog
    from lakehouse.inspect import list_tables, summarise

    catalog, found, broken = open_catalog(LakehouseSettings.load()), [], []
    with catalog_errors("The tables cannot be listed"):
        names = list_tables(catalog)
    for name in names:
        try:
            found.append(summarise(load_newest(catalog, name)))
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
    from lakehouse.template import with_quarantine

    settings = LakehouseSettings.load()
    templates = {template.table_name: template for template in with_quarantine(load_templates(settings.templates, settings.variables))}
    name = full_name(table, templates)
    catalog = open_catalog(settings)
    with catalog_errors(f"{name} cannot be read"):
        live = load_table(catalog, name)
        details = describe(live, templates.get(name))
        details["first_rows"] = first_rows(live, templates.get(name), rows, reveal)
    if as_json:
        print_json(details)
    else:
        cli_show.print_details(details)


@app.command(epilog="Example: lakehouse health --json")
def health(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, namespace.table or the name alone; default: all.")] = None,
    as_json: Json = False,
) -> None:
    """Show how healthy tables are, files, snapshots and metadata, and what to do. Exit code 1 if one cannot be read."""
    from lakehouse import cli_health
    from lakehouse.lint import load_templates

    settings = LakehouseSettings.load()
    cli_health.health(settings, choose(load_templates(settings.templates, settings.variables), tables or []), as_json)


@app.command(epilog="Example: lakehouse maintain event_stream --dry-run")
def maintain(
    tables: Annotated[
        list[str] | None,
        typer.Argument(help="Tables, namespace.table or the name alone; default: those whose templates have `maintenance`."),
    ] = None,
    only: Annotated[str, typer.Option("--only", metavar="STEPS", help="Of these, some: retention,compact,expire,orphans.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done, and what it frees.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Delete rows past retention, compact small files, expire snapshots, delete orphan files: show what it frees, ask, and do it.

    Exit code 1 if a step fails; the others are done.
    """
    from lakehouse import cli_maintain
    from lakehouse.lint import load_templates

    settings = LakehouseSettings.load()
    templates = choose(load_templates(settings.templates, settings.variables), tables or [])
    chosen = templates if tables else [template for template in templates if template.is_maintained]
    cli_maintain.maintain_tables(settings, chosen, cli_maintain.steps_of(settings, only), dry_run, yes, as_json)


@app.command(epilog="Example: lakehouse sync lakehouse.event_stream --dry-run")
def sync(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, namespace.table or the name alone; default: all.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be moved.")] = False,
    as_json: Json = False,
) -> None:
    """Show readers the newest state: move Glue's entries (aws-nessie) or BigQuery's tables (gcp) to the tables' newest metadata.

    Every run does so after its commit; this repairs what one could not. Exit code 1 if one fails, 2 with --dry-run if one is behind.
    """
    from lakehouse import cli_sync
    from lakehouse.lint import load_templates
    from lakehouse.template import with_quarantine

    settings = LakehouseSettings.load()
    templates = with_quarantine(load_templates(settings.templates, settings.variables))
    raise typer.Exit(cli_sync.sync(settings, choose(templates, tables or []), dry_run, as_json))


@app.command(epilog="Example: lakehouse governance lakehouse.event_stream --live")
def governance(
    table: Annotated[str | None, typer.Argument(help="namespace.table, or the name alone where it is unique; default: all.")] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Compare with Lake Formation's grants, or BigQuery's policy tags; exit code 1 if anything is too open."
        ),
    ] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Revoke what is too open, and look again; implies --live.")] = False,
    as_json: Json = False,
) -> None:
    """Show which role reads which column, or how the live grants differ from it. Quarantine tables are among them."""
    from lakehouse import cli_governance
    from lakehouse.lint import load_templates
    from lakehouse.template import with_quarantine

    settings = LakehouseSettings.load()
    templates = with_quarantine(load_templates(settings.templates, settings.variables))
    name = None if table is None else full_name(table, {template.table_name: template for template in templates})
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
    (template,) = choose(load_templates(settings.templates, settings.variables), [table])
    found = cli_checks.checks_of(settings, template)
    if as_json:
        print_json(found)
    else:
        cli_checks.print_checks(template, found)
