"""Schedules from the templates' ``cron``: one for each distinct expression, so that a thousand tables load as fast as ten.

Those of event streams and dimensions run their assets as they are. Those of feature tables look first which days are to
be computed: a day that is over, and each of the lookback whose inputs have changed since it was computed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date
from typing import Literal

from dagster import (
    AssetKey,
    AssetSelection,
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
)
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from dagster_project.assets.common import asset_key
from lakehouse.catalog import open_catalog
from lakehouse.days import day_ranges
from lakehouse.settings import LakehouseSettings
from lakehouse.staleness import due_days
from lakehouse.template import TableTemplate

_WORDS = {"*": "every", "/": "by", ",": "and", "-": "to", "#": "nth"}


def build_schedules(templates: Iterable[TableTemplate], status: Literal["running", "stopped"]) -> list[ScheduleDefinition]:
    """Schedules in UTC, running or stopped at the start, each for all tables of its kind with its cron expression."""
    by_table = {template.table_name: template for template in templates}
    plain: dict[str, list[AssetKey]] = defaultdict(list)
    features: dict[str, list[TableTemplate]] = defaultdict(list)
    for template in by_table.values():
        pipeline = template.event_stream or template.pipeline
        if pipeline is None or pipeline.cron is None:
            continue
        cron = " ".join(pipeline.cron.split())
        if template.feature_table is not None:
            features[cron].append(template)
        else:
            plain[cron].append(asset_key(template))
    default_status = DefaultScheduleStatus[status.upper()]
    return [
        *(
            ScheduleDefinition(
                name=schedule_name(cron),
                cron_schedule=cron,
                target=AssetSelection.assets(*keys),
                execution_timezone="UTC",
                default_status=default_status,
            )
            for cron, keys in sorted(plain.items())
        ),
        *(_feature_schedule(cron, tables, by_table, default_status) for cron, tables in sorted(features.items())),
    ]


def schedule_name(cron: str) -> str:
    """``"0 * * * *"`` as ``cron_0_every_every_every_every``."""
    words = re.sub(r"[*/,#-]", lambda match: f"_{_WORDS[match.group()]}_", cron)
    return "cron_" + re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_")


def _feature_schedule(
    cron: str, tables: Sequence[TableTemplate], by_table: Mapping[str, TableTemplate], status: DefaultScheduleStatus
) -> ScheduleDefinition:
    def evaluate(context: ScheduleEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        today = context.scheduled_execution_time.astimezone(UTC).date()
        catalog = open_catalog(LakehouseSettings.load())
        requests: list[RunRequest] = []
        failures: dict[str, Exception] = {}
        for template in tables:
            try:
                days = due_days(catalog, template, template.input_templates(by_table), today)
            except Exception as error:  # one table's must not keep the others from being computed
                context.log.warning(f"{template.table_name} is not looked at: {type(error).__name__}: {error}")
                failures[template.table_name] = error
                continue
            requests += [_request(template, first, last) for first, last in day_ranges(days)]
        if len(failures) == len(tables):
            raise next(iter(failures.values()))
        if not requests:
            not_seen = f" Not looked at: {', '.join(failures)}." if failures else ""
            yield SkipReason(f"No day of {len(tables)} feature tables is to be computed.{not_seen}")
        yield from requests

    return ScheduleDefinition(
        name=f"features_{schedule_name(cron)}",
        cron_schedule=cron,
        # A job of these assets alone would need the same partitions of all of them.
        job_name=IMPLICIT_ASSET_JOB_NAME,
        execution_fn=evaluate,
        execution_timezone="UTC",
        default_status=status,
        description=f"Computes the days that are due of {', '.join(template.table_name for template in tables)}.",
    )


def _request(template: TableTemplate, first: date, last: date) -> RunRequest:
    """One run for days without a gap. Dagster takes a key once per tick, so that a tick that is repeated asks for nothing more."""
    return RunRequest(
        run_key=f"{template.table_name}/{first}..{last}",
        asset_selection=[asset_key(template)],
        tags={ASSET_PARTITION_RANGE_START_TAG: first.isoformat(), ASSET_PARTITION_RANGE_END_TAG: last.isoformat()},
    )
