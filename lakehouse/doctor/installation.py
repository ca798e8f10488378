"""What is installed: Python, packages, Soda, Dagster's home."""

from __future__ import annotations

import os
import platform
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lakehouse.doctor.base import Answer, Setup
from lakehouse.settings import PROJECT_ROOT

_DISTRIBUTION = "iceberg-lakehouse-template"
_EXTRAS = {"local": None, "aws-glue": "aws", "aws-nessie": "aws", "gcp": "gcp"}


def check_python(_: Setup) -> Answer:
    """Python is of a version that the project takes."""
    found, wanted = platform.python_version(), str(_project()["requires-python"])
    if found in SpecifierSet(wanted, prereleases=True):
        return Answer("ok", f"Python {found}, and {wanted} is asked for.")
    return Answer("error", f"This is Python {found}, and {wanted} is asked for. Make the environment anew with such a Python: make setup")


def check_packages(_: Setup) -> Answer:
    """Every package that the project needs is installed, in a version that it takes."""
    return _judged(_project()["dependencies"], "pip install -e .")


def check_extras(setup: Setup) -> Answer:
    """The packages that the backend needs are installed, in versions that the project takes."""
    backend = setup.settings.backend
    if (extra := _EXTRAS[backend]) is None:
        return Answer("ok", f"The backend {backend} needs no extra.")
    return _judged(_project()["optional-dependencies"][extra], f"pip install -e '.[{extra}]'")


def check_soda(_: Setup) -> Answer:
    """Soda is there, which runs the quality checks."""
    if not (Path(sys.executable).parent / "soda").exists():
        return Answer("warning", "There is no soda beside this Python: no quality check can run. Install it: pip install -e '.[soda]'")
    return _judged(_project()["optional-dependencies"]["soda"], "pip install -e '.[soda]'")


def check_dagster(_: Setup) -> Answer:
    """Dagster has a home, where runs are kept, and lets one run at a time write a table."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        return Answer("warning", "DAGSTER_HOME is not set: runs, schedules and sensors are forgotten when Dagster ends. make dev sets it.")
    folder = Path(home).expanduser()
    if not folder.is_absolute() or not folder.is_dir():
        return Answer("error", f"DAGSTER_HOME is {home}, which is no absolute path of a folder. Make the folder: mkdir -p {home}")
    try:
        instance = yaml.safe_load((folder / "dagster.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Answer("error", f"There is no dagster.yaml in {home}. Copy the project's: cp dagster_project/dagster.yaml {home}")
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return Answer(
            "error", f"{folder / 'dagster.yaml'} cannot be read ({type(error).__name__}). Copy dagster_project/dagster.yaml there."
        )
    if _pool_limit(instance) != 1:
        return Answer(
            "warning",
            f"{folder / 'dagster.yaml'} does not limit pools to one run: two runs of a table then plan the same files. "
            "Set concurrency.pools.default_limit to 1, as dagster_project/dagster.yaml has it.",
        )
    return Answer("ok", f"DAGSTER_HOME is {home}.")


def _pool_limit(instance: Any) -> Any:
    for key in ("concurrency", "pools", "default_limit"):
        instance = instance.get(key) if isinstance(instance, dict) else None
    return instance


def _judged(requirements: Iterable[str], remedy: str) -> Answer:
    requirements = list(requirements)
    if wrong := list(_wrong(requirements)):
        return Answer("error", f"{'; '.join(wrong)}. Install what is asked for: {remedy}")
    return Answer("ok", f"{len(requirements)} requirements of pyproject.toml are met.")


def _wrong(requirements: Iterable[str]) -> Iterator[str]:
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement.name} is {found}, and {requirement.specifier} is asked for"


def _project() -> dict[str, Any]:
    """``[project]`` of pyproject.toml; where the project is a package without it, what was installed of it."""
    file = PROJECT_ROOT / "pyproject.toml"
    if file.is_file():
        found: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        return found
    said = metadata.metadata(_DISTRIBUTION)
    every = [Requirement(text) for text in metadata.requires(_DISTRIBUTION) or []]
    extras = {extra: [str(found) for found in every if _belongs(found, extra)] for extra in said.get_all("Provides-Extra") or []}
    return {
        "requires-python": said["Requires-Python"],
        "dependencies": [str(found) for found in every if _belongs(found, "")],
        "optional-dependencies": {extra: [text.split(";")[0] for text in texts] for extra, texts in extras.items()},
    }


def _belongs(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    if extra == "":
        return marker is None or marker.evaluate({"extra": ""})
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
