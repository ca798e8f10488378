"""Loading source files: what is new is read, made to fit, written and committed with the ledger, exactly once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog

from lakehouse.catalog import load_table
from lakehouse.commit import Batch, PlanOutdatedError
from lakehouse.conform import BadRow, Rows
from lakehouse.days import format_days
from lakehouse.engines import FilesNotTakenError, Progress, WriteResult
from lakehouse.engines.rows import result_of_audit
from lakehouse.engines.targets import Append, MergeVersions, Target
from lakehouse.errors import BadRowsError, SourceError, TableMismatchError
from lakehouse.formats import FileReader
from lakehouse.history import RUN_ID, SKIPPED, audit_snapshot, check_no_audit, promised_properties, summary_of
from lakehouse.ledger import LEDGER, Ledger, TakenFile
from lakehouse.pipelines import Source
from lakehouse.settings import LakehouseSettings
from lakehouse.sources import SourceFile, SourceFolder
from lakehouse.template import TableTemplate
from lakehouse.write import arrow_schema

_EXAMPLES = 3
_PROGRESS_ROWS = 1_000_000
_MAX_BAD_ROWS = 1_000  # of a file that fails for them
_CHANGED = "it was taken before with another size or time. Deliver new content under a new name, and remove this file."


def take_new_files(
    settings: LakehouseSettings,
    catalog: Catalog,
    template: TableTemplate,
    run_id: str,
    progress: Progress,
    attempt: Callable[..., FileLoad] | None = None,
) -> WriteResult:
    """Appends, or merges as change records, every source file of a template's pipeline that its table has not taken yet.

    Args:
        attempt: makes one attempt, as ``FileLoad`` does, which is the default.

    Raises:
        FilesNotTakenError: files that could not be taken; the others are committed.
        AuditOpenError: the template says ``publish: audited``, and the audit of another run is open.
    """
    pipeline = template.event_stream or template.scd_type2
    if pipeline is None:
        raise TableMismatchError(f"{template.path}: {template.table_name} has no pipeline that takes files.")
    source = pipeline.source
    folder = SourceFolder(settings.fill_in(source.path, f"{template.path}: source.path"), shown=source.path)
    failed: dict[str, str] = {}
    deadline: float | None = None
    while True:
        load = (attempt or FileLoad)(settings, catalog, template, source, folder, run_id, progress)
        try:
            result = load.run(skip=failed.keys())
            break
        except FilesFailedError as error:
            failed.update(error.failures)
            progress(f"{len(error.failures)} files cannot be taken; loading the others")
        except PlanOutdatedError as error:
            # From the first conflict on: how long the work itself takes does not count.
            deadline = deadline or time.monotonic() + settings.commit_timeout
            if time.monotonic() > deadline:
                raise
            progress(f"{error.reason}; planning again")
    failed.update((file.path, _CHANGED) for file in load.changed)
    if failed:
        raise _not_taken(template, failed, result)
    return result


class FilesFailedError(Exception):
    """Source files that cannot be taken; what was written meanwhile is deleted."""

    def __init__(self, failures: dict[str, str]) -> None:
        # As text: an exception would keep the data that its frames hold.
        self.failures = failures
        super().__init__(f"{len(failures)} files")


@dataclass
class Count:
    """What one source file brought."""

    rows: int = 0
    bad_rows: int = 0
    skipped_rows: int = 0
    days: set[date] = field(default_factory=set)
    examples: list[BadRow] = field(default_factory=list)


class FileLoad:
    """One attempt to append the new files of a folder.

    Attributes:
        changed: files that were taken with another content.
    """

    def __init__(
        self,
        settings: LakehouseSettings,
        catalog: Catalog,
        template: TableTemplate,
        source: Source,
        folder: SourceFolder,
        run_id: str,
        progress: Progress,
    ) -> None:
        self._settings, self._template, self._source, self._folder = settings, template, source, folder
        self._run_id, self._progress = run_id, progress
        self._batch_id = str(uuid.uuid4())
        self._audited = template.publish == "audited"
        self._root = root = f"{settings.warehouse_uri}/_lakehouse/ledger"
        self._table = load_table(catalog, template.table_name)
        self._schema_id = self._table.metadata.current_schema_id
        self._ledger = Ledger(self._table, root)
        self._quarantine = load_table(catalog, template.quarantine.table_name) if template.quarantine else None
        self._quarantine_ledger = Ledger(self._quarantine, root) if self._quarantine else None
        # A column that no template describes is hidden, too.
        hidden = frozenset(self._table.schema().column_names) - {column.name for column in template.columns if not column.hidden}
        self._target = self._open_target(hidden)
        self._counts: dict[SourceFile, Count] = {}
        self._unknown: list[str] = []
        self._seen = 0
        self.changed: list[SourceFile] = []

    def run(self, skip: Collection[str]) -> WriteResult:
        """Loads what is new, but for the paths in ``skip``.

        Raises:
            FilesFailedError: with further paths to skip; PlanOutdatedError: it is to be run anew.
        """
        if self._audited and (result := self._of_open_audit(skip)) is not None:
            return result
        selection = self._ledger.select(self._folder.list())
        self.changed = selection.changed
        files = [file for file in selection.new if file.path not in skip]
        self._progress(f"{self._template.table_name}: {len(files)} new source files, {selection.taken} taken before")
        if not files:
            return WriteResult(self._template.table_name)
        with ExitStack() as stack:
            stack.enter_context(self._target)
            bad_rows = None
            if self._quarantine is not None:
                hidden = frozenset(self._quarantine.schema().column_names)
                bad_rows = stack.enter_context(Append(self._settings, self._quarantine, hidden, self._settings.write_memory // 8))
            self._load_files(files, bad_rows)
            if bad_rows is not None:
                self._commit_quarantine(bad_rows, files)
            return self._commit(files)

    def _open_target(self, hidden: frozenset[str]) -> Target:
        if (pipeline := self._template.scd_type2) is not None:
            return MergeVersions(self._settings, self._table, hidden, pipeline, self._progress)
        return Append(self._settings, self._table, hidden, self._settings.write_memory)

    def _load_files(self, files: list[SourceFile], bad_rows: Target | None) -> None:
        """Takes the rows of files in: those that fit into the target, those that do not into the quarantine, where there is one.

        Raises:
            FilesFailedError: naming every file that cannot be taken.
        """
        for index, file in enumerate(files):
            try:
                self._load_file(file, self._target, bad_rows)
            except (SourceError, BadRowsError) as error:
                raise FilesFailedError({file.path: str(error), **self._check(files[index + 1 :])}) from None

    def _of_open_audit(self, skip: Collection[str]) -> WriteResult | None:
        """What this run did before it died or was stopped, if it waits in the open audit.

        Raises:
            AuditOpenError: the open audit is another run's.
            FilesFailedError: files beside those in the audit cannot be taken, as this run said before.
        """
        snapshot = audit_snapshot(self._table)
        if snapshot is None:
            return None
        properties = promised_properties(snapshot)
        if not self._run_id or summary_of(snapshot).get(RUN_ID) != self._run_id or LEDGER not in properties:
            check_no_audit(self._table)
        self._progress(f"{self._template.table_name}: this run's rows are in the open audit, snapshot {snapshot.snapshot_id}")
        ledger = Ledger(self._table, self._root, properties[LEDGER])
        selection = ledger.select(self._folder.list())
        self.changed = selection.changed
        # One that came meanwhile and is as it should be is left to the next run.
        if failures := self._check([file for file in selection.new if file.path not in skip]):
            raise FilesFailedError(failures)
        return result_of_audit(self._table, snapshot, ledger)

    def _load_file(self, file: SourceFile, target: Target | None, bad_rows: Target | None) -> None:
        """Takes a file's rows in, or, without a target, only looks whether it could be."""
        count, rules = Count(), self._target.rules
        self._counts[file] = count
        reader = FileReader(self._folder, file, self._source, rules.schema, rules.hidden, rules.skip_null, rules.judge)
        quarantined = self._quarantine_ledger is not None and self._quarantine_ledger.holds(file, self._schema_id)
        for rows in reader.rows():
            self._count(rows, count)
            if rows.bad and bad_rows is not None and not quarantined:
                bad_rows.write(self._quarantine_batch(file, rows.bad))
            if target is not None and not (count.bad_rows and self._quarantine is None):
                target.write(rows.batch)
            if count.bad_rows >= _MAX_BAD_ROWS and self._quarantine is None:
                break
        self._unknown = sorted({*self._unknown, *reader.unknown})
        if count.bad_rows and self._quarantine is None:
            error = BadRowsError(self._template.table_name, count.bad_rows, [str(row) for row in count.examples])
            raise SourceError(f"at least {error}") if count.bad_rows >= _MAX_BAD_ROWS else error

    def _check(self, files: list[SourceFile]) -> dict[str, str]:
        """The failures among further files, found without writing, so that one more attempt is enough."""
        failures: dict[str, str] = {}
        for file in files:
            try:
                self._load_file(file, None, None)
            except (SourceError, BadRowsError) as error:
                failures[file.path] = str(error)
        return failures

    def _count(self, rows: Rows, count: Count) -> None:
        count.rows += rows.batch.num_rows
        count.bad_rows += len(rows.bad)
        count.skipped_rows += rows.skipped
        count.examples += rows.bad[: _EXAMPLES - len(count.examples)]
        if self._target.rules.days is not None:
            days = pc.unique(rows.batch.column(self._target.rules.days).cast(pa.date32()))
            count.days.update(day for day in days.to_pylist() if day is not None)
        before, self._seen = self._seen, self._seen + rows.batch.num_rows
        if self._seen // _PROGRESS_ROWS > before // _PROGRESS_ROWS:
            self._progress(f"{self._template.table_name}: {self._seen:,} rows read from {len(self._counts)} files")

    def _quarantine_batch(self, file: SourceFile, bad: list[BadRow]) -> pa.RecordBatch:
        assert self._quarantine is not None
        now = datetime.now(UTC)
        rows = [
            {
                "source_file": file.path,
                "source_row": row.row,
                "reason": f"{row.column}: {row.reason}" if row.column else row.reason,
                "record": row.record,
                "batch_id": self._batch_id,
                "quarantined_at": now,
            }
            for row in bad
        ]
        return pa.RecordBatch.from_pylist(rows, arrow_schema(self._quarantine))

    def _taken(self, files: Iterable[SourceFile]) -> list[TakenFile]:
        now, counts = datetime.now(UTC), self._counts
        return [
            TakenFile(
                file,
                counts[file].rows,
                counts[file].bad_rows,
                counts[file].skipped_rows,
                format_days(counts[file].days),
                self._schema_id,
                self._batch_id,
                now,
            )
            for file in files
        ]

    def _commit_quarantine(self, bad_rows: Target, files: list[SourceFile]) -> None:
        """Commits bad rows before the good ones. Its own ledger keeps a rerun from doing it twice."""
        ledger = self._quarantine_ledger
        assert ledger is not None
        fresh = [file for file in files if self._counts[file].bad_rows and not ledger.holds(file, self._schema_id)]
        if fresh:
            bad_rows.commit(ledger, self._taken(fresh), self._batch())

    def _batch(self, days: str = "", skipped: int = 0, audited: bool = False) -> Batch:
        # The path as the template has it: what fills it in may be a credential.
        facts = {SKIPPED: str(skipped)} if skipped else {}
        return Batch(self._batch_id, self._run_id, self._source.path, days, facts, audited)

    def _commit(self, files: list[SourceFile]) -> WriteResult:
        counts = [self._counts[file] for file in files]
        days = format_days(day for count in counts for day in count.days)
        skipped = sum(count.skipped_rows for count in counts)
        done = self._target.commit(self._ledger, self._taken(files), self._batch(days, skipped, self._audited))
        return WriteResult(
            table=self._template.table_name,
            snapshot_id=done.snapshot.snapshot_id,
            audit=self._audited,
            rows=sum(count.rows for count in counts),
            bad_rows=sum(count.bad_rows for count in counts),
            skipped_rows=skipped,
            source_files=len(files),
            data_files=len(done.files),
            bytes=sum(file.file_size_in_bytes for file in done.files),
            days=done.days,
            unknown_columns=self._unknown,
            versions_opened=done.opened,
            versions_changed=done.changed,
        )


def _not_taken(template: TableTemplate, failed: dict[str, str], result: WriteResult) -> FilesNotTakenError:
    lines = "".join(f"\n  {path}: {error}" for path, error in sorted(failed.items()))
    done = f"The other {result.source_files} were committed, {result.rows:,} rows." if result.source_files else "Nothing was committed."
    done += " They are not published yet: their audit is open." if result.audit else ""
    return FilesNotTakenError(f"{len(failed)} source files of {template.table_name} were not taken:{lines}\n{done}", result)
