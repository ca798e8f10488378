"""Merging a branch of Nessie into the one that readers read: what readers may not see is looked at before, their entries follow after."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lakehouse.branches import MAIN, TableChange, diff, merge
from lakehouse.catalog import load_newest, open_catalog
from lakehouse.nessie_client import NessieClient
from lakehouse.pointers import Moved, Pointers, find_templates, follow, open_pointers
from lakehouse.settings import LakehouseSettings


def merge_and_follow(
    settings: LakehouseSettings,
    client: NessieClient,
    name: str,
    into: str,
    merge: Callable[[NessieClient, str, str], list[TableChange]] = merge,
) -> tuple[list[TableChange], list[Moved]]:
    """Merges a branch into another, see ``branches.merge``. Where that is main, moves what points at the tables that changed.

    Args:
        merge: does it.

    Returns:
        What changed, and what was moved. It is merged, whatever of that failed.

    Raises:
        MergeConflictError, PermissionOrderError, PointerError: nothing was merged.
    """
    on_main = settings.model_copy(update={"branch": MAIN})
    pointers = open_pointers(on_main) if into == MAIN else None
    if pointers is None:
        return merge(client, name, into), []
    _check(pointers, settings, name, diff(client, name, into))
    changes = merge(client, name, into)
    return changes, follow(pointers, on_main, open_catalog(on_main), [change.table for change in changes]) if changes else []


def _check(pointers: Pointers, settings: LakehouseSettings, name: str, changes: Sequence[TableChange]) -> None:
    """Whether what points at the tables could follow. Raises what ``Pointers.check`` does."""
    tables = [change.table for change in changes if change.change != "dropped" and not change.conflict]
    if not tables:
        return
    templates = find_templates(settings, tables)
    catalog = open_catalog(settings.model_copy(update={"branch": name}))
    for table in tables:
        pointers.check(templates.get(table), load_newest(catalog, table), pointers.read(table))
