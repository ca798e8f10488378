"""Soda's checks as Dagster's asset checks: one step, and one ``soda scan``, for all that is asked of a table."""

# No annotations from the future: Dagster looks for the context's type among them as it stands there.

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetSelection,
    DagsterInstance,
    DefaultScheduleStatus,
    JsonMetadataValue,
    MetadataValue,
    ScheduleDefinition,
    multi_asset_check,
)
from dagster._core.execution.stats import StepEventStatus
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord, AssetCheckExecutionRecordStatus

from dagster_project.assets.common import asset_key
from dagster_project.sensors.schema_drift import CHECK as DRIFT_CHECK
from dagster_project.sensors.schema_drift import look_at_table
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate
from quality.checks import Check, table_checks
from quality.errors import ChecksError
from quality.runner import CheckResult, Outcome, ScanResult
from quality.scan import scan_table

# Under this key a materialization has the results of the audit that it passed.
AUDIT = "audit"
_SEVERITY: Mapping[Outcome, AssetCheckSeverity] = {"warn": AssetCheckSeverity.WARN}


class TableChecks:
    """All tables' checks, by table name. Raises ChecksError where one's cannot be used."""

    def __init__(self, settings: LakehouseSettings, templates: Iterable[TableTemplate]) -> None:
        self._settings = settings
        self._templates = {template.table_name: template for template in templates}
        self._checks = {name: table_checks(settings, template) for name, template in self._templates.items()}
        for name, template in self._templates.items():
            if template.publish == "audited" and not self._checks[name]:
                raise ChecksError(f"{template.path}: {name} is audited and has no check. Write one, or set `publish: direct`.")

    def definitions(self) -> list[AssetChecksDefinition]:
        """One for each table: its Soda checks, and that it is what its template says."""
        return [_definition(self._settings, template, self._checks[name]) for name, template in self._templates.items()]

    def keys(self, template: TableTemplate) -> list[AssetCheckKey]:
        """A table's Soda checks."""
        return [_key(template, check) for check in self._checks[template.table_name]]

    def freshness_schedule(self, status: DefaultScheduleStatus) -> ScheduleDefinition | None:
        """Every hour, whether tables are fresh: no run of theirs says so where none comes."""
        keys = [
            _key(template, check)
            for name, template in self._templates.items()
            for check in self._checks[name]
            if check.definition.startswith("freshness(")
        ]
        if not keys:
            return None
        return ScheduleDefinition(
            name="freshness",
            cron_schedule="50 * * * *",
            target=AssetSelection.checks(*keys),
            execution_timezone="UTC",
            default_status=status,
            description="Looks whether the newest rows of each table are as fresh as its checks want them.",
        )

    def failing(self, instance: DagsterInstance, templates: Iterable[TableTemplate]) -> dict[str, list[str]]:
        """The blocking checks of some tables that failed last, by table name."""
        blocking = {
            _key(template, check): template for template in templates for check in self._checks[template.table_name] if check.blocking
        }
        # Dagster's storage is asked, because it has all at once, which the instance does not.
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(blocking)) if blocking else {}
        failing: dict[str, list[str]] = {}
        for key, record in sorted(latest.items(), key=lambda found: found[0].name):
            if key in blocking and _fails(instance, record, _step(blocking[key])):
                failing.setdefault(blocking[key].table_name, []).append(key.name)
        return failing


def _fails(instance: DagsterInstance, record: AssetCheckExecutionRecord, step: str) -> bool:
    """Whether a check failed when it was last run. One whose scan could not be made did not pass."""
    if record.status == AssetCheckExecutionRecordStatus.PLANNED:
        if any(found.status == StepEventStatus.FAILURE for found in instance.get_run_step_stats(record.run_id, [step])):
            return True
        # Its step is still to come, or never came: the one before counts.
        ended = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
        before = instance.event_log_storage.get_asset_check_execution_history(record.key, limit=1, status=ended)
        return bool(before) and _fails(instance, before[0], step)
    event = record.event and record.event.dagster_event
    evaluation = event and event.asset_check_evaluation_data
    warns = isinstance(evaluation, AssetCheckEvaluation) and evaluation.severity == AssetCheckSeverity.WARN
    return record.status == AssetCheckExecutionRecordStatus.FAILED and not warns


def _step(template: TableTemplate) -> str:
    return f"{template.namespace}__{template.name}__checks"


def _key(template: TableTemplate, check: Check) -> AssetCheckKey:
    return AssetCheckKey(asset_key(template), check.name)


def _definition(settings: LakehouseSettings, template: TableTemplate, checks: Sequence[Check]) -> AssetChecksDefinition:
    key = asset_key(template)
    specs = [
        AssetCheckSpec(DRIFT_CHECK, asset=key, description="The live table and the grants on it are what its template says."),
        *(
            AssetCheckSpec(check.name, asset=key, blocking=check.blocking, description=check.definition, metadata=_told(settings, check))
            for check in checks
        ),
    ]

    def run_checks(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        settings, asked = LakehouseSettings.load(), {key.name for key in context.selected_asset_check_keys}
        if DRIFT_CHECK in asked:
            yield AssetCheckResult(asset_key=key, check_name=DRIFT_CHECK, **look_at_table(settings, template))
        if names := [check.name for check in checks if check.name in asked]:
            scan = _audit_of_run(context, template) or scan_table(settings, template, names=names, log=context.log.info)
            by_name = {check.name: check for check in checks}
            for result in scan.checks:
                if result.name in names:
                    yield AssetCheckResult(
                        asset_key=key, check_name=result.name, **check_result(settings, by_name[result.name], result, scan)
                    )

    as_checks: Callable[[Callable[..., Any]], AssetChecksDefinition] = multi_asset_check(name=_step(template), specs=specs, can_subset=True)
    return as_checks(run_checks)


def _audit_of_run(context: AssetCheckExecutionContext, template: TableTemplate) -> ScanResult | None:
    """The results of the audit by which this same run published the table: its rows need no second scan."""
    event = context.instance.get_latest_materialization_event(asset_key(template))
    materialization = event.asset_materialization if event is not None and event.run_id == context.run.run_id else None
    audit = materialization.metadata.get(AUDIT) if materialization else None
    return ScanResult.from_dict(dict(audit.data)) if isinstance(audit, JsonMetadataValue) and isinstance(audit.data, Mapping) else None


def check_result(settings: LakehouseSettings, check: Check, result: CheckResult, scan: ScanResult) -> dict[str, Any]:
    """The arguments of an asset check's result, or evaluation. Numbers are plotted over time."""
    metadata = {
        "value": result.value,
        **_told(settings, check),
        "snapshot_id": None if scan.snapshot_id is None else str(scan.snapshot_id),  # as text: the page rounds 64-bit numbers
        "scan_seconds": round(scan.duration, 3),
    }
    return {
        "passed": result.outcome == "pass",
        "severity": _SEVERITY.get(result.outcome, AssetCheckSeverity.ERROR),
        "description": result.message or f"{check.definition}: {result.outcome}",
        "metadata": {name: value for name, value in metadata.items() if value is not None},
    }


def _told(settings: LakehouseSettings, check: Check) -> dict[str, Any]:
    """What is known of a check before it runs, with where it is written."""
    where: MetadataValue[Any] = MetadataValue.path(check.source)
    if settings.repository_url is not None:
        file, _, line = check.source.partition(":")
        where = MetadataValue.url(f"{settings.repository_url.rstrip('/')}/{file}" + (f"#L{line}" if line else ""))
    return {"definition": check.definition, **({"threshold": check.threshold} if check.threshold else {}), "source": where}


def report(instance: DagsterInstance, settings: LakehouseSettings, template: TableTemplate, scan: ScanResult) -> None:
    """Shows the results of an audit that did not pass: its run ends before its checks have a step."""
    checks = {check.name: check for check in table_checks(settings, template, "duckdb")}
    for result in scan.checks:
        evaluation = AssetCheckEvaluation(
            asset_key=asset_key(template), check_name=result.name, **check_result(settings, checks[result.name], result, scan)
        )
        instance.report_runless_asset_event(evaluation)
