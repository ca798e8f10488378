"""Schedules from the templates' ``cron``: one for each distinct expression, so that a thousand tables load as fast as ten.

Those of event streams and dimensions run their assets as they are. Those of feature tables look first which days are to
be computed: a day that is over, and each of the lookback whose inputs have changed since it was computed. Tables that read
one another are computed by one run, in their order. A table waits while a blocking check of an input fails.
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
    DagsterInstance,
    DagsterRunStatus,
    DefaultScheduleStatus,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
)
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG, PARTITION_NAME_TAG

from dagster_project.assets.common import asset_key
from dagster_project.checks import TableChecks
from lakehouse.audit import open_audit
from lakehouse.catalog import load_table, open_catalog
from lakehouse.days import format_days, parse_days
from lakehouse.feature_runs import FeatureRun, in_order, plan_runs
from lakehouse.settings import LakehouseSettings
from lakehouse.staleness import DueDays
from lakehouse.template import TableTemplate

# Of the numbers as they are written: two expressions never have one name.
_READABLE = {
    r"\*/(\d+) \* \* \* \*": r"every_\1_minutes",
    r"(\d+) \* \* \* \*": r"hourly_at_minute_\1",
    r"(\d+) (\d+) \* \* \*": r"daily_at_\2_\1",
}
_WORDS = {"*": "every", "/": "by", ",": "and", "-": "to", "#": "nth"}
_MOST_NAMES = 10  # in a description
_UNFINISHED = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]


def build_schedules(
    templates: Iterable[TableTemplate], checks: TableChecks, status: Literal["running", "stopped"]
) -> list[ScheduleDefinition]:
    """Schedules in UTC, running or stopped at the start, each for all tables of its kind with its cron expression."""
    by_table = {template.table_name: template for template in templates}
    plain: dict[str, list[TableTemplate]] = defaultdict(list)
    features: dict[str, list[TableTemplate]] = defaultdict(list)
    for template in by_table.values():
        pipeline = template.event_stream or template.pipeline
        if pipeline is None or pipeline.cron is None:
            continue
        cron = " ".join(pipeline.cron.split())
        if template.feature_table is not None:
            features[cron].append(template)
        else:
            plain[cron].append(template)
    default_status = DefaultScheduleStatus[status.upper()]
    return [
        *(
            ScheduleDefinition(
                name=f"load_{schedule_name(cron)}",
                cron_schedule=cron,
                target=_with_checks(tables, checks),
                execution_timezone="UTC",
                default_status=default_status,
                description=f"Takes what is new of the source files of {_names(tables)}, and runs the tables' checks.",
            )
            for cron, tables in sorted(plain.items())
        ),
        *(_feature_schedule(cron, tables, by_table, checks, default_status) for cron, tables in sorted(features.items())),
        *filter(None, [checks.freshness_schedule(default_status)]),
    ]


def _with_checks(tables: Sequence[TableTemplate], checks: TableChecks) -> AssetSelection:
    """The tables and their Soda checks. Drift is the sensor's to look for: with each run it would be looked for again."""
    assets = AssetSelection.assets(*map(asset_key, tables)).without_checks()
    keys = [key for template in tables for key in checks.keys(template)]
    return assets | AssetSelection.checks(*keys) if keys else assets


def _names(tables: Sequence[TableTemplate]) -> str:
    """Those of the first tables: a schedule may have a thousand."""
    more = [f"{len(tables) - _MOST_NAMES} more"] if len(tables) > _MOST_NAMES else []
    return ", ".join([*(template.table_name for template in tables[:_MOST_NAMES]), *more])


def schedule_name(cron: str) -> str:
    """``"30 2 * * *"`` as ``daily_at_2_30``; what is less common by its fields: ``"0 0 * * 1-5"`` as ``cron_0_0_every_every_1_to_5``."""
    for pattern, name in _READABLE.items():
        if found := re.fullmatch(pattern, cron):
            return found.expand(name)
    words = re.sub(r"[*/,#-]", lambda match: f"_{_WORDS[match.group()]}_", cron)
    return "cron_" + re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_")


def _feature_schedule(
    cron: str,
    tables: Sequence[TableTemplate],
    by_table: Mapping[str, TableTemplate],
    checks: TableChecks,
    status: DefaultScheduleStatus,
) -> ScheduleDefinition:
    def evaluate(context: ScheduleEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        catalog = open_catalog(LakehouseSettings.load())
        due = DueDays(catalog, by_table, context.scheduled_execution_time.astimezone(UTC).date())
        looked_at: list[TableTemplate] = []
        failures: dict[str, Exception] = {}
        blocked = _blocked(context.instance, checks, tables, by_table)
        for template in in_order(due, [template for template in tables if template.table_name not in blocked]):
            try:
                if template.publish == "audited" and open_audit(load_table(catalog, template.table_name)) is not None:
                    # Its last run's rows wait for somebody to publish or drop them.
                    blocked[template.table_name] = f"is not computed while it has an open audit: lakehouse audit show {template.table_name}"
                    continue
                due.of(template)
                looked_at.append(template)
            except Exception as error:  # one table's must not keep the others from being computed
                # Dagster takes no requests from a tick that fails, so that this line is all that it shows.
                context.log.error(f"{template.table_name} is not looked at: {type(error).__name__}: {error}")
                failures[template.table_name] = error
        if failures and len(failures) == len(tables) - len(blocked):
            raise next(iter(failures.values()))
        for name, reason in blocked.items():
            context.log.warning(f"{name} {reason}")
        in_flight = days_in_flight(context.instance, looked_at)
        runs = plan_runs(due, looked_at, in_flight)
        not_now = _not_now(due, looked_at, runs)
        for line in not_now:
            context.log.info(line)
        if not runs:
            lines = [*not_now, *([f"Not looked at: {', '.join(failures)}."] if failures else [])]
            lines += [f"{name} {reason}" for name, reason in blocked.items()]
            yield SkipReason(" ".join([f"No day of {len(tables)} feature tables is to be computed.", *lines]))
        yield from (_request(run, checks) for run in runs)

    # A job of these assets alone, by which their pages show the schedule, needs the same partitions of all of them.
    alike = len({template.feature_table.partitions for template in tables if template.feature_table is not None}) == 1
    return ScheduleDefinition(
        name=f"features_{schedule_name(cron)}",
        cron_schedule=cron,
        execution_fn=evaluate,
        execution_timezone="UTC",
        default_status=status,
        description=f"Computes the days that are due of {_names(tables)}.",
        **({"target": _with_checks(tables, checks)} if alike else {"job_name": IMPLICIT_ASSET_JOB_NAME}),
    )


def _blocked(
    instance: DagsterInstance, checks: TableChecks, tables: Sequence[TableTemplate], by_table: Mapping[str, TableTemplate]
) -> dict[str, str]:
    """Why tables wait, by table name: of what they read, be it through other tables here, a blocking check fails."""
    reads = {template.table_name: _read_by(template, by_table) for template in tables}
    failing = checks.failing(instance, [by_table[name] for name in sorted(set[str]().union(*reads.values()))])
    blocked: dict[str, str] = {}
    for name, read in reads.items():
        if found := [f"{table}: {check}" for table in sorted(read & failing.keys()) for check in failing[table]]:
            blocked[name] = f"is not computed while what it reads fails a blocking check: {', '.join(found)}."
    return blocked


def _read_by(template: TableTemplate, by_table: Mapping[str, TableTemplate]) -> set[str]:
    """The tables that a feature table reads, be it through others."""
    read, waiting = set[str](), [template]
    while waiting:
        inputs = [found for found in waiting.pop().input_templates(by_table) if found.table_name not in read]
        read |= {found.table_name for found in inputs}
        waiting += inputs
    return read


def days_in_flight(instance: DagsterInstance, tables: Iterable[TableTemplate]) -> dict[str, set[date]]:
    """The days of feature tables that a run is about to compute, or is computing."""
    found: dict[AssetKey, set[date]] = {asset_key(template): set() for template in tables}
    for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
        one = run.tags.get(PARTITION_NAME_TAG)
        first, last = (run.tags.get(tag, one) for tag in (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG))
        for key in found.keys() & (run.asset_selection or ()):
            if first and last:
                found[key].update(parse_days(f"{first}..{last}"))
    return {template.table_name: found[asset_key(template)] for template in tables}


def _not_now(due: DueDays, tables: Iterable[TableTemplate], runs: Sequence[FeatureRun]) -> list[str]:
    """What is due of tables and in no run, one sentence each."""
    lines: list[str] = []
    for template in tables:
        asked = [(run.first, run.last) for run in runs if template in run.tables]
        if left := [day for day in due.of(template) if not any(first <= day <= last for first, last in asked)]:
            lines.append(f"{template.table_name}: {format_days(left)} wait for a run that is under way, or for an input's days.")
    return lines


def _request(run: FeatureRun, checks: TableChecks) -> RunRequest:
    """Dagster takes a key once per tick, so that a tick that is repeated asks for nothing more."""
    return RunRequest(
        run_key=f"{','.join(template.table_name for template in run.tables)}/{run.first}..{run.last}",
        asset_selection=[asset_key(template) for template in run.tables],
        asset_check_keys=[key for template in run.tables for key in checks.keys(template)],
        tags={ASSET_PARTITION_RANGE_START_TAG: run.first.isoformat(), ASSET_PARTITION_RANGE_END_TAG: run.last.isoformat()},
    )
