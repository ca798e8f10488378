"""``lakehouse health``, ``lakehouse maintain``, and the job in Dagster: what they say, and what they do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pyarrow as pa
import pytest
from command_line import run_command
from dagster import AssetKey, DagsterEventType, DagsterInstance
from maintaining import EVENTS, events, files_of, ids, step, take
from test_duck_view import delete

from dagster_project.definitions import build_definitions
from lakehouse.arrow_types import arrow_schema_of
from lakehouse.commit import Batch
from lakehouse.health import Health, check_health

if TYPE_CHECKING:
    from conftest import Lakehouse

OTHER = """\
    name: other
    namespace: lake
    columns: [{name: id, type: long}]
"""


def test_the_figures_of_a_table(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    template, other = events(lakehouse), lakehouse.template(OTHER)
    for number in range(6):
        take(lakehouse, template, 2 * number)
    with lakehouse.table("lake.events").manage_snapshots() as manage:
        manage.create_tag(lakehouse.table("lake.events").metadata.snapshots[0].snapshot_id, "first")
    schema = arrow_schema_of(lakehouse.table("lake.other").schema())
    lakehouse.engine.append("lake.other", [pa.RecordBatch.from_pydict({"id": [1, 2]}, schema)], Batch("a"))
    delete(lakehouse.table("lake.other"), [0], monkeypatch)
    found, plain = [
        answer for answer in check_health(lakehouse.settings, lakehouse.catalog, [template, other]) if isinstance(answer, Health)
    ]
    table = lakehouse.table("lake.events")
    sizes = [task.file.file_size_in_bytes for task in table.scan().plan_files()]
    assert (found.files, found.rows, found.bytes, found.average_bytes) == (6, 6, sum(sizes), sum(sizes) // 6)
    assert (found.target_bytes, found.small_files, found.small_share) == (512 * 1024 * 1024, 6, 1.0)
    assert (found.snapshots, found.branches, found.tags) == (6, 1, 1)
    assert (found.manifests, found.manifest_bytes) == (6, sum(m.manifest_length for m in table.current_snapshot().manifests(table.io)))
    assert found.metadata_bytes == Path(table.metadata_location.removeprefix("file://")).stat().st_size
    assert found.advice == ["6 files can become 1: lakehouse maintain lake.events --only compact"]
    assert (plain.files, plain.position_deletes, plain.equality_deletes) == (1, 1, 0)
    assert plain.advice == ["1 files can become 1: lakehouse maintain lake.other --only compact"]

    lakehouse.catalog.drop_table("lake.other")
    code, out, err = run_command(capsys, "health")
    assert code == 1
    assert "lake.events: 6 files can become 1: lakehouse maintain lake.events --only compact" in out
    assert "There is no table lake.other in the catalog" in err
    code, out, _ = run_command(capsys, "health", "events", "--json")
    assert (code, json.loads(out)[0]["small_files"], json.loads(out)[0]["advice"]) == (0, 6, found.advice)
    step(lakehouse, template, "compact")
    assert "There is nothing to do." in run_command(capsys, "health", "events")[1]


def test_the_command_shows_first_and_asks(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]) -> None:
    template, _ = events(lakehouse), lakehouse.template(OTHER)
    for number in range(6):
        take(lakehouse, template, 2 * number)
    stray = Path(lakehouse.settings.warehouse, "lake", "events", "data", "stray.parquet")
    stray.write_bytes(b"x" * 2048)
    os.utime(stray, (0, 0))
    before = files_of(lakehouse)
    code, out, _ = run_command(capsys, "maintain", "--dry-run")
    assert (code, files_of(lakehouse)) == (0, before)
    assert "lake.events: compact planned 6 files become 1; 6 files, " in out
    assert "lake.events: delete files planned 1 files, 2.0 KiB" in out
    assert "1 table: 2.0 KiB would be freed" in out
    code, _, err = run_command(capsys, "maintain")
    assert (code, "--yes" in err, files_of(lakehouse)) == (2, True, before)
    with mock.patch("sys.stdin.isatty", return_value=True, create=True), mock.patch("typer.confirm", side_effect=SystemExit(1)) as asked:
        assert run_command(capsys, "maintain", "events")[0] == 1
    assert (asked.call_count, files_of(lakehouse)) == (1, before)
    code, out, _ = run_command(capsys, "maintain", "events", "--only", "orphans", "--yes", "--json")
    report = json.loads(out)["tables"][0]
    assert (code, report["freed_bytes"], [found["step"] for found in report["steps"]]) == (0, 2048, ["orphans"])
    assert before - files_of(lakehouse) == {str(stray)}
    code, out, err = run_command(capsys, "maintain", "--yes")
    assert (code, "lake.events: compact done 6 files became 1." in out, "commit 1 of 1" in err) == (0, True, True)
    assert "lake.events: nothing to do" in run_command(capsys, "maintain", "--dry-run")[1]
    assert run_command(capsys, "maintain", "--only", "vacuum", "--yes")[0] == 2
    lakehouse.catalog.drop_table("lake.events")
    code, out, err = run_command(capsys, "maintain", "events", "other", "--yes")
    assert (code, "lake.other: nothing to do" in out) == (1, True)
    assert "error: lake.events: retention: There is no table lake.events" in err
    (lakehouse.settings.templates / "events.yaml").unlink()
    assert "No template has the key `maintenance`" in run_command(capsys, "maintain", "--yes")[1]


def test_the_job_maintains_what_says_so_and_tells_of_failures_last(lakehouse: Lakehouse) -> None:
    broken = events(lakehouse, EVENTS.replace("name: events", "name: broken"))
    template = events(lakehouse)
    lakehouse.template(OTHER)
    for number in range(6):
        take(lakehouse, template, 2 * number)
    lakehouse.catalog.drop_table("lake.broken")
    job = build_definitions(lakehouse.settings).resolve_job_def("maintenance")
    with DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not result.success
        [failure] = [event for event in result.all_events if event.event_type == DagsterEventType.STEP_FAILURE]
        assert "lake.broken: retention: There is no table lake.broken in the catalog" in str(failure.step_failure_data.error)
        assert "lake.events" not in str(failure.step_failure_data.error).split("Stack")[0]
        metadata = observed(instance, "events")
        assert (metadata["maintenance/files_rewritten"], metadata["health/files"], metadata["health/snapshots"]) == (6, 1, 7)
        assert metadata["health/advice"] == []
        assert "health/files" not in observed(instance, broken.name)
        assert instance.get_latest_data_version_record(AssetKey(["lake", "other"])) is None
        assert ids(lakehouse) == [0, 2, 4, 6, 8, 10]
        config: dict[str, Any] = {"ops": {"maintain_tables": {"config": {"tables": ["lake.other"], "dry_run": True}}}}
        assert job.execute_in_process(instance=instance, run_config=config).success
        assert observed(instance, "other")["health/files"] == 0
        assert not [name for name in observed(instance, "other") if name.startswith("maintenance/")]  # nothing was done


def observed(instance: DagsterInstance, name: str) -> dict[str, Any]:
    """What the newest observation of a table says."""
    [record] = instance.fetch_observations(AssetKey(["lake", name]), limit=1).records
    assert record.asset_observation is not None
    return {key: value.value for key, value in record.asset_observation.metadata.items()}
