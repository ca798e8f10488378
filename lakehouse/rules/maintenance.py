"""How a table is kept healthy."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyiceberg.types import DateType, TimestampType, TimestamptzType

from lakehouse.pipelines import parse_duration
from lakehouse.rules.base import Context, Rule, Violation, typed
from lakehouse.template import RETENTION_PATTERN, TableTemplate

_PATH = ("maintenance", "retention")


class Retention(Rule):
    """A retention names a date or timestamp column; of versions, the one that says when they ended."""

    id = "retention"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        retention = template.maintenance.retention
        if retention is None:
            return
        if not re.fullmatch(RETENTION_PATTERN, retention):
            yield Violation(
                _PATH, f"`{retention}` is not a retention.", "Write how old rows may become, by which column: 400d on event_time."
            )
            return
        column = typed(template).get(template.maintenance.retention_column or "")
        if column is None:  # another rule's finding
            return
        if not isinstance(column.iceberg_type, DateType | TimestampType | TimestamptzType):
            message = f"`{column.name}` is a {column.type}."
            yield Violation(_PATH, message, "Name a column of the type date, timestamp or timestamptz.")
        if template.scd_type2 is not None and column.name != "valid_to":
            message = f"by `{column.name}`, versions that still hold would be deleted."
            yield Violation(_PATH, message, "Write valid_to: a version is as old as its end.")


class SnapshotsForFeatures(Rule):
    """A feature table remembers for its lookback what its days were computed from."""

    id = "keep-snapshots"
    severity = "warning"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if template.feature_table is None or not template.is_maintained:
            return
        try:
            kept, lookback = (parse_duration(text) for text in (template.maintenance.keep_snapshots, template.feature_table.lookback))
        except (KeyError, ValueError):  # another rule's finding
            return
        if kept < lookback:
            message = (
                f"snapshots expire before the lookback of {template.feature_table.lookback} is over: its days are computed again each time."
            )
            yield Violation(("maintenance", "keep_snapshots"), message, f"Keep them for {template.feature_table.lookback} at least.")
