"""UTC days as people and snapshot summaries write them: ``2024-01-01..2024-01-03,2024-02-01``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

_DAY = timedelta(days=1)


def format_days(days: Iterable[date]) -> str:
    """Days as ranges, in order, each day once."""
    ranges: list[list[date]] = []
    for day in sorted(set(days)):
        if ranges and day - ranges[-1][1] == _DAY:
            ranges[-1][1] = day
        else:
            ranges.append([day, day])
    return ",".join(f"{first}" if first == last else f"{first}..{last}" for first, last in ranges)
