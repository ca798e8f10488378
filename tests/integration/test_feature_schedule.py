"""The schedules of feature tables, and the runs that they ask for, through Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RepositoryDefinition, RunRequest, build_schedule_context
from dagster._core.definitions.schedule_definition import ScheduleExecutionData
from dagster._core.test_utils import create_run_for_test

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
NAME = "features_daily_at_2_30"
Tick = Callable[[int], ScheduleExecutionData]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path)) as found:  # a tick is given no other kind
        yield found


@pytest.fixture
def starts() -> tuple[str, str]:
    """The first days of the two tables of features: not the same, and neither are their partitions."""
    return "1", "4"


@pytest.fixture
def repository(lakehouse: Lakehouse, starts: tuple[str, str]) -> RepositoryDefinition:
    """One table of events, and two of features."""
    (lakehouse.settings.templates / "count.sql").write_text("select $day as day, count(*) as events from events having count(*) > 0")
    lakehouse.template(EVENTS)
    for name, start in zip(("one", "two"), starts, strict=True):
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


@pytest.mark.parametrize("starts", [("1", "1")])
def test_tables_with_the_same_days_have_a_job_of_their_own(
    lakehouse: Lakehouse, repository: RepositoryDefinition, instance: DagsterInstance, tick: Tick
) -> None:
    schedule = repository.get_schedule_def(NAME)
    job = repository.get_job(schedule.job_name)
    assert job.asset_layer.selected_asset_keys == {AssetKey(["shop", "one"]), AssetKey(["shop", "two"])}
    append(lakehouse, "first", 1, 2)
    data = tick(3)
    assert asked(data) == ["shop.one/2024-01-01..2024-01-02", "shop.two/2024-01-01..2024-01-02"]
    requests = data.run_requests or []
    assert {key for request in requests for key in request.asset_check_keys or ()} <= set(job.asset_layer.asset_graph.asset_check_keys)
    execute(repository, instance, requests[1])
    assert (counts(lakehouse, "shop.one"), len(counts(lakehouse, "shop.two"))) == ({}, 2)


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


# Feature tables that read one another.

BEST = """\
name: best
namespace: shop
columns: [{name: day, type: date, required: true}, {name: most, type: long}]
partition_spec: [{column: day, transform: identity}]
pipeline:
  pattern: feature_table
  sql: best.sql
  inputs: [INPUT]
  partitions: {start: "2024-01-01"}
  cron: "CRON * * *"
"""


class Chain:
    """``best`` reads ``one``, which comes first in no alphabet and in no request."""

    def __init__(
        self, lakehouse: Lakehouse, instance: DagsterInstance, cron: str = "30 2", source: str = "one", lookback: str = "1d"
    ) -> None:
        folder = lakehouse.settings.templates
        (folder / "count.sql").write_text("select $day as day, count(*) as events from events having count(*) > 0")
        (folder / "best.sql").write_text(f"select $day as day, max(events) as most from {source}")
        lakehouse.template(EVENTS)
        for name, start in (("one", "1"), ("two", "4")):
            text = FEATURES.replace("NAME", name).replace("START", start).replace("window: 1d", "window: 2d")
            lakehouse.template(text.replace("3d", "4d"))
        lakehouse.template(BEST.replace("INPUT", source).replace("CRON", cron) + f"  lookback: {lookback}\n")
        self.lakehouse, self.instance = lakehouse, instance
        self.repository = build_definitions(LakehouseSettings.load()).get_repository_def()

    def tick(self, day: int, name: str = NAME) -> list[RunRequest]:
        moment = datetime(2024, 1, day, 2, 30, tzinfo=UTC)
        context = build_schedule_context(self.instance, repository_def=self.repository, scheduled_execution_time=moment)
        data = self.repository.get_schedule_def(name).evaluate_tick(context)
        return sorted(data.run_requests or (), key=lambda request: str(request.run_key))

    def run(self, requests: list[RunRequest]) -> list[str | None]:
        for request in requests:
            execute(self.repository, self.instance, request)
        return [request.run_key for request in requests]

    def most(self) -> dict[int, int]:
        return {row["day"].day: row["most"] for row in self.lakehouse.rows("shop.best").to_pylist()}


def test_tables_that_read_one_another_are_computed_by_one_run_in_order(lakehouse: Lakehouse, instance: DagsterInstance) -> None:
    chain = Chain(lakehouse, instance)
    append(lakehouse, "first", 1, 2, 2, 3, 4, 4, 4)
    assert chain.run(chain.tick(5)) == ["shop.one,shop.best/2024-01-01..2024-01-04", "shop.two/2024-01-04..2024-01-04"]
    assert chain.most() == {1: 1, 2: 3, 3: 3, 4: 4}
    assert chain.tick(5) == []
    assert chain.run(chain.tick(6)) == ["shop.one,shop.best/2024-01-05..2024-01-05", "shop.two/2024-01-05..2024-01-05"]
    append(lakehouse, "late", *[2] * 5)  # the first day of the lookback: of ``best`` alone it is over
    assert chain.run(chain.tick(6)) == ["shop.one,shop.best/2024-01-02..2024-01-05"]
    assert chain.most() == {1: 1, 2: 8, 3: 8, 4: 8, 5: 8}
    assert chain.tick(6) == []


def test_a_day_waits_for_an_input_that_another_schedule_computes(lakehouse: Lakehouse, instance: DagsterInstance) -> None:
    chain, later = Chain(lakehouse, instance, cron="30 3"), NAME.replace("2", "3")
    append(lakehouse, "first", 1, 2, 3, 4)
    assert chain.tick(5, later) == []
    chain.run(chain.tick(5))
    assert chain.run(chain.tick(5, later)) == ["shop.best/2024-01-01..2024-01-04"]
    append(lakehouse, "late", 2)
    assert chain.tick(6, later) == []  # no day of these can be right before that of ``one``
    chain.run(chain.tick(6))
    assert chain.run(chain.tick(6, later)) == ["shop.best/2024-01-02..2024-01-05"]


def test_an_input_whose_days_begin_later(lakehouse: Lakehouse, instance: DagsterInstance) -> None:
    chain = Chain(lakehouse, instance, source="two", lookback="3d")
    append(lakehouse, "first", 1, 2, 3, 4)
    assert chain.run(chain.tick(5)) == [
        "shop.best/2024-01-01..2024-01-03",
        "shop.one/2024-01-01..2024-01-04",
        "shop.two,shop.best/2024-01-04..2024-01-04",
    ]
    assert chain.most() == {1: None, 2: None, 3: None, 4: 2}
    assert chain.tick(5) == []


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED])
def test_days_of_a_run_that_is_not_over_are_not_asked_for_again(
    lakehouse: Lakehouse, instance: DagsterInstance, status: DagsterRunStatus
) -> None:
    chain = Chain(lakehouse, instance)
    one = AssetKey(["shop", "one"])
    days = {"dagster/asset_partition_range_start": "2024-01-02", "dagster/asset_partition_range_end": "2024-01-03"}
    for tags in ({"dagster/partition": "2024-01-04"}, days):
        create_run_for_test(instance, "__ASSET_JOB", tags=tags, status=status, asset_selection=frozenset({one}))
    unfinished = instance.get_runs()
    assert chain.run(chain.tick(5)) == ["shop.one,shop.best/2024-01-01..2024-01-01", "shop.two/2024-01-04..2024-01-04"]
    for run in unfinished:
        instance.delete_run(run.run_id)
    assert chain.run(chain.tick(5)) == ["shop.one,shop.best/2024-01-02..2024-01-04"]
