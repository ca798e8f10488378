"""The exactly-once commit: rows and progress in one Iceberg transaction, tried again only where that is safe.

Before any further attempt, and after an outcome that could not be learned, the fresh table is read: a snapshot
with the batch's id means done. Files of an unknown outcome are never deleted.

An audited commit is the same, but that it moves the branch audit, which it makes, and not main; and that the progress
which a direct one sets as table properties waits in its snapshot's summary, as properties belong to no branch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from pydantic import Field
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table, TableProperties, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    AssertRefSnapshotId,
    AssertTableUUID,
    SetSnapshotRefUpdate,
    TableRequirement,
)
from pyiceberg.utils.properties import property_as_bool

from lakehouse.attempts import commit_until_known
from lakehouse.errors import CommitConflictError
from lakehouse.history import (
    AUDIT,
    AUDIT_BRANCH,
    BATCH_ID,
    DAYS,
    ROWS,
    RUN_ID,
    SOURCE,
    ancestors,
    check_no_audit,
    commits_since,
    find_batch,
    named,
    winner,
)
from lakehouse.manifests import OverwriteFiles
from lakehouse.write import delete_files

# What to do after an unknown outcome: only the same batch id finds out.
_SAME_RUN = "Execute the same run again, in Dagster from its failure: it finds out. A new run would write the rows once more."


class PlanOutdatedError(CommitConflictError):
    """The table moved in a way that this batch must be planned again for; its files are deleted."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}. Run it again.")


@dataclass(frozen=True)
class Batch:
    """What a commit says of itself in its snapshot's summary.

    Attributes:
        batch_id: names the commit; a snapshot that has it is this commit.
        run_id: the run that made it, e.g. Dagster's.
        source: where the rows came from, in a few words.
        days: the UTC days that the rows touch, as ranges: ``2024-01-01..2024-01-03,2024-02-01``.
        facts: further snapshot properties.
        audited: whether the commit goes to the branch audit, to be published or dropped; see ``lakehouse.audit``.
    """

    batch_id: str
    run_id: str = ""
    source: str = ""
    days: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    audited: bool = False

    def summary(self, rows: int, table: Table, progress: Mapping[str, str]) -> dict[str, str]:
        """The snapshot properties of a commit of ``rows`` rows; of an audited one with the table properties that it will set."""
        audit = json.dumps({"properties": dict(progress), "spec_id": table.metadata.default_spec_id}) if self.audited else ""
        properties = {**self.facts, BATCH_ID: self.batch_id, RUN_ID: self.run_id, SOURCE: self.source, DAYS: self.days, ROWS: str(rows)}
        return {key: value for key, value in {**properties, AUDIT: audit}.items() if value}


def find_committed(table: Table, batch: Batch) -> Snapshot | None:
    """The snapshot of a batch that was committed before; of an audited batch also one that is not published yet.

    Raises:
        AuditOpenError: the batch is audited, and another's audit is open.
    """
    snapshot = find_batch(table, batch.batch_id, batch.audited)
    if snapshot is None and batch.audited:
        check_no_audit(table)
    return snapshot


def commit_append(
    table: Table,
    files: Sequence[DataFile],
    batch: Batch,
    timeout: float,
    properties: Mapping[str, str] | None = None,
    expected: Mapping[str, str | None] | None = None,
    segments: Sequence[str] = (),
    if_unknown: str = _SAME_RUN,
) -> Snapshot:
    """Appends written files, and sets table properties, in one snapshot.

    Args:
        timeout: seconds for which conflicts are tried again, with the same files.
        properties: table properties set in the same transaction.
        expected: table properties, and their values, on which ``files`` were planned.
        segments: further files that only this commit names, deleted where ``files`` are.
        if_unknown: what to do where the outcome could not be learned.

    Raises:
        PlanOutdatedError: an expected property, the schema or the partition spec has changed; the files are deleted.
        CommitConflictError: conflicts until the timeout; the files are deleted.
        CommitUnknownError: the outcome could not be learned; the files are kept.
        AuditOpenError: the batch is audited, and another's audit is open; the files are deleted.
    """
    rows = sum(file.record_count for file in files)

    def attempt(fresh: Table, transaction: Transaction) -> None:
        _expect(fresh, table, expected or {})
        update = transaction.update_snapshot(snapshot_properties=batch.summary(rows, fresh, properties or {}))
        merge = property_as_bool(fresh.properties, TableProperties.MANIFEST_MERGE_ENABLED, TableProperties.MANIFEST_MERGE_ENABLED_DEFAULT)
        with update.merge_append() if merge else update.fast_append() as append:
            for file in files:
                append.append_data_file(file)
        if properties and not batch.audited:
            transaction.set_properties(dict(properties))

    return _commit(table, [*_locations(files), *segments], batch, timeout, attempt, if_unknown)


def commit_replace(
    table: Table,
    row_filter: BooleanExpression,
    files: Sequence[DataFile],
    batch: Batch,
    timeout: float,
    rewrite: Callable[[Table, Iterator[FileScanTask], BooleanExpression], list[DataFile]],
) -> Snapshot:
    """Replaces all rows that match ``row_filter`` by those in ``files``, in one snapshot.

    Files whose rows all match go by metadata alone. Of a file with other rows too, ``rewrite`` writes those others anew.

    Raises:
        CommitConflictError: another run changed the replaced rows meanwhile; the files are deleted. Else as ``commit_append``.
    """
    try:
        tasks = list(table.scan(row_filter=row_filter).plan_files())
        partly = [task for task in tasks if task.residual != AlwaysTrue() or task.delete_files]
        written = [*files, *(rewrite(table, iter(partly), row_filter) if partly else [])]
    except BaseException:
        delete_files(table, _locations(files))
        raise
    planned = _state(tasks)

    def state(fresh: Table, snapshot_id: int | None) -> set[tuple[str, frozenset[str]]]:
        return _state(fresh.scan(row_filter=row_filter, snapshot_id=snapshot_id).plan_files())

    def attempt(fresh: Table, transaction: Transaction) -> None:
        if state(fresh, None) != planned:
            since = commits_since(fresh, {snapshot.snapshot_id for snapshot in ancestors(table)})
            changed = (snapshot for snapshot in since if state(fresh, snapshot.snapshot_id) != planned)
            first = next(map(named, changed), "another commit")
            raise CommitConflictError(f"{first} changed rows of {'.'.join(table.name())} that this run replaces. Run it again.")
        with OverwriteFiles(transaction, batch.summary(sum(file.record_count for file in files), fresh, {})) as overwrite:
            for task in tasks:
                overwrite.delete_data_file(task.file)
            for file in written:
                overwrite.append_data_file(file)

    return _commit(table, _locations(written), batch, timeout, attempt, _SAME_RUN)


def commit_rewrite(
    table: Table,
    planned: Sequence[FileScanTask],
    removed: Sequence[DataFile],
    added: Sequence[DataFile],
    batch: Batch,
    timeout: float,
    rows: int,
    properties: Mapping[str, str],
    expected: Mapping[str, str | None],
    segments: Sequence[str],
    if_unknown: str,
) -> Snapshot:
    """Takes data files out and puts others in, in one snapshot, if the table still consists of the ``planned`` files.

    Args:
        rows: how many rows the run was about. Else as ``commit_append``.

    Raises:
        PlanOutdatedError: any file came or went, or what ``commit_append`` names; the new files are deleted.
    """
    state = _state(planned)

    def attempt(fresh: Table, transaction: Transaction) -> None:
        _expect(fresh, table, expected)
        # Rows may have been moved by compaction, too: what is removed must still be where it was.
        if _state(fresh.scan().plan_files()) != state:
            raise PlanOutdatedError(f"rows of {'.'.join(table.name())} were changed by {winner(fresh, table)}")
        with OverwriteFiles(transaction, batch.summary(rows, fresh, properties)) as overwrite:
            for file in removed:
                overwrite.delete_data_file(file)
            for file in added:
                overwrite.append_data_file(file)
        if not batch.audited:
            transaction.set_properties(dict(properties))

    return _commit(table, [*_locations(added), *segments], batch, timeout, attempt, if_unknown)


def _expect(fresh: Table, table: Table, expected: Mapping[str, str | None]) -> None:
    for key, value in expected.items():
        if fresh.properties.get(key) != value:
            raise PlanOutdatedError(f"{key} of {'.'.join(fresh.name())} was moved by {winner(fresh, table)}")


def _commit(
    table: Table,
    locations: Sequence[str],
    batch: Batch,
    timeout: float,
    attempt: Callable[[Table, Transaction], None],
    if_unknown: str,
) -> Snapshot:
    name, layout = ".".join(table.name()), _layout(table)

    def commit(fresh: Table) -> None:
        if _layout(fresh) != layout:
            raise PlanOutdatedError(f"schema or partition spec of {name} changed while this run wrote")
        with fresh.transaction() as transaction:
            # PyIceberg does not guard the layout that the files were written for: a commit that raced with an
            # evolution would be taken.
            transaction._apply((), (AssertCurrentSchemaId(current_schema_id=layout[1]), AssertDefaultSpecId(default_spec_id=layout[2])))
            transaction._requirements += (newest_sequence(fresh),)
            attempt(fresh, transaction)
            if batch.audited:
                _to_audit_branch(transaction)

    return commit_until_known(
        table,
        commit,
        lambda fresh: find_committed(fresh, batch),
        timeout,
        what=f"the commit {batch.batch_id} to {name}",
        if_unknown=if_unknown,
        discard=partial(delete_files, table, locations),
    )


def _to_audit_branch(transaction: Transaction) -> None:
    """Makes the branch audit at the snapshot that would have moved main. Main stays, and must be where the snapshot's parent is."""
    transaction._updates = tuple(
        update.model_copy(update={"ref_name": AUDIT_BRANCH}) if isinstance(update, SetSnapshotRefUpdate) else update
        for update in transaction._updates
    )
    # Not by _apply: it keeps one requirement of a type, and that is main's.
    transaction._requirements += (_AssertNoBranch(ref=AUDIT_BRANCH, snapshot_id=None),)


def newest_sequence(table: Table) -> TableRequirement:
    """That no snapshot came since the table was read, also on no other branch: the next one's sequence number would be taken."""
    return _AssertSequence(uuid=table.metadata.table_uuid, last=_last_sequence(table.metadata))


class _AssertSequence(AssertTableUUID):
    """Iceberg has no such requirement: a REST catalog refuses an old sequence number itself. PyIceberg asks this one where it commits
    itself; it would take such a snapshot if it is main's first."""

    last: int = Field(exclude=True)

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]  # as PyIceberg's, not Pydantic's
        super().validate(base_metadata)
        if base_metadata is not None and _last_sequence(base_metadata) != self.last:
            raise CommitFailedException(
                f"There is a snapshot {_last_sequence(base_metadata)} by now, and this was planned after {self.last}"
            )


def _last_sequence(metadata: TableMetadata) -> int:
    return int(getattr(metadata, "last_sequence_number", 0))  # format version 1 has none


class _AssertNoBranch(AssertRefSnapshotId):
    """The same for the catalog. PyIceberg's own refuses any branch but main of a table without a snapshot; Iceberg does not."""

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]  # also a name of pydantic's
        if base_metadata is None or base_metadata.snapshots:
            super().validate(base_metadata)


def _layout(table: Table) -> tuple[UUID, int, int]:
    """What data files are written for: the table (one of its name may take its place), its schema, its partition spec."""
    return table.metadata.table_uuid, table.metadata.current_schema_id, table.metadata.default_spec_id


def _locations(files: Sequence[DataFile]) -> list[str]:
    return [file.file_path for file in files]


def _state(tasks: Iterable[FileScanTask]) -> set[tuple[str, frozenset[str]]]:
    """What rows depend on: data files, and the files that delete rows of each."""
    return {(task.file.file_path, frozenset(deletes.file_path for deletes in task.delete_files)) for task in tasks}
