"""Soda's checks in Dagster: results on the asset, what they block, and rows that are published only if they pass."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dagster import (
    AssetCheckKey,
    AssetCheckSeverity,
    AssetKey,
    AssetSelection,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    FloatMetadataValue,
    IntMetadataValue,
    UrlMetadataValue,
    build_schedule_context,
    define_asset_job,
)
from dagster._core.definitions.schedule_definition import ScheduleExecutionData

from dagster_project.definitions import build_definitions
from lakehouse.audit import drop, open_audit, publish
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

EVENTS = """
name: orders
namespace: shop
columns:
  - {name: id, type: long, required: true}
  - {name: email, type: string, pii: true, access_level: restricted}
  - {name: amount, type: double}
  - {name: at, type: timestamptz, required: true}
identifier: [id]
partition_spec: [{column: at, transform: day}]
pipeline: {pattern: event_stream, source: {path: "${LAKEHOUSE_LANDING}/orders/", format: jsonl}, cron: "0 * * * *"}
freshness: 24h
checks: {blocking: [duplicate_count_id]}
"""
FEATURES = """
name: daily
namespace: shop
columns: [{name: day, type: date, required: true}, {name: orders, type: long}]
partition_spec: [{column: day, transform: identity}]
pipeline: {pattern: feature_table, sql: daily.sql, inputs: [orders], window: 1d, partitions: {start: "2024-01-01"}, cron: "30 2 * * *"}
"""
CHECKS = """
checks for orders:
  - max(amount) <= 1000:
      name: amount_is_plausible
  - max(email) < 5:
      name: email_is_a_number
  - missing_count(amount):
      name: amount_is_mostly_there
      warn: when > 0
"""
ORDERS = AssetKey(["shop", "orders"])
DAY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    (folder := tmp_path / "dagster").mkdir()
    with DagsterInstance.local_temp(str(folder)) as found:
        yield found


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for SodaCL files."""
    (folder := tmp_path / "checks").mkdir()
    monkeypatch.setenv("LAKEHOUSE_CHECKS", str(folder))
    return folder


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the `soda scan` processes that were started."""
    started: list[list[str]] = []
    start = subprocess.Popen.__init__

    def note(self: Any, args: Any, *rest: Any, **options: Any) -> None:
        if isinstance(args, list) and "scan" in args:
            started.append([str(arg) for arg in args])
        start(self, args, *rest, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", note)
    return started


Run = Callable[..., ExecuteInProcessResult]


@pytest.fixture
def run(instance: DagsterInstance) -> Run:
    """Runs assets of the templates, with their checks but for drift, which is a comparison of its own."""

    def run_assets(*keys: AssetKey, **options: Any) -> ExecuteInProcessResult:
        defs = definitions()
        selection = AssetSelection.assets(*keys) - AssetSelection.checks(*(AssetCheckKey(key, "schema_drift") for key in keys))
        job = Definitions.merge(defs, Definitions(jobs=[define_asset_job("these", selection)])).resolve_job_def("these")
        return job.execute_in_process(instance=instance, raise_on_error=False, **options)

    return run_assets


def definitions() -> Definitions:
    return build_definitions(LakehouseSettings.load())


def order(number: int, amount: float | None = 5, at: datetime | None = None) -> str:
    at = at or datetime.now(UTC) - timedelta(minutes=5)
    return json.dumps({"id": number, "email": f"{number}@example.com", "amount": amount, "at": at.isoformat()}) + "\n"


def results(found: ExecuteInProcessResult) -> dict[str, Any]:
    return {evaluation.check_name: evaluation for evaluation in found.get_asset_check_evaluations()}


def messages(found: ExecuteInProcessResult) -> str:
    """What failed steps say, with its causes."""
    texts = []
    for event in found.filter_events(lambda event: event.is_step_failure):
        error = event.step_failure_data.error
        while error is not None:
            texts.append(error.message)
            error = error.cause
    return "\n".join(texts)


def test_each_check_is_an_asset_check_with_its_value_threshold_and_a_link(
    lakehouse: Lakehouse, checks: Path, run: Run, scans: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_REPOSITORY_URL", "https://git.example.com/shop/blob/main")
    (checks / "orders_checks.yaml").write_text(CHECKS)
    lakehouse.template(EVENTS)
    lakehouse.land("orders/1.jsonl", order(1) + order(2, None) + order(3, 2000))
    done = run(ORDERS)
    assert done.success, messages(done)  # what fails does not block
    assert len(scans) == 1
    found = results(done)
    rows = found["row_count"]
    assert rows.passed
    assert rows.metadata["value"] in (IntMetadataValue(3), FloatMetadataValue(3.0))
    assert rows.metadata["threshold"].value == "> 0"
    assert rows.metadata["snapshot_id"].value == str(lakehouse.table("shop.orders").metadata.current_snapshot_id)
    implausible = found["amount_is_plausible"]
    assert (implausible.passed, implausible.severity) == (False, AssetCheckSeverity.ERROR)
    assert implausible.metadata["value"].value == 2000
    source = implausible.metadata["source"]
    assert isinstance(source, UrlMetadataValue)
    assert source.value.startswith("https://git.example.com/shop/blob/main/")
    assert source.value.endswith("orders_checks.yaml#L3")
    incomplete = found["amount_is_mostly_there"]
    assert (incomplete.passed, incomplete.severity, incomplete.metadata["value"].value) == (False, AssetCheckSeverity.WARN, 1)
    assert found["duplicate_count_id"].blocking


def test_no_value_of_a_personal_column_is_in_events_or_logs(
    lakehouse: Lakehouse, checks: Path, run: Run, instance: DagsterInstance
) -> None:
    (checks / "orders_checks.yaml").write_text(CHECKS)
    lakehouse.template(EVENTS)
    lakehouse.land("orders/1.jsonl", order(7))
    done = run(ORDERS)
    assert "value" not in results(done)["email_is_a_number"].metadata
    for record in instance.all_logs(done.run_id):
        assert "@example.com" not in str(record)


def test_a_blocking_check_keeps_what_follows_from_running_now_and_later(
    lakehouse: Lakehouse, checks: Path, run: Run, instance: DagsterInstance
) -> None:
    (lakehouse.settings.templates / "daily.sql").write_text("select $day as day, count(*) as orders from orders having count(*) > 0")
    lakehouse.template(EVENTS)
    lakehouse.template(FEATURES)
    lakehouse.land("orders/1.jsonl", order(1, at=DAY) + order(1, at=DAY))
    done = run(ORDERS)
    assert not results(done)["duplicate_count_id"].passed
    assert not done.success

    tick = features_tick(instance)
    assert not tick.run_requests
    assert tick.skip_message is not None
    assert "shop.daily is not computed while what it reads fails a blocking check: shop.orders: duplicate_count_id." in tick.skip_message

    # Whoever repairs the table, and has it checked, lets the rest go on.
    lakehouse.table("shop.orders").delete("id = 1")
    lakehouse.land("orders/2.jsonl", order(2, at=DAY))
    assert results(run(ORDERS))["duplicate_count_id"].passed
    requests = features_tick(instance).run_requests
    assert requests
    assert {key.name for key in requests[0].asset_check_keys or ()} >= {"row_count", "missing_count_day"}


@pytest.fixture
def features(lakehouse: Lakehouse, checks: Path) -> None:
    """The table of orders, of which one is there and checked, and features that read it."""
    (lakehouse.settings.templates / "daily.sql").write_text("select $day as day, count(*) as orders from orders having count(*) > 0")
    lakehouse.template(EVENTS)
    lakehouse.template(FEATURES)
    lakehouse.land("orders/1.jsonl", order(1, at=DAY))


def test_rows_that_came_with_an_unreadable_file_are_checked_all_the_same(
    lakehouse: Lakehouse, features: None, run: Run, instance: DagsterInstance, scans: list[list[str]]
) -> None:
    assert run(ORDERS).success
    lakehouse.land("orders/2.jsonl", order(1, at=DAY))
    lakehouse.land("orders/3.jsonl", '{"id": "x"}\n')
    done = run(ORDERS)
    assert "3.jsonl" in messages(done)
    assert len(scans) == 2
    assert "duplicate_count_id" in str(features_tick(instance).skip_message)


def test_a_scan_that_could_not_be_made_blocks_until_one_passes_whatever_is_planned(
    lakehouse: Lakehouse, features: None, run: Run, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(ORDERS).success
    assert features_tick(instance).run_requests
    lakehouse.land("orders/2.jsonl", order(2, at=DAY))
    with monkeypatch.context() as patched:
        patched.setenv("LAKEHOUSE_SCAN_TIMEOUT", "0.01")
        assert not run(ORDERS).success
    assert "duplicate_count_id" in str(features_tick(instance).skip_message)
    defs = Definitions.merge(definitions(), Definitions(jobs=[define_asset_job("planned", AssetSelection.assets(ORDERS))]))
    planned = instance.create_run_for_job(defs.resolve_job_def("planned"))
    assert "duplicate_count_id" in str(features_tick(instance).skip_message)
    instance.report_run_failed(planned)
    assert "duplicate_count_id" in str(features_tick(instance).skip_message)
    assert run(ORDERS).success
    assert features_tick(instance).run_requests


def test_an_audit_that_did_not_pass_blocks_nothing(lakehouse: Lakehouse, features: None, run: Run, instance: DagsterInstance) -> None:
    lakehouse.template(f"{EVENTS}publish: audited\n")
    assert run(ORDERS).success
    lakehouse.land("orders/2.jsonl", order(1, at=DAY))
    assert not run(ORDERS).success
    assert features_tick(instance).run_requests


def test_an_audited_table_that_is_not_there_keeps_no_other_from_being_computed(
    lakehouse: Lakehouse, features: None, run: Run, instance: DagsterInstance
) -> None:
    other = FEATURES.replace("name: daily", "name: other").replace("pipeline:", "publish: audited\npipeline:")
    (lakehouse.settings.templates / "other.yaml").write_text(other)
    assert run(ORDERS).success
    asked = features_tick(instance).run_requests
    assert [key.to_user_string() for request in asked for key in request.asset_selection or ()] == ["shop/daily"]


def test_an_audited_table_with_an_open_audit_is_not_computed_again(
    lakehouse: Lakehouse, checks: Path, features: None, run: Run, instance: DagsterInstance
) -> None:
    lakehouse.template(FEATURES.replace("pipeline:", "publish: audited\npipeline:").replace("type: long}]", "type: long, required: true}]"))
    (checks / "daily_checks.yaml").write_text("checks for daily:\n  - max(orders) < 1\n")
    assert run(ORDERS).success
    assert not run(AssetKey(["shop", "daily"]), partition_key="2024-01-01").success
    assert "shop.daily is not computed while it has an open audit" in str(features_tick(instance).skip_message)


def features_tick(instance: DagsterInstance) -> ScheduleExecutionData:
    defs = definitions()
    name = next(schedule.name for schedule in defs.schedules or () if schedule.name.startswith("features_"))
    context = build_schedule_context(instance, scheduled_execution_time=datetime(2024, 1, 2, 2, 30, tzinfo=UTC))
    with context:
        return defs.get_repository_def().get_schedule_def(name).evaluate_tick(context)


def test_a_run_with_a_failing_blocking_check_does_not_go_on_to_what_reads_the_table(lakehouse: Lakehouse, checks: Path, run: Run) -> None:
    (lakehouse.settings.templates / "daily.sql").write_text("select $day as day, count(*) as orders from orders having count(*) > 0")
    lakehouse.template(EVENTS.replace("identifier: [id]", "identifier: [id]\ntags: {a: b}"))
    lakehouse.template(FEATURES.replace("pipeline:", "owner: team-x\npipeline:"))
    lakehouse.land("orders/1.jsonl", order(1, at=DAY) + order(1, at=DAY))
    done = run(ORDERS, AssetKey(["shop", "daily"]), partition_key="2024-01-01")
    assert not done.success
    assert [event.asset_key for event in done.get_asset_materialization_events()] == [ORDERS]


def test_a_scan_that_cannot_be_made_is_a_failed_step_and_never_a_pass(
    lakehouse: Lakehouse, checks: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse.template(EVENTS)
    lakehouse.land("orders/1.jsonl", order(1))
    monkeypatch.setenv("LAKEHOUSE_SCAN_TIMEOUT", "0.01")
    done = run(ORDERS)
    assert not done.success
    assert not results(done)
    assert "shop.orders" in messages(done)


@pytest.mark.nessie
@pytest.mark.gcp
def test_audited_rows_are_published_when_every_check_passes_by_one_scan(
    lakehouse: Lakehouse, checks: Path, run: Run, scans: list[list[str]]
) -> None:
    lakehouse.template(f"{EVENTS}publish: audited\n")
    lakehouse.land("orders/1.jsonl", order(1) + order(2))
    done = run(ORDERS)
    assert done.success, messages(done)
    assert len(scans) == 1
    assert lakehouse.rows("shop.orders").num_rows == 2
    assert open_audit(lakehouse.table("shop.orders")) is None
    assert results(done)["row_count"].metadata["value"].value == 2
    lakehouse.land("orders/2.jsonl", order(3))
    assert run(ORDERS).success
    assert lakehouse.rows("shop.orders").num_rows == 3


@pytest.mark.nessie
def test_audited_rows_that_fail_a_check_are_not_published_and_the_run_says_what_to_do(
    lakehouse: Lakehouse, checks: Path, run: Run, instance: DagsterInstance
) -> None:
    lakehouse.template(f"{EVENTS}publish: audited\n")
    lakehouse.land("orders/1.jsonl", order(1))
    assert run(ORDERS).success
    before = lakehouse.table("shop.orders").metadata.current_snapshot_id

    lakehouse.land("orders/2.jsonl", order(1))
    done = run(ORDERS)
    assert not done.success
    told = messages(done)
    for part in ("duplicate_count(id) = 0", "lakehouse audit show shop.orders", "lakehouse audit publish", "lakehouse audit drop"):
        assert part in told
    assert lakehouse.table("shop.orders").metadata.current_snapshot_id == before
    shown = instance.event_log_storage.get_latest_asset_check_execution_by_key([AssetCheckKey(ORDERS, "duplicate_count_id")])
    assert [record.status.value for record in shown.values()] == ["FAILED"]

    again = run(ORDERS)
    assert not again.success
    assert "has an open audit" in messages(again)

    drop(lakehouse.table("shop.orders"), 10)
    (lakehouse.landing / "orders" / "2.jsonl").write_text(order(2))
    assert run(ORDERS).success
    assert sorted(lakehouse.rows("shop.orders")["id"].to_pylist()) == [1, 2]


def test_an_audit_that_failed_can_be_published_by_hand(lakehouse: Lakehouse, checks: Path, run: Run) -> None:
    lakehouse.template(f"{EVENTS}publish: audited\n")
    lakehouse.land("orders/1.jsonl", order(1) + order(1))
    assert not run(ORDERS).success
    audit = open_audit(lakehouse.table("shop.orders"))
    assert audit is not None
    publish(lakehouse.table("shop.orders"), audit.snapshot_id, 10)
    assert lakehouse.rows("shop.orders").num_rows == 2
    lakehouse.land("orders/2.jsonl", order(2))
    assert not run(ORDERS).success  # duplicates are still there


def test_freshness_is_looked_at_every_hour_by_itself(
    lakehouse: Lakehouse, checks: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse.template(EVENTS)
    defs = definitions()
    schedule = next(schedule for schedule in defs.schedules or () if schedule.name == "freshness")
    assert schedule.cron_schedule == "50 * * * *"
    job = defs.resolve_job_def(schedule.job_name)
    lakehouse.land("orders/1.jsonl", order(1, at=DAY))
    lakehouse.run(lakehouse.template_of("shop.orders"))
    done = job.execute_in_process(instance=instance)
    assert {name: found.passed for name, found in results(done).items()} == {"freshness_at": False}
    assert not done.get_asset_materialization_events()
    # Data of the past, as it was looked at then.
    monkeypatch.setenv("LAKEHOUSE_FRESHNESS_NOW", (DAY + timedelta(minutes=90)).isoformat())
    [then] = results(job.execute_in_process(instance=instance)).values()
    assert (then.passed, then.metadata["fresh_at"].value) == (True, (DAY + timedelta(minutes=90)).isoformat())
    assert str(then.description).endswith(": pass, 1:30:00")


def test_a_schedule_runs_the_tables_checks_with_them_but_not_the_search_for_drift(lakehouse: Lakehouse, checks: Path) -> None:
    lakehouse.template(EVENTS)
    defs = definitions()
    schedule = next(schedule for schedule in defs.schedules or () if schedule.name.startswith("load_"))
    selected = defs.resolve_job_def(schedule.job_name).asset_layer.asset_graph.asset_check_keys
    names = {key.name for key in selected if key.asset_key == ORDERS}
    assert "row_count" in names
    assert "schema_drift" not in names
