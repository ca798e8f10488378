"""The command line: what it prints, what programs can rely on, and how it fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from command_line import run_command
from typer.main import get_command
from typer.testing import CliRunner

from lakehouse import cli
from lakehouse.commit import Batch

if TYPE_CHECKING:
    from conftest import Lakehouse

Run = Callable[..., tuple[int, str, str]]
USERS = """\
    name: users
    namespace: lake
    description: One row per user.
    columns:
      - {name: id, type: long}
      - {name: email, type: string, pii: true, access_level: internal}
      - {name: salary, type: long, access_level: restricted}
      - {name: team, type: string, access_level: internal}
      - {name: score, type: double}
      - {name: key, type: binary}
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process: exit code, output, errors."""
    return lambda *arguments: run_command(capsys, *arguments)


@pytest.fixture
def users(lakehouse: Lakehouse) -> Lakehouse:
    """A lakehouse with two users."""
    lakehouse.template(USERS)
    rows = {"id": [1, 2], "email": ["SECRET", "SECRET2"], "salary": [987654, 987655], "team": ["zebra", None], "score": [float("nan"), 0.5],
            "key": [b"\xff\x00", b""]}  # fmt: skip
    lakehouse.engine.append("lake.users", [pa.RecordBatch.from_pydict(rows)], Batch("b", "run-1"))
    return lakehouse


def test_lint(lakehouse: Lakehouse, run: Run) -> None:
    path = lakehouse.settings.templates / "users.yaml"
    path.write_text(USERS)
    assert run("lint") == (0, f"usable templates: 1, errors: 0, warnings: 0, in {path.parent}\n", "")
    assert run("lint", "--json")[:2] == (0, "[]\n")
    path.write_text(USERS.replace("type: double", "type: dubble"))
    code, out, _ = run("lint")
    assert code == 1
    assert re.search(r"users.yaml:9:\d+: error \[.*columns\[4\].type", out)
    code, out, _ = run("lint", "--json")
    [problem] = json.loads(out)
    assert code == 1
    assert set(problem) == {"file", "line", "column", "key", "rule", "severity", "message", "remedy"}
    assert (problem["file"], problem["line"], problem["key"], problem["severity"]) == (str(path), 9, "columns[4].type", "error")


def test_apply_makes_what_is_missing_and_then_nothing(lakehouse: Lakehouse, run: Run) -> None:
    (lakehouse.settings.templates / "users.yaml").write_text(USERS)
    code, out, _ = run("apply", "--json")
    assert (code, json.loads(out)) == (0, [{"table": "lake.users", "action": "created", "detail": ""}])
    before = lakehouse.table("lake.users").metadata_location
    code, out, _ = run("apply")
    assert code == 0
    assert re.match(r"exists +lake.users\s*$", out)  # no difference, and nothing about differences
    assert lakehouse.table("lake.users").metadata_location == before


def test_apply_makes_what_is_safe_says_what_it_did_and_refuses_what_loses_something(lakehouse: Lakehouse, run: Run) -> None:
    (lakehouse.settings.templates / "users.yaml").write_text(USERS)
    run("apply")
    table = lakehouse.table("lake.users")
    table.append(pa.Table.from_pylist([{"id": 1}], schema=table.schema().as_arrow()))
    changed = USERS.replace("One row per user.", "A user.").replace("name: team", "name: squad, description: Theirs, renamed_from: [team]")
    (lakehouse.settings.templates / "users.yaml").write_text(changed)
    code, out, _ = run("apply")
    assert code == 0
    assert out.split("  ")[:2] == ["changed", "lake.users"]
    assert [change.split(":")[0] for change in out.split("  ")[2].split("; ")] == [
        "rename column squad", "describe column squad", "property comment",
    ]  # fmt: skip
    before = lakehouse.table("lake.users").metadata_location
    (lakehouse.settings.templates / "users.yaml").write_text(changed.replace("id, type: long", "id, type: string"))
    code, out, err = run("apply", "--json")
    assert code == 1
    assert json.loads(out)[0]["action"] == "refused"
    assert "retype column id: long -> string (its values cannot be read" in json.loads(out)[0]["detail"]
    assert "lake.users" in err
    assert "Traceback" not in err
    assert lakehouse.table("lake.users").metadata_location == before


def test_plan_says_what_apply_would_do_and_its_exit_code_what_kind_of_change(lakehouse: Lakehouse, run: Run) -> None:
    path = lakehouse.settings.templates / "users.yaml"
    path.write_text(USERS)
    code, out, _ = run("plan")
    assert (code, out.splitlines()[0]) == (2, "+ lake.users  create")
    assert lakehouse.catalog.list_namespaces() == []
    run("apply")
    assert run("plan")[0] == 0
    table = lakehouse.table("lake.users")
    table.append(pa.Table.from_pylist([{"id": 1}], schema=table.schema().as_arrow()))
    before = lakehouse.table("lake.users").metadata_location
    path.write_text(USERS.replace("score, type: double", "score, type: double, description: Of 10.") + "      - {name: age, type: int}\n")
    code, out, _ = run("plan", "users")
    assert code == 2
    assert [line.strip() for line in out.splitlines()] == [
        "~ lake.users  change",
        "~ describe column score: no description -> Of 10.",
        "+ add column age: int",
        "0 to create, 1 to change (0 breaking changes), 0 in step, 0 that cannot be planned",
    ]
    path.write_text(USERS.replace("      - {name: score, type: double}\n", ""))
    code, out, _ = run("plan", "--json")
    assert code == 3
    [planned] = json.loads(out)["tables"]
    assert set(planned) == {"table", "action", "level", "changes", "error"}
    assert (planned["action"], planned["level"]) == ("change", "breaking")
    assert planned["changes"] == [
        {
            "kind": "drop-column", "subject": "score", "before": "double", "after": "", "level": "breaking",
            "note": "its data is in no later snapshot, and its name comes back as another column",
        }
    ]  # fmt: skip
    assert lakehouse.table("lake.users").metadata_location == before
    assert run("apply")[0] == 1
    assert run("apply", "--allow-breaking")[0] == 0
    assert run("plan")[0] == 0
    assert [field.name for field in lakehouse.table("lake.users").schema().fields] == ["id", "email", "salary", "team", "key"]


def test_plan_of_a_table_that_cannot_be_read_is_exit_code_1_and_hides_no_other(lakehouse: Lakehouse, run: Run) -> None:
    for name in ("one", "two"):
        (lakehouse.settings.templates / f"{name}.yaml").write_text(f"name: {name}\nnamespace: lake\ncolumns: [{{name: id, type: int}}]\n")
    run("apply")
    Path(lakehouse.table("lake.one").metadata_location.removeprefix("file://")).unlink()
    code, out, _ = run("plan", "--json")
    assert code == 1
    assert [(table["table"], table["action"]) for table in json.loads(out)["tables"]] == [("lake.one", "error"), ("lake.two", "none")]
    code, _, err = run("plan", "nothing")
    assert code == 1
    assert "No template describes nothing. There are lake.one, lake.two." in err


def test_apply_goes_on_after_a_table_that_fails(lakehouse: Lakehouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (lakehouse.settings.templates / f"{name}.yaml").write_text(f"name: {name}\nnamespace: lake\ncolumns: [{{name: id, type: int}}]\n")
    kind = type(lakehouse.catalog)
    create = kind.create_table
    monkeypatch.setattr(
        kind,
        "create_table",
        lambda self, name, *a, **k: create(self, name, *a, **k) if "two" in name else (_ for _ in ()).throw(OSError("disk full")),
    )
    code, out, _ = run("apply")
    assert code == 1
    assert re.search(r"failed +lake.one +OSError: disk full\ncreated +lake.two", out)


def test_two_applies_at_once(lakehouse: Lakehouse) -> None:
    for number in range(4):
        text = f"name: t{number}\nnamespace: lake\ncolumns: [{{name: id, type: int}}]\n"
        (lakehouse.settings.templates / f"t{number}.yaml").write_text(text)
    command = [sys.executable, "-m", "lakehouse.cli", "apply", "--json"]
    environment = {**os.environ, **lakehouse.environment}
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    for number in range(4):
        actions = sorted(json.loads(out)[number]["action"] for out, _ in outputs)
        assert actions == ["created", "exists", "exists"]


def test_plan_does_not_wait_for_pyarrow(users: Lakehouse) -> None:
    """Its import would take longer than all that a plan does itself. Nor is DuckDB needed where no SQL is looked at."""
    program = (
        "import sys\nfrom lakehouse.cli import main\ntry: main()\n"
        "finally: print(sorted({'pyarrow', 'duckdb', 'numpy'} & sys.modules.keys()), file=sys.stderr)"
    )
    environment = {**os.environ, **users.environment}
    ran = subprocess.run([sys.executable, "-c", program, "plan", "users"], env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "[]\n"), ran
    assert "1 in step" in ran.stdout


def test_tables(users: Lakehouse, run: Run) -> None:
    users.template("name: empty\nnamespace: lake\ncolumns: [{name: id, type: int}]\n")
    empty, found = json.loads(run("tables", "--json")[1])
    assert list(found) == ["name", "rows", "files", "bytes", "snapshot_id", "committed_at"]
    assert (found["name"], found["rows"], found["files"]) == ("lake.users", 2, 1)
    assert found["bytes"] > 100
    snapshot = users.table("lake.users").current_snapshot()
    assert snapshot is not None
    assert found["snapshot_id"] == snapshot.snapshot_id
    assert datetime.fromisoformat(found["committed_at"]).tzinfo == UTC
    assert empty == {"name": "lake.empty", "rows": 0, "files": 0, "bytes": 0, "snapshot_id": None, "committed_at": None}
    code, out, _ = run("tables")
    assert code == 0
    assert "2 tables" in out
    assert str(snapshot.snapshot_id) in out


HIDDEN = ("SECRET", "987654", "987,654")


def test_show_masks_what_is_hidden(users: Lakehouse, run: Run) -> None:
    for arguments in (("users",), ("lake.users",), ("users", "--json")):
        code, out, _ = run("show", *arguments)
        assert code == 0
        assert "zebra" in out
        assert not [value for value in HIDDEN if value in out]
    shown = json.loads(run("show", "users", "--json")[1], parse_constant=pytest.fail)
    assert shown["first_rows"][0] == {"id": 1, "email": "***", "salary": "***", "team": "zebra", "score": None, "key": "b'\\xff\\x00'"}
    assert (shown["managed"], shown["rows"], shown["snapshots"][0]["run_id"]) == (True, 2, "run-1")
    assert [column["name"] for column in shown["columns"] if column["pii"] or column["access_level"] == "restricted"] == ["email", "salary"]
    readable = {column["name"]: column["readable_by"] for column in shown["columns"]}
    assert (readable["salary"], readable["email"]) == (["writer", "admin"], ["reader", "writer", "admin"])
    assert json.loads(run("show", "users", "--json", "--rows", "1")[1])["first_rows"].__len__() == 1
    assert json.loads(run("show", "users", "--json", "--rows", "0")[1])["first_rows"] == []
    for arguments in (("users", "--reveal"), ("users", "--reveal", "--json")):
        out = run("show", *arguments)[1]
        assert "SECRET" in out
        assert "987654" in out


def test_show_masks_all_of_an_unmanaged_table(users: Lakehouse, run: Run) -> None:
    (users.settings.templates / "users.yaml").unlink()
    users.template("name: other\nnamespace: lake\ncolumns: [{name: id, type: int}]\n")
    assert "SECRET" in run("show", "lake.users", "--reveal")[1]
    code, out, _ = run("show", "lake.users")
    assert code == 0
    assert "No template describes this table" in out
    assert not [value for value in (*HIDDEN, "zebra") if value in out]
    shown = json.loads(run("show", "lake.users", "--json")[1])
    assert shown["managed"] is False
    assert [set(row.values()) for row in shown["first_rows"]] == [{"***"}, {"***"}]
    assert {column["readable_by"] for column in shown["columns"]} == {None}
    for file in users.table("lake.users").inspect.files()["file_path"].to_pylist():
        users.table("lake.users").io.delete(file)
    assert len(json.loads(run("show", "lake.users", "--json", "--rows", "1")[1])["first_rows"]) == 1  # no column is read


def test_show_masks_the_quarantine(lakehouse: Lakehouse, run: Run) -> None:
    template = lakehouse.template("""\
        name: t
        namespace: lake
        columns: [{name: id, type: int}]
        pipeline: {pattern: event_stream, source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}, on_bad_rows: quarantine}
    """)
    lakehouse.land("a.jsonl", '{"id": "SECRET"}')
    assert lakehouse.run(template).bad_rows == 1
    code, out, _ = run("show", "t__quarantine")
    assert code == 0
    assert "SECRET" not in out
    assert "SECRET" in run("show", "t__quarantine", "--reveal", "--json")[1]


@pytest.mark.usefixtures("lakehouse")
def test_env_masks_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESSIE_TOKEN", "SECRET")
    monkeypatch.setenv("NESSIE_CREDENTIAL", "id:SECRET")
    code, out, _ = run("env")
    assert code == 0
    assert "SECRET" not in out
    assert "NESSIE_TOKEN" in out
    rows = {row["variable"]: row for row in json.loads(run("env", "--json")[1])}
    assert set(rows["NESSIE_TOKEN"]["value"]) == {"*"}
    assert rows["NESSIE_TOKEN"]["from"] == "environment"
    assert rows["LAKEHOUSE_BACKEND"]["value"] == "local"
    assert rows["LAKEHOUSE_BRANCH"]["from"] == "default"


def test_a_variable_that_is_no_setting_is_a_warning(lakehouse: Lakehouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (lakehouse.settings.templates / "users.yaml").write_text(USERS)
    monkeypatch.setenv("LAKEHOUSE_WAREHOSE", "x")
    code, out, err = run("lint", "--json")
    assert (code, out, err) == (0, "[]\n", "warning: LAKEHOUSE_WAREHOSE is no setting; did you mean LAKEHOUSE_WAREHOUSE?\n")


@pytest.mark.parametrize("command", [("tables",), ("apply",), ("show", "lake.users")])
def test_a_catalog_without_credentials_is_a_message(
    lakehouse: Lakehouse, run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    (lakehouse.settings.templates / "users.yaml").write_text(USERS)
    variables = {"LAKEHOUSE_BACKEND": "aws-glue", "LAKEHOUSE_WAREHOUSE": "s3://lake", "AWS_REGION": "eu-west-1"}
    nowhere = {"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_EC2_METADATA_DISABLED": "true"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**variables, **nowhere}.items():
        monkeypatch.setenv(name, value)
    code, out, err = run(*command)
    assert code == 1
    assert "Unable to locate credentials" in out + err
    assert "lakehouse env" in err


def test_rows_that_cannot_be_read_are_a_message(users: Lakehouse, run: Run) -> None:
    for file in users.table("lake.users").inspect.files()["file_path"].to_pylist():
        users.table("lake.users").io.delete(file)
    code, _, err = run("show", "users")
    assert code == 1
    assert "lake.users cannot be read: FileNotFoundError" in err


@pytest.mark.parametrize(
    ("arguments", "broken", "message"),
    [
        *(((*command.split(),), "warehouse", "does not open: NotADirectoryError") for command in ("apply", "tables", "show lake.users")),
        (("show", "lake.nothing"), "", "There is no table lake.nothing in the catalog. Create it from its template: lakehouse apply"),
        (("show", "nothing"), "", "There is no table nothing"),
        (("show", "no.such.thing"), "", "There is no table no.such.thing"),
        (("show", "users"), "template", "users.yaml:1:"),
        (("apply",), "template", "users.yaml:1:"),
        (("apply",), "backend", "LAKEHOUSE_BACKEND"),
        (("tables",), "backend", "LAKEHOUSE_BACKEND"),
        (("env",), "backend", "LAKEHOUSE_BACKEND"),
        (("apply",), "catalog", "catalog of the backend local does not open"),
        (("lint",), "folder", "templates"),
    ],
)
def test_a_mistake_is_a_message(
    lakehouse: Lakehouse, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], broken: str, message: str
) -> None:
    (lakehouse.settings.templates / "users.yaml").write_text("nam: users\n" if broken == "template" else USERS)
    if broken == "backend":
        monkeypatch.setenv("LAKEHOUSE_BACKEND", "abacus")
    elif broken == "warehouse":
        (lakehouse.landing / "file").write_text("x")
        monkeypatch.setenv("LAKEHOUSE_WAREHOUSE", str(lakehouse.landing / "file" / "warehouse"))
    elif broken == "catalog":
        lakehouse.settings.warehouse_folder.mkdir()
        (lakehouse.settings.warehouse_folder / "catalog.db").write_text("no database, but long enough to be read as one" * 30)
    elif broken == "folder":
        monkeypatch.setenv("LAKEHOUSE_TEMPLATES", str(lakehouse.landing / "nowhere"))
    code, _, err = run(*arguments)
    assert code == 1
    assert message in err.replace("\n", " ")


def test_every_command_has_an_example_in_its_help() -> None:
    commands = get_command(cli.app).commands  # type: ignore[attr-defined]
    assert {"lint", "apply", "tables", "show", "env"} <= set(commands)
    for name in commands:
        result = CliRunner().invoke(cli.app, [name, "--help"])
        assert result.exit_code == 0
        assert re.search(rf"Example: (\S+=\S+ )?lakehouse {name}", result.output), name


def test_a_table_that_cannot_be_read_hides_no_other(lakehouse: Lakehouse, run: Run) -> None:
    for name in ("broken", "sound"):
        lakehouse.template(f"name: {name}\nnamespace: shop\ncolumns: [{{name: id, type: int}}]\n")
    table = lakehouse.table("shop.broken")
    table.io.delete(table.metadata_location)
    code, out, err = run("tables", "--json")
    assert code == 1
    assert [found["name"] for found in json.loads(out)] == ["shop.sound"]
    assert "shop.broken cannot be read" in err
