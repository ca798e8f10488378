"""The runs that compute what is due of feature tables: none before that of an input that it needs.

A run computes its tables in the order in which they read one another, all of them the same days.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from lakehouse.days import day_ranges
from lakehouse.staleness import DueDays
from lakehouse.template import TableTemplate


@dataclass(frozen=True)
class FeatureRun:
    """One run: these tables, and all days from the first to the last."""

    tables: tuple[TableTemplate, ...]
    first: date
    last: date


@dataclass
class _Group:
    """Tables by name of which some read others; of each the days that wait for another table's, and those that are waited for."""

    templates: dict[str, TableTemplate]
    waiting: dict[str, set[date]]
    needed: dict[str, set[date]]

    @classmethod
    def of(cls, template: TableTemplate) -> _Group:
        return cls({template.table_name: template}, {template.table_name: set()}, {template.table_name: set()})

    def join(self, other: _Group) -> None:
        """Takes another one in, whose tables come first."""
        self.templates = {**other.templates, **self.templates}
        self.waiting |= other.waiting
        self.needed |= other.needed

    def days(self, name: str) -> set[date]:
        return self.waiting[name] | self.needed[name]


def plan_runs(due: DueDays, tables: Iterable[TableTemplate], in_flight: Mapping[str, Collection[date]]) -> list[FeatureRun]:
    """The runs for tables, each of which stands after its inputs. Left out are days that another run is about to compute.

    Where a day needs another table's that is neither among these nor can be computed in the same run, it waits until that is done.
    """
    planned: dict[str, set[date]] = {}
    groups: dict[str, _Group] = {}
    for template in tables:
        name, group = template.table_name, _Group.of(template)
        planned[name] = set()
        for day in due.of(template):
            before = list(due.before(template, day))
            if day in in_flight.get(name, ()) or any(other not in planned.get(table, ()) for table, other in before):
                continue
            planned[name].add(day)
            for table, other in before:
                group.waiting[name].add(day)
                if groups[table] is not group:
                    group.join(groups[table])
                    groups |= dict.fromkeys(group.templates, group)
                group.needed[table].add(other)
        groups[name] = group
    runs: list[FeatureRun] = []
    for group in {id(found): found for found in groups.values()}.values():
        for run in _together(group):
            for template in run.tables:
                planned[template.table_name] -= {day for day in planned[template.table_name] if run.first <= day <= run.last}
            runs.append(run)
        for name, template in group.templates.items():
            # What is left waits for no other table, or for one that has other partitions.
            alone = planned[name] - group.waiting[name]
            runs += [FeatureRun((template,), first, last) for first, last in day_ranges(alone)]
    return runs


def _together(group: _Group) -> Iterator[FeatureRun]:
    """The runs of several tables."""
    for first, last in _spans(group):
        tables = tuple(found for name, found in group.templates.items() if any(first <= day <= last for day in group.days(name)))
        if len(tables) > 1 and all(_has_partitions(template, first, last) for template in tables):
            yield FeatureRun(tables, first, last)


def _spans(group: _Group) -> Iterator[tuple[date, date]]:
    """First and last of days that have to be computed together: no table sees those of an earlier span on a later one's."""
    ranges = day_ranges(set[date]().union(*map(group.days, group.templates)))
    windows = [template.feature_table.window_days for template in group.templates.values() if template.feature_table]
    start = 0
    for index, (_, last) in enumerate(ranges):
        is_last = index + 1 == len(ranges)
        if is_last or all(window is not None and window <= (ranges[index + 1][0] - last).days for window in windows):
            yield ranges[start][0], last
            start = index + 1


def _has_partitions(template: TableTemplate, first: date, last: date) -> bool:
    assert template.feature_table is not None
    partitions = template.feature_table.partitions
    return partitions.first <= first and last <= (partitions.last or last)


def in_order(due: DueDays, tables: Sequence[TableTemplate]) -> list[TableTemplate]:
    """The tables, each after those that it reads."""
    ordered: dict[str, TableTemplate] = {}

    def add(template: TableTemplate) -> None:
        for found in due.scheduled_inputs(template):
            if found.table_name not in ordered:
                add(found)
        ordered[template.table_name] = template

    for template in tables:
        add(template)
    return [template for template in ordered.values() if template in tables]
