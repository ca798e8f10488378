"""Schedules from the templates' ``cron``: one for each distinct expression, so that a thousand tables load as fast as ten."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from dagster import AssetKey, AssetSelection, DefaultScheduleStatus, ScheduleDefinition

from dagster_project.assets.common import asset_key
from lakehouse.template import TableTemplate

_WORDS = {"*": "every", "/": "by", ",": "and", "-": "to", "#": "nth"}


def build_schedules(templates: Iterable[TableTemplate], status: Literal["running", "stopped"]) -> list[ScheduleDefinition]:
    """Schedules in UTC, running or stopped at the start, each for all event streams with its cron expression."""
    tables: dict[str, list[AssetKey]] = defaultdict(list)
    for template in templates:
        pipeline = template.event_stream
        if pipeline is not None and pipeline.cron is not None:
            tables[" ".join(pipeline.cron.split())].append(asset_key(template))
    return [
        ScheduleDefinition(
            name=schedule_name(cron),
            cron_schedule=cron,
            target=AssetSelection.assets(*keys),
            execution_timezone="UTC",
            default_status=DefaultScheduleStatus[status.upper()],
        )
        for cron, keys in sorted(tables.items())
    ]


def schedule_name(cron: str) -> str:
    """``"0 * * * *"`` as ``cron_0_every_every_every_every``."""
    words = re.sub(r"[*/,#-]", lambda match: f"_{_WORDS[match.group()]}_", cron)
    return "cron_" + re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_")
