"""Maintenance among other runs, killed at any moment, and whatever happened before: what is kept is whole, and nothing is taken twice."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from auditing import audited_ids
from dimension import TEMPLATE, Change, Dimension, expected
from killer import MAINTAIN, Killer
from maintaining import EVENTS, LATER, actions, events, files_of, ids, maintained, step, take
from test_kill import Moments
from test_maintenance import between

from lakehouse.arrow_types import arrow_schema_of
from lakehouse.audit import drop, open_audit, publish
from lakehouse.catalog import load_table, open_catalog
from lakehouse.commit import Batch
from lakehouse.engines import AppendFiles, open_engine
from lakehouse.maintenance.plan import maintain
from lakehouse.maintenance.report import STEPS
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse

KILLS = int(os.environ.get("LAKEHOUSE_KILLS", "8"))
ROUNDS = 25
AUDITED = EVENTS.replace("    maintenance:", "    publish: audited\n    maintenance:")


def test_an_audit_stays_as_it_can_be_published(lakehouse: Lakehouse) -> None:
    direct = events(lakehouse)
    for number in range(6):
        take(lakehouse, direct, number)
    template = events(lakehouse, AUDITED)
    take(lakehouse, template, 10, run_id="audited")
    [report] = maintained(lakehouse, template, later=LATER)
    assert actions(report) == {"retention": "nothing", "compact": "skipped", "expire": "done", "orphans": "done"}
    assert "has an open audit" in next(found.detail for found in report.steps if found.step == "compact")
    assert (ids(lakehouse), audited_ids(lakehouse)) == (list(range(6)), [*range(6), 10])
    audit = open_audit(lakehouse.table("lake.events"))
    assert audit is not None
    publish(lakehouse.table("lake.events"), audit.snapshot_id, 10)
    assert ids(lakehouse) == [*range(6), 10]
    assert lakehouse.run(template).source_files == 0  # its segment of the ledger is there
    take(lakehouse, template, 11, run_id="second")
    drop(lakehouse.table("lake.events"), 10)
    maintained(lakehouse, template, later=LATER)
    assert lakehouse.run(template, "third").source_files == 1  # taken again
    # One that is opened while files are compacted.
    drop(lakehouse.table("lake.events"), 10)
    for number in range(20, 26):
        take(lakehouse, direct, number)
    before = ids(lakehouse)
    with pytest.MonkeyPatch.context() as patch:
        between(patch, lambda: take(lakehouse, template, 30, run_id="meanwhile"))
        report_ = step(lakehouse, template, "compact")
    assert (report_.action, "has an open audit by now" in report_.detail) == ("skipped", True)
    audit = open_audit(lakehouse.table("lake.events"))
    assert audit is not None
    publish(lakehouse.table("lake.events"), audit.snapshot_id, 10)
    assert ids(lakehouse) == sorted([*before, 30])


class History:
    """What a table must hold, of main and of every branch and tag, while random things happen to it."""

    def __init__(self, lakehouse: Lakehouse, dice: random.Random) -> None:
        self.lakehouse, self.dice, self.count = lakehouse, dice, 0
        self.template = events(lakehouse, AUDITED)
        self.direct = TableTemplate.model_validate({**self.template.model_dump(exclude_unset=True), "publish": "direct"})
        self.main: list[int] = []
        self.waiting: list[int] = []
        self.kept: dict[int, list[int]] = {}

    def act(self) -> str:
        """Does one thing, and says what."""
        choices: list[Callable[[], None]] = [self.append, self.append, self.append, self.audit, self.mark, self.branch_write, self.maintain]
        action = self.dice.choice(choices)
        action()
        return action.__name__

    def new(self) -> list[int]:
        self.count += 1
        return [10 * self.count + n for n in range(self.dice.randrange(1, 4))]

    def append(self) -> None:
        if not self.waiting:
            rows = self.new()
            number = len(list(self.lakehouse.landing.iterdir()))
            _land(self.lakehouse, number, rows)
            self.lakehouse.engine.append_files(AppendFiles(self.direct), "direct", print)
            self.main += rows

    def audit(self) -> None:
        table = self.lakehouse.table("lake.events")
        found = open_audit(table)
        if found is None:
            self.waiting = self.new()
            take(self.lakehouse, self.template, *self.waiting, run_id=f"audit-{self.count}")
        elif self.dice.random() < 0.6:
            publish(table, found.snapshot_id, 10)
            self.main, self.waiting = self.main + self.waiting, []
        else:
            drop(table, 10)
            rows, self.waiting = self.waiting, []
            assert self.lakehouse.engine.append_files(AppendFiles(self.direct), "again", print).source_files == 1
            self.main += rows

    def mark(self) -> None:
        table = self.lakehouse.table("lake.events")
        if (snapshot := table.current_snapshot()) is not None:
            with table.manage_snapshots() as manage:
                make = self.dice.choice([manage.create_tag, manage.create_branch])
                make(snapshot.snapshot_id, f"ref-{self.count}-{len(self.kept)}")
            self.kept[snapshot.snapshot_id] = list(self.main)

    def branch_write(self) -> None:
        """Somebody writes to a branch of their own."""
        table = self.lakehouse.table("lake.events")
        refs = [name for name, ref in table.metadata.refs.items() if name.startswith("ref-") and ref.snapshot_ref_type.value == "branch"]
        if refs:
            branch = self.dice.choice(refs)
            before = self.kept[table.metadata.refs[branch].snapshot_id]
            rows = pa.Table.from_pylist([{"id": -1 - self.count}], arrow_schema_of(table.schema()))
            table.append(rows, branch=branch)
            fresh = self.lakehouse.table("lake.events")
            self.kept[fresh.metadata.refs[branch].snapshot_id] = [*before, -1 - self.count]

    def maintain(self) -> None:
        steps = self.dice.sample(STEPS, self.dice.randrange(1, 5))
        later = self.dice.choice([timedelta(0), timedelta(hours=30), LATER])
        [report] = maintained(self.lakehouse, self.template, steps=steps, later=later)
        assert report.failures == []

    def check(self) -> None:
        """Every row of main, of an open audit, and of each branch and tag is there, once."""
        table = self.lakehouse.table("lake.events")
        assert ids(self.lakehouse) == sorted(self.main)
        heads = {ref.snapshot_id for name, ref in table.metadata.refs.items() if name.startswith("ref-")}
        for head in heads:
            assert ids(self.lakehouse, head) == sorted(self.kept[head])
        if self.waiting:
            assert audited_ids(self.lakehouse) == sorted([*self.main, *self.waiting])
        else:
            assert self.lakehouse.engine.append_files(AppendFiles(self.direct), "check", print).source_files == 0


def _land(lakehouse: Lakehouse, number: int, rows: list[int]) -> None:
    lines = (f'{{"id": {id_}, "at": "2024-01-0{1 + id_ % 2}T00:00:00Z", "text": "secret"}}' for id_ in rows)
    lakehouse.land(f"{number:05}.jsonl", "\n".join(lines))


def test_whatever_happened_every_kept_row_is_there(lakehouse: Lakehouse) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown where the test fails
    history, done = History(lakehouse, random.Random(seed)), list[str]()
    for number in range(ROUNDS):
        done.append(history.act())
        if done[-1] == "maintain" or number == ROUNDS - 1:
            print(done)
            history.check()
    maintained(lakehouse, history.template, later=LATER)
    history.check()


def test_merges_among_maintenance_come_to_the_same(lakehouse: Lakehouse) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice, changes = random.Random(seed), list[Change]()
    users = Dimension(lakehouse, TEMPLATE + "    maintenance: {keep_snapshots: 1h, keep_at_least: 1}\n")
    for _ in range(8):
        batch = [
            Change(f"user-{dice.randrange(4)}", dice.randrange(30), dice.choice("xy"), dice.choice(["update", "delete"])) for _ in range(6)
        ]
        users.merge(*batch)
        changes += batch
        if dice.random() < 0.5:
            [report] = maintained(lakehouse, users.template, later=LATER)
            assert report.failures == []
        assert users.versions == expected(changes)


def test_writers_and_maintenance_at_once(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, EVENTS.replace("transform: day", "transform: month"))
    schema = lakehouse.table("lake.events").schema().as_arrow()
    failures: list[BaseException] = []
    threads, batches = 3, 8

    def write(number: int) -> None:
        try:
            engine = open_engine(lakehouse.settings, open_catalog(lakehouse.settings))
            for index in range(batches):
                rows = [{"id": 1000 * number + 10 * index + n} for n in range(10)]
                engine.append("lake.events", [pa.RecordBatch.from_pylist(rows, schema)], Batch(f"{number}-{index}"))
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
    for writer in writers:
        writer.start()
    rewritten, reports = 0, list[Any]()
    while any(writer.is_alive() for writer in writers) or not reports:
        reports += maintain(lakehouse.settings, open_catalog(lakehouse.settings), [template], dry_run=False)
        rewritten += reports[-1].steps[1].files
    for writer in writers:
        writer.join()
    reports += maintained(lakehouse, template)
    assert failures == []
    assert [failure for report in reports for failure in report.failures] == []
    assert rewritten > 0
    assert ids(lakehouse) == sorted(
        1000 * number + 10 * index + n for number in range(threads) for index in range(batches) for n in range(10)
    )
    assert len(list(load_table(lakehouse.catalog, "lake.events").scan().plan_files())) < 6


@pytest.mark.slow
@pytest.mark.timeout(60 + 5 * KILLS)
def test_maintenance_killed_at_random_moments(lakehouse: Lakehouse) -> None:
    template, taken = events(lakehouse), list[int]()
    with Killer(lakehouse.environment) as killer:
        moments = Moments(killer)
        while moments.kills < KILLS:
            for _ in range(6):
                taken.append(len(taken))
                take(lakehouse, template, taken[-1])
            moments.kill("lake.events", [MAINTAIN])
            assert ids(lakehouse) == taken
            assert lakehouse.run(template).source_files == 0
            [report] = maintained(lakehouse, template, later=LATER)
            assert report.failures == []
            assert ids(lakehouse) == taken
            left = lakehouse.table("lake.events").inspect.all_files()["file_path"].to_pylist()
            assert sorted(left) == sorted(f"file://{path}" for path in files_of(lakehouse) if "/lake/events/data/" in path)
