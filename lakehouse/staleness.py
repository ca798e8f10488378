"""Which days of a feature table are to be computed: those never computed, and those whose inputs have changed since.

Only metadata is read: what each commit says of itself in its snapshot's summary.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot, ancestors_of

from lakehouse.catalog import load_table
from lakehouse.commit import BATCH_ID, DAYS, INPUTS
from lakehouse.days import DAY, parse_days
from lakehouse.pipelines import FeatureTablePipeline
from lakehouse.template import TableTemplate


def due_days(catalog: Catalog, template: TableTemplate, inputs: Sequence[TableTemplate], today: date) -> list[date]:
    """The days before ``today`` within the template's lookback that a run is to compute, in order."""
    pipeline = template.feature_table
    assert pipeline is not None
    candidates = _candidates(pipeline, today)
    if not candidates:
        return []
    computed = _computed_from(load_table(catalog, template.table_name), set(candidates))
    histories = {found.table_name: _History(load_table(catalog, found.table_name)) for found in inputs}
    windows = {found.table_name: None if found.scd_type2 else pipeline.window_days for found in inputs}
    return [
        day
        for day in candidates
        if day not in computed
        or any(history.touches_since(computed[day].get(name), day, windows[name]) for name, history in histories.items())
    ]


class _History:
    """A table's snapshots, newest first, and what each changed."""

    def __init__(self, table: Table) -> None:
        self._snapshots = _history(table)
        # None: any day. A snapshot's oldest ancestors are gone once they have expired.
        self._days = [_touched(snapshot) for snapshot in self._snapshots]
        self._is_whole = not self._snapshots or self._snapshots[-1].parent_snapshot_id is None

    def touches_since(self, snapshot_id: str | None, day: date, window: int | None) -> bool:
        """Whether rows that a day's features see were changed after this snapshot: empty for none, None where it is not known."""
        if snapshot_id is None:
            return True
        for snapshot, days in zip(self._snapshots, self._days, strict=True):
            if str(snapshot.snapshot_id) == snapshot_id:
                return False
            if days is None or any(found <= day and (window is None or (day - found).days < window) for found in days):
                return True
        return snapshot_id != "" or not self._is_whole


def _candidates(pipeline: FeatureTablePipeline, today: date) -> list[date]:
    """The full days of the lookback that are partitions."""
    last = min(today - DAY, pipeline.partitions.last or date.max)
    count = min(pipeline.lookback_days - (today - DAY - last).days, (last - pipeline.partitions.first).days + 1)
    return [last - timedelta(days=index) for index in reversed(range(max(0, count)))]


def _computed_from(table: Table, days: set[date]) -> dict[date, dict[str, str]]:
    """The inputs' snapshots from which each day was computed last."""
    found: dict[date, dict[str, str]] = {}
    for snapshot in _history(table):
        summary = snapshot.summary.additional_properties if snapshot.summary else {}
        if INPUTS not in summary:
            continue
        for day in days & set(parse_days(summary.get(DAYS, ""))) - found.keys():
            found[day] = json.loads(summary[INPUTS])
        if len(found) == len(days):
            break
    return found


def _history(table: Table) -> list[Snapshot]:
    """The snapshots that led to the newest, itself first. What was rolled back is not among them."""
    return list(ancestors_of(table.current_snapshot(), table.metadata))


def _touched(snapshot: Snapshot) -> set[date] | None:
    """The days whose rows a snapshot changed; None where it does not say so."""
    if snapshot.summary is None:
        return None
    summary = snapshot.summary.additional_properties
    if snapshot.summary.operation == Operation.REPLACE:  # a compaction: the same rows in other files
        return set()
    if DAYS in summary:
        return set(parse_days(summary[DAYS]))
    # One of ours that only says which files were taken, none of whose rows fitted. What others write may not count rows.
    changed = BATCH_ID not in summary or any(int(summary.get(key, 0)) for key in ("added-records", "deleted-records"))
    return None if changed else set()
