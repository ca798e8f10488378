"""UTC days: as people and snapshot summaries write them (``2024-01-01..2024-01-03,2024-02-01``), and as tables keep them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform, TimeTransform
from pyiceberg.types import DateType, NestedField

DAY = timedelta(days=1)


def format_days(days: Iterable[date]) -> str:
    """Days as ranges, in order, each day once."""
    return ",".join(f"{first}" if first == last else f"{first}..{last}" for first, last in day_ranges(days))


def parse_days(text: str) -> list[date]:
    """The days of a text that ``format_days`` wrote, in order. Raises ValueError for any other."""
    days: list[date] = []
    for part in text.split(",") if text else ():
        first, separator, last = part.partition("..")
        start, end = date.fromisoformat(first), date.fromisoformat(last if separator else first)
        days += [start + DAY * index for index in range((end - start).days + 1)]
    return days


def day_ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Days as first and last of each run of days without a gap."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and day - ranges[-1][1] == DAY:
            ranges[-1] = ranges[-1][0], day
        else:
            ranges.append((day, day))
    return ranges


def event_time(schema: Schema, spec: PartitionSpec) -> NestedField | None:
    """The column that says when a row's event was: the first that the table is partitioned by as a time, else as a date."""
    sources = [(part.transform, schema.find_field(part.source_id)) for part in spec.fields]
    times = [field for transform, field in sources if isinstance(transform, TimeTransform)]
    dates = [field for transform, field in sources if isinstance(transform, IdentityTransform) and isinstance(field.field_type, DateType)]
    return next(iter([*times, *dates]), None)
