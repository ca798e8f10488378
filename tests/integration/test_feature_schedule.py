"""The schedules of feature tables, and the runs that they ask for, through Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from dagster import AssetKey, DagsterInstance, RepositoryDefinition, RunRequest, build_schedule_context
from dagster._core.definitions.schedule_definition import ScheduleExecutionData

from dagster_project.definitions import build_definitions
from lakehouse.commit import Batch
from lakehouse.errors import CatalogError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

EVENTS = """\
name: events
namespace: shop
columns: [{name: id, type: long, required: true}, {name: at, type: timestamptz, required: true}]
partition_spec: [{column: at, transform: day}]
"""
FEATURES = """\
name: NAME
namespace: shop
columns: [{name: day, type: date, required: true}, {name: events, type: long}]
partition_spec: [{column: day, transform: identity}]
pipeline:
  pattern: feature_table
  sql: count.sql
  inputs: [events]
  window: 1d
  partitions: {start: "2024-01-0START"}
  lookback: 3d
  cron: "30 2 * * *"
"""
NAME = "features_cron_30_2_every_every_every"
Tick = Callable[[int], ScheduleExecutionData]


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def repository(lakehouse: Lakehouse) -> RepositoryDefinition:
    """One table of events, and two of features whose partitions are not the same."""
    (lakehouse.settings.templates / "count.sql").write_text("select $day as day, count(*) as events from events having count(*) > 0")
    lakehouse.template(EVENTS)
    for name, start in (("one", "1"), ("two", "4")):
        lakehouse.template(FEATURES.replace("NAME", name).replace("START", start))
    return build_definitions(LakehouseSettings.load()).get_repository_def()


@pytest.fixture
def tick(repository: RepositoryDefinition, instance: DagsterInstance) -> Tick:
    """Evaluates the schedule as on the night of a day in January 2024."""

    def evaluate(day: int) -> ScheduleExecutionData:
        moment = datetime(2024, 1, day, 2, 30, tzinfo=UTC)
        context = build_schedule_context(instance, repository_def=repository, scheduled_execution_time=moment)
        return repository.get_schedule_def(NAME).evaluate_tick(context)

    return evaluate


def asked(data: ScheduleExecutionData) -> list[str | None]:
    return [request.run_key for request in data.run_requests or ()]


def execute(repository: RepositoryDefinition, instance: DagsterInstance, request: RunRequest) -> None:
    job = repository.get_job(repository.get_schedule_def(NAME).job_name).get_subset(asset_selection=set(request.asset_selection or ()))
    assert job.execute_in_process(instance=instance, tags=request.tags).success


def append(lakehouse: Lakehouse, name: str, *days: int) -> None:
    rows = [{"id": day, "at": datetime(2024, 1, day, tzinfo=UTC)} for day in days]
    batch = pa.RecordBatch.from_pylist(rows, lakehouse.template_of("shop.events").arrow_schema)
    lakehouse.engine.append("shop.events", [batch], Batch(name))


def counts(lakehouse: Lakehouse, table: str) -> dict[date, int]:
    return {row["day"]: row["events"] for row in lakehouse.rows(table).to_pylist()}


def test_ticks_ask_for_what_is_due_and_nothing_twice(
    lakehouse: Lakehouse, repository: RepositoryDefinition, instance: DagsterInstance, tick: Tick
) -> None:
    append(lakehouse, "first", 1, 2, 3, 4)
    data = tick(5)
    assert asked(data) == ["shop.one/2024-01-02..2024-01-04", "shop.two/2024-01-04..2024-01-04"]
    assert asked(tick(5)) == asked(data)  # by these keys Dagster knows a tick's runs
    for request in data.run_requests or ():
        execute(repository, instance, request)
    assert counts(lakehouse, "shop.one") == {date(2024, 1, day): 1 for day in (2, 3, 4)}
    assert counts(lakehouse, "shop.two") == {date(2024, 1, 4): 1}
    assert instance.get_materialized_partitions(AssetKey(["shop", "one"])) == {f"2024-01-0{day}" for day in (2, 3, 4)}
    assert len(lakehouse.table("shop.one").metadata.snapshots) == 1
    data = tick(5)
    assert (asked(data), data.skip_message) == ([], "No day of 2 feature tables is to be computed.")
    append(lakehouse, "late", 2, 4)
    data = tick(5)
    assert asked(data) == ["shop.one/2024-01-02..2024-01-02", "shop.one/2024-01-04..2024-01-04", "shop.two/2024-01-04..2024-01-04"]
    execute(repository, instance, (data.run_requests or ())[0])
    assert counts(lakehouse, "shop.one") == {date(2024, 1, 2): 2, date(2024, 1, 3): 1, date(2024, 1, 4): 1}
    assert asked(tick(6)) == ["shop.one/2024-01-04..2024-01-05", "shop.two/2024-01-04..2024-01-05"]


def test_one_table_that_fails_keeps_no_other_from_being_computed(lakehouse: Lakehouse, tick: Tick) -> None:
    lakehouse.catalog.drop_table("shop.one")
    assert asked(tick(5)) == ["shop.two/2024-01-04..2024-01-04"]
    data = tick(2)
    assert (asked(data), data.skip_message) == ([], "No day of 2 feature tables is to be computed. Not looked at: shop.one.")
    lakehouse.catalog.drop_table("shop.two")
    with pytest.raises(CatalogError, match=r"shop\.one"):
        tick(5)


def test_an_asset_run_shows_its_day(repository: RepositoryDefinition, instance: DagsterInstance, lakehouse: Lakehouse) -> None:
    append(lakehouse, "first", 1, 2)
    job = repository.get_job("__ASSET_JOB").get_subset(asset_selection={AssetKey(["shop", "one"])})
    result = job.execute_in_process(instance=instance, tags={"dagster/partition": "2024-01-02"})
    [materialization] = result.asset_materializations_for_node("shop__one")
    shown = {key: value.value for key, value in materialization.metadata.items()}
    assert (materialization.partition, shown["days"], shown["dagster/partition_row_count"]) == ("2024-01-02", "2024-01-02", 1)
