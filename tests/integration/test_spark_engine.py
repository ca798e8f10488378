"""The engine spark as a whole: its sessions, a Spark Connect server, runs that are killed, both engines on one table."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lakehouse.engines import ComputeDays, open_engine
from lakehouse.engines.spark import session, stage
from lakehouse.errors import MissingExtraError, SparkError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

pytestmark = [pytest.mark.spark, pytest.mark.slow]
BACKENDS = ["spark"]
EVENTS = """\
    name: events
    namespace: lake
    columns:
      - {name: id, type: long, required: true}
      - {name: at, type: timestamptz}
    partition_spec: [{column: at, transform: day}]
    pipeline:
      pattern: event_stream
      source: {path: "${LAKEHOUSE_LANDING}/events", format: jsonl}
"""
USERS = """\
    name: users
    namespace: lake
    columns:
      - {name: id, type: long, required: true}
      - {name: plan, type: string}
      - {name: valid_from, type: timestamptz, required: true}
      - {name: valid_to, type: timestamptz}
      - {name: is_current, type: boolean}
    pipeline:
      pattern: scd_type2
      key: [id]
      effective_at: valid_from
      source: {path: "${LAKEHOUSE_LANDING}/users", format: jsonl}
"""
DAILY = """\
    name: daily
    namespace: lake
    columns:
      - {name: day, type: date, required: true}
      - {name: events, type: long}
    partition_spec: [{column: day, transform: identity}]
    pipeline:
      pattern: feature_table
      sql: daily.sql
      inputs: [events]
      partitions: {start: "2024-01-01"}
"""
# What another process does: loads what is new, by the engine of its environment.
LOAD = """
import sys
from datetime import date
from lakehouse.catalog import open_catalog
from lakehouse.commit import Batch
from lakehouse.engines import AppendFiles, ComputeDays, MergeFiles, open_engine
from lakehouse.lint import load_templates
from lakehouse.settings import LakehouseSettings
settings = LakehouseSettings.load()
engine = open_engine(settings, open_catalog(settings))
templates = {template.name: template for template in load_templates(settings.templates, settings.variables)}
tell = lambda line: print(line, flush=True)
"""
EVENT = '{"id": %d, "at": "2024-01-01T12:00:00Z"}\n'
USER = '{"id": 1, "plan": "%s", "valid_from": "2024-01-0%dT00:00:00Z"}\n'


def process(lakehouse: Lakehouse, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **lakehouse.environment, **variables}
    command = [sys.executable, "-c", LOAD + script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def ids(lakehouse: Lakehouse) -> list[int]:
    return sorted(lakehouse.rows("lake.events")["id"].to_pylist())


def test_a_session_that_is_lost_is_begun_anew_and_the_work_with_it(lakehouse: Lakehouse) -> None:
    lakehouse.template(EVENTS)
    done = process(
        lakehouse,
        """
import os, signal
from pyspark import SparkContext
from lakehouse.engines.spark.session import in_session
lives = []
def work(session):
    lives.append(session.sql("select 1 as one").collect()[0].one)
    if len(lives) < 2:
        os.kill(SparkContext._gateway.proc.pid, signal.SIGKILL)
        session.sql("select 2").collect()
    return len(lives)
print(in_session(settings, tell, work))
print(in_session(settings, tell, lambda session: session.sql("select 3 as three").collect()[0].three))
""",
    )
    assert done.returncode == 0, done.stderr
    lost, *results = done.stdout.splitlines()[-3:]
    assert lost.startswith("The Spark session was lost (")
    assert lost.endswith("; attempt 2 of 3 with a new one")
    assert results == ["2", "3"]


def test_a_killed_run_leaves_no_row_and_what_else_it_leaves_goes(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = lakehouse.template(EVENTS)
    lakehouse.land("events/a.jsonl", EVENT % 1)
    done = process(
        lakehouse,
        """
import os, signal
from lakehouse.engines.spark import stage
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
stage.added_files = die
engine.append_files(AppendFiles(templates["events"]), "killed", tell)
""",
    )
    assert done.returncode == -9, done.stderr
    table = lakehouse.table("lake.events")
    assert table.current_snapshot() is None
    [left] = table.metadata.refs
    # One that may still be running is let be.
    assert lakehouse.run(template).rows == 1
    assert list(lakehouse.table("lake.events").metadata.refs) == [left, "main"]
    later = time.time() + lakehouse.settings.orphan_age_hours * 3600 + 60
    monkeypatch.setattr(stage.time, "time", lambda: later)
    lakehouse.land("events/b.jsonl", EVENT % 2)
    lakehouse.run(template)
    table = lakehouse.table("lake.events")
    assert list(table.metadata.refs) == ["main"]
    assert len(table.metadata.snapshots) == 2, "those of the branches went with them"
    assert ids(lakehouse) == [1, 2]


@pytest.mark.spark_on_nessie
def test_both_engines_on_one_table_in_turns(lakehouse: Lakehouse) -> None:
    """Each takes what the other has not, and counts on what it wrote."""
    (lakehouse.settings.templates / "daily.sql").write_text("select $day as day, count(*) as events from events")
    events, users, daily = map(lakehouse.template, (EVENTS, USERS, DAILY))
    other = replace(lakehouse, settings=LakehouseSettings.load(LAKEHOUSE_ENGINE="embedded"))
    for number, engine in enumerate([other, lakehouse, other, lakehouse], 1):
        lakehouse.land(f"events/{number}.jsonl", EVENT % number)
        lakehouse.land(f"users/{number}.jsonl", USER % (f"plan {number}", 5 - number))
        assert engine.run(events, f"run-{number}").source_files == 1
        result = engine.run(users, f"run-{number}")
        assert (result.source_files, result.versions_opened) == (1, 1)
        assert engine.run(events).source_files == 0
    assert ids(lakehouse) == [1, 2, 3, 4]
    versions = lakehouse.rows("lake.users").sort_by("valid_from").to_pylist()
    assert [row["plan"] for row in versions] == ["plan 4", "plan 3", "plan 2", "plan 1"]
    assert [row["valid_to"] for row in versions] == [*(row["valid_from"] for row in versions[1:]), None]
    days = (datetime(2024, 1, 1, tzinfo=UTC).date(), datetime(2024, 1, 2, tzinfo=UTC).date())
    work = ComputeDays(daily, (events,), days)
    from lakehouse.commit import Batch

    lakehouse.engine.compute_days(work, Batch("by spark"), lakehouse.messages.append)
    by_spark = lakehouse.rows("lake.daily").sort_by("day").to_pylist()
    other.engine.compute_days(work, Batch("by the other"), lakehouse.messages.append)
    assert lakehouse.rows("lake.daily").sort_by("day").to_pylist() == by_spark
    assert [row["events"] for row in by_spark] == [4, 4]


def test_a_spark_connect_server_that_has_the_printed_configuration(lakehouse: Lakehouse) -> None:
    (lakehouse.settings.templates / "daily.sql").write_text("select $day as day, count(*) as events from events")
    for text in (EVENTS, USERS, DAILY):
        lakehouse.template(text)
    lakehouse.land("events/a.jsonl", EVENT % 1 + EVENT % 2)
    lakehouse.land("users/a.jsonl", USER % ("free", 1) + USER % ("plus", 2))
    lakehouse.land("events/bad.jsonl", '{"id": "no number"}\n')
    with connect_server(lakehouse) as remote:
        done = process(
            lakehouse,
            """
from lakehouse.engines import FilesNotTakenError
from lakehouse.engines.spark.session import in_session
print(in_session(settings, tell, lambda session: type(session).__module__))
try:
    engine.append_files(AppendFiles(templates["events"]), "run", tell)
except FilesNotTakenError as error:
    print(error.result.rows, "bad.jsonl: 1 rows do not fit" in str(error))
print(engine.merge_files(MergeFiles(templates["users"]), "run", tell).versions_opened)
work = ComputeDays(templates["daily"], (templates["events"],), (date(2024, 1, 1),))
print(engine.compute_days(work, Batch("run"), tell).rows)
try:
    in_session(settings, tell, lambda session: session.sql("select cast('ada@example.com' as int)").collect())
except Exception as error:
    print(type(error).__name__, error)
""",
            SPARK_REMOTE=remote,
        )
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stdout.splitlines() if not line.startswith(("lake.", "Spark: ")) and "changes: " not in line]
    assert printed[0] == "pyspark.sql.connect.session"
    assert [line for line in printed if not line.endswith("loading the others")][1:4] == ["2 True", "2", "1"]
    assert printed[-1].startswith("SparkError Spark failed: CAST_INVALID_INPUT.")
    assert "ada@example.com" not in done.stdout + done.stderr
    assert ids(lakehouse) == [1, 2]
    assert lakehouse.rows("lake.daily")["events"].to_pylist() == [2]


def test_a_write_of_spark_that_met_another_commit_is_made_anew(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = lakehouse.template(EVENTS)
    lakehouse.land("events/a.jsonl", EVENT % 1)
    original, calls = stage.added_files, list[str]()

    def refused_once(*arguments: Any) -> Any:
        calls.append("written")
        if len(calls) == 1:
            raise RuntimeError("org.apache.iceberg.exceptions.CommitFailedException: Cannot commit: metadata location has changed")
        return original(*arguments)

    monkeypatch.setattr(stage, "added_files", refused_once)
    assert lakehouse.run(template).rows == 1
    assert calls == ["written", "written"]
    table = lakehouse.table("lake.events")
    assert list(table.metadata.refs) == ["main"]
    assert ids(lakehouse) == [1]


def test_a_run_of_dagster_tells_what_spark_is_at(lakehouse: Lakehouse, tmp_path: Path) -> None:
    lakehouse.template(EVENTS)
    lakehouse.land("events/a.jsonl", EVENT % 1)
    dagster = str(Path(sys.executable).parent / "dagster")
    command = [dagster, "asset", "materialize", "-m", "dagster_project.definitions", "--select", "lake/events"]
    environment = {**os.environ, **lakehouse.environment, "DAGSTER_HOME": str(tmp_path), "LAKEHOUSE_FRESHNESS_NOW": "2024-01-02T00:00Z"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "lake__events - lake.events: 1 rows in 1 files fit" in done.stderr
    assert ids(lakehouse) == [1]


def test_no_java_no_server_and_no_extra_are_told_with_what_to_do(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "engine.append_files(AppendFiles(templates['events']), 'run', tell)"
    lakehouse.template(EVENTS)
    lakehouse.land("events/a.jsonl", EVENT % 1)
    without = process(lakehouse, script, JAVA_HOME="/nowhere")
    assert "SparkError: Spark does not start on local[2] (" in without.stderr
    assert "Spark needs Java 17: set JAVA_HOME to it." in without.stderr
    token = "eyJSECRET"
    unreachable = process(lakehouse, script, SPARK_REMOTE=f"sc://127.0.0.1:{free_port()}/;token={token}")
    assert "SparkError: The Spark server of SPARK_REMOTE cannot be used" in unreachable.stderr
    assert token not in unreachable.stdout + unreachable.stderr
    monkeypatch.setattr(session, "require_extra", missing)
    with pytest.raises(MissingExtraError, match=r"needs the extra \[spark\]\. Install it"):
        open_engine(lakehouse.settings, lakehouse.catalog).append_files(work_of(lakehouse), "run", lakehouse.messages.append)


def test_what_spark_says_of_a_failure_is_told_without_values(lakehouse: Lakehouse, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SparkError) as error:
        session.in_session(
            lakehouse.settings, lakehouse.messages.append, lambda spark: spark.sql("select cast('ada@example.com' as int)").collect()
        )
    assert "CAST_INVALID_INPUT" in str(error.value)
    told = capfd.readouterr()
    assert "ada@example.com" not in str(error.value) + told.out + told.err


def missing(module: str, extra: str, purpose: str) -> None:
    raise MissingExtraError(extra, purpose)


def work_of(lakehouse: Lakehouse) -> Any:
    from lakehouse.engines import AppendFiles

    return AppendFiles(lakehouse.template_of("lake.events"))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def connect_server(lakehouse: Lakehouse) -> Iterator[str]:
    """A server with the properties that ``lakehouse spark-conf`` prints."""
    import pyspark

    port, environment = free_port(), {**os.environ, **lakehouse.environment}
    lakehouse_command = str(Path(sys.executable).parent / "lakehouse")
    printed = subprocess.run(
        [lakehouse_command, "spark-conf", "--format", "submit"], env=environment, capture_output=True, text=True, check=True
    )
    home = Path(pyspark.__file__).parent
    command = [
        str(home / "bin" / "spark-submit"),
        "--class",
        "org.apache.spark.sql.connect.service.SparkConnectServer",
        *shlex.split(printed.stdout.replace("\\\n", " ")),
        *("--conf", f"spark.connect.grpc.binding.port={port}", "--conf", "spark.connect.grpc.binding.address=127.0.0.1"),
    ]
    server = subprocess.Popen([*command, "spark-internal"], env={**environment, "SPARK_HOME": str(home)}, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None, server.stderr.read() if server.stderr else ""
            assert time.monotonic() < deadline
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield f"sc://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
