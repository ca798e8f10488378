"""Soda's checks as Dagster's asset checks: one step, and one ``soda scan``, for all that is asked of a table."""

# No annotations from the future: Dagster looks for the context's type among them as it stands there.

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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
    DagsterEventType,
    DagsterInstance,
    DefaultScheduleStatus,
    JsonMetadataValue,
    MetadataValue,
    ScheduleDefinition,
    multi_asset_check,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord, AssetCheckExecutionRecordStatus

from dagster_project.assets.common import asset_key
from dagster_project.sensors.schema_drift import CHECK as DRIFT_CHECK
from dagster_project.sensors.schema_drift import look_at_table
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate
from quality.checks import Check, table_checks
from quality.errors import ChecksError
from quality.results import CheckResult, Outcome, ScanResult
from quality.scan import scan_table

# Under this key a materialization has the results of the audit that it passed.
AUDIT = "audit"
# … and an evaluation says that the rows it is about were not published.
UNPUBLISHED = "not_published"
# Records of a check, of which most say something.
LOOKED_BACK = 100
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
        keys = [_key(template, check) for name, template in self._templates.items() for check in self._checks[name] if check.is_freshness]
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


def _fails(instance: DagsterInstance, latest: AssetCheckExecutionRecord, step: str) -> bool:
    """Whether a check failed when it was last run on rows that readers see."""
    if (fails := _says(instance, latest, step)) is not None:
        return fails
    history = instance.event_log_storage.get_asset_check_execution_history(latest.key, limit=LOOKED_BACK)
    said = (_says(instance, record, step) for record in history if record.id < latest.id)
    return next((fails for fails in said if fails is not None), False)


def _says(instance: DagsterInstance, record: AssetCheckExecutionRecord, step: str) -> bool | None:
    """Whether a record says that a check fails; None if it says nothing about the rows that readers see."""
    if record.status == AssetCheckExecutionRecordStatus.PLANNED:
        return _was_not_made(instance, record, step) or None
    event = record.event and record.event.dagster_event
    evaluation = event and event.asset_check_evaluation_data
    if isinstance(evaluation, AssetCheckEvaluation):
        if UNPUBLISHED in evaluation.metadata:
            return None
        if evaluation.severity == AssetCheckSeverity.WARN:
            return False
    return record.status == AssetCheckExecutionRecordStatus.FAILED


def _was_not_made(instance: DagsterInstance, record: AssetCheckExecutionRecord, step: str) -> bool:
    """Whether a run is over that should have made a check, and did not: its scan failed or was killed, or never came after new rows."""
    run = instance.get_run_by_id(record.run_id)
    if run is not None and not run.is_finished:
        return False
    if instance.get_run_step_stats(record.run_id, [step]):
        return True
    loads = instance.get_records_for_run(record.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION).records
    return any(load.asset_key == record.key.asset_key for load in loads)


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
    if scan.errors and result.outcome == "pass":  # something was not run as it is written: perhaps this
        result = replace(result, outcome="error", message=f"The scan had errors: {'; '.join(scan.errors)}")
    metadata = {
        "value": result.value,
        **_told(settings, check),
        "snapshot_id": None if scan.snapshot_id is None else str(scan.snapshot_id),  # as text: the page rounds 64-bit numbers
        "scan_seconds": round(scan.duration, 3),
        "fresh_at": settings.freshness_now.isoformat() if settings.freshness_now and check.is_freshness else None,
    }
    return {
        "passed": result.outcome == "pass",
        "severity": _SEVERITY.get(result.outcome, AssetCheckSeverity.ERROR),
        "description": result.message or ", ".join(filter(None, [f"{check.definition}: {result.outcome}", result.value_text])),
        "metadata": {name: value for name, value in metadata.items() if value is not None},
    }


def _told(settings: LakehouseSettings, check: Check) -> dict[str, Any]:
    """What is known of a check before it runs, with where it is written."""
    where: MetadataValue[Any] = MetadataValue.path(check.source)
    if settings.repository_url is not None:
        file, _, line = check.source.partition(":")
        where = MetadataValue.url(f"{settings.repository_url.rstrip('/')}/{file}" + (f"#L{line}" if line else ""))
    return {"definition": check.definition, **({"threshold": check.threshold} if check.threshold else {}), "source": where}


def report(instance: DagsterInstance, settings: LakehouseSettings, template: TableTemplate, scan: ScanResult, *, published: bool) -> None:
    """Shows the results of a scan whose run ends before its checks have a step.

    Args:
        published: whether readers see the rows; if they do not, because an audit did not pass, nothing is blocked.
    """
    checks = {check.name: check for check in table_checks(settings, template, None if published else "duckdb")}
    for result in scan.checks:
        said = check_result(settings, checks[result.name], result, scan)
        metadata = said["metadata"] if published else {**said["metadata"], UNPUBLISHED: True}
        evaluation = AssetCheckEvaluation(asset_key=asset_key(template), check_name=result.name, **{**said, "metadata": metadata})
        instance.report_runless_asset_event(evaluation)
