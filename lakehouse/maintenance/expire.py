"""Expiry: snapshots that nobody needs any more leave the table's metadata. Their files stay until they are looked for (``orphans.py``)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pydantic import Field
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AssertRefSnapshotId, AssertTableUUID, RemoveSnapshotsUpdate, TableRequirement

from lakehouse.attempts import commit_until_known
from lakehouse.pipelines import parse_duration
from lakehouse.template import Maintenance


def expirable(metadata: TableMetadata, maintenance: Maintenance, now: datetime) -> list[Snapshot]:
    """The snapshots that are old enough, and that no branch keeps among its newest and no tag names.

    A branch or tag may say itself how long it keeps snapshots, and how many; that counts for it.
    Source: https://iceberg.apache.org/spec/#snapshot-retention-policy
    """
    by_id = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    kept = {snapshot.snapshot_id for ref in metadata.refs.values() for snapshot in _kept(by_id, ref, maintenance, now)}
    oldest = _oldest(parse_duration(maintenance.keep_snapshots), now)
    return [found for found in metadata.snapshots if found.snapshot_id not in kept and found.timestamp_ms < oldest]


def moment_before(now: datetime, age: timedelta) -> datetime:
    """When what is of an age was made; the beginning of all time where that was before."""
    try:
        return now - age
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def expire(table: Table, maintenance: Maintenance, now: datetime, timeout: float) -> None:
    """Removes what is ``expirable`` from the table's metadata.

    Raises:
        CommitConflictError: others changed the table until the timeout; CommitUnknownError: the outcome could not be learned.
    """

    def attempt(fresh: Table) -> None:
        ids = [snapshot.snapshot_id for snapshot in expirable(fresh.metadata, maintenance, now)]
        with fresh.transaction() as transaction:
            transaction._updates += (RemoveSnapshotsUpdate(snapshot_ids=ids),)
            # What a branch or tag names by now must not go.
            transaction._requirements += tuple(_as_they_are(fresh))

    def done(fresh: Table) -> bool | None:
        return None if expirable(fresh.metadata, maintenance, now) else True

    name = ".".join(table.name())
    commit_until_known(table, attempt, done, timeout, f"the expiry of snapshots of {name}", "Do it again: it finds out.")


def _as_they_are(table: Table) -> Iterator[TableRequirement]:
    yield _NoFurtherRefs(uuid=table.metadata.table_uuid, names=frozenset(table.metadata.refs))
    yield from (AssertRefSnapshotId(ref=name, snapshot_id=ref.snapshot_id) for name, ref in table.metadata.refs.items())


class _NoFurtherRefs(AssertTableUUID):
    """No branch or tag may be new: it would be removed with its snapshot.

    Iceberg has no such requirement. PyIceberg asks this one where it commits itself; a REST catalog is told of the UUID alone.
    """

    names: frozenset[str] = Field(exclude=True)

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]  # as PyIceberg's, not Pydantic's
        super().validate(base_metadata)
        if base_metadata is not None and (new := base_metadata.refs.keys() - self.names):
            raise CommitFailedException(f"There are branches or tags by now that there were not: {', '.join(sorted(new))}")


def _kept(by_id: dict[int, Snapshot], ref: SnapshotRef, maintenance: Maintenance, now: datetime) -> Iterator[Snapshot]:
    snapshot = by_id.get(ref.snapshot_id)
    if ref.snapshot_ref_type == SnapshotRefType.TAG:
        if snapshot is not None:
            yield snapshot
        return
    age = ref.max_snapshot_age_ms
    oldest = _oldest(parse_duration(maintenance.keep_snapshots) if age is None else timedelta(milliseconds=age), now)
    count = 0
    while snapshot is not None and (count < (ref.min_snapshots_to_keep or maintenance.keep_at_least) or snapshot.timestamp_ms >= oldest):
        yield snapshot
        count += 1
        snapshot = None if snapshot.parent_snapshot_id is None else by_id.get(snapshot.parent_snapshot_id)


def _oldest(age: timedelta, now: datetime) -> int:
    """When what is of this age was made, in milliseconds since 1970."""
    return int(moment_before(now, age).timestamp() * 1000)
