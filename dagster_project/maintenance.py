"""The job that maintains every table whose template says how, its schedule, and what the tables' pages show of it."""

# No annotations from the future: Dagster looks for the context's type among them as it stands there.

from collections.abc import Iterable, Iterator
from typing import Any

from dagster import AssetObservation, Config, DefaultScheduleStatus, JobDefinition, OpExecutionContext, ScheduleDefinition, job, op
from pydantic import Field
from pyiceberg.catalog import Catalog

from dagster_project.assets.common import asset_key
from lakehouse.catalog import open_catalog
from lakehouse.engines import open_engine
from lakehouse.errors import LakehouseError
from lakehouse.health import Health, check_health
from lakehouse.lint import lint_templates
from lakehouse.maintenance.report import MaintenanceError, TableReport
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

NAME = "maintenance"


class MaintenanceConfig(Config):
    """What to maintain: ``namespace.table`` of some tables; all whose templates have ``maintenance`` by default."""

    tables: list[str] = Field(default=[], description="namespace.table of some; default: all whose templates have `maintenance`.")
    dry_run: bool = Field(default=False, description="Only show what would be done.")


@op(name="maintain_tables", pool=NAME, description="Maintains one table after the other. What fails of one hides no other.")
def maintain_tables(context: OpExecutionContext, config: MaintenanceConfig) -> None:
    settings = LakehouseSettings.load()
    result = lint_templates(settings.templates, settings.variables)
    # A template that cannot be used must not keep the other tables from being maintained.
    failures = [str(problem) for problem in result.errors]
    templates = [found for found in result.templates if (found.table_name in config.tables if config.tables else found.is_maintained)]
    failures += [f"No template describes {name}." for name in config.tables if name not in {found.table_name for found in templates}]
    catalog = open_catalog(settings)
    engine = open_engine(settings, catalog)
    for template in templates:
        done = list(engine.maintain([template], dry_run=config.dry_run, run_id=context.run_id, progress=context.log.info))
        for report in done:
            for line in _lines(report):
                context.log.info(line)
            failures += report.failures
        health, problem = _health(settings, catalog, template)
        failures += [problem] if problem else []
        # The quarantine table, the second report, has no asset: the log tells of it.
        context.log_event(AssetObservation(asset_key(template), metadata=_metadata(done[0], health, config.dry_run)))
    context.log.info(f"{len(templates)} tables, {len(failures)} failures")
    if failures:
        raise MaintenanceError("\n".join(failures) + "\nWhat is not named here is done. See what is left: lakehouse maintain --dry-run")


def build_maintenance(
    templates: Iterable[TableTemplate], settings: LakehouseSettings
) -> tuple[list[JobDefinition], list[ScheduleDefinition]]:
    """The job and its schedule, if any table is to be maintained. It runs at the start unless it, or all, are to be started by hand."""
    if not any(template.is_maintained for template in templates):
        return [], []

    @job(name=NAME, description="Deletes rows past retention, compacts small files, expires snapshots, deletes orphan files.")
    def maintenance() -> None:
        maintain_tables()

    is_running = settings.schedules == settings.maintenance_schedule == "running"
    schedule = ScheduleDefinition(
        name=NAME,
        job=maintenance,
        cron_schedule=settings.maintenance_cron,
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING if is_running else DefaultScheduleStatus.STOPPED,
        description="Maintains every table whose template has `maintenance`.",
    )
    return [maintenance], [schedule]


def _health(settings: LakehouseSettings, catalog: Catalog, template: TableTemplate) -> tuple[Health | None, str | None]:
    """The health of a table, and why it is not known."""
    answer: Health | LakehouseError = next(check_health(settings, catalog, [template]))
    return (answer, None) if isinstance(answer, Health) else (None, str(answer))


def _lines(report: TableReport) -> Iterator[str]:
    told = [step for step in report.steps if step.action != "nothing"]
    if not told:
        yield f"{report.table}: nothing to do"
    for step in told:
        size = f"{step.files:,} files, {step.bytes:,} bytes" if step.files else ""
        yield f"{report.table}: {step.step}: {step.action}. {'; '.join(filter(None, [step.detail, size]))}"


def _metadata(report: TableReport, health: Health | None, dry_run: bool) -> dict[str, Any]:
    """What a table's page shows, and plots over time: of a dry run nothing was done."""
    by_step = {step.step: step for step in report.steps if step.action == "done"}
    done: dict[str, Any] = (
        {}
        if dry_run
        else {
            "maintenance/rows_deleted": by_step["retention"].rows if "retention" in by_step else 0,
            "maintenance/files_rewritten": by_step["compact"].files if "compact" in by_step else 0,
            "maintenance/snapshots_expired": by_step["expire"].snapshots if "expire" in by_step else 0,
            "maintenance/files_deleted": by_step["orphans"].files if "orphans" in by_step else 0,
            "maintenance/bytes_freed": report.freed,
        }
    )
    if health is None:
        return done
    return {**done, **{f"health/{name}": value for name, value in health.figures().items()}, "health/advice": health.advice}
