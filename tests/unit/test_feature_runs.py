"""Which runs compute what is due of feature tables that read one another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.feature_runs import plan_runs
from lakehouse.staleness import sees
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from lakehouse.staleness import DueDays

START = date(2024, 1, 1)
Table = tuple[set[int], int | None, int, set[int], set[int]]
DAYS = st.sets(st.integers(0, 9), max_size=6)
# What it reads of the tables before it, its window, its first partition, its due days, those that a run computes already.
TABLE = st.tuples(
    st.sets(st.integers(0, 3)), st.sampled_from([None, 1, 3]), st.integers(0, 4), DAYS, st.sets(st.integers(0, 9), max_size=1)
)


class Due:
    """Tables with these days; each reads some of those before it. As DueDays has it, what reads a due day is due, too."""

    def __init__(self, tables: list[Table]) -> None:
        self.templates: list[TableTemplate] = []
        self.reads: dict[str, list[str]] = {}
        self.days: dict[str, list[date]] = {}
        self.in_flight: dict[str, set[date]] = {}
        for number, (reads, window, first, days, in_flight) in enumerate(tables):
            pipeline = {
                "pattern": "feature_table",
                "sql": "a.sql",
                "inputs": ["a"],
                "partitions": {"start": (START + timedelta(days=first)).isoformat()},
                "window": window and f"{window}d",
            }
            template = TableTemplate.model_validate(
                {"name": f"t{number}", "namespace": "n", "columns": [{"name": "day", "type": "date"}], "pipeline": pipeline}
            )
            name = template.table_name
            self.reads[name] = [f"n.t{other}" for other in sorted(reads) if other < number]
            every = [START + timedelta(days=day) for day in range(first, 10)]
            self.days[name] = [day for day in every if (day - START).days in days or any(self.before(template, day))]
            self.in_flight[name] = {START + timedelta(days=day) for day in in_flight}
            self.templates.append(template)

    def of(self, template: TableTemplate) -> list[date]:
        return self.days[template.table_name]

    def before(self, template: TableTemplate, day: date) -> Iterator[tuple[str, date]]:
        for name in self.reads[template.table_name]:
            yield from ((name, other) for other in self.days[name] if sees(template, other, day))


@given(st.lists(TABLE, min_size=1, max_size=4))
def test_no_day_is_computed_before_what_it_needs_and_none_is_forgotten(tables: list[Table]) -> None:
    due = Due(tables)
    runs = plan_runs(cast("DueDays", due), due.templates, due.in_flight)
    computed: dict[tuple[str, date], int] = {}
    for number, run in enumerate(runs):
        names = [template.table_name for template in run.tables]
        assert not any(other in due.reads[name] for index, name in enumerate(names) for other in names[index:])
        for template in run.tables:
            assert template.feature_table is not None
            assert template.feature_table.partitions.first <= run.first
            for index in range((run.last - run.first).days + 1):
                key = (template.table_name, run.first + timedelta(days=index))
                assert key not in computed
                computed[key] = number
    for template in due.templates:
        name = template.table_name
        for day in due.of(template):
            before = list(due.before(template, day))
            if (name, day) in computed and day not in due.in_flight[name] and all(key in computed for key in before):
                assert {computed[key] for key in before} <= {computed[name, day]}
            elif not before and day not in due.in_flight[name]:
                assert (name, day) in computed
