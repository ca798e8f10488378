"""The commit of maintenance: data files leave a table, and others may take their place. It gives way to whoever else writes.

A file that another run took out meanwhile, or of which rows were deleted, is left as it is; appends do not matter. While an audit is
open nothing is committed: it can be published only on the main that it was written on.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from pyiceberg.manifest import DataFile, ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile, ManifestWriterV2
from pyiceberg.table import FileScanTask, Table, Transaction
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import AssertCurrentSchemaId, AssertDefaultSpecId, AssertRefSnapshotId

from lakehouse.attempts import commit_until_known
from lakehouse.commit import newest_sequence
from lakehouse.errors import CommitConflictError
from lakehouse.history import AUDIT_BRANCH, BATCH_ID, DAYS, RUN_ID, SOURCE, audit_snapshot, find_batch, winner
from lakehouse.maintenance.deletes import plan_files
from lakehouse.manifests import OverwriteFiles
from lakehouse.write import delete_files

# Seconds for which a commit is tried again where others commit all the time: their runs matter more.
PATIENCE = 10.0


@dataclass(frozen=True)
class Replacement:
    """Data files to take out, as they were planned, and what was written of their rows: nothing where all of them go."""

    tasks: Sequence[FileScanTask]
    added: Sequence[DataFile] = ()


@dataclass(frozen=True)
class Labels:
    """What a commit of maintenance says of itself: the run, the step, and the UTC days that lose rows, as ranges."""

    run_id: str
    step: str
    days: str | None = None

    def summary(self, batch_id: str) -> dict[str, str]:
        """The snapshot's properties. Days that are not known are left out: what reads the table then takes all for changed."""
        days = {} if self.days is None else {DAYS: self.days}
        return {BATCH_ID: batch_id, RUN_ID: self.run_id, SOURCE: f"maintenance: {self.step}", **days}


@dataclass
class _Commit:
    table: Table
    replacements: Sequence[Replacement]
    operation: Operation
    labels: Labels
    batch_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    made: list[Replacement] = field(default_factory=list)

    def attempt(self, fresh: Table) -> None:
        """Commits what still is as it was planned. Raises CommitConflictError where nothing is."""
        name = ".".join(fresh.name())
        if audit_snapshot(fresh) is not None:
            raise CommitConflictError(f"{name} has an open audit by now. Publish or drop it, and do this again.")
        layout = _layout(fresh)
        if layout != _layout(self.table):
            raise CommitConflictError(f"Schema or partition spec of {name} changed meanwhile. Do this again.")
        state = {task.file.file_path: task for task in plan_files(fresh)}
        self.made = [
            found for found in self.replacements if all(is_as_planned(task, state.get(task.file.file_path)) for task in found.tasks)
        ]
        if not self.made:
            raise CommitConflictError(f"{name} was changed by {winner(fresh, self.table)} meanwhile. Do this again.")
        with fresh.transaction() as transaction:
            transaction._apply((), (AssertCurrentSchemaId(current_schema_id=layout[1]), AssertDefaultSpecId(default_spec_id=layout[2])))
            self._replace(transaction, state)
            # An audit that is opened at the same time would be outdated. Not by _apply: it keeps one requirement of a type.
            transaction._requirements += (AssertRefSnapshotId(ref=AUDIT_BRANCH, snapshot_id=None), newest_sequence(fresh))

    def _replace(self, transaction: Transaction, state: dict[str, FileScanTask]) -> None:
        removed = [task for found in self.made for task in found.tasks]
        for task in removed:
            del state[task.file.file_path]
        deletes = {found for task in removed for found in task.delete_files}
        # What deletes rows of these files alone has nothing to delete any more.
        dangling = deletes - {found for task in state.values() for found in task.delete_files} if deletes else set[DataFile]()
        with _ReplaceFiles(transaction, self.labels.summary(self.batch_id), self.operation, dangling) as replace:
            for task in removed:
                replace.delete_data_file(task.file)
            for found in self.made:
                for file in found.added:
                    replace.append_data_file(file)


def replace_files(table: Table, replacements: Sequence[Replacement], operation: Operation, labels: Labels) -> list[Replacement]:
    """Commits replacements in one snapshot, and returns those that were made. The files of others are left to be found as orphans.

    Args:
        operation: REPLACE where the rows stay the same; DELETE or OVERWRITE where some go.

    Raises:
        CommitConflictError: none could be made; their files are deleted. CommitUnknownError: the outcome is not known; all stay.
    """
    commit = _Commit(table, replacements, operation, labels)
    written = [file.file_path for found in replacements for file in found.added]
    commit_until_known(
        table,
        commit.attempt,
        lambda fresh: find_batch(fresh, commit.batch_id),
        PATIENCE,
        what=f"the commit {commit.batch_id} to {'.'.join(table.name())}",
        if_unknown="Do this again: what was not committed is found as orphans.",
        discard=partial(delete_files, table, written),
    )
    return commit.made


def _layout(table: Table) -> tuple[object, int, int]:
    return table.metadata.table_uuid, table.metadata.current_schema_id, table.metadata.default_spec_id


def is_as_planned(planned: FileScanTask, found: FileScanTask | None) -> bool:
    """Whether a file is still there, with the same deletes."""
    return found is not None and _deletes(planned) == _deletes(found)


def _deletes(task: FileScanTask) -> set[str]:
    return {found.file_path for found in task.delete_files}


class _ReplaceFiles(OverwriteFiles):
    """An overwrite that says by its operation what became of the rows, and that takes out files of deletes, too."""

    def __init__(self, transaction: Transaction, properties: dict[str, str], operation: Operation, dangling: Collection[DataFile]) -> None:
        super().__init__(transaction, properties)
        self._kind, self._dangling = operation, set(dangling)

    def _existing_manifests(self) -> list[ManifestFile]:
        return [self._without_dangling(manifest) for manifest in super()._existing_manifests()]

    def _without_dangling(self, manifest: ManifestFile) -> ManifestFile:
        if manifest.content != ManifestContent.DELETES or not self._dangling:
            return manifest
        entries = manifest.fetch_manifest_entry(self._io, discard_deleted=True)
        if not any(entry.data_file in self._dangling for entry in entries):
            return manifest
        metadata = self._transaction.table_metadata
        spec = metadata.specs()[manifest.partition_spec_id]
        with _DeletesWriter(spec, metadata.schema(), self.new_manifest_output(), self._snapshot_id, self._compression) as writer:
            for entry in entries:
                gone = entry.data_file in self._dangling
                writer.add_entry(
                    ManifestEntry.from_args(
                        status=ManifestEntryStatus.DELETED if gone else ManifestEntryStatus.EXISTING,
                        snapshot_id=self._snapshot_id if gone else entry.snapshot_id,
                        sequence_number=entry.sequence_number,
                        file_sequence_number=entry.file_sequence_number,
                        data_file=entry.data_file,
                    )
                )
        return writer.to_manifest_file()

    def _summary(self, snapshot_properties: dict[str, str] = {}) -> Summary:  # noqa: B006 - PyIceberg's signature
        # PyIceberg counts the files that go, and takes no operation but its own.
        data_files, self._deleted_data_files = self._deleted_data_files, self._deleted_data_files | self._dangling
        try:
            summary = super()._summary(snapshot_properties)
        finally:
            self._deleted_data_files = data_files
        return Summary(self._kind, **summary.additional_properties)


class _DeletesWriter(ManifestWriterV2):
    """PyIceberg's writer of manifests, for files of deletes."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}
