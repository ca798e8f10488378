"""The commands, health checks and settings of ``deploy/compose.yaml``, started as it says, on this machine and with SQLite."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from tenacity import RetryError, retry, retry_if_result, stop_after_delay, wait_fixed

from lakehouse.settings import PROJECT_ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
DEPLOY = PROJECT_ROOT / "deploy"
SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
LOCATIONS = "{workspaceOrError{... on Workspace{locationEntries{name locationOrLoadError{... on RepositoryLocation{repositories{name}}}}}}}"
ASSETS = "{assetNodes{assetKey{path}}}"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def ports() -> dict[str, str]:
    """Those of the services, and what they are here."""
    return {"4000": str(_free_port()), "3000": str(_free_port())}


@pytest.fixture
def home(tmp_path: Path, ports: dict[str, str]) -> Path:
    """DAGSTER_HOME: the image's two files, with this machine's addresses and folders, and no PostgreSQL."""
    instance = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    del instance["storage"]
    workspace = (DEPLOY / "workspace.yaml").read_text()
    assert "host: code-location" in workspace and "port: 4000" in workspace
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(yaml.safe_dump(instance).replace("/var/lib/dagster", str(tmp_path / "records")))
    (folder / "workspace.yaml").write_text(workspace.replace("code-location", "127.0.0.1").replace("4000", ports["4000"]))
    return folder


@pytest.fixture
def command(home: Path, ports: dict[str, str], tmp_path: Path) -> Callable[[list[str]], dict[str, Any]]:
    """What ``subprocess`` needs for a command of compose.yaml."""
    scripts = Path(sys.executable).parent

    def prepared(words: list[str]) -> dict[str, Any]:
        for port, here in ports.items():
            words = [word.replace(port, here) for word in words]
        program = scripts / words[0]
        assert program.exists() or shutil.which(words[0]), f"no {words[0]} in the environment"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))},
            "PYTHONPATH": str(PROJECT_ROOT),
            "DAGSTER_HOME": str(home),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "LAKEHOUSE_WAREHOUSE": str(tmp_path / "warehouse"),
            "LAKEHOUSE_LANDING": str(tmp_path / "landing"),
        }
        return {"args": [str(program), *words[1:]], "cwd": home, "env": environment}

    return prepared


def _stop(server: subprocess.Popen[bytes]) -> None:
    """The code server may wait for its clients longer than a test can."""
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@pytest.fixture
def started(command: Callable[[list[str]], dict[str, Any]], tmp_path: Path) -> Iterator[dict[str, Callable[[], str]]]:
    """Both servers, at once. Of each service, what its processes have printed."""
    logs = {name: tmp_path / f"{name}.log" for name in ("code-location", "webserver")}
    with ExitStack() as stack:
        for name, log in logs.items():
            output = stack.enter_context(log.open("w"))
            server = subprocess.Popen(**command(SERVICES[name]["command"]), stdout=output, stderr=subprocess.STDOUT)
            stack.callback(_stop, server)
        yield {name: log.read_text for name, log in logs.items()}


def test_the_services_start_and_their_health_checks_pass(
    started: dict[str, Callable[[], str]], command: Callable[[list[str]], dict[str, Any]], ports: dict[str, str]
) -> None:
    for name, log in started.items():
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"

        @retry(retry=retry_if_result(lambda code: code != 0), stop=stop_after_delay(100), wait=wait_fixed(1))
        def check(words: list[str] = words) -> int:
            return subprocess.run(**command(words), capture_output=True, check=False).returncode

        try:
            check()
        except RetryError:
            pytest.fail(f"The health check of {name} does not pass:\n{log()}")

    @retry(retry=retry_if_result(lambda found: not found), stop=stop_after_delay(60), wait=wait_fixed(0.5))
    def asked(query: str, *path: str) -> Any:
        found = requests.post(f"http://127.0.0.1:{ports['3000']}/graphql", json={"query": query}, timeout=60).json()["data"]
        for key in path:
            found = found[key]
        return found

    (location,) = asked(LOCATIONS, "workspaceOrError", "locationEntries")
    assert location["name"] == "lakehouse"
    assets = {"/".join(node["assetKey"]["path"]) for node in asked(ASSETS, "assetNodes")}
    assert {"lakehouse/event_stream", "lakehouse/feature_table", "lakehouse/scd_type2"} <= assets


def test_a_health_check_fails_where_no_server_is(command: Callable[[list[str]], dict[str, Any]]) -> None:
    words = SERVICES["webserver"]["healthcheck"]["test"][1:]
    assert subprocess.run(**command(words), capture_output=True, check=False).returncode != 0
