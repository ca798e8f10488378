"""``python -m dagster_project.check_results``: what each check of each table said last, from Dagster's records, as JSON.

In the form of ``python -m quality --json``, which ``lakehouse catalog-page --checks`` takes. Results on rows that were not published
are left out: readers do not see these.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagster import AssetCheckEvaluation, AssetCheckKey, AssetCheckSeverity, DagsterInstance
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
from rich.text import Text

from dagster_project.assets.common import asset_key
from dagster_project.checks import LOOKED_BACK, UNPUBLISHED
from dagster_project.sensors.schema_drift import CHECK as DRIFT_CHECK
from lakehouse.cli_output import ERR, print_json
from lakehouse.errors import LakehouseError
from lakehouse.lint import load_templates
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate
from quality.checks import table_checks
from quality.results import CheckResult, Outcome

# What the drift check finds names roles and accounts.
_DRIFT = "The live table and the grants on it are what its template says."
_AT_ONCE = 500  # checks that Dagster's storage is asked for in one query


def last_results(instance: DagsterInstance, settings: LakehouseSettings, templates: Iterable[TableTemplate]) -> dict[str, Any]:
    """The last result of each check that the templates' tables have now; a check that never ran has none.

    Raises:
        ChecksError: a table's checks cannot be used.
    """
    names = {
        template.table_name: (template, [DRIFT_CHECK, *(check.name for check in table_checks(settings, template))])
        for template in templates
    }
    keys = [AssetCheckKey(asset_key(template), name) for template, checks in names.values() for name in checks]
    latest = _latest(instance, keys)
    tables = [
        {"table": table, "checks": [result for name in checks if (result := latest.get(AssetCheckKey(asset_key(template), name)))]}
        for table, (template, checks) in names.items()
    ]
    return {"version": 1, "tables": [table for table in tables if table["checks"]], "errors": {}}


def _latest(instance: DagsterInstance, keys: list[AssetCheckKey]) -> dict[AssetCheckKey, dict[str, Any]]:
    found = dict[AssetCheckKey, dict[str, Any]]()
    for start in range(0, len(keys), _AT_ONCE):
        # Dagster's storage is asked, because it has all at once, which the instance does not.
        records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys[start : start + _AT_ONCE])
        for key, record in records.items():
            result = next((result for each in _back_from(instance, record) if (result := _result(each)) is not None), None)
            if result is not None:
                found[key] = result
    return found


def _back_from(instance: DagsterInstance, latest: AssetCheckExecutionRecord) -> Iterator[AssetCheckExecutionRecord]:
    yield latest
    history = instance.event_log_storage.get_asset_check_execution_history(latest.key, limit=LOOKED_BACK)
    yield from (record for record in history if record.id < latest.id)


def _result(record: AssetCheckExecutionRecord) -> dict[str, Any] | None:
    """What a record says; None where the check did not end, or was about rows that are not published."""
    evaluation = record.evaluation  # of a check that is planned, the plan
    if not isinstance(evaluation, AssetCheckEvaluation) or UNPUBLISHED in evaluation.metadata:
        return None
    if evaluation.check_name == DRIFT_CHECK:
        definition, value, threshold = _DRIFT, None, ""
        message = "" if evaluation.passed else "See `lakehouse drift`."
    else:
        metadata = {name: found.value for name, found in evaluation.metadata.items()}
        definition, value, threshold = str(metadata.get("definition", "")), metadata.get("value"), str(metadata.get("threshold", ""))
        message = "" if evaluation.passed else evaluation.description or ""
    outcome: Outcome = "pass" if evaluation.passed else "warn" if evaluation.severity == AssetCheckSeverity.WARN else "fail"
    number = value if isinstance(value, float | int) else None
    result = CheckResult(evaluation.check_name, outcome, definition, number, threshold, message=message)
    at = datetime.fromtimestamp(record.event.timestamp, UTC) if record.event else None
    return {**asdict(result), "at": at.isoformat(timespec="seconds") if at else None}


def main(arguments: list[str] | None = None) -> int:
    """Prints the results. Returns the exit code; that Dagster has no records yet is no error."""
    parser = argparse.ArgumentParser(
        "python -m dagster_project.check_results",
        description="Print what each check said last, from the records in DAGSTER_HOME, as JSON.",
        epilog="Example: python -m dagster_project.check_results | lakehouse catalog-page --checks -",
    )
    parser.parse_args(arguments)
    try:
        settings = LakehouseSettings.load()
        templates = load_templates(settings.templates, settings.variables)
        home = os.environ.get("DAGSTER_HOME", "")
        if not home or not (Path(home) / "dagster.yaml").is_file():
            why = f"there is no dagster.yaml in {home}" if home else "DAGSTER_HOME is not set"
            ERR.print(Text(f"warning: no results of checks, for {why}: run the pipelines first, e.g. make demo", style="yellow"))
            results: dict[str, Any] = {"version": 1, "tables": [], "errors": {}}
        else:
            with DagsterInstance.get() as instance:
                results = last_results(instance, settings, templates)
    except LakehouseError as error:
        ERR.print(Text(f"error: {error}", style="red"))
        return 1
    print_json(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
