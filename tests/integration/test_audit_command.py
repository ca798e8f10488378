"""``lakehouse audit``: what it shows of rows that wait, publishes and drops."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from auditing import EVENTS, audit_of, events, ids, land, publish_open
from command_line import run_command

from lakehouse.commit import Batch
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``lakehouse audit`` in this process: exit code, output, errors."""
    return lambda *arguments: run_command(capsys, "audit", *arguments)


@pytest.fixture
def template(lakehouse: Lakehouse) -> TableTemplate:
    """The table ``lake.events`` with a published row and an open audit of two."""
    template = events(lakehouse)
    land(lakehouse, "a", 1)
    lakehouse.run(template, "first")
    publish_open(lakehouse)
    land(lakehouse, "b", 2, 3)
    lakehouse.run(template, "second")
    return template


@pytest.mark.nessie
@pytest.mark.usefixtures("template")
def test_list_names_every_open_audit(lakehouse: Lakehouse, run: Run) -> None:
    lakehouse.template(EVENTS.replace("name: events", "name: others"))
    code, out, err = run("list")
    assert (code, err) == (0, "")
    assert "1 open audit\n" in out
    assert re.search(r"lake.events +│ second +│ 20..-..-.. ..:..:.. +│ +2 │ +0 │ \d+", out)
    assert "others" not in out
    code, out, _ = run("list", "--json")
    [found] = json.loads(out)
    assert (code, found["table"], found["run_id"], found["rows_added"], found["ours"]) == (0, "lake.events", "second", 2, True)
    assert found["snapshot_id"] == audit_of(lakehouse).snapshot_id
    assert found["committed_at"].endswith("+00:00")


def test_list_without_an_audit(lakehouse: Lakehouse, run: Run) -> None:
    events(lakehouse)
    assert run("list", "--json") == (0, "[]\n", "")
    code, out, _ = run("list")
    assert (code, "0 open audits" in out) == (0, True)


@pytest.mark.usefixtures("template")
def test_a_table_that_cannot_be_read_hides_no_audit(lakehouse: Lakehouse, run: Run) -> None:
    lakehouse.template(EVENTS.replace("name: events", "name: broken"))
    location = lakehouse.table("lake.broken").metadata_location
    lakehouse.catalog.load_table("lake.broken").io.delete(location)
    code, out, err = run("list")
    assert (code, "lake.events" in out, "lake.broken cannot be read" in err) == (1, True, True)


@pytest.mark.nessie
@pytest.mark.usefixtures("template")
def test_show_says_who_wrote_what_and_how_to_look_at_it(lakehouse: Lakehouse, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("show", "events")
    audit = audit_of(lakehouse)
    assert (code, err) == (0, "")
    lines = [
        "run         second",
        "from        ${LAKEHOUSE_LANDING}",
        "days        2024-01-03..2024-01-04",
        "rows        1 before, 3 with it",
        "data files  came with 2 rows, went with 0",
        f"snapshot    {audit.snapshot_id}, on the branch audit, over snapshot {audit.base_snapshot_id}",
    ]
    for line in lines:
        assert line in out
    assert "lakehouse audit publish lake.events" in out
    assert "lakehouse audit drop lake.events" in out
    assert f"table.scan(snapshot_id={audit.snapshot_id}, limit=20).to_arrow()" in out  # of a large table, not all of it
    code_lines = [line.strip() for line in out.splitlines() if line.startswith("    ")]
    capsys.readouterr()
    exec("\n".join(code_lines), {})
    shown = capsys.readouterr().out
    assert [f" {id_} │" in shown for id_ in (1, 2, 3, 4)] == [True, True, True, False]
    code, out, _ = run("show", "lake.events", "--json")
    assert (code, json.loads(out)["rows_after"]) == (0, 3)


@pytest.mark.usefixtures("template")
def test_publish_says_that_nothing_was_checked(lakehouse: Lakehouse, run: Run) -> None:
    snapshot_id = audit_of(lakehouse).snapshot_id
    code, out, err = run("publish", "lake.events")
    assert (code, err) == (0, "")
    assert f"lake.events: snapshot {snapshot_id} is published, without checks. The table has 3 rows." in out
    assert ids(lakehouse) == [1, 2, 3]


@pytest.mark.nessie
def test_drop_gives_the_source_files_back(lakehouse: Lakehouse, run: Run, template: TableTemplate) -> None:
    code, out, err = run("drop", "lake.events")
    assert (code, err) == (0, "")
    assert "is dropped. The next run takes its source files again." in out
    assert ids(lakehouse) == [1]
    assert lakehouse.run(template, "third").rows == 2


@pytest.mark.usefixtures("template")
def test_an_outdated_audit_is_refused_and_stays(lakehouse: Lakehouse, run: Run) -> None:
    lakehouse.engine.append("lake.events", [pa.RecordBatch.from_pydict({"id": [9]})], Batch("b", "winner"))
    code, _, err = run("publish", "lake.events")
    assert (code, "run winner changed it. Drop it, lakehouse audit drop lake.events" in err) == (1, True)
    assert audit_of(lakehouse).run_id == "second"


@pytest.mark.parametrize("command", ["show", "publish", "drop"])
def test_without_an_audit_it_is_an_error(lakehouse: Lakehouse, run: Run, command: str) -> None:
    events(lakehouse)
    code, out, err = run(command, "lake.events")
    assert (code, out) == (1, "")
    assert "error: lake.events has no open audit. See which tables have: lakehouse audit list" in err
    code, _, err = run(command, "lake.nothing")
    assert (code, "There is no table lake.nothing" in err) == (1, True)


def test_a_name_that_two_tables_have_is_asked_for_in_full(lakehouse: Lakehouse, run: Run) -> None:
    events(lakehouse)
    lakehouse.catalog.create_namespace("other")
    lakehouse.catalog.create_table("other.events", lakehouse.table("lake.events").schema())
    code, _, err = run("drop", "events")
    assert (code, "events may be lake.events or other.events. Write the whole name." in err) == (1, True)
