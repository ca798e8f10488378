"""Merging a branch of Nessie into the one that readers read: what readers may not see is looked at before, their entries follow after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lakehouse.branches import MAIN, TableChange, diff, merge
from lakehouse.catalog import load_newest, open_catalog
from lakehouse.nessie_client import NessieClient
from lakehouse.pointers import Moved, Pointers, find_templates, follow_tables, open_pointers
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate


def merge_and_follow(
    settings: LakehouseSettings, client: NessieClient, name: str, into: str, at: str | None = None
) -> tuple[list[TableChange], list[Moved]]:
    """Merges a branch into another, see ``branches.merge``. Where that is main, moves what points at the tables that changed.

    Where nothing is left to be merged, what points at all tables is looked at: a merge before this one may have been killed.

    Args:
        at: the hash that the branch must still have.

    Returns:
        What changed, and what was moved. It is merged, whatever of that failed.

    Raises:
        MergeConflictError, BranchError, PermissionOrderError, PointerError, TemplateError: nothing was merged.
    """
    on_main = settings.model_copy(update={"branch": MAIN})
    pointers = open_pointers(on_main) if into == MAIN else None
    if pointers is None:
        return merge(client, name, into, at), []
    # All that may fail comes before the merge, and what is merged is what was looked at.
    at = at or client.branch(name).hash
    looked = diff(client, name, into)
    catalog, templates = open_catalog(on_main), find_templates(settings, [change.table for change in looked])
    _check(pointers, settings, name, looked, templates)
    changes = merge(client, name, into, at)
    if changes:
        return changes, follow_tables(pointers, catalog, {change.table: templates.get(change.table) for change in changes})
    return [], [found for found in follow_tables(pointers, catalog, templates) if found.action in ("moved", "failed")]


def _check(
    pointers: Pointers, settings: LakehouseSettings, name: str, changes: Sequence[TableChange], templates: Mapping[str, TableTemplate]
) -> None:
    """Whether what points at the tables could follow. Raises what ``Pointers.check`` does."""
    tables = [change.table for change in changes if change.change != "dropped" and not change.conflict]
    catalog = open_catalog(settings.model_copy(update={"branch": name}))
    for table in tables:
        pointers.check(templates.get(table), load_newest(catalog, table), pointers.read(table))
