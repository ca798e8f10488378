"""The code location: what the templates describe, as Dagster sees it. ``dagster dev -m dagster_project.definitions``"""

from __future__ import annotations

from dagster import Definitions

from dagster_project.assets import build_assets
from dagster_project.checks import TableChecks
from dagster_project.maintenance import build_maintenance
from dagster_project.resources.iceberg import LakehouseIOManager
from dagster_project.schedules import build_schedules
from dagster_project.sensors.schema_drift import WATCH, build_drift_sensor, build_watch_checks
from lakehouse.lint import load_templates
from lakehouse.settings import LakehouseSettings


def build_definitions(settings: LakehouseSettings) -> Definitions:
    """Everything, from the templates that the settings name.

    Raises:
        TemplateError: with every finding, if a template has an error.
        ChecksError: if a table's checks cannot be used.
    """
    templates = load_templates(settings.templates, settings.variables)
    checks = TableChecks(settings, templates)
    jobs, nightly = build_maintenance(templates, settings)
    return Definitions(
        assets=[*build_assets(templates, settings.repository_url), WATCH],
        asset_checks=[*checks.definitions(), *build_watch_checks()],
        sensors=[build_drift_sensor(templates, settings.drift_sensor)],
        jobs=jobs,
        schedules=[*build_schedules(templates, checks, settings.schedules), *nightly],
        resources={"io_manager": LakehouseIOManager(name=settings.catalog_name)},
    )


defs = build_definitions(LakehouseSettings.load())
