"""``lakehouse audit``: rows that were written but not published, and what to do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lakehouse.cli_arguments import Json
from lakehouse.cli_output import OUT, print_grid, print_json
from lakehouse.errors import CatalogError, NoAuditError, TableMismatchError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from lakehouse.audit import Audit

app = typer.Typer(
    no_args_is_help=True, help="Rows that wait to be published, of tables with `publish: audited`.", epilog="Example: lakehouse audit list"
)
TableName = Annotated[str, typer.Argument(metavar="TABLE", help="namespace.table, or the name alone where it is unique.")]


@app.command("list", epilog="Example: lakehouse audit list --json")
def list_(as_json: Json = False) -> None:
    """List every open audit. A table that cannot be read is an error, and hides no other."""
    from lakehouse.audit import Audit, list_audits
    from lakehouse.catalog import catalog_errors, open_catalog

    with catalog_errors("The tables cannot be listed"):
        found = list(list_audits(open_catalog(LakehouseSettings.load())))
    audits = [audit for audit in found if isinstance(audit, Audit)]
    if as_json:
        print_json([audit.as_dict() for audit in audits])
    else:
        rows = [
            [
                audit.table,
                audit.run_id,
                f"{audit.committed_at:%Y-%m-%d %H:%M:%S}",
                f"{audit.rows_added:,}",
                f"{audit.rows_removed:,}",
                audit.snapshot_id,
            ]
            for audit in audits
        ]
        title = f"{len(audits)} open {'audit' if len(audits) == 1 else 'audits'}"
        columns = ["table", "run", "at (UTC)", "rows added", "rows removed", "snapshot"]
        print_grid(title, columns, rows, right=("rows added", "rows removed"))
    if broken := [text for text in found if isinstance(text, str)]:
        raise CatalogError("\n".join(broken) + "\nSee whether its metadata file is there; a snapshot of it may be restored.")


@app.command(epilog="Example: lakehouse audit show lakehouse.event_stream")
def show(table: TableName, as_json: Json = False) -> None:
    """Show the open audit of a table, and how to look at its rows. Exit code 1 where there is none."""
    _, audit = _open(table)
    if as_json:
        print_json(audit.as_dict())
        return
    base = "an empty table" if audit.base_snapshot_id is None else f"snapshot {audit.base_snapshot_id}"
    facts = {
        "run": audit.run_id or "not known",
        "written at": f"{audit.committed_at:%Y-%m-%d %H:%M:%S} UTC",
        "from": audit.source or "not known",
        "days": audit.days,
        "rows": f"{audit.rows_before:,} before, {audit.rows_after:,} with it",
        "data files": f"came with {audit.rows_added:,} rows, went with {audit.rows_removed:,}",
        "snapshot": f"{audit.snapshot_id}, on the branch audit, over {base}",
    }
    OUT.print(Text(audit.table, style="bold").append("  open audit", style="not bold"))
    for name, value in facts.items():
        if value:
            OUT.print(Text(f"{name:10}  {value}"))
    OUT.print(Text(f"\nLook at its rows in Python. They are shown as they are, personal data too:\n\n{_code(audit)}\n"))
    OUT.print(Text(f"Then: lakehouse audit publish {audit.table}, or lakehouse audit drop {audit.table}", style="dim"))


@app.command(epilog="Example: lakehouse audit publish lakehouse.event_stream")
def publish(table: TableName) -> None:
    """Publish the open audit of a table as it is: no check is run. Exit code 1 where there is none, or where the table has moved on."""
    from lakehouse.audit import publish as publish_audit
    from lakehouse.catalog import catalog_errors
    from lakehouse.pointers import follow_commit

    settings, (live, audit) = LakehouseSettings.load(), _open(table)
    with catalog_errors(f"The audit of {audit.table} cannot be published"):
        publish_audit(live, audit.snapshot_id, settings.commit_timeout)
    OUT.print(f"{audit.table}: snapshot {audit.snapshot_id} is published, without checks. The table has {audit.rows_after:,} rows.")
    follow_commit(settings, live.catalog, audit.table)


@app.command(epilog="Example: lakehouse audit drop lakehouse.event_stream")
def drop(table: TableName) -> None:
    """Drop the open audit of a table. Its rows go; the next run takes its source files again. Exit code 1 where there is none."""
    from lakehouse.audit import drop as drop_audit
    from lakehouse.catalog import catalog_errors
    from lakehouse.pointers import follow_commit

    settings, (live, audit) = LakehouseSettings.load(), _open(table)
    with catalog_errors(f"The audit of {audit.table} cannot be dropped"):
        drop_audit(live, settings.commit_timeout)
    OUT.print(f"{audit.table}: the audit of snapshot {audit.snapshot_id} is dropped. The next run takes its source files again.")
    follow_commit(settings, live.catalog, audit.table)


def _open(table: str) -> tuple[Table, Audit]:
    from lakehouse.audit import open_audit
    from lakehouse.catalog import catalog_errors, load_table, open_catalog

    catalog = open_catalog(LakehouseSettings.load())
    with catalog_errors(f"{table} cannot be read"):
        live = load_table(catalog, full_name_in(catalog, table))
        audit = open_audit(live)
    if audit is None:
        raise NoAuditError(f"{'.'.join(live.name())} has no open audit. See which tables have: lakehouse audit list")
    return live, audit


def full_name_in(catalog: Catalog, table: str) -> str:
    """By the catalog, not the templates: an audit is dropped whatever has become of them."""
    from lakehouse.inspect import list_tables

    if "." in table:
        return table
    matches = [name for name in list_tables(catalog) if name.split(".")[-1] == table]
    if len(matches) > 1:
        raise TableMismatchError(f"{table} may be {' or '.join(matches)}. Write the whole name.")
    return matches[0] if matches else table


def _code(audit: Audit) -> str:
    return "\n".join(
        [
            "    import duckdb",
            "    from lakehouse.catalog import load_table, open_catalog",
            "    from lakehouse.settings import LakehouseSettings",
            f'    table = load_table(open_catalog(LakehouseSettings.load()), "{audit.table}")',
            f"    rows = table.scan(snapshot_id={audit.snapshot_id}, limit=20).to_arrow()",
            '    duckdb.sql("from rows").show()',
        ]
    )
