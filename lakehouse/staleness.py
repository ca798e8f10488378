"""Which days of feature tables are to be computed: those never computed, and those whose inputs have changed since.

Only metadata is read: what each commit says of itself in its snapshot's summary.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import date, timedelta

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot

from lakehouse.catalog import load_table
from lakehouse.days import DAY, parse_days
from lakehouse.history import BATCH_ID, DAYS, INPUTS, ancestors, summary_of
from lakehouse.template import TableTemplate


class DueDays:
    """The days before ``today`` that are due, of each feature table; every table's history is read once.

    An input that is a feature table with a schedule is to be computed first: its due days count as changed.
    """

    def __init__(self, catalog: Catalog, templates: Mapping[str, TableTemplate], today: date) -> None:
        self._catalog, self._templates, self._today = catalog, templates, today
        self._histories: dict[str, _History] = {}
        self._found: dict[str, list[date]] = {}

    def of(self, template: TableTemplate) -> list[date]:
        """The days, in order, that a run is to compute: of the lookback, and of those of such inputs."""
        if template.table_name not in self._found:
            self._found[template.table_name] = self._look(template)
        return self._found[template.table_name]

    def scheduled_inputs(self, template: TableTemplate) -> list[TableTemplate]:
        """The inputs of a feature table that are feature tables with a schedule."""
        return [found for found in template.input_templates(self._templates) if found.feature_table and found.feature_table.cron]

    def before(self, template: TableTemplate, day: date) -> Iterator[tuple[str, date]]:
        """Table and day of what is due and has to be computed before this day of a feature table."""
        for found in self.scheduled_inputs(template):
            yield from ((found.table_name, due) for due in self.of(found) if sees(template, due, day))

    def _look(self, template: TableTemplate) -> list[date]:
        candidates = self._candidates(template)
        if not candidates:
            return []
        computed = _computed_from(load_table(self._catalog, template.table_name), set(candidates))
        due = {day for day in candidates if day not in computed or any(self.before(template, day))}
        for found in template.input_templates(self._templates):
            name = found.table_name
            seen_from = {day: computed[day].get(name) for day in candidates if day not in due}
            window = template.feature_table.window_days if template.feature_table and not found.scd_type2 else None
            if name not in self._histories:
                self._histories[name] = _History(load_table(self._catalog, name))
            due |= self._histories[name].touched_since(seen_from, window)
        return sorted(due)

    def _candidates(self, template: TableTemplate) -> list[date]:
        """The full days of the lookback that are partitions."""
        assert template.feature_table is not None
        partitions, yesterday = template.feature_table.partitions, self._today - DAY
        last = min(yesterday, partitions.last or date.max)
        count = min(self._lookback(template) - (yesterday - last).days, (last - partitions.first).days + 1)
        return [last - timedelta(days=index) for index in reversed(range(max(0, count)))]

    def _lookback(self, template: TableTemplate) -> int:
        """In days, with those of its inputs: what they compute late is seen later still."""
        assert template.feature_table is not None
        return template.feature_table.lookback_days + max(map(self._lookback, self.scheduled_inputs(template)), default=0)


def sees(template: TableTemplate, changed: date, day: date) -> bool:
    """Whether a day's features see another day of an input other than scd_type2."""
    window = template.feature_table.window_days if template.feature_table else None
    return _sees(changed, day, window)


def _sees(changed: date, day: date, window: int | None) -> bool:
    return changed <= day and (window is None or (day - changed).days < window)


class _History:
    """A table's snapshots, newest first, and what each changed; no more of them than are asked for."""

    def __init__(self, table: Table) -> None:
        self._coming = ancestors(table)
        self._known: list[tuple[str, list[date] | None]] = []
        self._ids = {str(snapshot.snapshot_id) for snapshot in table.metadata.snapshots}
        # A snapshot's oldest ancestors are gone once they have expired.
        self._is_whole = True

    def touched_since(self, snapshots: Mapping[date, str | None], window: int | None) -> set[date]:
        """The days, of those given, whose features see rows that were changed after a snapshot: empty for none, None if unknown."""
        touched = {day for day, snapshot in snapshots.items() if snapshot is None or (snapshot and snapshot not in self._ids)}
        left = {day: snapshot for day, snapshot in snapshots.items() if day not in touched}
        by_snapshot = set(left.values())
        for snapshot_id, changed in self._walk():
            if not left:
                return touched
            if snapshot_id in by_snapshot:
                left = {day: snapshot for day, snapshot in left.items() if snapshot != snapshot_id}
            if changed is None:
                return touched | left.keys()
            if changed and left and changed[0] <= max(left):
                found = {day for day in left if any(_sees(other, day, window) for other in changed)}
                touched |= found
                left = {day: snapshot for day, snapshot in left.items() if day not in found}
        return touched | {day for day, snapshot in left.items() if snapshot or not self._is_whole}

    def _walk(self) -> Iterator[tuple[str, list[date] | None]]:
        yield from self._known
        for snapshot in self._coming:
            # PyIceberg's expiry leaves no parent either.
            self._is_whole = snapshot.parent_snapshot_id is None and _rows_before(snapshot) == 0
            self._known.append((str(snapshot.snapshot_id), _touched(snapshot)))
            yield self._known[-1]


def _computed_from(table: Table, days: Collection[date]) -> dict[date, dict[str, str]]:
    """The inputs' snapshots from which each day was computed last."""
    found: dict[date, dict[str, str]] = {}
    for snapshot in ancestors(table):
        summary = summary_of(snapshot)
        if INPUTS not in summary:
            continue
        inputs: dict[str, str] | None = None
        for day in parse_days(summary.get(DAYS, "")):
            if day in days and day not in found:
                inputs = inputs or json.loads(summary[INPUTS])
                found[day] = inputs or {}
        if len(found) == len(days):
            break
    return found


def _rows_before(snapshot: Snapshot) -> int | None:
    """How many rows the table had before a snapshot; None where it does not say so."""
    summary = summary_of(snapshot)
    if "total-records" not in summary:
        return None
    return int(summary["total-records"]) - int(summary.get("added-records", 0)) + int(summary.get("deleted-records", 0))


def _touched(snapshot: Snapshot) -> list[date] | None:
    """The days whose rows a snapshot changed, in order; None for any, where it does not say so."""
    if snapshot.summary is None:
        return None
    summary = snapshot.summary.additional_properties
    if snapshot.summary.operation == Operation.REPLACE:  # a compaction: the same rows in other files
        return []
    if DAYS in summary:
        return parse_days(summary[DAYS])
    # One of ours that only says which files were taken, none of whose rows fitted. What others write may not count rows.
    changed = BATCH_ID not in summary or any(int(summary.get(key, 0)) for key in ("added-records", "deleted-records"))
    return None if changed else []
