"""``lakehouse branch``: Nessie's branches, listed, made, compared, merged, dropped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from command_line import run_command
from nessie_server import Call, Fault, NessieProxy, NessieServer, answers, lost_answer

from lakehouse.catalog import load_table, open_catalog
from lakehouse.commit import Batch
from lakehouse.engines import open_engine
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

BACKENDS = ["aws-nessie"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``lakehouse branch`` in this process: exit code, output, errors."""
    return lambda *arguments: run_command(capsys, "branch", *arguments)


@pytest.fixture
def tables(lakehouse: Lakehouse) -> None:
    """The tables ``lake.a``, ``lake.b`` and ``lake.c``."""
    for name in "abc":
        lakehouse.template(f"name: {name}\nnamespace: lake\ncolumns: [{{name: id, type: long}}]\n")


def append(table: str, number: int, branch: str = "main") -> None:
    settings = LakehouseSettings.load(LAKEHOUSE_BRANCH=branch)
    batch = Batch(f"{branch}-{number}", run_id=f"run-{number}")
    open_engine(settings, open_catalog(settings)).append(table, [pa.RecordBatch.from_pydict({"id": [number]})], batch)


def ids(table: str, branch: str = "main") -> list[int]:
    catalog = open_catalog(LakehouseSettings.load(LAKEHOUSE_BRANCH=branch))
    return sorted(load_table(catalog, table).scan().to_arrow()["id"].to_pylist())


@pytest.mark.usefixtures("tables")
def test_a_branch_is_made_listed_compared_merged_and_dropped(run: Run) -> None:
    code, out, err = run("create", "experiment")
    assert (code, err) == (0, "")
    assert "export LAKEHOUSE_BRANCH=experiment" in out
    append("lake.a", 1, "experiment")
    catalog = open_catalog(LakehouseSettings.load(LAKEHOUSE_BRANCH="experiment"))
    catalog.drop_table("lake.b")
    catalog.create_table("lake.new", load_table(catalog, "lake.a").schema())
    append("lake.c", 7)  # on main only

    code, out, _ = run("list")
    assert (code, out.splitlines()[0].strip()) == (0, "2 branches")
    assert re.search(r"experiment +│ [0-9a-f]{16} +│ +3 │ 20..-..-.. ..:..:.. +│ \w+", out)
    assert re.search(r"main +│ [0-9a-f]{16} +│ +│ 20..-..-.. ..:..:.. +│ lake.c: run run-7", out)
    listed = {branch["name"]: branch for branch in json.loads(run("list", "--json")[1])}
    assert (listed["experiment"]["ahead"], listed["experiment"]["behind"], listed["main"]["ahead"]) == (3, 1, None)
    assert listed["experiment"]["changed_at"].endswith("+00:00")

    expected = [("lake.a", "changed", False), ("lake.b", "dropped", False), ("lake.new", "created", False)]
    assert [tuple(change.values()) for change in json.loads(run("diff", "experiment", "--json")[1])] == expected
    code, out, _ = run("diff", "experiment", "--against", "main")
    assert (code, out.splitlines()) == (0, ["changed  lake.a", "dropped  lake.b", "created  lake.new"])

    code, out, err = run("merge", "experiment")
    assert (code, err) == (0, "")
    assert out.splitlines()[:3] == ["changed  lake.a", "dropped  lake.b", "created  lake.new"]
    assert "experiment is merged into main, 3 tables." in out
    assert (ids("lake.a"), ids("lake.c"), ids("lake.new")) == ([1], [7], [])
    assert not open_catalog(LakehouseSettings.load()).table_exists("lake.b")

    assert json.loads(run("diff", "experiment", "--json")[1]) == []
    assert "There is nothing to merge: main has all that experiment changed." in run("merge", "experiment")[1]
    append("lake.a", 2, "experiment")
    assert [change["table"] for change in json.loads(run("merge", "experiment", "--json")[1])] == ["lake.a"]
    assert ids("lake.a") == [1, 2]

    assert run("drop", "experiment")[:2] == (0, "experiment is dropped.\n")
    assert [branch["name"] for branch in json.loads(run("list", "--json")[1])] == ["main"]


@pytest.mark.usefixtures("tables")
def test_a_conflict_names_its_tables_and_merges_nothing(run: Run) -> None:
    run("create", "experiment")
    for table, number in (("lake.a", 1), ("lake.b", 2), ("lake.c", 3)):
        append(table, number, "experiment")
    for table, number in (("lake.a", 11), ("lake.b", 12)):
        append(table, number)
    out = run("diff", "experiment")[1]
    assert "changed  lake.a  conflict: changed on main, too" in out
    assert "changed  lake.c\n" in out
    assert "experiment cannot be merged into main as it is." in out
    code, out, err = run("merge", "experiment")
    assert (code, out) == (1, "")
    assert "experiment cannot be merged into main; nothing was merged" in err
    assert re.findall(r"^  (\S+): changed on experiment", err, re.MULTILINE) == ["lake.a", "lake.b"]
    assert "lakehouse branch drop experiment, then lakehouse branch create experiment --from main" in err
    assert [ids(f"lake.{name}") for name in "abc"] == [[11], [12], []]


@pytest.mark.usefixtures("tables")
def test_a_merge_whose_answer_is_lost_is_found_out(run: Run, nessie: NessieServer, monkeypatch: pytest.MonkeyPatch) -> None:
    run("create", "experiment")
    append("lake.a", 1, "experiment")
    merge = "POST /api/v2/trees/main*/history/merge"
    with NessieProxy(nessie.uri) as proxy:
        monkeypatch.setenv("NESSIE_URI", proxy.uri)
        proxy.inject(merge, answers(503, "busy"))
        code, _, err = run("diff", "experiment")
        assert (code, err) == (1, "error: Nessie fails (503): busy. Do it again.\n")

        def when_merging(fault: Fault) -> Fault:
            def met(call: Call) -> tuple[int, bytes] | None:
                if not json.loads(call.body)["isDryRun"]:
                    return fault(call)
                proxy.inject(merge, met)
                return call.forward()

            return met

        proxy.inject(merge, when_merging(answers(503, "busy")))
        code, _, err = run("merge", "experiment")
        assert (code, "Nessie fails (503), and whether it was done is not known: busy." in err, ids("lake.a")) == (1, True, [])
        proxy.inject(merge, when_merging(lost_answer))
        code, out, err = run("merge", "experiment")
        assert (code, err, "experiment is merged into main, 1 table." in out, ids("lake.a")) == (0, "", True, [1])


@pytest.mark.usefixtures("tables")
def test_branches_come_from_and_go_into_others_than_main(run: Run) -> None:
    run("create", "one")
    append("lake.a", 1, "one")
    assert run("create", "two", "--from", "one")[0] == 0
    append("lake.a", 2, "two")
    assert [change["table"] for change in json.loads(run("diff", "two", "--against", "one", "--json")[1])] == ["lake.a"]
    assert run("merge", "two", "--into", "one")[0] == 0
    assert (ids("lake.a", "one"), ids("lake.a")) == ([1, 2], [])


@pytest.mark.usefixtures("lakehouse")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drop", "main"], "main cannot be dropped"),
        (["drop", "nope"], "'nope' not found.*lakehouse branch list"),
        (["diff", "nope"], "'nope' not found"),
        (["merge", "main", "--into", "nope"], "'nope' not found"),
        (["create", "main"], "Nessie refuses this .409.: Named reference 'main' already exists."),
        (["create", "a/b"], "'a/b' cannot be a branch: a branch's name is a letter"),
        (["create", "audit.lake.a"], "audit.lake.a cannot be used: names that begin with audit. are those of audits"),
        (["create", "deadbeef1234"], "Nessie refuses this .400.*potential commit ID"),
        (["create", "new", "--from", "nope"], "'nope' not found"),
    ],
)
def test_what_cannot_be_is_an_error(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert re.search(message, " ".join(err.split()))


def test_a_backend_without_branches_is_an_error(lakehouse: Lakehouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_BACKEND", "local")
    monkeypatch.setenv("LAKEHOUSE_WAREHOUSE", str(lakehouse.landing))
    for arguments in (["list"], ["create", "x"], ["diff", "x"], ["merge", "x"], ["drop", "x"]):
        code, _, err = run(*arguments)
        assert (code, "The backend local has no branches of the catalog" in " ".join(err.split())) == (1, True)


def test_a_server_that_is_not_there_is_an_error(lakehouse: Lakehouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESSIE_URI", "http://127.0.0.1:1")
    code, _, err = run("list")
    assert (code, "Nessie at http://127.0.0.1:1 does not answer" in " ".join(err.split())) == (1, True)


def test_an_answer_that_breaks_off_is_an_error_that_keeps_secrets(lakehouse: Lakehouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what else is no answer of Nessie's."""

    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000" if "broken" in self.path else "2")
            self.end_headers()
            self.wfile.write(b"no")

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """No line per request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        for path, message in (("/broken", f"Nessie at http://127.0.0.1:{server.server_port} does not answer"), ("", "as Nessie does")):
            monkeypatch.setenv("NESSIE_URI", f"http://127.0.0.1:{server.server_port}{path}")
            monkeypatch.setenv("NESSIE_TOKEN", "geheim")
            for arguments in (["list"], ["create", "x"], ["drop", "x"]):
                code, _, err = run(*arguments)
                assert (code, message in " ".join(err.split()), "geheim" in err) == (1, True, False), err
        server.shutdown()
