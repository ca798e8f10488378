"""``lakehouse import`` and ``export``: templates from live tables and from other standards, and in their words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from lakehouse.cli_arguments import choose
from lakehouse.cli_output import ERR, OUT
from lakehouse.errors import InterchangeError, SettingsError
from lakehouse.settings import LakehouseSettings

app = typer.Typer()


@app.command(
    "import", epilog="Example: lakehouse import shop.orders --access-level restricted; lakehouse import --format odcs orders.odcs.yaml"
)
def import_(
    source: Annotated[str, typer.Argument(metavar="TABLE|FILE", help="A live table, namespace.table; with --format, a file.")],
    style: Annotated[
        Literal["odcs"] | None, typer.Option("--format", help="odcs: the file is a contract of the Open Data Contract Standard, v3.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="With --format: of the tables; default: what the file says, as in shop.orders.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", help="A folder or file; default: among the other templates.")] = None,
    access_level: Annotated[
        Literal["public", "internal", "restricted"] | None,
        typer.Option("--access-level", help="Of columns of which nothing else is known; default: internal, which the reader role sees."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the template, and write no file.")] = False,
) -> None:
    """Write the template of a live table that has none, or of a data contract. The live table is not touched, and plans to no change."""
    from lakehouse import cli_templates
    from lakehouse.catalog import open_catalog
    from lakehouse.import_table import import_table
    from lakehouse.interchange.odcs_importer import import_odcs

    settings = LakehouseSettings.load()
    if style is None and namespace is not None:
        raise SettingsError("--namespace is for --format; a live table is named with its own, namespace.table.")
    folder = cli_templates.template_path(settings, source, output).parent if style is None else cli_templates.folder_of(settings, output)
    json_schema = cli_templates.json_schema_path(settings, folder)
    if style is None:
        found = [import_table(settings, open_catalog(settings), source, access_level, json_schema)]
    else:
        found = import_odcs(Path(source), namespace, access_level, json_schema)
    paths = [cli_templates.template_path(settings, imported.table, output) for imported in found]
    if len(set(paths)) < len(paths):
        raise InterchangeError(f"{source} has two tables of one name, and a template's file has its table's. Import them from two files.")
    if stdout:
        print("---\n".join(imported.text for imported in found), end="")
    else:
        cli_templates.write_templates(dict(zip(paths, found, strict=True)), force)
        for imported, path in zip(found, paths, strict=True):
            own = "Before a pipeline writes it, add the project's own property: lakehouse apply"
            then = own if style is None else "See what it would make: lakehouse plan"
            OUT.print(f"{imported.table} is described by {path}. {then} {imported.table}")
    for note in (note for imported in found for note in imported.notes):
        ERR.print(Text(f"note: {note}", style="yellow"))


@app.command(epilog="Example: lakehouse export --format odcs event_stream > event_stream.odcs.yaml")
def export(
    style: Annotated[
        Literal["odcs", "jsonschema", "dbt-sources"],
        typer.Option(
            "--format", help="odcs: a data contract per table; jsonschema: a schema per table; dbt-sources: a file per namespace."
        ),
    ],
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, namespace.table or the name alone; default: all.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="A folder, whose files are replaced; default: print the only file.")
    ] = None,
) -> None:
    """Write templates in another standard's words. No live table is asked. What the standard cannot say is told."""
    from lakehouse.interchange import create_exporter
    from lakehouse.lint import load_templates

    settings = LakehouseSettings.load()
    chosen = choose(load_templates(settings.templates, settings.variables), tables or [])
    files = create_exporter(style, settings.backend).export(chosen)
    if output is None and len(files) > 1:
        raise SettingsError(f"These are {len(files)} files: {', '.join(file.file for file in files)}. Name a folder, --output, or a table.")
    for file in files:
        if output is None:
            print(file.text, end="")
            continue
        try:
            output.mkdir(parents=True, exist_ok=True)
            (output / file.file).write_text(file.text, encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"{output / file.file} cannot be written: {error.strerror}. Name another folder: --output") from None
        OUT.print(str(output / file.file))
    for note in (note for file in files for note in file.notes):
        ERR.print(Text(f"note: {note}", style="yellow"))
