"""``lakehouse new-table``: asks people, and takes flags and guesses from programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from lakehouse.cli_arguments import Json, choose
from lakehouse.cli_output import ERR, OUT, print_json
from lakehouse.errors import SettingsError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from lakehouse.new_table import Draft

app = typer.Typer()
_EPILOG = "Example: lakehouse new-table shop.orders --from orders.csv --pii email"


@app.command("new-table", epilog=_EPILOG)
def new_table(
    table: Annotated[str | None, typer.Argument(help="namespace.table, or the name alone where all templates have one namespace.")] = None,
    sample: Annotated[str | None, typer.Option("--from", metavar="FILE", help="A sample of its source files; it is only read.")] = None,
    pattern: Annotated[
        Literal["event_stream", "scd_type2", "feature_table"], typer.Option("--pattern", help="What fills the table.")
    ] = "event_stream",
    format_: Annotated[
        Literal["parquet", "csv", "json", "jsonl"] | None, typer.Option("--format", help="Of the sample; default: what its name says.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="Of a CSV sample; default: found out.")] = None,
    pii: Annotated[str | None, typer.Option("--pii", metavar="A,B", help="The columns with personal data; default: guessed.")] = None,
    no_pii: Annotated[bool, typer.Option("--no-pii", help="No column has personal data.")] = False,
    key: Annotated[
        str | None, typer.Option("--key", metavar="A,B", help="The identifier, or the business key; '' for none; default: guessed.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="A", help="The event's time: partitions are by its day; scd_type2: effective_at.")
    ] = None,
    inputs: Annotated[
        str | None, typer.Option("--inputs", metavar="A,B", help="feature_table: the tables that it is computed from.")
    ] = None,
    description: Annotated[str, typer.Option("--description", help="What a row is, in one line.")] = "",
    owner: Annotated[str, typer.Option("--owner", help="A team's name or an e-mail address.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: take what is guessed.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the template, and write no file.")] = False,
    as_json: Json = False,
) -> None:
    """Write the template of a new table, from a sample file or a pattern. Guesses are to be confirmed; no file is replaced."""
    from lakehouse import cli_templates
    from lakehouse.lint import lint_templates
    from lakehouse.new_table import draft_from_pattern, draft_from_sample, finish, use_key
    from lakehouse.sample import read_sample

    settings = LakehouseSettings.load()
    if pii is not None and no_pii:
        raise SettingsError("--pii names columns, and --no-pii says that there are none. Use one of them.")
    asks = not (yes or as_json or stdout) and sys.stdin.isatty()
    # Of no table alone: as far as others are concerned, their columns are enough.
    known = lint_templates(settings.templates, settings.variables, ("-",)).templates
    if table is None:
        if not asks:
            raise SettingsError("Name the new table: lakehouse new-table shop.orders --from orders.csv")
        table = typer.prompt("Table (namespace.name)")
    name, namespace = _names(str(table), {template.namespace for template in known})
    path = cli_templates.template_path(settings, name, None)
    if path.exists():
        raise SettingsError(f"{path} is there already. Name another table, or change its template by hand.")
    if sample is None and asks and pattern == "event_stream":
        sample = typer.prompt("A sample file, or nothing", default="", show_default=False) or None
    landing = "${LAKEHOUSE_LANDING}/" + f"{name}/"
    if sample is not None:
        draft = draft_from_sample(name, namespace, pattern, read_sample(sample, format_, delimiter), landing)
    else:
        draft = draft_from_pattern(name, namespace, pattern, landing, [choose(known, [each])[0] for each in _list(inputs)])
    draft.description, draft.owner = description, owner
    if key is not None and draft.inputs:
        use_key(draft, _list(key))
    elif key is not None:
        draft.identifier = _list(key)
    draft.time = time or draft.time
    if pii is not None or no_pii:
        draft.pii = dict.fromkeys(_list(pii), "")
    elif asks:
        draft.pii = {column: why for column, why in draft.pii.items() if typer.confirm(f"Is `{column}` personal data? {why}", default=True)}
    elif draft.pii:
        guessed = ", ".join(f"{column} ({why})" for column, why in draft.pii.items())
        draft.notes.append(f"Taken for personal data, and restricted: {guessed}. Say otherwise by --pii a,b or --no-pii.")
    if asks:
        _ask(draft, key is None, time is None)
    _check(draft)
    files, warnings = finish(draft, settings, cli_templates.json_schema_path(settings, settings.templates))
    paths = {settings.templates / file: text for file, text in files.items()}
    if not stdout:
        cli_templates.write_new(paths)
    if as_json:
        print_json(
            {"table": draft.table, "files": [] if stdout else [str(path) for path in paths], "notes": draft.notes, "warnings": warnings}
        )
    elif stdout:
        print("\n".join(files.values()), end="")
    else:
        _report(draft, list(paths), pattern)
    if not as_json:
        for kind, line in [*(("note", note) for note in draft.notes), *(("warning", warning) for warning in warnings)]:
            ERR.print(Text(f"{kind}: {line}", style="yellow"))


def _names(table: str, namespaces: set[str]) -> tuple[str, str]:
    """Name and namespace; that of all other templates where none is said."""
    from lakehouse.rules.base import NAME_REMEDY, is_name

    *outer, name = table.split(".")
    if len(outer) > 1 or (not outer and len(namespaces) != 1) or not all(map(is_name, table.split("."))):
        raise SettingsError(f"`{table}` is not namespace.table. Write it so, e.g. shop.orders. {NAME_REMEDY}")
    return name, outer[0] if outer else next(iter(namespaces))


def _list(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _ask(draft: Draft, key: bool, time: bool) -> None:
    """Confirms the guesses that no flag replaced."""
    if key and not draft.inputs:
        what = "The business key" if draft.pattern == "scd_type2" else "What makes a row unique, or -"
        answer = typer.prompt(f"{what} (columns)", default=",".join(draft.identifier) or "-")
        draft.identifier = [] if answer == "-" else _list(answer)
    if time and not draft.inputs:
        what = "From when a record holds" if draft.pattern == "scd_type2" else "The event's time: partitions are by its day, or -"
        answer = typer.prompt(f"{what} (column)", default=draft.time or "-")
        draft.time = None if answer == "-" else answer
    draft.description = draft.description or typer.prompt("What a row is, in one line", default="", show_default=False)
    draft.owner = draft.owner or typer.prompt("Owner, a team or an e-mail address", default="", show_default=False)


def _check(draft: Draft) -> None:
    from lakehouse.new_table import MOMENTS

    draft.check("The personal data", draft.pii)
    draft.check("The key", draft.identifier)
    if draft.sample is not None or draft.pattern == "event_stream":
        draft.check("The time", [draft.time] if draft.time else [])
        types = {column["name"]: column["type"] for column in draft.columns}
        if draft.time and types[draft.time] not in MOMENTS:
            raise SettingsError(f"`{draft.time}` is a {types[draft.time]}, and the time is a timestamp or a date. Name another: --time")
    if draft.pattern == "scd_type2" and not (draft.identifier and draft.time):
        what = "--key" if not draft.identifier else "--time"
        raise SettingsError(f"Change records have a business key, and a column that says from when one holds; say which: {what}")


def _report(draft: Draft, paths: list[Path], pattern: str) -> None:
    OUT.print(f"{draft.table} is described by {', '.join(map(str, paths))}")
    if draft.sample is not None:
        OUT.print(f"Types are those of the sample's first {draft.sample.rows:,} rows.")
        always = [column.name for column in draft.sample.columns if not column.has_nulls and column.name not in draft.identifier]
        if always:
            OUT.print(f"Never null there; set `required: true` where that is a rule: {', '.join(always)}.")
    if pattern != "feature_table":
        OUT.print(f"Its files are to arrive in {draft.source['path']}")
    OUT.print(f"Next: lakehouse lint, then lakehouse apply {draft.table}")
