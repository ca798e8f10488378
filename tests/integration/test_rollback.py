"""``lakehouse rollback``: main goes back to an earlier snapshot, and what was taken since stays taken, or is taken again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from auditing import EVENTS, events, ids, land
from command_line import run_command
from dimension import Change, Dimension, expected, versions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from maintaining import step

from lakehouse.commit import Batch
from lakehouse.errors import CommitConflictError
from lakehouse.history import main_snapshot_id
from lakehouse.inspect import list_tables
from lakehouse.ledger import Ledger
from lakehouse.rollback import plan_rollback, roll_back
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse

Run = Callable[..., tuple[int, str, str]]
DIRECT = EVENTS.replace("publish: audited", "publish: direct")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``lakehouse rollback`` in this process: exit code, output, errors."""
    return lambda *arguments: run_command(capsys, "rollback", *arguments)


def load(lakehouse: Lakehouse, template: TableTemplate, name: str, *numbers: int) -> int:
    """Loads one source file; the snapshot."""
    land(lakehouse, name, *numbers)
    snapshot_id = lakehouse.run(template, f"run-{name}").snapshot_id
    assert snapshot_id is not None
    return snapshot_id


def taken(lakehouse: Lakehouse, table: str = "lake.events") -> list[str]:
    """Names of the source files that the ledger has."""
    return sorted(path.rsplit("/", 1)[-1] for path in Ledger(lakehouse.table(table), "").entries["path"].to_pylist())


def test_what_was_loaded_since_goes_and_its_files_stay_taken(lakehouse: Lakehouse, run: Run) -> None:
    template = events(lakehouse, DIRECT)
    first, second = load(lakehouse, template, "a", 1), load(lakehouse, template, "b", 2)
    third = load(lakehouse, template, "c", 3)
    code, out, _ = run("events", "--to", str(first), "--dry-run")
    assert code == 0
    assert "run-c" in out and "run-b" in out and "2 source files" in out and "--take-files-again" in out
    assert (main_snapshot_id(lakehouse.table("lake.events")), ids(lakehouse)) == (third, [1, 2, 3])

    code, out, err = run("events", "--to", str(first), "--yes", "--json")
    assert out, err
    found = json.loads(out)
    assert (code, err, found["done"]) == (0, "", True)
    assert (found["from_snapshot_id"], found["to_snapshot_id"], found["rows_before"], found["rows_after"]) == (third, first, 3, 1)
    assert [undone["snapshot_id"] for undone in found["undone"]] == [third, second]
    assert [path.rsplit("/", 1)[-1] for path in found["files"]] == ["b.jsonl", "c.jsonl"]
    assert (ids(lakehouse), taken(lakehouse)) == ([1], ["a.jsonl", "b.jsonl", "c.jsonl"])
    assert lakehouse.run(template, "again").snapshot_id is None
    load(lakehouse, template, "d", 4)
    assert ids(lakehouse) == [1, 4]


def test_files_are_taken_again_where_that_is_asked_for(lakehouse: Lakehouse, run: Run) -> None:
    template = events(lakehouse, DIRECT)
    first = load(lakehouse, template, "a", 1)
    load(lakehouse, template, "b", 2)
    load(lakehouse, template, "c", 3)
    assert run("events", "--to", str(first), "--take-files-again", "--yes")[0] == 0
    assert (ids(lakehouse), taken(lakehouse)) == ([1], ["a.jsonl"])
    land(lakehouse, "b", 22)  # corrected, under its own name
    result = lakehouse.run(template, "again")
    assert (result.source_files, ids(lakehouse), taken(lakehouse)) == (2, [1, 3, 22], ["a.jsonl", "b.jsonl", "c.jsonl"])
    assert lakehouse.run(template, "once more").source_files == 0


def test_files_that_were_left_out_once_can_be_taken_again_later(lakehouse: Lakehouse, run: Run) -> None:
    template = events(lakehouse, DIRECT)
    first = load(lakehouse, template, "a", 1)
    load(lakehouse, template, "b", 2)
    assert run("events", "--to", str(first), "--yes")[0] == 0
    code, _, err = run("events", "--to", str(first), "--yes")
    assert code == 1 and "is there already" in err
    assert run("events", "--to", str(first), "--take-files-again", "--yes")[0] == 0
    lakehouse.run(template, "again")
    assert ids(lakehouse) == [1, 2]
    code, _, err = run("events", "--to", str(main_snapshot_id(lakehouse.table("lake.events"))), "--take-files-again", "--yes")
    assert code == 1 and "is there already" in err


def test_quarantined_rows_are_not_put_there_twice(lakehouse: Lakehouse, run: Run) -> None:
    template = events(lakehouse, DIRECT.replace("pipeline:\n", "pipeline:\n      on_bad_rows: quarantine\n"))
    first = load(lakehouse, template, "a", 1)
    lakehouse.land("b.jsonl", '{"id": 2, "at": "2024-01-02T00:00:00Z"}\n{"id": "x", "at": null}')
    assert lakehouse.run(template).bad_rows == 1
    assert run("events", "--to", str(first), "--take-files-again", "--yes")[0] == 0
    assert lakehouse.run(template).bad_rows == 1
    assert (ids(lakehouse), lakehouse.rows("lake.events__quarantine").num_rows) == ([1, 2], 1)


@pytest.mark.parametrize("again", [True, False], ids=["files are taken again", "files stay taken"])
def test_a_dimension_forgets_records_that_changed_nothing(lakehouse: Lakehouse, run: Run, again: bool) -> None:
    dimension = Dimension(lakehouse)
    # The records at 10 and 30 open no version, but end what a late record says; one before the rollback, one after.
    kept = [Change("u", 0, "free"), Change("u", 10, "free")]
    unseen, late = Change("u", 30, "free"), [Change("u", 5, "plus"), Change("u", 20, "plus")]
    dimension.merge(kept[0])
    first = dimension.merge(kept[1]).snapshot_id
    dimension.merge(unseen)
    # Deletes no log that a snapshot was made with.
    assert step(lakehouse, dimension.template, "orphans", later=timedelta(days=30)).action in ("nothing", "done")
    arguments = ["--take-files-again"] if again else []
    assert run("users", "--to", str(first), "--yes", *arguments)[0] == 0
    assert versions(lakehouse) == expected(kept)
    dimension.merge(*late)
    assert versions(lakehouse) == expected([*kept, *([unseen] if again else []), *late])


CHANGES = st.lists(
    st.builds(Change, id=st.sampled_from("ab"), at=st.integers(0, 6), plan=st.sampled_from(["free", "plus"]), op=st.just("update")),
    min_size=1,
    max_size=3,
)
STEP = st.one_of(CHANGES, st.tuples(st.integers(0, 3), st.booleans()), st.just("maintain"))


@pytest.mark.standup  # minutes: a random history finds little in a few examples
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=4, max_size=8))
def test_a_dimension_is_what_its_files_say_whatever_was_rolled_back(lakehouse: Lakehouse, steps: list[Any]) -> None:
    if "lake.users" in list_tables(lakehouse.catalog):
        lakehouse.catalog.drop_table("lake.users")
        for path in lakehouse.landing.iterdir():
            path.unlink()
        shutil.rmtree(lakehouse.settings.warehouse_folder / "lake")
    dimension, warehouse = Dimension(lakehouse), lakehouse.settings.warehouse_uri
    commits = list[tuple[int, list[int]]]()  # of main: the snapshot, the files that it took
    landed, known = list[list[Change]](), set[int]()
    for taken in steps:
        if taken == "maintain":
            step(lakehouse, dimension.template, "orphans", later=timedelta(days=30))
        elif isinstance(taken, tuple):
            if taken[0] >= len(commits) or (taken[0] == len(commits) - 1 and not taken[1]):
                continue
            kept = commits[: taken[0] + 1]
            if len(kept) == len(commits) and known == {file for _, files in commits for file in files}:
                continue
            plan = plan_rollback(lakehouse.table("lake.users"), kept[-1][0], warehouse, take_files_again=taken[1])
            roll_back(plan, warehouse, timeout=5)
            commits, known = kept, {file for _, files in kept for file in files} if taken[1] else known
        else:
            landed.append(taken)
            result = dimension.merge(*taken)
            new = [file for file in range(len(landed)) if file not in known]
            assert (result.source_files, result.snapshot_id is not None) == (len(new), True)
            commits.append((result.snapshot_id or 0, new))
            known |= set(new)
        assert versions(lakehouse) == expected(change for _, files in commits for file in files for change in landed[file])


def test_it_is_refused(lakehouse: Lakehouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    template = events(lakehouse, DIRECT)
    first, second = load(lakehouse, template, "a", 1), load(lakehouse, template, "b", 2)
    code, _, err = run("events", "--to", "17", "--yes")
    assert code == 1 and "lakehouse show lake.events" in err
    assert run("events", "--to", str(first))[0] == 2  # nobody can be asked here
    plan = plan_rollback(lakehouse.table("lake.events"), first, lakehouse.settings.warehouse_uri, take_files_again=True)
    third = load(lakehouse, template, "c", 3)
    with pytest.raises(CommitConflictError, match="run-c"):
        roll_back(plan, lakehouse.settings.warehouse_uri, timeout=5)
    assert (ids(lakehouse), taken(lakehouse)) == ([1, 2, 3], ["a.jsonl", "b.jsonl", "c.jsonl"])

    assert run("events", "--to", str(second), "--yes")[0] == 0
    code, _, err = run("events", "--to", str(third), "--yes")  # forwards: its files would be loaded twice, or never
    assert code == 1 and "before main's" in err
    lakehouse.engine.append("lake.events", lakehouse.rows("lake.events").to_batches(), Batch("b", "audited-run"), audited=True)
    code, _, err = run("events", "--to", str(first), "--yes")
    assert code == 1 and "lakehouse audit" in err
    assert ids(lakehouse) == [1, 2]
    monkeypatch.setenv("NESSIE_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("LAKEHOUSE_WAREHOUSE", "s3://warehouse")
    monkeypatch.setenv("LAKEHOUSE_BACKEND", "aws-nessie")
    code, _, err = run("events", "--to", str(first), "--yes")
    assert code == 1 and "Nessie keeps" in err


def test_it_is_refused_where_rows_of_then_lack_what_is_required_now(lakehouse: Lakehouse, run: Run) -> None:
    template = events(lakehouse, DIRECT)
    first = load(lakehouse, template, "a", 1)
    lakehouse.land("b.jsonl", '{"id": 2}')
    second = lakehouse.run(template).snapshot_id
    assert run("events", "--to", str(first), "--yes")[0] == 0
    with lakehouse.table("lake.events").update_schema(allow_incompatible_changes=True) as change:
        change.make_column_optional("id")
        change.update_column("at", required=True)
    load(lakehouse, template, "c", 3)
    assert second is not None
    code, _, err = run("events", "--to", str(first), "--yes")
    assert code == 1 and "at" in err and "required" in err
