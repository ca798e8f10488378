"""Audited writes: rows wait on the branch ``audit`` of their table, which readers of main do not see, until they are published.

Who checks them is not known here. Publishing moves main to the very snapshot that was checked, in one transaction with the
progress that the snapshot carries. To drop an audit is to remove the branch: its source files are then taken again, as
the table's progress never moved, and its data files are left to maintenance.

A catalog that keeps no branches of tables, as Nessie's, has to keep this one all the same: see ``lakehouse.nessie_audits``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    AssertRefSnapshotId,
    RemoveSnapshotRefUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from lakehouse.attempts import commit_until_known
from lakehouse.catalog import load_table
from lakehouse.errors import AuditOutdatedError, NoAuditError
from lakehouse.history import (
    AUDIT,
    AUDIT_BRANCH,
    BATCH_ID,
    DAYS,
    RUN_ID,
    SOURCE,
    audit_snapshot,
    commits_since,
    committed_at,
    is_published,
    main_snapshot_id,
    named,
    promised_properties,
    summary_of,
)
from lakehouse.inspect import list_tables

_AGAIN = "Do it again: it finds out."


@dataclass(frozen=True)
class Audit:
    """Rows that wait to be published.

    Attributes:
        snapshot_id: of the branch; base_snapshot_id: of main, on which it rests; None where the table was empty.
        run_id, batch_id, source: who wrote it, and from where; empty where this is not known.
        rows_before, rows_after: of the table without and with it.
        rows_added, rows_removed: in the data files that came and went; rows of a file that was written anew are in both.
        days: the UTC days that the rows touch, as ranges.
        ours: whether it can be published; not if something else than this project wrote to the branch.
    """

    table: str
    snapshot_id: int
    base_snapshot_id: int | None
    run_id: str
    batch_id: str
    source: str
    committed_at: datetime
    rows_before: int
    rows_after: int
    rows_added: int
    rows_removed: int
    days: str
    ours: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the attributes; ids as numbers, the time in ISO 8601."""
        return {**asdict(self), "committed_at": self.committed_at.isoformat(timespec="milliseconds")}


def open_audit(table: Table) -> Audit | None:
    """The open audit of a table, as of its metadata."""
    if (snapshot := audit_snapshot(table)) is None:
        return None
    summary, base = summary_of(snapshot), snapshot.parent_snapshot_id
    return Audit(
        table=".".join(table.name()),
        snapshot_id=snapshot.snapshot_id,
        base_snapshot_id=base,
        run_id=summary.get(RUN_ID, ""),
        batch_id=summary.get(BATCH_ID, ""),
        source=summary.get(SOURCE, ""),
        committed_at=committed_at(snapshot),
        rows_before=int(summary_of(table.snapshot_by_id(base) if base is not None else None).get("total-records", 0)),
        rows_after=int(summary.get("total-records", 0)),
        rows_added=int(summary.get("added-records", 0)),
        rows_removed=int(summary.get("deleted-records", 0)),
        days=summary.get(DAYS, ""),
        ours=AUDIT in summary,
    )


def list_audits(catalog: Catalog) -> Iterator[Audit | str]:
    """Every open audit of a catalog; for a table that cannot be read what is wrong with it, as text."""
    # Nessie tells at once which tables have such a branch; elsewhere every table is looked at.
    candidates: Callable[[], list[str]] = getattr(catalog, "audited_tables", partial(list_tables, catalog))
    for name in candidates():
        try:
            found = open_audit(load_table(catalog, name))
        except Exception as error:
            yield f"{name} cannot be read: {type(error).__name__}: {error}"
            continue
        if found is not None:
            yield found


def publish(table: Table, snapshot_id: int, timeout: float) -> Snapshot:
    """Moves main to the snapshot of an open audit, and the progress with it. One that is published already stays so.

    Args:
        snapshot_id: of the audit that was checked; see ``WriteResult`` and ``open_audit``.
        timeout: seconds for which conflicts are tried again.

    Raises:
        AuditOutdatedError: main, the schema or the partition spec is another than when the rows were written.
        NoAuditError: the audit is not open: it was dropped.
        CommitConflictError, CommitUnknownError: as any commit.
    """

    def done(fresh: Table) -> Snapshot | None:
        return fresh.snapshot_by_id(snapshot_id) if is_published(fresh, snapshot_id) else None

    def attempt(fresh: Table) -> None:
        snapshot = _open_snapshot(fresh, snapshot_id)
        base, schema_id, spec_id = _base_of(fresh, snapshot)
        updates: list[TableUpdate] = [main_at(fresh, snapshot_id)]
        if properties := promised_properties(snapshot):
            updates.append(SetPropertiesUpdate(updates=properties))
        commit_updates(
            fresh,
            [*updates, RemoveSnapshotRefUpdate(ref_name=AUDIT_BRANCH)],
            AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=base),
            AssertRefSnapshotId(ref=AUDIT_BRANCH, snapshot_id=snapshot_id),
            AssertCurrentSchemaId(current_schema_id=schema_id),
            AssertDefaultSpecId(default_spec_id=spec_id),
        )

    what = f"the publishing of snapshot {snapshot_id} of {'.'.join(table.name())}"
    return commit_until_known(table, attempt, done, timeout, what, _AGAIN)


def drop(table: Table, timeout: float) -> Audit:
    """Drops the audit that is open in ``table``, as it was read. Main does not change.

    Raises:
        NoAuditError: there is none, or it was published meanwhile; CommitConflictError, CommitUnknownError: as any commit.
    """
    name, audit = ".".join(table.name()), open_audit(table)
    if audit is None:
        raise NoAuditError(f"{name} has no open audit. See which tables have: lakehouse audit list")

    def done(fresh: Table) -> Audit | None:
        if is_published(fresh, audit.snapshot_id):
            raise NoAuditError(f"The audit of {name} was published meanwhile. To undo it, roll main back.")
        snapshot = audit_snapshot(fresh)
        return None if snapshot is not None and snapshot.snapshot_id == audit.snapshot_id else audit

    def attempt(fresh: Table) -> None:
        expected = AssertRefSnapshotId(ref=AUDIT_BRANCH, snapshot_id=audit.snapshot_id)
        commit_updates(fresh, [RemoveSnapshotRefUpdate(ref_name=AUDIT_BRANCH)], expected)

    return commit_until_known(table, attempt, done, timeout, f"the drop of the audit of {name}", _AGAIN)


def _open_snapshot(fresh: Table, snapshot_id: int) -> Snapshot:
    name, snapshot = ".".join(fresh.name()), audit_snapshot(fresh)
    if snapshot is None:
        raise NoAuditError(f"{name} has no open audit; that of snapshot {snapshot_id} was dropped. Run again: its files are taken again.")
    if snapshot.snapshot_id != snapshot_id:
        raise NoAuditError(f"The audit of {name} is not snapshot {snapshot_id} any more, but that of {named(snapshot)}. Check that one.")
    return snapshot


def _base_of(fresh: Table, snapshot: Snapshot) -> tuple[int | None, int, int]:
    """Main's snapshot, the schema and the spec on which an audit rests. Raises AuditOutdatedError where one is another now."""
    name, base, metadata = ".".join(fresh.name()), snapshot.parent_snapshot_id, fresh.metadata
    if AUDIT not in summary_of(snapshot):
        raise AuditOutdatedError(name, f"snapshot {snapshot.snapshot_id} of its branch was not written by a run of this project")
    if (main := main_snapshot_id(fresh)) != base:
        since = commits_since(fresh, {base})
        raise AuditOutdatedError(name, f"{named(since[-1]) if since else f'something that moved main to snapshot {main}'} changed it")
    spec_id = int(json.loads(summary_of(snapshot)[AUDIT])["spec_id"])
    schema_id = metadata.current_schema_id if snapshot.schema_id is None else snapshot.schema_id
    if (metadata.current_schema_id, metadata.default_spec_id) != (schema_id, spec_id):
        raise AuditOutdatedError(name, "its schema or partition spec was changed")
    return base, schema_id, spec_id


def main_at(fresh: Table, snapshot_id: int) -> SetSnapshotRefUpdate:
    """Main at another snapshot, with how long it keeps its snapshots as it was."""
    main = fresh.metadata.refs.get(MAIN_BRANCH)
    return SetSnapshotRefUpdate(
        ref_name=MAIN_BRANCH,
        type=SnapshotRefType.BRANCH,
        snapshot_id=snapshot_id,
        max_ref_age_ms=main.max_ref_age_ms if main else None,
        max_snapshot_age_ms=main.max_snapshot_age_ms if main else None,
        min_snapshots_to_keep=main.min_snapshots_to_keep if main else None,
    )


def commit_updates(fresh: Table, updates: list[TableUpdate], *requirements: TableRequirement) -> None:
    """Commits updates of a table's metadata, if all requirements hold. Raises as PyIceberg's commits do."""
    with fresh.transaction() as transaction:
        # Not by _apply: it keeps one requirement of a type, and those on branches are two.
        transaction._updates += tuple(updates)
        transaction._requirements += requirements
