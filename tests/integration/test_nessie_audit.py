"""Audited writes on Nessie, where the branch of a table is one of Nessie's: what only there can happen. The rest is in test_audit.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from auditing import EVENTS, audit_of, audited_ids, events, ids, land, publish_open
from hypothesis import HealthCheck, given, settings
from nessie_server import Call, Fault, NessieProxy, NessieServer, answers, lost_answer
from test_audit import STEPS, follow_steps

from lakehouse import attempts
from lakehouse.audit import drop, list_audits, open_audit
from lakehouse.branches import drop as drop_branch
from lakehouse.branches import open_client
from lakehouse.commit import Batch
from lakehouse.errors import AuditOpenError, AuditOutdatedError, CatalogError, CommitUnknownError
from lakehouse.nessie_client import NessieClient
from lakehouse.nessie_session import BranchError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

BACKENDS = ["aws-nessie"]
BRANCH = "audit.lake.events"
CREATE, COMMIT, MERGE, DELETE = (
    "POST /api/v2/trees[?]*",
    f"POST /iceberg/v1/{BRANCH}*",
    "POST /api/v2/trees/main*/history/merge",
    f"DELETE /api/v2/trees/{BRANCH}*",
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_FIRST_WAIT", 0.0)


@pytest.fixture
def client(lakehouse: Lakehouse) -> NessieClient:
    return open_client(lakehouse.settings)


@pytest.fixture
def proxy(nessie: NessieServer) -> Iterator[NessieProxy]:
    with NessieProxy(nessie.uri) as found:
        yield found


def through(lakehouse: Lakehouse, proxy: NessieProxy) -> Lakehouse:
    return replace(lakehouse, settings=lakehouse.settings.model_copy(update={"nessie_uri": proxy.uri}))


def append(lakehouse: Lakehouse, table: str, number: int, batch: str) -> None:
    lakehouse.engine.append(table, [pa.RecordBatch.from_pydict({"id": [number]})], Batch(batch, f"run-{batch}"))


def names(client: NessieClient) -> list[str]:
    return [branch.name for branch in client.branches()]


@given(steps=STEPS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_readers_see_what_was_published_and_every_file_once(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, steps: list[str]
) -> None:
    follow_steps(lakehouse, monkeypatch, steps)


def on_second_call(proxy: NessieProxy, match: str, fault: Fault) -> None:
    """The first merge only looks what it would do."""

    def first(call: Call) -> tuple[int, bytes]:
        proxy.inject(match, fault)
        return call.forward()

    proxy.inject(match, first)


def test_an_answer_that_is_lost_at_any_step_is_found_out(lakehouse: Lakehouse, proxy: NessieProxy, client: NessieClient) -> None:
    template, lost = events(lakehouse), through(lakehouse, proxy)
    seen: list[int] = []
    busy = answers(503, "busy")
    steps = [(CREATE, lost_answer), (CREATE, busy), (COMMIT, lost_answer), (MERGE, lost_answer), (MERGE, busy), (DELETE, busy)]
    for number, (step, fault) in enumerate(steps):
        land(lakehouse, f"{number}", number)
        if step == MERGE:
            on_second_call(proxy, step, fault)
        else:
            proxy.inject(step, fault)
        assert lost.run(template, f"run-{number}").rows == 1
        assert (ids(lakehouse), audited_ids(lakehouse)) == (seen, [*seen, number])
        publish_open(lost)
        seen.append(number)
        assert not proxy._faults, "the fault was met"
        assert (ids(lakehouse), list(list_audits(lakehouse.catalog))) == (seen, [])
        # A branch that was not deleted, or after an unknown outcome of the merge, stays: the next run takes it over.
        assert (BRANCH in names(client)) == ((step, fault) in [(MERGE, lost_answer), (DELETE, busy)])
    land(lakehouse, "last", 99)
    lost.run(template, "last")
    for fault in (lost_answer, busy):
        proxy.inject(DELETE, fault)
        drop(lost.table("lake.events"), timeout=10)
        assert (open_audit(lakehouse.table("lake.events")), BRANCH in names(client), ids(lakehouse)) == (None, False, seen)
        assert lost.run(template, "last").rows == 1


def test_a_merge_whose_outcome_stays_unknown_leaves_the_audit_open(lakehouse: Lakehouse, proxy: NessieProxy) -> None:
    template, lost = events(lakehouse), through(lakehouse, proxy)
    land(lakehouse, "a", 1)
    lost.run(template, "run")
    calls: list[str] = []

    def die(call: Call) -> tuple[int, bytes] | None:
        calls.append(call.name)
        proxy.inject(MERGE, die)
        return call.forward() if len(calls) % 2 else None  # the first of two only looks

    proxy.inject(MERGE, die)
    with pytest.raises(
        CommitUnknownError, match=r"Whether the publishing of snapshot .* of lake.events happened is not known.*Do it again"
    ):
        publish_open(lost)
    proxy._faults.clear()
    assert (ids(lakehouse), audited_ids(lakehouse)) == ([], [1])
    publish_open(lost)
    assert ids(lakehouse) == [1]


@pytest.mark.parametrize(
    "change", [publish_open, lambda lakehouse: drop(lakehouse.table("lake.events"), timeout=10)], ids=["published", "dropped"]
)
def test_who_reads_a_table_while_its_audit_ends_sees_it_with_the_audit_or_without(
    lakehouse: Lakehouse, proxy: NessieProxy, change: Callable[[Lakehouse], None]
) -> None:
    template, catalog = events(lakehouse), through(lakehouse, proxy).catalog
    for number, step in enumerate((f"GET /api/v2/trees/{BRANCH}*", f"GET /iceberg/v1/{BRANCH}*", "GET /iceberg/v1/main*/tables/events*")):
        land(lakehouse, f"{number}", number)
        lakehouse.run(template, f"run-{number}")
        before = ids(lakehouse)

        def ends(call: Call) -> tuple[int, bytes]:
            change(lakehouse)
            return call.forward()

        proxy.inject(step, ends)
        found = catalog.load_table("lake.events")
        assert not proxy._faults, "the fault was met"
        seen = sorted(found.scan().to_arrow()["id"].to_pylist())
        assert (seen, open_audit(found) is None) in [(before, False), (ids(lakehouse), True)]


def test_a_branch_without_an_audit_is_taken_over(lakehouse: Lakehouse, client: NessieClient) -> None:
    """Runs that died after they made the branch, after they published it, and before the table was made anew."""
    template = events(lakehouse)
    client.create(BRANCH, "main")
    append(lakehouse, "lake.events", 7, "direct")  # so that the branch is behind
    assert (open_audit(lakehouse.table("lake.events")), list(list_audits(lakehouse.catalog))) == (None, [])
    land(lakehouse, "a", 1)
    lakehouse.run(template, "first")
    assert (ids(lakehouse), audited_ids(lakehouse), audit_of(lakehouse).rows_before) == ([7], [1, 7], 1)

    client.merge(client.branch(BRANCH), client.branch("main"), "and no deletion", dry_run=False)
    assert (ids(lakehouse), open_audit(lakehouse.table("lake.events")), list(list_audits(lakehouse.catalog))) == ([1, 7], None, [])
    assert lakehouse.run(template, "first").source_files == 0
    land(lakehouse, "b", 2)
    lakehouse.run(template, "second")
    assert (ids(lakehouse), audited_ids(lakehouse)) == ([1, 7], [1, 2, 7])

    lakehouse.catalog.drop_table("lake.events")
    assert list(list_audits(lakehouse.catalog)) == []
    lakehouse.apply()
    assert lakehouse.run(template, "third").rows == 2
    publish_open(lakehouse)
    assert (ids(lakehouse), names(client)) == ([1, 2], ["main"])


def test_main_may_change_other_tables_but_not_this_one(lakehouse: Lakehouse, client: NessieClient) -> None:
    template = events(lakehouse)
    lakehouse.template("name: other\nnamespace: lake\ncolumns: [{name: id, type: long}]\n")
    land(lakehouse, "a", 1)
    lakehouse.run(template, "first")
    append(lakehouse, "lake.other", 5, "other")
    publish_open(lakehouse)
    assert (ids(lakehouse), ids(lakehouse, "lake.other")) == ([1], [5])

    land(lakehouse, "b", 2)
    lakehouse.run(template, "second")
    with lakehouse.table("lake.events").transaction() as transaction:
        transaction.set_properties({"owner": "team"})
    with pytest.raises(AuditOutdatedError, match=r"its schema, partition spec or properties were changed. Drop it, lakehouse audit drop"):
        publish_open(lakehouse)
    drop(lakehouse.table("lake.events"), timeout=10)

    lakehouse.run(template, "third")
    on_audit = replace(lakehouse, settings=lakehouse.settings.model_copy(update={"branch": BRANCH}))
    append(on_audit, "lake.other", 6, "by hand")
    with pytest.raises(AuditOutdatedError, match=rf"its branch {BRANCH} changed lake.other, too"):
        publish_open(lakehouse)
    drop(lakehouse.table("lake.events"), timeout=10)
    client.create(BRANCH, "main")
    append(on_audit, "lake.other", 7, "by hand again")
    with pytest.raises(BranchError, match=rf"someone changed lake.other there.*lakehouse branch drop {BRANCH}"):
        lakehouse.run(template, "fourth")
    assert (ids(lakehouse), ids(lakehouse, "lake.other"), ids(on_audit, "lake.other")) == ([1], [5], [5, 7])


def test_audits_of_a_branch_are_its_own(lakehouse: Lakehouse, client: NessieClient) -> None:
    template = events(lakehouse)
    client.create("experiment", "main")
    branch = replace(lakehouse, settings=LakehouseSettings.load(LAKEHOUSE_BRANCH="experiment"))
    land(lakehouse, "a", 1)
    branch.run(template, "on the branch")
    lakehouse.run(template, "on main")
    assert names(client) == [BRANCH, f"{BRANCH}.experiment", "experiment", "main"]
    assert [audit_of(found).run_id for found in (branch, lakehouse)] == ["on the branch", "on main"]
    assert [[getattr(audit, "run_id", audit) for audit in list_audits(found.catalog)] for found in (branch, lakehouse)] == [
        ["on the branch"], ["on main"],
    ]  # fmt: skip
    with pytest.raises(AuditOpenError, match="run on the branch"):
        branch.run(template, "another")
    publish_open(branch)
    assert (ids(branch), ids(lakehouse)) == ([1], [])
    publish_open(lakehouse)
    assert ids(lakehouse) == [1]


def test_audits_of_a_branch_go_with_it(lakehouse: Lakehouse, client: NessieClient) -> None:
    template = events(lakehouse)
    for name in ("experiment", "other.experiment"):
        client.create(name, "main")
    land(lakehouse, "a", 1)
    for name in ("experiment", "other.experiment", "main"):
        replace(lakehouse, settings=LakehouseSettings.load(LAKEHOUSE_BRANCH=name)).run(template, f"on {name}")
    drop_branch(client, "experiment")
    assert names(client) == [BRANCH, f"{BRANCH}.other.experiment", "main", "other.experiment"]
    client.create("experiment", "main")
    anew = replace(lakehouse, settings=LakehouseSettings.load(LAKEHOUSE_BRANCH="experiment"))
    assert anew.run(template, "anew").rows == 1
    publish_open(anew)
    assert (ids(anew), ids(lakehouse)) == ([1], [])


def test_an_audit_of_another_table_does_not_stand_in_the_way(lakehouse: Lakehouse, client: NessieClient) -> None:
    template, other = events(lakehouse), lakehouse.template(EVENTS.replace("name: events", "name: others"))
    land(lakehouse, "a", 1)
    for found in (template, other):
        lakehouse.run(found, "run")
    assert names(client) == [BRANCH, "audit.lake.others", "main"]
    publish_open(lakehouse, "lake.others")
    publish_open(lakehouse)
    assert (ids(lakehouse), ids(lakehouse, "lake.others"), names(client)) == ([1], [1], ["main"])
    with pytest.raises(CatalogError, match=r"There is no table lake.no name in the catalog"):  # nor a branch of such a name
        lakehouse.table("lake.no name")
