"""The doctor says what is wrong with a setup, whatever it is, and nothing that is wrong hides another."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from command_line import run_command
from pyarrow import fs
from pyiceberg.io.pyarrow import PyArrowFileIO
from terraform_cli import require_terraform

from lakehouse.catalog import catalog_properties
from lakehouse.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from conftest import Lakehouse

BACKENDS = ["local", "aws-glue"]
TEMPLATE = "name: orders\nnamespace: shop\ndescription: x\ncolumns: [{name: id, type: long}]\n"
NAMES = ["python", "packages", "settings", "extras", "templates", "credentials", "catalog", "nessie", "namespaces", "warehouse",
         "landing", "pointers", "terraform", "dagster", "soda"]  # fmt: skip


@pytest.fixture(autouse=True)
def _setup(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home for Dagster, and no .env."""
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(PROJECT_ROOT / "dagster_project" / "dagster.yaml", home)
    for name, value in {**lakehouse.environment, "DAGSTER_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def diagnosed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, tuple[str, str]]:
    """Status and message by check; the exit code says whether there is an error."""
    code, out, _ = run_command(capsys, "doctor", "--json", *arguments)
    answers = json.loads(out)
    assert [answer["check"] for answer in answers] == NAMES
    assert all(answer["meaning"].endswith(".") and answer["message"] for answer in answers)
    assert code == int(any(answer["status"] == "error" for answer in answers))
    return {answer["check"]: (answer["status"], answer["message"]) for answer in answers}


def not_ok(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: status for name, (status, _) in found.items() if status != "ok"}


@pytest.mark.nessie
@pytest.mark.gcp
def test_a_setup_that_works_has_nothing_wrong_and_is_left_as_it_was(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]) -> None:
    lakehouse.template(TEMPLATE)
    before = objects(lakehouse)
    found = diagnosed(capsys, "--terraform", "nowhere")
    assert not_ok(found) == ({"pointers": "warning"} if lakehouse.settings.backend in ("aws-nessie", "gcp") else {})
    assert objects(lakehouse) == before
    if lakehouse.settings.backend.startswith("aws"):
        assert found["credentials"][1].startswith("arn:aws:")
    if lakehouse.settings.backend == "aws-nessie":
        assert "the branch main is at" in found["nessie"][1]
        assert "GLUE_CATALOG_ID" in found["pointers"][1]


def objects(lakehouse: Lakehouse) -> list[str]:
    if lakehouse.settings.backend == "local":
        return sorted(str(path) for path in lakehouse.settings.warehouse_folder.rglob("*"))
    if lakehouse.settings.backend == "gcp":
        store = PyArrowFileIO(catalog_properties(lakehouse.settings)).fs_by_scheme("gs", None)
        folder = fs.FileSelector("warehouse/_lakehouse", recursive=True, allow_not_found=True)  # the caller may not list the rest
        return sorted(found.path for found in store.get_file_info(folder))
    return [found["Key"] for found in boto3.client("s3").list_objects_v2(Bucket="warehouse").get("Contents", [])]


def test_what_is_not_made_yet_is_no_error_and_is_not_made(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]) -> None:
    (lakehouse.settings.templates / "orders.yaml").write_text(TEMPLATE)
    found = diagnosed(capsys, "--terraform", "nowhere")
    if lakehouse.settings.backend == "local":
        assert not_ok(found) == dict.fromkeys(["catalog", "namespaces", "warehouse"], "warning")
        assert not lakehouse.settings.warehouse_folder.exists()
    else:
        assert not_ok(found) == {"namespaces": "error"}
        assert "no namespace shop. Terraform makes them" in found["namespaces"][1]


@pytest.fixture
def silence() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_store_that_hangs_is_not_waited_for_and_hides_nothing(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, silence: str
) -> None:
    if lakehouse.settings.backend == "local":
        pytest.skip("it has no server")
    (lakehouse.settings.templates / "orders.yaml").write_text(TEMPLATE)
    monkeypatch.setenv("AWS_ENDPOINT_URL", silence)
    found = diagnosed(capsys, "--terraform", "nowhere", "--timeout", "2")
    assert not_ok(found) == dict.fromkeys(["credentials", "catalog", "namespaces", "warehouse"], "error")
    assert all("no answer within 2 s" in found[name][1] for name in not_ok(found))


def test_what_is_broken_is_told_all_at_once(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lakehouse.template(TEMPLATE)
    (lakehouse.settings.templates / "bad.yaml").write_text("name: bad\n")
    (tmp_path / "dagster" / "dagster.yaml").unlink()
    monkeypatch.setenv("LAKEHOUSE_WARHOUSE", "x")
    monkeypatch.setenv("LAKEHOUSE_LANDING", "s3://key:secret@nowhere/?region=x&odd=1")
    if lakehouse.settings.backend == "local":
        (lakehouse.settings.warehouse_folder / "catalog.db").write_bytes(b"no database, " * 100)
        (lakehouse.settings.warehouse_folder / "_lakehouse").write_text("a file")
    else:
        monkeypatch.setenv("LAKEHOUSE_WAREHOUSE", "s3://nowhere")
    found = diagnosed(capsys, "--terraform", "nowhere", "--timeout", "15")
    expected = {"settings": "warning", "templates": "error", "warehouse": "error", "landing": "error", "dagster": "error"}
    if lakehouse.settings.backend == "local":
        expected |= {"catalog": "error", "namespaces": "error"}
    assert not_ok(found) == expected
    assert "did you mean LAKEHOUSE_WAREHOUSE?" in found["settings"][1]
    assert "bad.yaml:1:1" in found["templates"][1]
    assert "cannot be written" in found["warehouse"][1]
    assert "dagster_project/dagster.yaml" in found["dagster"][1]
    assert not any("secret" in message for _, message in found.values())


@pytest.mark.parametrize("broken", [{"LAKEHOUSE_BACKEND": "bogus"}, {"LAKEHOUSE_BACKEND": "aws-glue", "AWS_REGION": ""}, {}])
def test_without_settings_all_else_is_said_not_to_be_checked(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, broken: dict[str, str]
) -> None:
    if lakehouse.settings.backend != "local":
        pytest.skip("the backend is broken anyway")
    for name, value in broken.items():
        monkeypatch.setenv(name, value)
    if not broken:
        Path(".env").write_bytes(b"\xff\xfe")
    found = diagnosed(capsys)
    assert found["settings"][0] == "error"
    assert [name for name, (status, _) in found.items() if status == "ok"] == ["python", "packages", "dagster", "soda"]
    code, out, _ = run_command(capsys, "doctor")
    assert code == 1 and len(out.splitlines()) == len(NAMES) + 1
    assert out.splitlines()[-1] == "ok: 4, warning: 10, error: 1"


def state(root: Path, environment: dict[str, str]) -> None:
    """An applied Terraform root."""
    root.mkdir()
    (root / "main.tf").write_text('output "environment" { value = {} }\n')
    outputs = {"environment": {"value": environment, "type": ["map", "string"]}}
    content: dict[str, Any] = {"version": 4, "terraform_version": "1.9.0", "serial": 1, "lineage": "x", "outputs": outputs, "resources": []}
    (root / "terraform.tfstate").write_text(json.dumps(content))


def test_settings_that_are_not_terraforms_are_named_and_secrets_not_shown(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    require_terraform()
    if lakehouse.settings.backend == "local":
        assert diagnosed(capsys)["terraform"] == ("ok", "The backend local has nothing of Terraform's.")
        return
    lakehouse.template(TEMPLATE)
    given = {name: value for name, value in lakehouse.environment.items() if name.startswith("LAKEHOUSE_") or name == "AWS_REGION"}
    state(tmp_path / "same", given)
    assert diagnosed(capsys, "--terraform", "same")["terraform"] == ("ok", "The settings are the outputs of same.")
    monkeypatch.setenv("LAKEHOUSE_SLACK_WEBHOOK", "https://hooks.example.com/hush-here")
    other = {"LAKEHOUSE_WAREHOUSE": "s3://other", "LAKEHOUSE_SLACK_WEBHOOK": "https://hooks.example.com/hush-there"}
    state(tmp_path / "changed", given | other | {"LAKEHOUSE_WRITER_ROLE": "arn:aws:iam::1:role/w"})
    status, message = diagnosed(capsys, "--terraform", "changed")["terraform"]
    assert status == "error" and "hush" not in message
    assert message == (
        "LAKEHOUSE_SLACK_WEBHOOK is not Terraform's; LAKEHOUSE_WAREHOUSE is s3://warehouse, and Terraform's is s3://other; "
        "LAKEHOUSE_WRITER_ROLE is not set, and Terraform's is arn:aws:iam::1:role/w. Take Terraform's: lakehouse env --terraform changed"
    )


def test_a_package_that_is_missing_is_named_and_the_rest_is_checked(lakehouse: Lakehouse) -> None:
    if lakehouse.settings.backend != "local":
        pytest.skip("the same")
    program = "import sys; sys.modules['pyiceberg'] = None; sys.argv[1:] = ['doctor']; from lakehouse.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    lines = {line.split()[1]: line for line in done.stdout.splitlines()[:-1]}
    assert (done.returncode, done.stderr, list(lines)) == (1, "", NAMES)
    assert lines["catalog"].startswith("error   catalog     pyiceberg is missing or broken. Install")
    assert lines["packages"].startswith("ok") and lines["dagster"].startswith("ok")


def test_a_process_of_its_own_finds_what_a_process_that_imported_all_finds(lakehouse: Lakehouse) -> None:
    if lakehouse.settings.backend != "local":
        pytest.skip("the same")
    lakehouse.template(TEMPLATE)
    done = subprocess.run([Path(sys.executable).with_name("lakehouse"), "doctor"], capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines()[:-1] if not line.startswith("ok")] == []


def test_packages_of_other_versions_are_named(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = {
        "requires-python": ">=4",
        "dependencies": ["pydantic<1", "no-such-package-anywhere", 'pyyaml<1; python_version < "3"'],
        "optional-dependencies": {"aws": ["boto3<1"], "soda": []},
    }
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in project.items() if key != "optional-dependencies")
    extras = "\n".join(f"{key} = {json.dumps(value)}" for key, value in project["optional-dependencies"].items())  # type: ignore[attr-defined]
    (tmp_path / "pyproject.toml").write_text(f"[project]\n{text}\n[project.optional-dependencies]\n{extras}\n")
    monkeypatch.setattr("lakehouse.doctor.installation.PROJECT_ROOT", tmp_path)
    found = diagnosed(capsys, "--terraform", "nowhere")
    assert found["python"][0] == "error" and ">=4 is asked for" in found["python"][1]
    status, message = found["packages"]
    assert status == "error"
    assert "and <1 is asked for; no-such-package-anywhere is missing. Install" in message and "pyyaml" not in message
    assert found["extras"][0] == ("ok" if lakehouse.settings.backend == "local" else "error")
