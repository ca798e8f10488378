"""The branch ``audit`` of a table, which Nessie does not keep, as a branch of Nessie's own: ``audit.<namespace>.<table>``.

It is made for the commit that goes to it, from the catalog's branch, which readers read. To move main to it is to merge it there,
in one commit or, where main changed the table meanwhile, not at all; to remove it is to delete it. So whoever knows only of the
table's branch, as ``lakehouse.audit`` does, works on Nessie as elsewhere.

A process that dies in between leaves a branch without a commit, or one that is merged. It holds nothing that readers do not have:
such a branch is no audit, and the next one takes it over.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    RemoveSnapshotRefUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)

from lakehouse.errors import AuditOutdatedError, CatalogError
from lakehouse.history import AUDIT, AUDIT_BRANCH, is_published, main_snapshot_id, named, promised_properties, summary_of
from lakehouse.nessie_client import Branch, NessieClient, NoAnswerError
from lakehouse.nessie_session import BranchError, BranchMovedError, NoBranchError
from lakehouse.settings import BRANCH_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.typedef import Identifier

    from lakehouse.nessie import NessieCatalog

# No other branch may have such a name.
AUDIT_PREFIX = "audit."
_MOVED = (BranchMovedError, NoBranchError)


def change_of(updates: Sequence[TableUpdate]) -> Literal["write", "publish", "drop"] | None:
    """What the updates of a commit do to an audit; None for those of a commit to main."""
    moved = {update.ref_name for update in updates if isinstance(update, SetSnapshotRefUpdate)}
    removed = {update.ref_name for update in updates if isinstance(update, RemoveSnapshotRefUpdate)}
    added = [update.snapshot for update in updates if isinstance(update, AddSnapshotUpdate)]
    if removed == {AUDIT_BRANCH} and not added and moved <= {MAIN_BRANCH}:
        return "publish" if moved else "drop"
    # What other programs write to a branch of this name is not known to be readable by main, and refused.
    return "write" if moved == {AUDIT_BRANCH} and not removed and added and all(AUDIT in summary_of(found) for found in added) else None


class NessieAudits:
    """The open audits of a catalog's tables.

    Args:
        source: the catalog's branch; suffix: what is added to the names of its audits' branches, none where it is main.
    """

    def __init__(self, catalog: NessieCatalog, client: NessieClient, source: str, suffix: str) -> None:
        self._catalog, self._client, self._source, self._suffix = catalog, client, source, suffix

    def tables(self) -> list[str]:
        """The tables that have a branch for audits, as ``namespace.table``."""
        names = (audited_table(branch.name, self._suffix) for branch in self._client.branches())
        return [name for name in names if name is not None and self._catalog.table_exists(name)]

    def load(self, name: Identifier) -> Table | None:
        """A table as it is on its branch for audits; None where there is none."""
        branch = self._client.find(self._name(name)) if BRANCH_NAME.fullmatch(self._name(name)) else None
        return None if branch is None else self._catalog.load_at(branch, name)

    def write(self, table: Table, requirements: Sequence[TableRequirement], updates: Sequence[TableUpdate]) -> CommitTableResponse:
        """Commits a snapshot to the branch, which it makes, with the properties that the snapshot promises.

        Raises:
            CommitFailedException: there is an audit, or main has moved; CommitStateUnknownException: the outcome is not known.
        """
        branch = self._begin(table)
        changes = [*map(_to_main, updates)]
        for update in updates:
            if isinstance(update, AddSnapshotUpdate) and (properties := promised_properties(update.snapshot)):
                changes.append(SetPropertiesUpdate(updates=properties))
        conditions = [found for found in requirements if not (isinstance(found, AssertRefSnapshotId) and found.ref == AUDIT_BRANCH)]
        answer = self._catalog.send(table, conditions, changes, branch.name)
        snapshot = answer.metadata.current_snapshot()
        assert snapshot is not None
        waiting = snapshot.model_copy(update={"parent_snapshot_id": main_snapshot_id(table)})
        return _answer(table, with_audit(table.metadata, waiting))

    def publish(self, table: Table, requirements: Sequence[TableRequirement]) -> CommitTableResponse:
        """Merges the branch into the catalog's.

        Raises:
            AuditOutdatedError: something that left main's snapshot as it was changed the table, or the branch has other tables.
            CommitFailedException: main has moved, or the audit is another; CommitStateUnknownException: the outcome is not known.
        """
        name, (branch, audit) = ".".join(table.name()), self._expected(table, requirements)
        with _as_commit():
            target = self._client.branch(self._source)
            if others := self._others(table, branch, target):
                raise AuditOutdatedError(name, f"its branch {branch.name} changed {', '.join(others)}, too")
            done = self._client.merge(branch, target, f"{name}: publish {named(_current(audit))}", dry_run=False)
        if done.conflicts:
            if main_snapshot_id(self._catalog.load_table(table.name())) == main_snapshot_id(table):
                raise AuditOutdatedError(name, "its schema, partition spec or properties were changed")
            raise CommitFailedException(f"{name} was changed on {target.name}")
        if not done.applied:
            raise CommitStateUnknownException(f"Nessie did not merge {branch.name} into {target.name}, and does not say why")
        with suppress(BranchError, CatalogError):  # what stays is no audit
            self._client.drop(branch)
        return CommitTableResponse(metadata=audit.metadata, metadata_location=audit.metadata_location)

    def drop(self, table: Table, requirements: Sequence[TableRequirement]) -> CommitTableResponse:
        """Deletes the branch. Raises as ``publish``."""
        branch, _ = self._expected(table, requirements)
        with _as_commit():
            self._client.drop(branch)
        return _answer(table, _without_audit(table.metadata))

    def _begin(self, table: Table) -> Branch:
        """The branch, where the catalog's is now. Raises BranchError where there is more on it than an audit's."""
        name = self._name(table.name())
        try:
            target, branch = self._client.branch(self._source), self._client.find(name)
            if branch is None:
                return self._client.create(name, target)
            if waiting(table, self._catalog.load_at(branch, table.name())) is not None:
                raise CommitFailedException(f"{'.'.join(table.name())} has an audit on {name}")
            if branch.hash != target.hash:
                if others := self._others(table, branch, target):
                    raise BranchError(
                        f"{name} is kept for audits, and someone changed {', '.join(others)} there. Look at it: lakehouse branch diff "
                        f"{name} --against {target.name}. Then drop it: lakehouse branch drop {name}"
                    )
                self._client.assign(branch, target)
            return branch
        except (*_MOVED, NoAnswerError) as error:
            # Nothing is committed: it is looked for again, and found as it is then.
            raise CommitFailedException(str(error)) from error

    def _expected(self, table: Table, requirements: Sequence[TableRequirement]) -> tuple[Branch, Table]:
        """The branch, and the table on it, if it has the snapshot that a requirement names."""
        wanted = {found.snapshot_id for found in requirements if isinstance(found, AssertRefSnapshotId) and found.ref == AUDIT_BRANCH}
        branch = self._client.find(self._name(table.name()))
        audit = None if branch is None else self._catalog.load_at(branch, table.name())
        if branch is None or audit is None or {audit.metadata.current_snapshot_id} != wanted:
            raise CommitFailedException(f"The branch {self._name(table.name())} is not at the snapshot of the audit")
        return branch, audit

    def _others(self, table: Table, branch: Branch, target: Branch) -> list[str]:
        """What a merge would change beside the table."""
        return sorted(set(self._client.merge(branch, target, "", dry_run=True).keys) - {".".join(table.name())})

    def _name(self, table: Identifier) -> str:
        return f"{AUDIT_PREFIX}{'.'.join(table)}{self._suffix}"


def audited_table(branch: str, suffix: str) -> str | None:
    """The table whose audits a branch is for, as ``namespace.table``; None where it is no branch for audits with this suffix."""
    name = branch.removeprefix(AUDIT_PREFIX).removesuffix(suffix)
    return name if branch == f"{AUDIT_PREFIX}{name}{suffix}" and name.count(".") == 1 else None


def waiting(table: Table, audit: Table | None) -> Snapshot | None:
    """The snapshot of an audit that main does not have, as both were read; None where there is none."""
    if audit is None or audit.metadata.table_uuid != table.metadata.table_uuid:  # of a table that is gone
        return None
    snapshot = audit.current_snapshot()
    return None if snapshot is None or is_published(table, snapshot.snapshot_id) else snapshot


@contextmanager
def _as_commit() -> Iterator[None]:
    """What Nessie says of its references, as who commits wants to know it."""
    try:
        yield
    except _MOVED as error:
        raise CommitFailedException(str(error)) from error
    except NoAnswerError as error:
        raise CommitStateUnknownException(str(error)) from error


def with_audit(metadata: TableMetadata, snapshot: Snapshot | None) -> TableMetadata:
    """A table's metadata with the branch audit at a snapshot that main does not have; without one, as it is."""
    if snapshot is None:
        return metadata
    ref = SnapshotRef.model_validate({"snapshot-id": snapshot.snapshot_id, "type": SnapshotRefType.BRANCH})
    return metadata.model_copy(update={"snapshots": [*metadata.snapshots, snapshot], "refs": {**metadata.refs, AUDIT_BRANCH: ref}})


def _without_audit(metadata: TableMetadata) -> TableMetadata:
    refs = {name: ref for name, ref in metadata.refs.items() if name != AUDIT_BRANCH}
    audit = metadata.refs.get(AUDIT_BRANCH)
    snapshots = [snapshot for snapshot in metadata.snapshots if audit is None or snapshot.snapshot_id != audit.snapshot_id]
    return metadata.model_copy(update={"snapshots": snapshots, "refs": refs})


def _to_main(update: TableUpdate) -> TableUpdate:
    """On Nessie's branch a table's main is the audit's."""
    return update.model_copy(update={"ref_name": MAIN_BRANCH}) if isinstance(update, SetSnapshotRefUpdate) else update


def _answer(table: Table, metadata: TableMetadata) -> CommitTableResponse:
    return CommitTableResponse(metadata=metadata, metadata_location=table.metadata_location)


def _current(audit: Table) -> Snapshot:
    snapshot = audit.current_snapshot()
    assert snapshot is not None
    return snapshot
