"""Tables that somebody changes by hand, and what is found of it: for the tests of drift, on every backend."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dagster import AssetCheckKey, AssetKey, DagsterInstance, RepositoryDefinition, build_sensor_context
from dagster._core.definitions.sensor_definition import SensorExecutionData

from lakehouse.drift import check_drift
from lakehouse.drift_answers import TableDrift

if TYPE_CHECKING:
    from conftest import Lakehouse

ORDERS = """\
name: orders
namespace: shop
description: One row per order.
columns:
  - {name: id, type: long, required: true}
  - {name: at, type: timestamptz, required: true, description: When.}
  - {name: count, type: int}
  - {name: session_id, type: string}
  - {name: address, type: "struct<street: string, zip: string>"}
identifier: [id]
partition_spec: [{column: at, transform: day}]
sort_order: [{column: id}]
properties: {write.parquet.compression-codec: zstd}
pipeline: {pattern: event_stream, source: {path: "${LAKEHOUSE_LANDING}/orders/", format: jsonl}, on_bad_rows: quarantine}
"""
USERS = "name: users\nnamespace: shop\ncolumns: [{name: id, type: long}]\n"


def made(lakehouse: Lakehouse, *templates: str) -> None:
    """The tables of templates, each with a snapshot: what is dropped from it is lost."""
    for text in templates:
        name = lakehouse.template(text).table_name
        table = lakehouse.table(name)
        table.append(table.schema().as_arrow().empty_table())


def found(lakehouse: Lakehouse, **options: Any) -> dict[str, TableDrift]:
    """The answers about schemas, by table."""
    drifts = check_drift(lakehouse.settings, lakehouse.templates(), **options)
    return {drift.table: drift for drift in drifts if drift.aspect == "schema"}


def states(lakehouse: Lakehouse, **options: Any) -> dict[str, str]:
    return {name: drift.state for name, drift in found(lakehouse, **options).items()}


def catalog_answer(lakehouse: Lakehouse, **options: Any) -> TableDrift:
    [answer] = [drift for drift in check_drift(lakehouse.settings, lakehouse.templates(), **options) if drift.aspect == "catalog"]
    return answer


def location(lakehouse: Lakehouse, name: str) -> str:
    return f"{lakehouse.settings.warehouse_uri}/shop/{name}"


class Watch:
    """The sensor, tick by tick, as Dagster's daemon runs it."""

    def __init__(self, repository: RepositoryDefinition, instance: DagsterInstance) -> None:
        self.repository, self.instance = repository, instance
        self.sensor = repository.get_sensor_def("schema_drift")
        self.cursor: str | None = None
        self.seconds = 0.0

    def tick(self) -> SensorExecutionData:
        context = build_sensor_context(self.instance, cursor=self.cursor, repository_def=self.repository)
        start = time.monotonic()
        data = self.sensor.evaluate_tick(context)
        self.seconds = time.monotonic() - start
        for event in data.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursor = data.cursor
        return data

    def checks(self, asset: list[str], name: str = "schema_drift") -> list[tuple[bool, str]]:
        """Every evaluation of a check that Dagster has stored, the last one first: passed, and its description."""
        found = self.instance.event_log_storage.get_asset_check_execution_history(AssetCheckKey(AssetKey(asset), name), limit=100)
        evaluations = [record.event.dagster_event.asset_check_evaluation_data for record in found]  # type: ignore[union-attr]
        return [(evaluation.passed, str(evaluation.description)) for evaluation in evaluations]

    def run_checks(self, *keys: AssetCheckKey) -> None:
        """Runs checks by hand."""
        job = self.repository.get_job("__ASSET_JOB").get_subset(asset_selection=set(), asset_check_selection=set(keys))
        assert job.execute_in_process(instance=self.instance).success
