"""Every hour: are the live tables, and the grants on them, what the templates say? Alerts, and an asset check on each table."""

# No annotations from the future: Dagster looks for the context's type among them as it stands there.

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetKey,
    AssetMaterialization,
    AssetSpec,
    DagsterInstance,
    DefaultSensorStatus,
    JsonMetadataValue,
    MetadataValue,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    asset_check,
    sensor,
)

from dagster_project.assets.common import asset_key
from dagster_project.sensors.alerts import TIMEOUT, DeliveryError, deliver, open_channels
from dagster_project.sensors.memory import Memory, News, Outbox
from lakehouse.drift import check_drift
from lakehouse.drift_answers import TableDrift, templates_drift
from lakehouse.lint import lint_templates, load_templates
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

CHECK = "schema_drift"
WATCH = AssetSpec(
    key=AssetKey(["schema_drift"]),
    description="The hourly comparison of all tables with their templates. Its checks say whether the comparison itself works.",
    group_name="schema_drift",
)
CATALOG_CHECK, ALERTS_CHECK = "everything_is_looked_at", "alerts_are_delivered"
# Seconds. Dagster ends a tick after 60, and forgets what it found out.
_TICK = 45
_FOR_DELIVERY = TIMEOUT + 3
# Seconds that a check which is run by hand, or with its asset, may take.
_BY_HAND = 300
# Of checks in one tick, the others follow in the next: Dagster needs some 40 ms for each, on SQLite.
_MOST_EVALUATIONS = 100
# In the description of one check.
_MOST_LINES = 20
# Under this name a check's metadata has what the next tick compares with.
_ANSWERS = "answers"


def build_drift_sensor(templates: Iterable[TableTemplate], status: str) -> SensorDefinition:
    """The hourly sensor, ``running`` or ``stopped`` at the start."""
    checked = {template.table_name: asset_key(template) for template in templates}

    @sensor(
        name="schema_drift",
        minimum_interval_seconds=3600,
        default_status=DefaultSensorStatus[status.upper()],
        description="Compares every live table with its template, and alerts when a drift appears, changes or is resolved.",
    )
    def schema_drift(context: SensorEvaluationContext) -> SensorResult:
        deadline, now, settings = time.monotonic() + _TICK, datetime.now(UTC), LakehouseSettings.load()
        memory = Memory.read(context.cursor)
        if memory is None:
            context.log.warning("What was alerted before cannot be read from the cursor: every drift is alerted again.")
            memory = Memory()
        drifts = _look(settings, memory, deadline)
        memory.first = [drift.table for drift in drifts if drift.aspect == "schema" and drift.state == "not checked"]
        news = memory.learn(drifts, now, timedelta(hours=settings.drift_repeat_hours))
        for found in news:
            getattr(context.log, found.level)(found.text)
        failures = _send(settings, memory, news, now, deadline)
        for name, error in failures.items():
            context.log.error(f"Alerts for {name} are kept until the next tick. {error}")
        events: list[AssetMaterialization | AssetCheckEvaluation] = [
            _evaluation(checked[name], CHECK, result) for name, result in _news_of_checks(context.instance, drifts, checked)
        ]
        # Of an asset that is only observed the page would say for ever that it is missing.
        events.append(AssetMaterialization(WATCH.key, metadata=_counts(drifts)))
        events.append(_evaluation(WATCH.key, CATALOG_CHECK, _catalog_result(drifts)))
        events.append(_evaluation(WATCH.key, ALERTS_CHECK, _alerts_result(memory, failures)))
        return SensorResult(cursor=memory.model_dump_json(), asset_events=events, skip_reason=_summary(drifts))

    return schema_drift


def _look(settings: LakehouseSettings, memory: Memory, deadline: float) -> list[TableDrift]:
    """All answers, also where some templates cannot be used: then of the others."""
    result = lint_templates(settings.templates, settings.variables)
    budget = deadline - _FOR_DELIVERY - time.monotonic()
    drifts = check_drift(settings, result.templates, first=memory.first, budget=budget)
    if result.errors:  # a table may be that of a template that cannot be used
        reason = "Some templates cannot be used."
        drifts = [replace(drift, state="not checked", reason=reason) if drift.state == "unmanaged" else drift for drift in drifts]
    return [templates_drift(result.errors), *drifts]


def _send(settings: LakehouseSettings, memory: Memory, news: Sequence[News], now: datetime, deadline: float) -> dict[str, DeliveryError]:
    """Gives each channel what is new and what waits. What it does not take stays in its outbox."""
    channels = open_channels(settings)
    outboxes = {channel.name: memory.outboxes.get(channel.name, Outbox()) for channel in channels}
    for outbox in outboxes.values():
        outbox.add(news, now)
    ready = {name: box.texts(now) for name, box in outboxes.items() if box.not_before is None or box.not_before <= now}
    outcomes = deliver(channels, ready, deadline - time.monotonic())
    failures: dict[str, DeliveryError] = {}
    for name, box in outboxes.items():
        if name not in ready and box.messages:
            failures[name] = DeliveryError(f"It wants to be left alone until {box.not_before:%Y-%m-%d %H:%M} UTC.")
            box.keep(box.not_before)
        elif (error := outcomes.get(name)) is not None:
            failures[name] = error
            box.keep(None if error.retry_after is None else now + timedelta(seconds=error.retry_after))
        else:
            outboxes[name] = Outbox()
    memory.outboxes = {name: box for name, box in outboxes.items() if box.messages}
    return failures


def _news_of_checks(
    instance: DagsterInstance, drifts: Iterable[TableDrift], checked: Mapping[str, AssetKey]
) -> list[tuple[str, dict[str, Any]]]:
    """The results of the checks that changed, by table, those that fail first: one per table and hour would fill Dagster's event log."""
    by_table: dict[str, list[TableDrift]] = {name: [] for name in checked}
    for drift in drifts:
        by_table.get(drift.table if drift.table in by_table else drift.table.removesuffix("__quarantine"), []).append(drift)
    stored = _stored_answers(instance, checked.values())
    changed = [(name, check_result(found)) for name, found in by_table.items() if _is_news(found, stored.get(checked[name], {}))]
    return sorted(changed, key=lambda change: bool(change[1]["passed"]))[:_MOST_EVALUATIONS]


def _stored_answers(instance: DagsterInstance, assets: Iterable[AssetKey]) -> dict[AssetKey, Mapping[str, Any]]:
    """What each table's check said last, be it by the sensor or by hand; nothing of one that has no result."""
    # Dagster's storage is asked, because it has all at once, which the instance does not.
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([AssetCheckKey(asset, CHECK) for asset in assets])
    stored: dict[AssetKey, Mapping[str, Any]] = {}
    for key, record in latest.items():
        evaluation = record.event and record.event.dagster_event and record.event.dagster_event.asset_check_evaluation_data
        answers = evaluation.metadata.get(_ANSWERS) if isinstance(evaluation, AssetCheckEvaluation) else None
        if isinstance(answers, JsonMetadataValue) and isinstance(answers.data, Mapping):
            stored[key.asset_key] = answers.data
    return stored


def _is_news(found: Sequence[TableDrift], stored: Mapping[str, Any]) -> bool:
    """Whether something that was looked at is not as it was stored. What was not looked at is as it was."""
    if not found or any(drift.aspect == "schema" and drift.state == "not checked" for drift in found):
        return False
    answers = _answers(found)
    return answers.keys() != stored.keys() or any(stored[key] != answer for key, answer in answers.items() if answer != "not checked")


def _answers(drifts: Iterable[TableDrift]) -> dict[str, str]:
    """The tables' answers, by aspect and table, without their words."""
    found = (drift for drift in drifts if not drift.table.endswith("*"))
    return {f"{drift.aspect} {drift.table}": f"{drift.state} {drift.fingerprint}".rstrip() for drift in found}


def _evaluation(key: AssetKey, name: str, result: dict[str, Any]) -> AssetCheckEvaluation:
    return AssetCheckEvaluation(asset_key=key, check_name=name, **result)


def check_result(drifts: Sequence[TableDrift]) -> dict[str, Any]:
    """The arguments of an asset check's result, from the answers about a table, its quarantine table and their grants."""
    wrong = [drift for drift in drifts if drift.state != "in step"]
    schema = [drift for drift in drifts if drift.aspect == "schema"]
    metadata = {
        "extra_columns": ", ".join(column for drift in schema for column in drift.extra_columns),
        "missing_columns": ", ".join(column for drift in schema for column in drift.missing_columns),
        "diff": MetadataValue.json({f"{drift.aspect} {drift.table}": [drift.state, *drift.details] for drift in wrong}),
    }
    return {
        "passed": not wrong,
        "severity": AssetCheckSeverity.ERROR if any(drift.differs for drift in wrong) else AssetCheckSeverity.WARN,
        "description": "\n".join(drift.message for drift in wrong) or "In step with the template.",
        "metadata": {**(metadata if wrong else {}), _ANSWERS: MetadataValue.json(_answers(drifts))},
    }


def _catalog_result(drifts: Sequence[TableDrift]) -> dict[str, Any]:
    unseen = [drift for drift in drifts if drift.unseen]
    told = [drift.message for drift in unseen if drift.state != "not checked"]
    told += [drift.message for drift in unseen if drift.state == "not checked" and drift.aspect == "grants"] if not told else []
    more = [f"… and {len(told) - _MOST_LINES} more."] if len(told) > _MOST_LINES else []
    unmanaged = [drift.table for drift in drifts if drift.state == "unmanaged"]
    return {
        "passed": not unseen,
        "description": "\n".join([*told[:_MOST_LINES], *more]) or _summary(drifts),
        "metadata": {**_counts(drifts), "unmanaged_tables": ", ".join(unmanaged)},
    }


def _counts(drifts: Iterable[TableDrift]) -> dict[str, int]:
    """How many tables are in each state, which Dagster plots over time."""
    counts = Counter(drift.state for drift in drifts if drift.aspect == "schema")
    return {state.replace(" ", "_"): count for state, count in counts.items()}


def _alerts_result(memory: Memory, failures: dict[str, DeliveryError]) -> dict[str, Any]:
    waiting = {f"waiting_for_{name}": len(outbox.messages) for name, outbox in memory.outboxes.items()}
    told = [f"{name}: {error}" for name, error in failures.items()]
    return {"passed": not failures, "description": "\n".join(told) or "Nothing waits.", "metadata": waiting}


def _summary(drifts: Iterable[TableDrift]) -> str:
    counts = Counter(drift.state for drift in drifts if drift.aspect == "schema")
    return f"{sum(counts.values())} tables: {', '.join(f'{count} {state}' for state, count in sorted(counts.items())) or 'none'}."


def look_at_table(settings: LakehouseSettings, template: TableTemplate) -> dict[str, Any]:
    """The arguments of the result of a table's check, which is asked for by hand, or with the table's other checks."""
    names = {found.table_name for found in (template, template.quarantine) if found is not None}
    drifts = check_drift(settings, [template], only_these=True, budget=_BY_HAND)
    # As the sensor's; and where the grants cannot be looked at, why.
    return check_result([drift for drift in drifts if drift.table in names or drift.state == "unreachable"])


def build_watch_checks() -> list[AssetChecksDefinition]:
    """Two checks on the sensor itself. Whoever runs one by hand has the comparison made at once."""
    return [_catalog_check(), _alerts_check()]


def _catalog_check() -> AssetChecksDefinition:
    def check() -> AssetCheckResult:
        settings = LakehouseSettings.load()
        templates = load_templates(settings.templates, settings.variables)
        return AssetCheckResult(**_catalog_result(check_drift(settings, templates, budget=_BY_HAND)))

    return _check(CATALOG_CHECK, WATCH.key, "The catalog, all tables and grants could be looked at.", check)


def _alerts_check() -> AssetChecksDefinition:
    def check() -> AssetCheckResult:
        channels = open_channels(LakehouseSettings.load())
        text = "This is a test of the alerts about schema drift, sent by hand from Dagster."
        outcomes = deliver(channels, {channel.name: [text] for channel in channels}, 2 * TIMEOUT)
        return AssetCheckResult(**_alerts_result(Memory(), {name: error for name, error in outcomes.items() if error is not None}))

    return _check(ALERTS_CHECK, WATCH.key, "Every channel took its alerts. Run by hand, it sends each a test.", check)


def _check(name: str, key: AssetKey, description: str, check: Callable[[], AssetCheckResult]) -> AssetChecksDefinition:
    as_check: Callable[[Callable[[], AssetCheckResult]], AssetChecksDefinition] = asset_check(name=name, asset=key, description=description)
    return as_check(check)
