"""The exactly-once commit: rows and progress in one Iceberg transaction, tried again only where that is safe.

Before any further attempt, and after an outcome that could not be learned, the fresh table is read: a snapshot
with the batch's id means done. Files of an unknown outcome are never deleted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, ValidationException
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table, TableProperties, Transaction
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AssertCurrentSchemaId, AssertDefaultSpecId
from pyiceberg.utils.properties import property_as_bool

from lakehouse.errors import CatalogError, CommitConflictError, CommitUnknownError
from lakehouse.manifests import OverwriteFiles
from lakehouse.write import delete_files

RUN_ID = "lakehouse.run-id"
BATCH_ID = "lakehouse.batch-id"
SOURCE = "lakehouse.source"
ROWS = "lakehouse.rows"
SKIPPED = "lakehouse.skipped-rows"
DAYS = "lakehouse.days"
INPUTS = "lakehouse.inputs"

# Seconds between attempts: random up to a bound that doubles, so that writers do not meet again and again.
_FIRST_WAIT = 0.05
_MAX_WAIT = 5.0
_UNKNOWN_ATTEMPTS = 5
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
    """

    batch_id: str
    run_id: str = ""
    source: str = ""
    days: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])

    def summary(self, rows: int) -> dict[str, str]:
        """The snapshot properties of a commit of ``rows`` rows."""
        properties = {**self.facts, BATCH_ID: self.batch_id, RUN_ID: self.run_id, SOURCE: self.source, DAYS: self.days, ROWS: str(rows)}
        return {key: value for key, value in properties.items() if value}


def find_batch(table: Table, batch_id: str) -> Snapshot | None:
    """The snapshot that committed a batch, if it is still in the table's history."""
    for snapshot in reversed(table.metadata.snapshots):
        if snapshot.summary is not None and snapshot.summary.additional_properties.get(BATCH_ID) == batch_id:
            return snapshot
    return None


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
    """
    rows = sum(file.record_count for file in files)

    def attempt(fresh: Table, transaction: Transaction) -> None:
        _expect(fresh, table, expected or {})
        update = transaction.update_snapshot(snapshot_properties=batch.summary(rows))
        merge = property_as_bool(fresh.properties, TableProperties.MANIFEST_MERGE_ENABLED, TableProperties.MANIFEST_MERGE_ENABLED_DEFAULT)
        with update.merge_append() if merge else update.fast_append() as append:
            for file in files:
                append.append_data_file(file)
        if properties:
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
            since = [snapshot for snapshot in _since(fresh, table) if state(fresh, snapshot.snapshot_id) != planned]
            winner = _named(since[0]) if since else "another commit"
            raise CommitConflictError(f"{winner} changed rows of {'.'.join(table.name())} that this run replaces. Run it again.")
        with OverwriteFiles(transaction, batch.summary(sum(file.record_count for file in files))) as overwrite:
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
            raise PlanOutdatedError(f"rows of {'.'.join(table.name())} were changed by {_winner(fresh, table)}")
        with OverwriteFiles(transaction, batch.summary(rows)) as overwrite:
            for file in removed:
                overwrite.delete_data_file(file)
            for file in added:
                overwrite.append_data_file(file)
        transaction.set_properties(dict(properties))

    return _commit(table, [*_locations(added), *segments], batch, timeout, attempt, if_unknown)


def _expect(fresh: Table, table: Table, expected: Mapping[str, str | None]) -> None:
    for key, value in expected.items():
        if fresh.properties.get(key) != value:
            raise PlanOutdatedError(f"{key} of {'.'.join(fresh.name())} was moved by {_winner(fresh, table)}")


def _commit(
    table: Table,
    locations: Sequence[str],
    batch: Batch,
    timeout: float,
    attempt: Callable[[Table, Transaction], None],
    if_unknown: str,
) -> Snapshot:
    deadline, unknown, tries = time.monotonic() + timeout, 0, 0
    name, layout = ".".join(table.name()), _layout(table)
    discard = partial(delete_files, table, locations)
    fresh = table
    while True:
        if (snapshot := find_batch(fresh, batch.batch_id)) is not None:
            return snapshot
        conflict: Exception | None = None
        try:
            if _layout(fresh) != layout:
                raise PlanOutdatedError(f"schema or partition spec of {name} changed while this run wrote")
            with fresh.transaction() as transaction:
                # PyIceberg does not guard the layout that the files were written for: a commit that raced with an
                # evolution would be taken.
                requirements = (AssertCurrentSchemaId(current_schema_id=layout[1]), AssertDefaultSpecId(default_spec_id=layout[2]))
                transaction._apply((), requirements)
                attempt(fresh, transaction)
            continue  # to the top, where the batch is found
        except CommitConflictError:
            if not unknown:
                discard()
            raise
        except (CommitFailedException, ValidationException) as error:
            conflict = error
        except Exception as error:
            # A time-out or a lost connection: the commit may have happened. A database that is locked: it may not.
            unknown += 1
            if unknown >= _UNKNOWN_ATTEMPTS:
                raise CommitUnknownError(
                    f"Whether the commit to {name} happened is not known: {type(error).__name__}: {error}. {if_unknown}"
                ) from error
        tries += 1
        late = conflict is not None and time.monotonic() > deadline
        if not late:
            time.sleep(random.uniform(0, min(_MAX_WAIT, _FIRST_WAIT * 2 ** min(tries, 10))))
        try:
            fresh = _reload(table, batch, if_unknown)
        except NoSuchTableError:
            if not unknown:
                discard()
            raise CatalogError(f"{name} was dropped while this run wrote. Create it from its template: lakehouse apply") from None
        # Read first: the conflict may be with this very commit, where an HTTP client sent it twice.
        if late and find_batch(fresh, batch.batch_id) is None:
            if not unknown:
                discard()
            raise CommitConflictError(
                f"{name} was changed by others for {timeout:.0f} s, last by {_winner(fresh, table)}. Run it again."
            ) from conflict


def _reload(table: Table, batch: Batch, if_unknown: str) -> Table:
    try:
        return table.catalog.load_table(table.name())
    except NoSuchTableError:
        raise
    except Exception as error:
        raise CommitUnknownError(
            f"Whether the commit {batch.batch_id} to {'.'.join(table.name())} happened is not known: the catalog does not answer "
            f"({type(error).__name__}). {if_unknown}"
        ) from error


def _layout(table: Table) -> tuple[UUID, int, int]:
    """What data files are written for: the table (one of its name may take its place), its schema, its partition spec."""
    return table.metadata.table_uuid, table.metadata.current_schema_id, table.metadata.default_spec_id


def _locations(files: Sequence[DataFile]) -> list[str]:
    return [file.file_path for file in files]


def _state(tasks: Iterable[FileScanTask]) -> set[tuple[str, frozenset[str]]]:
    """What rows depend on: data files, and the files that delete rows of each."""
    return {(task.file.file_path, frozenset(deletes.file_path for deletes in task.delete_files)) for task in tasks}


def _since(fresh: Table, base: Table) -> list[Snapshot]:
    """What other runs committed since ``base``, oldest first."""
    known = {snapshot.snapshot_id for snapshot in base.metadata.snapshots}
    return [snapshot for snapshot in fresh.metadata.snapshots if snapshot.snapshot_id not in known]


def _winner(fresh: Table, base: Table) -> str:
    """The run that moved the table on."""
    since = _since(fresh, base)
    return _named(since[-1]) if since else "another commit"


def _named(snapshot: Snapshot) -> str:
    summary = snapshot.summary.additional_properties if snapshot.summary else {}
    return f"run {summary[RUN_ID]}" if RUN_ID in summary else f"snapshot {snapshot.snapshot_id}"
