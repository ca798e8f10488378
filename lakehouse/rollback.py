"""Rolling a table back: main goes to an earlier snapshot of its own, and the progress that the table names with it.

The ledger of taken files and the log of moments are named by table properties, which no rollback of a branch moves. Left as they are,
source files of the loads that are undone would never be taken again, which may be right, and a dimension would go on to know moments of
records that are gone, which never is. So both move in the transaction that moves main.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.schema import index_by_id
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AssertRefSnapshotId, RemovePropertiesUpdate, SetPropertiesUpdate, TableUpdate

from lakehouse.attempts import commit_until_known
from lakehouse.audit import commit_updates, main_at
from lakehouse.errors import CommitConflictError, RollbackError
from lakehouse.history import (
    AUDIT_BRANCH,
    BATCH_ID,
    MOMENTS_BEFORE,
    NO_MOMENTS,
    VERSIONS_OPENED,
    ancestors,
    check_no_audit,
    committed_at,
    main_snapshot_id,
    summary_of,
    winner,
)
from lakehouse.ledger import LEDGER, Ledger
from lakehouse.merge import MOMENTS
from lakehouse.segments import SegmentLog
from lakehouse.write import delete_files


@dataclass(frozen=True)
class Rollback:
    """What a rollback would do.

    Attributes:
        base: the table as it was looked at; source: where its main was; target: the snapshot to go back to.
        undone: the snapshots of main that readers see no more, newest first.
        files: source files whose rows are in the table no more.
        batches: the commits that took them.
        take_files_again: whether the next run takes these files again.
        moments: where the log of moments will be; None where there will be none, or is none.
    """

    base: Table
    source: Snapshot
    target: Snapshot
    undone: list[Snapshot]
    files: list[str]
    batches: list[str]
    take_files_again: bool
    moments: str | None

    @property
    def table(self) -> str:
        """``namespace.table``."""
        return ".".join(self.base.name())

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ids as numbers, times in ISO 8601, ``rows_before`` and ``rows_after``."""
        return {
            "table": self.table,
            "from_snapshot_id": self.source.snapshot_id,
            "to_snapshot_id": self.target.snapshot_id,
            "rows_before": int(summary_of(self.source).get("total-records", 0)),
            "rows_after": int(summary_of(self.target).get("total-records", 0)),
            "undone": [
                {"snapshot_id": snapshot.snapshot_id, "committed_at": committed_at(snapshot).isoformat(timespec="milliseconds")}
                for snapshot in self.undone
            ],
            "files": self.files,
            "take_files_again": self.take_files_again,
        }


def plan_rollback(table: Table, snapshot_id: int, warehouse: str, take_files_again: bool) -> Rollback:
    """What going back to a snapshot means. Changes nothing.

    Args:
        snapshot_id: main's, or one before it.
        warehouse: the URI below which the ledgers are.
        take_files_again: whether source files whose rows go are to be taken again; else they stay taken.

    Raises:
        RollbackError: main cannot go there; AuditOpenError: rows wait for a decision; TableMismatchError: a file of the ledger is gone.
    """
    name = ".".join(table.name())
    check_no_audit(table)
    undone = list[Snapshot]()
    for snapshot in ancestors(table):
        if snapshot.snapshot_id == snapshot_id:
            target = snapshot
            break
        undone.append(snapshot)
    else:
        raise RollbackError(f"Snapshot {snapshot_id} of {name} is not there, or not before main's. Choose another: lakehouse show {name}")
    if missing := list(_required_since(table, target)):
        raise RollbackError(
            f"{', '.join(missing)} of {name} became required after snapshot {snapshot_id}, whose rows may lack it. Make it optional first."
        )
    batches = _batches_without(table, target)
    entries = Ledger(table, _ledgers(warehouse)).entries
    entries = entries.filter(pc.is_in(entries["batch_id"], pa.array(batches, pa.string())))
    if not undone and not (take_files_again and entries.num_rows):
        raise RollbackError(
            f"{name} is there already: main is at snapshot {snapshot_id}, and all files taken since are in it or stay taken."
        )
    moments = _moments_at(table, undone)
    return Rollback(table, [*undone, target][0], target, undone, sorted(entries["path"].to_pylist()), batches, take_files_again, moments)


def roll_back(plan: Rollback, warehouse: str, timeout: float) -> Snapshot:
    """Does what was planned, in one transaction, if the table is still as it was looked at.

    Raises:
        CommitConflictError: it was changed meanwhile; CommitUnknownError: the outcome could not be learned.
    """
    base, name = plan.base, plan.table
    known = {key: base.properties.get(key) for key in (LEDGER, MOMENTS)}
    properties = {**known, MOMENTS: plan.moments}
    written = list[str]()
    if plan.take_files_again and plan.files:
        properties[LEDGER] = Ledger(base, _ledgers(warehouse)).without(plan.batches)
        written.append(properties[LEDGER] or "")

    def done(fresh: Table) -> Snapshot | None:
        there = main_snapshot_id(fresh) == plan.target.snapshot_id
        return plan.target if there and all(fresh.properties.get(key) == value for key, value in properties.items()) else None

    def attempt(fresh: Table) -> None:
        check_no_audit(fresh)
        if (main_snapshot_id(fresh), *map(fresh.properties.get, known)) != (plan.source.snapshot_id, *known.values()):
            raise CommitConflictError(f"{name} was changed by {winner(fresh, base)} meanwhile. Look at it again: lakehouse show {name}")
        changed = {key: value for key, value in properties.items() if value != known[key]}
        commit_updates(
            fresh,
            [main_at(fresh, plan.target.snapshot_id), *_property_updates(changed)],
            AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=plan.source.snapshot_id),
            AssertRefSnapshotId(ref=AUDIT_BRANCH, snapshot_id=None),
        )

    return commit_until_known(
        base,
        attempt,
        done,
        timeout,
        what=f"the rollback of {name} to snapshot {plan.target.snapshot_id}",
        if_unknown="Do it again: it finds out.",
        discard=lambda: delete_files(base, written),
    )


def _ledgers(warehouse: str) -> str:
    return f"{warehouse}/_lakehouse/ledger"


def _batches_without(table: Table, target: Snapshot) -> list[str]:
    """The commits that the metadata knows and that did not lead to the target: those undone now, or by an earlier rollback."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in table.metadata.snapshots}
    led: set[int] = set()
    snapshot: Snapshot | None = target
    while snapshot is not None:
        led.add(snapshot.snapshot_id)
        snapshot = None if snapshot.parent_snapshot_id is None else by_id.get(snapshot.parent_snapshot_id)
    batches = {summary_of(found).get(BATCH_ID) for found in table.metadata.snapshots if found.snapshot_id not in led}
    return sorted(filter(None, batches))


def _moments_at(table: Table, undone: list[Snapshot]) -> str | None:
    """Where the log of moments was before the oldest merge that is undone."""
    location = table.properties.get(MOMENTS)
    merges = [summary_of(snapshot) for snapshot in undone if VERSIONS_OPENED in summary_of(snapshot)]
    if location is None or not merges:
        return location
    if (before := merges[-1].get(MOMENTS_BEFORE)) is None:
        raise RollbackError(
            f"The merges of {'.'.join(table.name())} that would be undone do not say which moments they found. "
            "Have all its source files merged anew into an empty table instead."
        )
    if before == NO_MOMENTS:
        return None
    _ = SegmentLog(table, MOMENTS, "", pa.schema([]), before).locations  # all of it is there
    return before


def _required_since(table: Table, target: Snapshot) -> Iterator[str]:
    """The columns that may be null in the snapshot's rows, and are not any more."""
    schemas = table.schemas()
    then = index_by_id(schemas[target.schema_id] if target.schema_id in schemas else table.schema())
    top = {field.field_id for field in table.schema().fields}
    for field_id, field in index_by_id(table.schema()).items():
        was = then.get(field_id)
        if field.required and (field_id in top if was is None else not was.required):
            yield str(table.schema().find_column_name(field_id))


def _property_updates(properties: dict[str, str | None]) -> Iterator[TableUpdate]:
    if updates := {key: value for key, value in properties.items() if value is not None}:
        yield SetPropertiesUpdate(updates=updates)
    if removals := [key for key, value in properties.items() if value is None]:
        yield RemovePropertiesUpdate(removals=removals)
