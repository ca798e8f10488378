"""An event stream for the tests of maintenance, and what they look at."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.maintenance.report import STEPS, Step, StepReport, TableReport
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse

EVENTS = """\
    name: events
    namespace: lake
    columns:
      - {name: id, type: long, required: true}
      - {name: at, type: timestamptz}
      - {name: text, type: string, pii: true}
    partition_spec: [{column: at, transform: day}]
    sort_order: [{column: id, direction: desc}]
    pipeline:
      pattern: event_stream
      source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}
    maintenance: {keep_snapshots: 1d, keep_at_least: 1}
"""
LATER = timedelta(days=30)


def events(lakehouse: Lakehouse, text: str = EVENTS) -> TableTemplate:
    """The table ``lake.events``."""
    return lakehouse.template(text)


def take(lakehouse: Lakehouse, template: TableTemplate, *ids: int, run_id: str = "test") -> None:
    """One run that takes one file with events of these ids, on two days."""
    number = len(list(lakehouse.landing.iterdir()))
    lines = [json.dumps({"id": id_, "at": f"2024-01-0{1 + id_ % 2}T0{id_ % 10}:00:00Z", "text": f"secret-{id_}"}) for id_ in ids]
    lakehouse.land(f"{number:05}.jsonl", "\n".join(lines))
    lakehouse.run(template, run_id)


def maintained(
    lakehouse: Lakehouse, *templates: TableTemplate, steps: Collection[Step] = STEPS, later: timedelta = timedelta(0), **options: Any
) -> list[TableReport]:
    """What maintenance does, as if it was ``later``."""
    options = {"dry_run": False, "progress": lakehouse.messages.append, **options}
    return list(lakehouse.engine.maintain(templates, steps, now=datetime.now(UTC) + later, **options))


def step(lakehouse: Lakehouse, template: TableTemplate, name: Step, later: timedelta = timedelta(0), **options: Any) -> StepReport:
    """What one step does to one table."""
    report = maintained(lakehouse, template, steps=[name], later=later, **options)[0]
    return next(found for found in report.steps if found.step == name)


def actions(report: TableReport) -> dict[str, str]:
    return {found.step: found.action for found in report.steps}


def ids(lakehouse: Lakehouse, snapshot_id: int | None = None, table: str = "lake.events") -> list[int]:
    """The ids that readers see, now or as of a snapshot."""
    return sorted(lakehouse.table(table).scan(snapshot_id=snapshot_id).to_arrow()["id"].to_pylist())


def files_of(lakehouse: Lakehouse) -> set[str]:
    """Every file below the warehouse, but the catalog's own."""
    return {
        str(path) for path in Path(lakehouse.settings.warehouse).rglob("*") if path.is_file() and not path.name.startswith("catalog.db")
    }
