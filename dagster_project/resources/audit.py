"""Write–audit–publish: rows that readers do not see yet are scanned, and published if every check passes but freshness."""

from __future__ import annotations

from typing import Any

from dagster import MetadataValue, OutputContext
from pyiceberg.catalog import Catalog

from dagster_project.checks import AUDIT, report
from lakehouse.audit import publish
from lakehouse.catalog import load_table
from lakehouse.engines import WriteResult
from lakehouse.errors import LakehouseError
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate
from quality.scan import held_back_by, scan_table


class AuditFailedError(LakehouseError):
    """Checks of an audit fail. The rows stay where readers do not see them."""

    def __init__(self, table: str, lines: list[str]) -> None:
        super().__init__(
            f"The new rows of {table} are not published, and readers see the table as it was: {'; '.join(lines)}. Look at them: "
            f"lakehouse audit show {table}. Then publish them all the same, lakehouse audit publish {table}, or drop them, "
            f"lakehouse audit drop {table}: their source files are then taken again."
        )


def publish_audited(context: OutputContext, catalog: Catalog, template: TableTemplate, result: WriteResult) -> dict[str, Any]:
    """Scans what a run wrote to an audit, and publishes it. Returns the materialization's metadata; nothing of a direct write.

    Raises:
        AuditFailedError: a check fails or is in error; QualityError: the scan could not be made. The audit stays open.
    """
    if not result.audit or result.snapshot_id is None:
        return {}
    settings = LakehouseSettings.load()
    context.log.info(f"{result.table}: auditing snapshot {result.snapshot_id}, which readers do not see yet")
    scan = scan_table(settings, template, snapshot_id=result.snapshot_id, log=context.log.info)
    if failing := held_back_by(scan):
        report(context.step_context.instance, settings, template, scan, published=False)
        raise AuditFailedError(result.table, failing)
    publish(load_table(catalog, result.table), result.snapshot_id, settings.commit_timeout)
    context.log.info(f"{result.table}: {len(scan.checks)} checks of the audit passed, the rows are published")
    return {AUDIT: MetadataValue.json(scan.as_dict())}


def scan_before_failure(context: OutputContext, template: TableTemplate, result: WriteResult) -> None:
    """Scans the rows that a run committed directly and then fails for something else: its checks will have no step."""
    if result.audit or result.snapshot_id is None:
        return
    settings = LakehouseSettings.load()
    try:
        scan = scan_table(settings, template, log=context.log.info)
    except LakehouseError as error:  # the run's own failure is what it is to end with
        context.log.error(f"The checks of {result.table} could not be run: {error}")
    else:
        report(context.step_context.instance, settings, template, scan, published=True)
