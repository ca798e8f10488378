"""What Nessie leaves out of a table's history, kept in the summaries of its snapshots.

Nessie shows a table's current snapshot only, without its parent, and each metadata file has only one. So each snapshot names the
metadata files of those before it. The snapshot that a table is made with, which is empty, is not shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, TableRequirement, TableUpdate

from lakehouse.history import summary_of

# In a snapshot's summary: the metadata files of those before it, newest first, by their name where they are in the table's folder.
ANCESTORS = "lakehouse.ancestors"
_NONE = "none"
# How many of them. Each is a request to the store when a table is loaded, and some 60 bytes of each snapshot.
MOST_ANCESTORS = 50
# In the summary of the snapshot that a table is made with; and the property, of Nessie's kind, by which a loaded table knows its id.
EMPTY = "lakehouse.empty"
EMPTY_ID = "nessie.empty-snapshot-id"
# The parent of a snapshot before which others are not known.
_NOT_KNOWN = -1


def linked(update: TableUpdate, table: Table, newest: str) -> TableUpdate:
    """A new snapshot, with the names of the files of those before it, of which ``newest`` is the table's."""
    if not isinstance(update, AddSnapshotUpdate) or update.snapshot.summary is None:
        return update
    names = _NONE
    if (current := table.current_snapshot()) is not None:
        older = summary_of(current).get(ANCESTORS, _NONE)
        files = [newest.removeprefix(f"{table.location()}/metadata/"), *(older.split() if older != _NONE else [])]
        names = " ".join(files[:MOST_ANCESTORS])
    summary = update.snapshot.summary
    with_names = Summary(summary.operation, **{**summary.additional_properties, ANCESTORS: names})
    return update.model_copy(update={"snapshot": update.snapshot.model_copy(update={"summary": with_names})})


def required(requirement: TableRequirement, table: Table) -> TableRequirement:
    """What must hold of the table as Nessie has it: where no snapshot is shown, that it still has the one that it was made with."""
    if isinstance(requirement, AssertRefSnapshotId) and requirement.snapshot_id is None and EMPTY_ID in table.properties:
        return requirement.model_copy(update={"snapshot_id": int(table.properties[EMPTY_ID])})
    return requirement


def ancestor_locations(table: Table) -> list[str]:
    """The metadata files of the snapshots before a table's newest, newest first, as far as it names them."""
    names = summary_of(table.current_snapshot()).get(ANCESTORS, _NONE)
    folder = f"{table.location()}/metadata/"
    return [] if names == _NONE else [name if "://" in name else folder + name for name in names.split()]


def current_snapshot_of(io: FileIO, location: str) -> Snapshot | None:
    """The newest snapshot of a metadata file; None where the file is gone, as Nessie's garbage collector leaves it."""
    try:
        with io.new_input(location).open() as stream:
            metadata = json.loads(stream.read())
    except FileNotFoundError:
        return None
    found = [snapshot for snapshot in metadata["snapshots"] if snapshot["snapshot-id"] == metadata["current-snapshot-id"]]
    return Snapshot.model_validate(found[0]) if found else None


def shown(metadata: TableMetadata, older: Sequence[Snapshot]) -> TableMetadata:
    """The metadata with snapshots before the current one, given newest first; each gets its parent, which Nessie leaves out."""
    current = metadata.current_snapshot()
    if current is None:
        return metadata
    if EMPTY in summary_of(current):
        properties = {**metadata.properties, EMPTY_ID: str(current.snapshot_id)}
        hidden: dict[str, Any] = {"snapshots": [], "current_snapshot_id": None, "refs": {}, "snapshot_log": []}
        return metadata.model_copy(update={**hidden, "properties": properties})
    chain = [current, *older]
    parents: list[int | None] = [snapshot.snapshot_id for snapshot in older]
    parents.append(None if summary_of(chain[-1]).get(ANCESTORS) == _NONE else _NOT_KNOWN)
    snapshots = [snapshot.model_copy(update={"parent_snapshot_id": parent}) for snapshot, parent in zip(chain, parents, strict=True)]
    return metadata.model_copy(update={"snapshots": snapshots[::-1]})
