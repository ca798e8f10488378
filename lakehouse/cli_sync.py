"""What ``lakehouse sync`` does and prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from rich.text import Text

from lakehouse.catalog import open_catalog
from lakehouse.cli_output import OUT, print_json
from lakehouse.plan import CHANGES, NOTHING
from lakehouse.pointers import Moved, check_followed, follow, require_pointers
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

_STYLES = {"moved": "green", "behind": "yellow"}


def sync(settings: LakehouseSettings, templates: Sequence[TableTemplate], dry_run: bool, as_json: bool) -> int:
    """Moves what points at the tables, and prints what it moved. Returns the exit code.

    Raises:
        PointerError: some could not be moved; the others are. SettingsError: the settings do not say where they are.
    """
    pointers = require_pointers(settings)
    moved = follow(pointers, settings, open_catalog(settings), templates, dry_run) if pointers is not None else []
    if as_json:
        print_json([asdict(found) for found in moved])
    elif pointers is None:
        OUT.print(Text(f"There is nothing to move: with the backend {settings.backend} readers ask the catalog itself."))
    else:
        for line in moved_lines(moved):
            OUT.print(line)
        steady = sum(found.action == "in step" for found in moved)
        OUT.print(Text(f"{steady} of {len(moved)} {'table' if len(moved) == 1 else 'tables'} in step before"))
    check_followed(moved)
    return CHANGES if any(found.action == "behind" for found in moved) else NOTHING


def moved_lines(moved: Iterable[Moved]) -> Iterator[Text]:
    """A line for each table but those in step, and those that failed, which an error tells."""
    for found in moved:
        if found.action not in ("in step", "failed"):
            line = Text(f"{found.action:8} ", style=_STYLES.get(found.action, "dim")).append(found.table, style="default")
            was = "before: " if found.action == "moved" else ""
            yield line.append(f"  {was}{found.detail}" if found.detail else "", style="dim")
