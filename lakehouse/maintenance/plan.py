"""What maintenance would do to tables, or does: step after step, of each table for itself.

The order matters: rows past retention are not compacted first, files go only when no snapshot has them, and not before whatever points
at the table was moved. A step that was killed has lost nothing; the next run finds what is left to do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import FileScanTask, Table
from pyiceberg.utils.properties import property_as_bool

from lakehouse.catalog import load_table
from lakehouse.errors import CommitConflictError, LakehouseError
from lakehouse.history import audit_snapshot
from lakehouse.maintenance.compact import Rewrite, bins_of, commits_of, compact, rewrite_here, target_size
from lakehouse.maintenance.deletes import plan_files
from lakehouse.maintenance.expire import expirable, expire
from lakehouse.maintenance.live import metadata_at
from lakehouse.maintenance.orphans import Neighbours, OrphanFiles
from lakehouse.maintenance.replace import PATIENCE, Labels
from lakehouse.maintenance.report import STEPS, Step, StepReport, TableReport
from lakehouse.maintenance.retention import delete_rows, past_retention
from lakehouse.pointers import follow_commit, open_pointers
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate, with_quarantine

NESSIE = "all of Nessie's branches and tags together say what is live. Use its own collector, nessie-gc: docs/maintenance.md"


def maintain(
    settings: LakehouseSettings,
    catalog: Catalog,
    templates: Iterable[TableTemplate],
    steps: Collection[Step] = STEPS,
    dry_run: bool = True,
    run_id: str = "maintenance",
    progress: Callable[[str], None] = lambda _: None,
    now: datetime | None = None,
    rewrite: Rewrite | None = None,
) -> Iterator[TableReport]:
    """Maintains tables, and their quarantine tables. What fails of one hides no other.

    Args:
        dry_run: nothing is changed.
        run_id: stands in the snapshots that are made.
        now: by what ages are told; default: the present.
        rewrite: how small files become one; default: in this process. What else there is to do touches few rows or none.
    """
    rewrite = rewrite or partial(rewrite_here, memory=settings.write_memory)
    templates, now = list(templates), now or datetime.now(UTC)
    neighbours = Neighbours(settings, catalog, templates)
    for template in with_quarantine(templates):
        run = _TableRun(settings, catalog, template, dry_run, run_id, progress, now, neighbours, rewrite)
        yield TableReport(template.table_name, list(run.reports(steps)))


@dataclass
class _TableRun:
    settings: LakehouseSettings
    catalog: Catalog
    template: TableTemplate
    dry_run: bool
    run_id: str
    progress: Callable[[str], None]
    now: datetime
    neighbours: Neighbours
    rewrite: Rewrite
    expires: bool = False

    def reports(self, steps: Collection[Step]) -> Iterator[StepReport]:
        """One for each step, in their order, and one for the pointer where it could not be moved."""
        methods: dict[Step, Callable[[], StepReport]] = {
            "retention": self._retention,
            "compact": self._compact,
            "expire": self._expire,
            "orphans": self._orphans,
        }
        wanted = [step for step in STEPS if step in steps]
        if (missing := _attempt(wanted[0], lambda: StepReport(wanted[0], "nothing", self._load().location()))).action == "failed":
            yield missing  # once is enough
            return
        for step in [found for found in wanted if found != "orphans"]:
            yield _attempt(step, methods[step])
        if not self.dry_run:
            moved = _attempt("pointer", self._follow)
            if moved.action == "failed":
                yield moved
                if "orphans" in wanted:
                    yield StepReport("orphans", "skipped", "what points at the table may still name files")
                return
        if "orphans" in wanted:
            yield _attempt("orphans", self._orphans)

    def _load(self) -> Table:
        return load_table(self.catalog, self.template.table_name)

    @property
    def _hidden(self) -> frozenset[str]:
        columns = {field.name for field in self._load().schema().fields}
        return frozenset(columns - {column.name for column in self.template.columns if not column.hidden})

    def _retention(self) -> StepReport:
        retention = self.template.maintenance.retention
        if retention is None:
            return StepReport("retention", "nothing")
        table = self._load()
        if (reason := _not_written(table)) is not None:
            return StepReport("retention", "skipped", reason)
        past = past_retention(table, retention, self.now)
        if not past.rows:
            return StepReport("retention", "nothing")
        action: Literal["planned", "done"] = "planned"
        left = 0
        if not self.dry_run:
            made = delete_rows(table, past, self.settings.write_memory, self._hidden, Labels(self.run_id, "retention"))
            action, planned = "done", len(past.tasks)
            past = past.of({task.file.file_path for found in made for task in found.tasks})
            left = planned - len(past.tasks)
        size = sum(task.file.file_size_in_bytes for task in past.tasks)
        detail = f"{past.rows:,} rows with {past.column} before {past.before:%Y-%m-%d %H:%M} UTC"
        detail += f"; {len(past.partly)} of {len(past.tasks)} files are written anew" if past.partly else f"; {len(past.whole)} files go"
        if left:
            detail += f"; {left} others were changed meanwhile, and are left to the next run"
        return StepReport("retention", action, detail, rows=past.rows, files=len(past.tasks), bytes=size)

    def _compact(self) -> StepReport:
        if not self.template.maintenance.compact:
            return StepReport("compact", "skipped", "its template says so")
        table = self._load()
        if (reason := _not_written(table)) is not None:
            return StepReport("compact", "skipped", reason)
        bins = bins_of(table, plan_files(table))
        files, size = sum(len(found.tasks) for found in bins), sum(found.bytes for found in bins)
        if not bins:
            return StepReport("compact", "nothing")
        if self.dry_run:
            return StepReport("compact", "planned", f"{files:,} files become {len(bins):,}", files=files, bytes=size)
        return self._rewrite(table, list(commits_of(bins, target_size(table))))

    def _rewrite(self, table: Table, groups: list[Any]) -> StepReport:
        before: list[FileScanTask] = []
        written, given_way = 0, list[str]()
        hidden, labels = self._hidden, Labels(self.run_id, "compact")
        for index, group in enumerate(groups):
            planned = sum(len(found.tasks) for found in group)
            try:
                made = compact(table, group, hidden, labels, self.rewrite)
            except CommitConflictError as error:
                given_way.append(f"{planned} files are left as they are: {error}")
                self.progress(f"{self.template.table_name}: {given_way[-1]}")
            else:
                before += [task for found in made for task in found.tasks]
                written += sum(len(found.added) for found in made)
                if left := planned - sum(len(found.tasks) for found in made):
                    given_way.append(f"{left} files are left as they are: others changed them meanwhile.")
                self.progress(f"{self.template.table_name}: commit {index + 1} of {len(groups)}, {len(before):,} files became {written:,}")
            table = self._load()
        detail = " ".join([f"{len(before):,} files became {written:,}.", *given_way])
        size = sum(task.file.file_size_in_bytes for task in before)
        return StepReport("compact", "done" if before else "skipped", detail, files=len(before), bytes=size)

    def _expire(self) -> StepReport:
        if self.settings.backend == "aws-nessie":
            return StepReport("expire", "skipped", NESSIE)
        table = self._load()
        if not _collects(table):
            return StepReport("expire", "skipped", "the table property gc.enabled is false: its files may be others', too")
        self.expires = True
        found = expirable(table.metadata, self.template.maintenance, self.now)
        if not found:
            return StepReport("expire", "nothing")
        kept = len(table.metadata.snapshots) - len(found)
        if not self.dry_run:
            expire(table, self.template.maintenance, self.now, PATIENCE)
        detail = f"{len(found):,} snapshots, of {len(found) + kept:,}"
        return StepReport("expire", "planned" if self.dry_run else "done", detail, snapshots=len(found))

    def _follow(self) -> StepReport:
        follow_commit(self.settings, self.catalog, self.template)
        return StepReport("pointer", "done")

    def _orphans(self) -> StepReport:
        if self.settings.backend == "aws-nessie":
            return StepReport("orphans", "skipped", NESSIE)
        if not self.template.maintenance.remove_orphans:
            return StepReport("orphans", "skipped", "its template says so")
        table = self._load()
        if not _collects(table):
            return StepReport("orphans", "skipped", "the table property gc.enabled is false: its files may be others', too")
        orphans = OrphanFiles(table, self.settings, self.now - timedelta(hours=self.settings.orphan_age_hours))
        # A dry run counts what an expiry would leave.
        going = expirable(table.metadata, self.template.maintenance, self.now) if self.dry_run and self.expires else []
        orphans.live.add_metadata(table.metadata, table.metadata_location, {snapshot.snapshot_id for snapshot in going})
        self._add_pointed_at(orphans, table)
        found = orphans.find()
        if not found.files:
            return StepReport("orphans", "nothing")
        self.neighbours.check(table)
        if self.dry_run:
            return StepReport("orphans", "planned", files=found.files, bytes=found.bytes)
        # What was committed since, of files that are old by now, and what was pointed at since.
        fresh = self._load()
        if fresh.metadata.table_uuid != table.metadata.table_uuid:
            raise CommitConflictError(f"{self.template.table_name} was replaced meanwhile. Do this again.")
        orphans.live.add_metadata(fresh.metadata, fresh.metadata_location)
        self._add_pointed_at(orphans, fresh)
        deleted = orphans.delete(self.progress)
        return StepReport("orphans", "done", files=deleted.files, bytes=deleted.bytes)

    def _add_pointed_at(self, orphans: OrphanFiles, table: Table) -> None:
        """Counts as live what another version of the metadata names, if something that readers query still names it."""
        pointers = open_pointers(self.settings)
        pointer = pointers.read(self.template.table_name) if pointers is not None else None
        location = pointer.metadata_location if pointer is not None else None
        if location is not None and location != table.metadata_location:
            orphans.live.add_metadata(metadata_at(table.io, location), location)


def _attempt(step: Step | Literal["pointer"], method: Callable[[], StepReport]) -> StepReport:
    try:
        return method()
    except LakehouseError as error:
        return StepReport(step, "failed", str(error))
    except pa.ArrowException as error:
        kind = type(error).__name__
        return StepReport(step, "failed", f"{kind}: rows of a file do not fit the table. Arrow's message may show values, and is left out.")
    except Exception as error:
        return StepReport(step, "failed", f"{type(error).__name__}: {error}")


def _not_written(table: Table) -> str | None:
    """Why maintenance writes no rows of a table; None where it does."""
    if audit_snapshot(table) is not None:
        name = ".".join(table.name())
        return f"it has an open audit, which would be outdated: lakehouse audit show {name}"
    if table.metadata.format_version > 2:
        return f"it is of Iceberg's format version {table.metadata.format_version}, which PyIceberg does not write"
    return None


def _collects(table: Table) -> bool:
    # Source: https://iceberg.apache.org/docs/latest/configuration/#table-behavior-properties
    return property_as_bool(table.properties, "gc.enabled", True)
