"""A run that is killed at any moment, and run again, ends where an undisturbed run does."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dimension import Change, Dimension, expected
from killer import Killer

from lakehouse.commit import Batch
from lakehouse.engines import ComputeDays
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse

WORKER = Path(__file__).with_name("worker.py")
FILES, ROWS = 5, 800
KILLS = int(os.environ.get("LAKEHOUSE_KILLS", "16"))  # of each pipeline; `make torture` sets more
pytestmark = pytest.mark.slow

EVENTS = """\
    name: t
    namespace: lake
    columns:
      - {name: id, type: long, required: true}
      - {name: at, type: timestamptz}
      - {name: text, type: string}
    partition_spec: [{column: at, transform: day}]
    sort_order: [{column: id}]
    pipeline:
      pattern: event_stream
      source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}
      on_bad_rows: quarantine
"""
FEATURES = """\
    name: daily
    namespace: lake
    columns:
      - {name: kind, type: long, required: true}
      - {name: day, type: date, required: true}
      - {name: events, type: long}
    identifier: [kind, day]
    partition_spec: [{column: day, transform: identity}]
    pipeline:
      pattern: feature_table
      sql: daily.sql
      inputs: [t]
      window: 2d
      partitions: {start: "2024-01-01"}
"""
SQL = "select id % 3 as kind, $day as day, count(*) as events from t group by id % 3"


def land(lakehouse: Lakehouse, file: int, rows: int = ROWS) -> None:
    """A file of events, of which each hundredth does not fit."""
    lines = [
        json.dumps({"id": n if n % 100 else str(n), "at": f"2024-01-0{1 + n % 3}T00:00:00Z", "text": "x" * 40})
        for n in range(file * rows, (file + 1) * rows)
    ]
    lakehouse.land(f"{file:05}.jsonl", "\n".join(lines))


def assert_complete(lakehouse: Lakehouse, template: TableTemplate, files: int, rows: int = ROWS) -> None:
    """Runs again, and finds each row once."""
    lakehouse.run(template)
    assert sorted(lakehouse.rows("lake.t")["id"].to_pylist()) == [n for n in range(files * rows) if n % 100]
    bad = lakehouse.rows("lake.t__quarantine").select(["source_file", "source_row", "reason"]).to_pylist()
    assert sorted((Path(row["source_file"]).name, row["source_row"], row["reason"]) for row in bad) == [
        (f"{n // rows:05}.jsonl", n % rows + 1, "id: not a long") for n in range(files * rows) if n % 100 == 0
    ]
    assert lakehouse.run(template).source_files == 0


@pytest.mark.parametrize(
    ("stop", "committed"),
    [
        ("before encode", (0, 0)),
        ("after encode", (0, 0)),
        ("after write", (0, 0)),
        ("before commit t__quarantine", (0, 0)),
        ("after commit t__quarantine", (0, 1)),
        ("before commit t", (0, 1)),
        ("after commit t", (1, 1)),
    ],
)
def test_a_load_killed_at_a_step(lakehouse: Lakehouse, stop: str, committed: tuple[int, int]) -> None:
    template = lakehouse.template(EVENTS)
    for file in range(FILES):
        land(lakehouse, file)
    environment = {**os.environ, **lakehouse.environment}
    with subprocess.Popen([sys.executable, str(WORKER), "load", stop], env=environment, stdout=subprocess.PIPE, text=True) as process:
        steps = process.communicate()[0].splitlines()
    assert process.returncode == -signal.SIGKILL
    assert steps[-1] == stop
    assert tuple(len(lakehouse.table(name).metadata.snapshots) for name in ("lake.t", "lake.t__quarantine")) == committed
    assert_complete(lakehouse, template, FILES)


class Moments:
    """The moments at which runs are killed: random calls of a function, of about as many as an undisturbed run makes."""

    def __init__(self, killer: Killer) -> None:
        self.seed = random.randrange(2**32)
        print(f"seed {self.seed}")  # shown where the test fails
        self.dice, self._killer = random.Random(self.seed), killer
        self.kills, self._calls = 0, 0

    def kill(self, table: str, days: list[str] | None = None) -> None:
        """Starts a run that is killed, and sometimes a second that is; or, the first time, one that is not."""
        for _ in range(self.dice.choice([1, 1, 2])):
            killed, calls = self._killer.run(table, days, at=self.dice.randrange(1, self._calls) if self._calls else 0)
            self.kills += killed
            self._calls = calls or self._calls


@pytest.mark.timeout(60 + 5 * KILLS)
def test_loads_killed_at_random_moments(lakehouse: Lakehouse) -> None:
    template, files, rows = lakehouse.template(EVENTS), 0, 200
    with Killer(lakehouse.environment) as killer:
        moments = Moments(killer)
        while moments.kills < KILLS:
            for _ in range(moments.dice.randrange(1, 4)):
                land(lakehouse, files, rows)
                files += 1
            moments.kill("lake.t")
            assert_complete(lakehouse, template, files, rows)


@pytest.mark.timeout(60 + 5 * KILLS)
def test_merges_killed_at_random_moments(lakehouse: Lakehouse) -> None:
    users, changes = Dimension(lakehouse), list[Change]()
    with Killer(lakehouse.environment) as killer:
        moments = Moments(killer)
        dice = moments.dice
        while moments.kills < KILLS:
            for _ in range(dice.randrange(1, 3)):
                batch = [
                    Change(
                        f"user-{dice.randrange(30)}", dice.randrange(200), dice.choice("xyz"), dice.choice(["update", "update", "delete"])
                    )
                    for _ in range(40)
                ]
                users.land(*batch)
                changes += batch
            moments.kill("lake.users")
            lakehouse.run(users.template)
            assert users.versions == expected(changes)
            assert lakehouse.run(users.template).source_files == 0


@pytest.mark.timeout(60 + 5 * KILLS)
def test_features_killed_at_random_moments(lakehouse: Lakehouse) -> None:
    (lakehouse.settings.templates / "daily.sql").write_text(SQL)
    events, features = lakehouse.template(EVENTS), lakehouse.template(FEATURES)
    counts: Counter[tuple[int, date]] = Counter()
    rows: dict[tuple[int, date], int] = {}
    with Killer(lakehouse.environment) as killer:
        moments, files = Moments(killer), 0
        while moments.kills < KILLS:
            land(lakehouse, files, 30)
            counts.update((n % 3, date(2024, 1, 1 + n % 3)) for n in range(files * 30, (files + 1) * 30) if n % 100)
            files += 1
            lakehouse.run(events)
            days = sorted(moments.dice.sample([date(2024, 1, day) for day in range(1, 6)], moments.dice.randrange(1, 4)))
            new = {(kind, day): counts[kind, day] + counts[kind, day - timedelta(days=1)] for kind in range(3) for day in days}
            after = {key: value for key, value in {**rows, **new}.items() if value}
            moments.kill("lake.daily", [day.isoformat() for day in days])
            assert found_features(lakehouse) in (rows, after)  # all of the days, or none
            lakehouse.engine.compute_days(ComputeDays(features, (events,), tuple(days)), Batch(f"rerun-{files}"), lambda _: None)
            assert found_features(lakehouse) == after
            rows = after


def found_features(lakehouse: Lakehouse) -> dict[tuple[int, date], int]:
    """What the feature table holds, each key once."""
    found = [((row["kind"], row["day"]), row["events"]) for row in lakehouse.rows("lake.daily").to_pylist()]
    assert len(dict(found)) == len(found)
    return dict(found)
