"""Days as text, and the column that says a row's day."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.days import day_ranges, format_days, parse_days
from lakehouse.pipelines import FeatureTablePipeline
from lakehouse.template import TableTemplate

NEAR = st.dates(date(2023, 12, 20), date(2024, 3, 10))


@given(st.lists(st.one_of(NEAR, st.dates())))
def test_parsing_is_the_inverse_of_formatting(days: list[date]) -> None:
    assert parse_days(format_days(days)) == sorted(set(days))
    ranges = day_ranges(days)
    assert ",".join(f"{first}" if first == last else f"{first}..{last}" for first, last in ranges) == format_days(days)


def test_days_as_text() -> None:
    days = [date(2024, 2, 1), date(2024, 1, 2), date(2024, 1, 1), date(2024, 1, 2), date(2024, 2, 29), date(2024, 3, 1)]
    assert format_days(days) == "2024-01-01..2024-01-02,2024-02-01,2024-02-29..2024-03-01"
    assert (format_days([]), parse_days("")) == ("", [])


@pytest.mark.parametrize("text", ["x", ",", "2024-01-01..", "2024-01-01...2024-01-02", "2024-1-1"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_days(text)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ([("made", "identity"), ("at", "day")], "at"),
        ([("key", "identity"), ("made", "identity")], "made"),
        ([("made", "month"), ("at", "hour")], "made"),
        ([("made", "bucket[4]"), ("key", "identity")], None),
        ([], None),
    ],
)
def test_the_event_time(spec: list[tuple[str, str]], expected: str | None) -> None:
    columns = [{"name": "key", "type": "string"}, {"name": "made", "type": "date"}, {"name": "at", "type": "timestamp"}]
    parts = [{"column": column, "transform": transform} for column, transform in spec]
    found = TableTemplate.model_validate({"name": "t", "namespace": "n", "columns": columns, "partition_spec": parts}).event_time
    assert (found.name if found else None) == expected


@pytest.mark.parametrize(
    ("window", "lookback", "expected"),
    [(None, "1m", (None, 1)), ("7d", "24h", (7, 1)), ("48h", "25h", (2, 2)), ("2w", "3d", (14, 3)), ("999999w", "1w", (6_999_993, 7))],
)
def test_durations_in_days(window: str | None, lookback: str, expected: tuple[int | None, int]) -> None:
    pipeline = FeatureTablePipeline.model_validate(
        {
            "pattern": "feature_table",
            "sql": "a.sql",
            "inputs": ["a"],
            "partitions": {"start": "2024-01-01"},
            "window": window,
            "lookback": lookback,
        }
    )
    assert (pipeline.window_days, pipeline.lookback_days) == expected
