"""Small line charts, as the geometry of an SVG: how a number went over time. The number holds until the next commit: lines are steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 300, 96
_TOP, _BOTTOM, _SIDE = 8.0, 88.0, 4.0
_MOST_POINTS = 120  # more are not told apart at this width
_MOST_MARKS = 40


@dataclass(frozen=True)
class Mark:
    """A dot with a tip."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Chart:
    """One line.

    Attributes:
        name: what is counted; now: the newest number; highest: the largest one, which is the top of the chart.
        line, area: paths; marks: each commit, or where there are many, only the last.
        first, last: the times at both ends.
        summary: what the chart shows, in words.
    """

    name: str
    now: str
    highest: str
    line: str
    area: str
    marks: list[Mark]
    first: str
    last: str
    summary: str


def line_chart(name: str, points: Sequence[tuple[datetime, int]], until: datetime, text: Callable[[int], str]) -> Chart:
    """A chart of numbers at their times.

    Args:
        points: at least one, oldest first; numbers from 0 up.
        until: the chart's end; the last number holds until then.
        text: how a number is written.
    """
    shown = _thinned(points)
    start, end = shown[0][0], max(until, shown[-1][0])
    span, top = (end - start).total_seconds() or 1.0, max(value for _, value in points) or 1
    places = [
        (
            _SIDE + (WIDTH - 2 * _SIDE) * (at - start).total_seconds() / span,
            _BOTTOM - (_BOTTOM - _TOP) * value / top,
        )
        for at, value in shown
    ]
    line = f"M{_SIDE:g} {places[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in places) + f"H{WIDTH - _SIDE:g}"
    marks = [Mark(round(x, 1), round(y, 1), f"{_time(at)}: {text(value)}") for (x, y), (at, value) in zip(places, shown, strict=True)]
    lowest = min(value for _, value in points)
    day = "%Y-%m-%d" if start.date() != end.date() else "%Y-%m-%d %H:%M"
    return Chart(
        name=name,
        now=text(points[-1][1]),
        highest=text(max(value for _, value in points)),
        line=line,
        area=f"{line}V{_BOTTOM:g}H{_SIDE:g}Z",
        marks=marks if len(marks) <= _MOST_MARKS else marks[-1:],
        first=f"{start:{day}}",
        last=f"{end:{day}}",
        summary=f"{name} over {len(points)} {'commit' if len(points) == 1 else 'commits'}, from {_time(start)} to {_time(points[-1][0])}: "
        f"{text(points[0][1])} at first, {text(points[-1][1])} now, between {text(lowest)} and {text(max(value for _, value in points))}.",
    )


def _thinned(points: Sequence[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    """At most some of the points, the first and the last among them."""
    last, most = len(points) - 1, min(len(points), _MOST_POINTS)
    return [points[round(index * last / max(most - 1, 1))] for index in range(most)]


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
