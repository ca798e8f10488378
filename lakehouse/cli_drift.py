"""What ``lakehouse drift`` prints, and its exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from rich.text import Text

from lakehouse.drift_answers import State, TableDrift
from lakehouse.plan import CHANGES, FAILED, NOTHING

_STYLES: dict[State, str] = {"drifted": "yellow", "missing": "yellow", "unmanaged": "dim", "unreachable": "red", "not checked": "red"}


def lines(found: Sequence[TableDrift]) -> Iterator[Text]:
    """A line for each answer that is not "in step", and a summary of the tables' schemas."""
    for drift in found:
        if drift.state != "in step":
            yield Text(f"{drift.state:11} ", style=_STYLES[drift.state]).append(drift.message, style="default")
    counts = Counter(drift.state for drift in found if drift.aspect == "schema")
    states: tuple[State, ...] = ("in step", *_STYLES)
    yield Text(", ".join(f"{counts[state]} {state}" for state in states))


def as_json(found: Sequence[TableDrift]) -> dict[str, Any]:
    """What ``--json`` prints: ``version``, and in ``answers`` the attributes of every TableDrift with its ``message``."""
    answers = [{**{field.name: getattr(drift, field.name) for field in fields(drift)}, "message": drift.message} for drift in found]
    return {"version": 1, "answers": answers}


def exit_code(found: Sequence[TableDrift]) -> int:
    """As `plan`: 0 in step, 2 drifted or missing, 1 where something is not known. An unmanaged table alone is no failure."""
    states = {drift.state for drift in found}
    if states & {"unreachable", "not checked"}:
        return FAILED
    return CHANGES if states & {"drifted", "missing"} else NOTHING
