"""``lakehouse rollback``: a table as it was."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli_arguments import Json
from lakehouse.cli_output import OUT, print_grid, print_json
from lakehouse.errors import SettingsError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from lakehouse.rollback import Rollback

app = typer.Typer()
_NESSIE = (
    "Nessie keeps a table's newest snapshot only, so that no table is rolled back by itself. Its history is that of all tables: "
    "docs/runbook.md says how main goes back to an earlier commit."
)


@app.command(epilog="Example: lakehouse rollback lakehouse.event_stream --to 1234567890123456789 --dry-run")
def rollback(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="namespace.table, or the name alone where it is unique.")],
    to: Annotated[int, typer.Option("--to", metavar="SNAPSHOT", help="The snapshot to go back to: lakehouse show TABLE.")],
    take_files_again: Annotated[
        bool, typer.Option("--take-files-again", help="Have the next run take the source files again whose rows go.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be undone.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Roll a table back to an earlier snapshot: show what is undone, ask, and do it, in one transaction.

    Source files whose rows go stay taken, unless --take-files-again. Exit code 1 where the table cannot go there.
    """
    from lakehouse.catalog import catalog_errors, load_table, open_catalog
    from lakehouse.cli_audit import full_name_in
    from lakehouse.pointers import follow_commit
    from lakehouse.rollback import plan_rollback, roll_back

    settings = LakehouseSettings.load()
    if settings.backend == "aws-nessie":
        raise SettingsError(_NESSIE)
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise typer.BadParameter("nobody can be asked here: add --yes to have it done, or --dry-run to see what would be.")
    catalog = open_catalog(settings)
    with catalog_errors(f"{table} cannot be read"):
        live = load_table(catalog, full_name_in(catalog, table))
        plan = plan_rollback(live, to, settings.warehouse_uri, take_files_again)
    if not as_json:
        _print(plan)
    if not dry_run:
        if not yes:
            typer.confirm("Do it?", abort=True)
        with catalog_errors(f"{plan.table} cannot be rolled back"):
            roll_back(plan, settings.warehouse_uri, settings.commit_timeout)
    if as_json:
        print_json({**plan.as_dict(), "done": not dry_run})
    elif not dry_run:
        OUT.print(f"{plan.table} is at snapshot {to}.")
    if not dry_run:
        follow_commit(settings, catalog, plan.table)


def _print(plan: Rollback) -> None:
    from lakehouse.history import committed_at, summary_of
    from lakehouse.history import named as name_of

    facts = plan.as_dict()
    rows = [
        [
            snapshot.snapshot_id,
            f"{committed_at(snapshot):%Y-%m-%d %H:%M:%S}",
            snapshot.summary.operation.value if snapshot.summary else "",
            f"{int(summary_of(snapshot).get('added-records', 0)):,}",
            f"{int(summary_of(snapshot).get('deleted-records', 0)):,}",
            name_of(snapshot),
        ]
        for snapshot in plan.undone
    ]
    columns = ["snapshot", "at (UTC)", "operation", "rows added", "rows removed", "by"]
    print_grid(f"{plan.table}: what is undone, newest first", columns, rows, right=("rows added", "rows removed"))
    OUT.print(f"{facts['rows_before']:,} rows become {facts['rows_after']:,}, those of {committed_at(plan.target):%Y-%m-%d %H:%M:%S} UTC.")
    if plan.files:
        again = "the next run takes them again" if plan.take_files_again else "they stay taken; with --take-files-again they would not"
        count = f"{len(plan.files)} source {'file' if len(plan.files) == 1 else 'files'}"
        OUT.print(f"{count}, whose rows are in the table no more: {again}.")
