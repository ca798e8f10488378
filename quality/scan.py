"""One ``soda scan`` of one table: which checks, over which rows, by which data source."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyiceberg.table import Table

from lakehouse.catalog import catalog_errors, load_table, open_catalog
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate
from quality.checks import Check, dialect_of, table_checks
from quality.configuration import athena_configuration, bigquery_configuration, duckdb_configuration, write_configuration
from quality.errors import ChecksError
from quality.generated import Dialect
from quality.results import CheckResult, ScanResult
from quality.runner import run_scan

_DATA_SOURCE = "lakehouse"
_LOGGER = logging.getLogger(__name__)


def scan_table(
    settings: LakehouseSettings,
    template: TableTemplate,
    *,
    names: Collection[str] | None = None,
    snapshot_id: int | None = None,
    timeout: float | None = None,
    log: Callable[[str], None] = _LOGGER.info,
) -> ScanResult:
    """One ``soda scan`` of a table. Where there is nothing to check, no process is started.

    Args:
        names: only these checks.
        snapshot_id: the rows of this snapshot, always on DuckDB; else those of the current one.
        timeout: seconds; without it, those of the settings.
        log: takes the scan's output line by line.

    Raises:
        ChecksError: the table's checks cannot be used, or there is none of such a name.
        CatalogError: the table is not there, or cannot be read.
        QualityError: the scan could not be made: see quality/errors.py.
    """
    dialect: Dialect = "duckdb" if snapshot_id is not None else dialect_of(settings)
    checks = _chosen(table_checks(settings, template, dialect), names, template)
    if not checks:
        return ScanResult(template.table_name, ())
    unreadable = f"{template.table_name} cannot be read"
    with catalog_errors(unreadable):
        table = load_table(open_catalog(settings), template.table_name)
    absent = _absent(checks, table)
    runnable = [check for check in checks if check.name not in absent]
    result = ScanResult(template.table_name, ())
    if runnable:
        with tempfile.TemporaryDirectory(prefix="lakehouse-scan-") as folder:
            with catalog_errors(unreadable):
                configuration = _write_data_source(settings, template, table, runnable, dialect, snapshot_id, Path(folder))
            file = _write_checks(template, runnable, dialect, Path(folder))
            seconds = timeout or settings.scan_timeout
            now = settings.freshness_now
            result = run_scan(template.table_name, _DATA_SOURCE, configuration, file, runnable, timeout=seconds, log=log, now=now)
    found = {check.name: check for check in result.checks} | absent
    scanned = (snapshot_id or _current(table)) if dialect == "duckdb" else None
    return replace(result, checks=tuple(found[check.name] for check in checks), snapshot_id=scanned)


def held_back_by(scan: ScanResult) -> list[str]:
    """Why rows that wait are not to be published, by what a scan of them says; nothing where all checks pass but freshness.

    Old rows are no worse than none: a table that is not fresh gets what came, and its check says so. Warnings hold nothing back.
    """
    failing = [check for check in scan.checks if check.outcome in ("fail", "error")]
    counts = [check for check in failing if not (check.is_freshness and check.outcome == "fail")]
    reasons = [check.message or f"{check.definition} failed" for check in counts]
    return reasons + (list(scan.errors) if scan.checks else ["there is no check that they could pass"])


def _chosen(checks: Sequence[Check], names: Collection[str] | None, template: TableTemplate) -> list[Check]:
    known = [check.name for check in checks]
    if unknown := sorted(set(names or ()) - set(known)):
        raise ChecksError(f"{template.table_name} has no check {', '.join(unknown)}. It has {', '.join(known) or 'none'}.")
    return [check for check in checks if names is None or check.name in names]


def _absent(checks: Sequence[Check], table: Table) -> dict[str, CheckResult]:
    """The results of checks on columns that the live table lacks, by name: given to Soda, they would leave no check a result."""
    live = {field.name for field in table.schema().fields}
    name = ".".join(table.name())
    return {
        check.name: CheckResult(
            name=check.name,
            outcome="error",
            definition=check.definition,
            threshold=check.threshold,
            column=check.column,
            message=f"{name} has no column {', '.join(lacking)}. Make the table what its template says: lakehouse apply {name}",
        )
        for check in checks
        if (lacking := sorted((check.columns or frozenset()) - live))
    }


def _write_data_source(
    settings: LakehouseSettings,
    template: TableTemplate,
    table: Table,
    checks: Sequence[Check],
    dialect: Dialect,
    snapshot_id: int | None,
    folder: Path,
) -> Path:
    """Soda's configuration file; for DuckDB with a database beside it, in which the table's snapshot has the template's name."""
    configuration: dict[str, Any]
    if dialect == "athena":
        configuration = athena_configuration(settings, template.namespace)
    elif dialect == "bigquery":
        configuration = bigquery_configuration(settings, template.namespace)
    else:
        database = folder / "table.duckdb"
        columns, without_data = _columns(checks, table)
        from lakehouse.duck_view import write_view  # with DuckDB, which a code location of a thousand tables does not need

        write_view(
            database,
            table,
            template.name,
            snapshot_id=snapshot_id,
            columns=columns,
            without_data=without_data,
            memory=settings.write_memory,
        )
        configuration = duckdb_configuration(database, settings.write_memory, folder)
    return write_configuration(folder / "configuration.yaml", configuration)


def _columns(checks: Sequence[Check], table: Table) -> tuple[list[str], list[str]]:
    """The columns whose values the checks read, and those of which they only want to know that they are there, and of which type."""
    names = [field.name for field in table.schema().fields]
    reading = [check for check in checks if "schema" not in check.sodacl]
    read: set[str] = set()
    for check in reading:
        if check.columns is None:
            return names, []
        read |= check.columns
    found = [name for name in names if name in read] or names[:1]  # rows can only be counted where there is a column
    return found, [name for name in names if name not in found] if len(reading) < len(checks) else []


def _write_checks(template: TableTemplate, checks: Sequence[Check], dialect: Dialect, folder: Path) -> Path:
    # Soda takes the name into its SQL as it stands; a table may be called `order`.
    name = f'"{template.name}"' if dialect == "duckdb" else template.name
    path = folder / "checks.yaml"
    # JSON is YAML in which no text can be taken for anything else.
    path.write_text(json.dumps({f"checks for {name}": [check.sodacl for check in checks]}, ensure_ascii=False), encoding="utf-8")
    return path


def _current(table: Table) -> int | None:
    snapshot = table.current_snapshot()
    return None if snapshot is None else snapshot.snapshot_id
