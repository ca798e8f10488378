"""What `lakehouse plan` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from lakehouse.plan import Planned
from lakehouse.schema_plan import Change

_SIGNS = {"add": "+", "drop": "-"}
_STYLES = {"safe": "green", "care": "yellow", "breaking": "red"}


def lines(planned: Sequence[Planned]) -> Iterator[Text]:
    """A readable diff, and a summary line."""
    for table in planned:
        if table.action == "error":
            yield Text(f"! {table.table}: {table.error}", style="red")
        elif table.action != "none":
            yield Text(f"{'+' if table.action == 'create' else '~'} {table.table}", style="bold").append(f"  {table.action}", style="dim")
            yield from map(change_line, table.changes)
    counts = {action: sum(table.action == action for table in planned) for action in ("create", "change", "none", "error")}
    breaking = sum(change.level == "breaking" for table in planned for change in table.changes)
    yield Text(
        f"{counts['create']} to create, {counts['change']} to change ({breaking} breaking changes), "
        f"{counts['none']} in step, {counts['error']} that cannot be planned",
        style="red" if breaking or counts["error"] else "",
    )


def change_line(change: Change) -> Text:
    """One change: what it is, its class, and what a user should know of it."""
    sign = _SIGNS.get(change.kind.split("-")[0], "~")
    line = Text(f"    {sign} {change}", style=_STYLES[change.level])
    line.append(f"  [{change.level}]" if change.level != "safe" else "", style="bold")
    return line.append(f"  {change.note}" if change.note else "", style="dim")
