"""``lakehouse branch``: Nessie's branches, each a version of all tables that can be merged or dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lakehouse.cli_arguments import Json
from lakehouse.cli_output import OUT, print_grid, print_json
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from lakehouse.branch_checks import CheckedBranch, CheckedTable
    from lakehouse.branches import TableChange
    from lakehouse.nessie_client import NessieClient

app = typer.Typer(
    epilog="Example: lakehouse branch list",
    no_args_is_help=True,
    help="Nessie's branches: versions of all tables, to be merged or dropped. LAKEHOUSE_BRANCH selects one.",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The branch.")]


@app.command("list", epilog="Example: lakehouse branch list --json")
def list_(as_json: Json = False) -> None:
    """List every branch. Commits ahead of main are counted since the branch was made, those that were merged among them."""
    branches = _client().branches()
    if as_json:
        print_json([{**asdict(branch), "changed_at": branch.changed_at.isoformat() if branch.changed_at else None} for branch in branches])
        return
    rows = [
        [branch.name, branch.hash[:16], branch.ahead, f"{branch.changed_at:%Y-%m-%d %H:%M:%S}" if branch.changed_at else "", branch.change]
        for branch in branches
    ]
    title = f"{len(branches)} {'branch' if len(branches) == 1 else 'branches'}"
    print_grid(title, ["branch", "hash", "ahead of main", "changed at (UTC)", "last change"], rows, right=("ahead of main",))


@app.command(epilog="Example: lakehouse branch create experiment --from main")
def create(
    name: Name,
    source: Annotated[str, typer.Option("--from", metavar="REF", help="The branch or tag that it begins as.")] = "main",
) -> None:
    """Create a branch. It has all tables as they are; no file is copied."""
    from lakehouse.branches import create as create_branch

    create_branch(_client(), name, source)
    OUT.print(Text(f"{name} is created from {source}. To work on it: export LAKEHOUSE_BRANCH={name}"))


@app.command(epilog="Example: lakehouse branch diff experiment --against main")
def diff(
    name: Name,
    against: Annotated[str, typer.Option("--against", metavar="BRANCH", help="The branch to compare with.")] = "main",
    as_json: Json = False,
) -> None:
    """Show which tables a branch created, dropped or changed since it parted from another, and which of them the other changed, too."""
    from lakehouse.branches import diff as diff_branches

    changes = diff_branches(_client(), name, against)
    if as_json:
        print_json([asdict(change) for change in changes])
        return
    _print(changes, against)
    if not changes:
        OUT.print(Text(f"{name} has changed nothing that {against} does not have."))
    elif any(change.conflict for change in changes):
        OUT.print(Text(f"{name} cannot be merged into {against} as it is.", style="yellow"))


@app.command(epilog="Example: lakehouse branch merge experiment --checked")
def merge(
    name: Name,
    into: Annotated[str, typer.Option("--into", metavar="BRANCH", help="The branch that gets the changes.")] = "main",
    checked: Annotated[bool, typer.Option("--checked", help="Only if every changed table passes its checks on the branch.")] = False,
    as_json: Json = False,
) -> None:
    """Merge a branch into another: all its tables in one commit, or none where one was changed on both (exit code 1). It stays."""
    from lakehouse.branch_merge import merge_and_follow
    from lakehouse.cli_sync import moved_lines
    from lakehouse.pointers import PointerError, check_followed

    settings, client = LakehouseSettings.load(), _client()
    found = _check(settings, client, name, into, as_json) if checked else None
    changes, moved = merge_and_follow(settings, client, name, into, found.hash if found else None)
    if as_json:
        results = {table.change.table: table.result for table in found.tables} if found else {}
        readers = {pointer.table: {"readers": pointer.action} for pointer in moved}
        print_json([asdict(change) | results.get(change.table, {}) | readers.get(change.table, {}) for change in changes])
    else:
        if not checked:
            _print(changes, into)
        for line in moved_lines(moved):
            OUT.print(line)
        tables = f"{len(changes)} {'table' if len(changes) == 1 else 'tables'}"
        done = f"{name} is merged into {into}, {tables}." if changes else f"There is nothing to merge: {into} has all that {name} changed."
        OUT.print(Text(f"{done} If {name} is not needed any more: lakehouse branch drop {name}"))
    try:
        check_followed(moved)
    except PointerError as error:
        raise PointerError(f"{name} is merged into {into}, and readers do not see {into} as it is:\n{error}") from None


@app.command(epilog="Example: lakehouse branch drop experiment")
def drop(name: Name) -> None:
    """Drop a branch, and what was not merged with it. main cannot be dropped."""
    from lakehouse.branches import drop as drop_branch

    drop_branch(_client(), name)
    OUT.print(Text(f"{name} is dropped."))


def _check(settings: LakehouseSettings, client: NessieClient, name: str, into: str, as_json: bool) -> CheckedBranch:
    """Runs the checks of a branch, and prints them. Raises ChecksFailedError where it may not be merged."""
    from lakehouse.branch_checks import check_branch

    found = check_branch(settings, client, name, into)
    if not as_json:
        for table in found.tables:
            _print_checked(table)
    elif not found.passed:
        print_json([asdict(table.change) | table.result for table in found.tables])
    found.require_passed(into)
    return found


def _print_checked(table: CheckedTable) -> None:
    line = _change_line(table.change)
    if table.checks is None:
        line.append("  nothing to check", style="dim")
    elif table.held_back_by:
        line.append(f"  held back: {'; '.join(table.held_back_by)}", style="bold red")
    else:
        outcomes = Counter(check["outcome"] for check in table.checks)
        line.append(f"  {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}", style="green")
        if stale := [check["name"] for check in table.checks if check["outcome"] == "fail"]:
            line.append(f"  {', '.join(stale)}: old rows hold nothing back", style="dim")
    OUT.print(line)


def _client() -> NessieClient:
    from lakehouse.branches import open_client

    return open_client(LakehouseSettings.load())


def _print(changes: list[TableChange], other: str) -> None:
    for change in changes:
        line = _change_line(change)
        OUT.print(line.append(f"  conflict: changed on {other}, too", style="red") if change.conflict else line)


def _change_line(change: TableChange) -> Text:
    styles = {"created": "green", "dropped": "red", "changed": "yellow"}
    return Text().append(f"{change.change:8} ", style=styles[change.change]).append(change.table)
