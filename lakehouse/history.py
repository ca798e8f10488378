"""What a table's snapshots say of themselves, and which of them readers see: those in the history of the branch main.

Snapshots of audits are in the metadata, too: before they are published, and after they were dropped, until maintenance.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import AuditOpenError

# Properties of a snapshot's summary.
RUN_ID = "lakehouse.run-id"
BATCH_ID = "lakehouse.batch-id"
SOURCE = "lakehouse.source"
ROWS = "lakehouse.rows"
SKIPPED = "lakehouse.skipped-rows"
DAYS = "lakehouse.days"
INPUTS = "lakehouse.inputs"
VERSIONS_OPENED = "lakehouse.versions-opened"
VERSIONS_CHANGED = "lakehouse.versions-changed"
# Of a merge: where the log of moments was before it, or ``none``. A rollback goes back there.
MOMENTS_BEFORE = "lakehouse.moments-before"
NO_MOMENTS = "none"
# Of an audited one only: JSON with the table properties that it sets when it is published, and its partition spec.
AUDIT = "lakehouse.audit"

AUDIT_BRANCH = "audit"


def summary_of(snapshot: Snapshot | None) -> Mapping[str, str]:
    """A snapshot's properties, but for its operation."""
    return snapshot.summary.additional_properties if snapshot and snapshot.summary else {}


def committed_at(snapshot: Snapshot) -> datetime:
    """When a snapshot was made, in UTC."""
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)


def named(snapshot: Snapshot) -> str:
    """The run that made a snapshot; the snapshot, if no run of this project did."""
    run = summary_of(snapshot).get(RUN_ID)
    return f"run {run}" if run else f"snapshot {snapshot.snapshot_id}"


def ancestors(table: Table) -> Iterator[Snapshot]:
    """The snapshots that led to main's newest, itself first. What was rolled back or not published is not among them."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in table.metadata.snapshots}
    snapshot = table.current_snapshot()
    while snapshot is not None:
        yield snapshot
        snapshot = None if snapshot.parent_snapshot_id is None else by_id.get(snapshot.parent_snapshot_id)


def is_published(table: Table, snapshot_id: int) -> bool:
    """Whether a snapshot is main's newest, or was."""
    # Another program's expiry may shorten either of the two.
    if any(entry.snapshot_id == snapshot_id for entry in table.metadata.snapshot_log):
        return True
    return any(snapshot.snapshot_id == snapshot_id for snapshot in ancestors(table))


def published(table: Table) -> Iterator[Snapshot]:
    """Every snapshot but those of audits that are open or were dropped, oldest first."""
    seen = {entry.snapshot_id for entry in table.metadata.snapshot_log} | {snapshot.snapshot_id for snapshot in ancestors(table)}
    return (snapshot for snapshot in table.metadata.snapshots if AUDIT not in summary_of(snapshot) or snapshot.snapshot_id in seen)


def audit_snapshot(table: Table) -> Snapshot | None:
    """The newest snapshot of the branch audit; None where there is no such branch."""
    ref = table.metadata.refs.get(AUDIT_BRANCH)
    return None if ref is None else table.snapshot_by_id(ref.snapshot_id)


def promised_properties(snapshot: Snapshot) -> dict[str, str]:
    """The table properties that an audited snapshot sets once it is published."""
    found: dict[str, str] = json.loads(summary_of(snapshot).get(AUDIT, "{}")).get("properties", {})
    return found


def is_audit(table: Table, snapshot: Snapshot) -> bool:
    """Whether a snapshot is the open audit's."""
    ref = table.metadata.refs.get(AUDIT_BRANCH)
    return ref is not None and ref.snapshot_id == snapshot.snapshot_id


def find_batch(table: Table, batch_id: str, audited: bool = False) -> Snapshot | None:
    """The snapshot that committed a batch, if it is still in the table's metadata.

    Args:
        audited: whether that of an open audit counts, too. That of a dropped one never does.
    """
    for snapshot in reversed(table.metadata.snapshots):
        if summary_of(snapshot).get(BATCH_ID) != batch_id:
            continue
        if AUDIT not in summary_of(snapshot) or (audited and is_audit(table, snapshot)) or is_published(table, snapshot.snapshot_id):
            return snapshot
    return None


def check_no_audit(table: Table) -> None:
    """Raises AuditOpenError where rows of an earlier audit are neither published nor dropped."""
    if (snapshot := audit_snapshot(table)) is not None:
        raise AuditOpenError(".".join(table.name()), named(snapshot), committed_at(snapshot))


def commits_since(fresh: Table, seen: Collection[int | None]) -> list[Snapshot]:
    """What was committed to main after the snapshots with these ids, oldest first."""
    since = list[Snapshot]()
    for snapshot in ancestors(fresh):
        if snapshot.snapshot_id in seen:
            break
        since.append(snapshot)
    return since[::-1]


def winner(fresh: Table, base: Table) -> str:
    """The run that moved main on since ``base`` was read."""
    since = commits_since(fresh, {snapshot.snapshot_id for snapshot in ancestors(base)})
    return named(since[-1]) if since else "another commit"


def main_snapshot_id(table: Table) -> int | None:
    """Where main is; None where nothing was committed to it."""
    ref = table.metadata.refs.get(MAIN_BRANCH)
    return None if ref is None else ref.snapshot_id
