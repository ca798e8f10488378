"""What is configured: settings, templates, and whether Terraform says the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lakehouse.doctor.base import Answer, Setup
from lakehouse.errors import LakehouseError
from lakehouse.lint import lint_templates
from lakehouse.settings import LakehouseSettings, unknown_variables
from lakehouse.terraform import terraform_environment


def check_settings(setup: Setup) -> Answer:
    """The environment and .env have settings that can be used, and none that nobody reads."""
    if isinstance(setup.loaded, LakehouseError):
        return Answer("error", str(setup.loaded))
    env_file = f"{Path('.env').absolute()} is read" if Path(".env").is_file() else "there is no .env here"
    if unknown := unknown_variables():
        return Answer("warning", f"{' '.join(unknown)} Correct the name, or remove it; {env_file}.")
    return Answer("ok", f"The backend is {setup.settings.backend}; {env_file}.")


def check_templates(setup: Setup) -> Answer:
    """The templates can be used."""
    settings = setup.settings
    result = lint_templates(settings.templates, settings.variables)
    if result.errors:
        more = f" There are {len(result.errors) - 1} more." if len(result.errors) > 1 else ""
        return Answer("error", f"{result.errors[0]}{more} See all: lakehouse lint")
    counted = f"{len(result.templates)} templates in {settings.templates}"
    if result.problems:
        return Answer("warning", f"{counted}, with {len(result.problems)} warnings: lakehouse lint")
    return Answer("ok", f"{counted}.")


def check_terraform(setup: Setup) -> Answer:
    """The settings are those that Terraform made."""
    settings, root = setup.settings, setup.terraform
    if root is None:
        return Answer("ok", "The backend local has nothing of Terraform's.")
    if not (root / ".terraform").is_dir() and not (root / "terraform.tfstate").is_file():
        return Answer("ok", f"{root} is not initialised on this machine: its outputs are not compared. Name another root: --terraform")
    if differences := list(_differences(settings, terraform_environment(root))):
        return Answer("error", f"{'; '.join(differences)}. Take Terraform's: lakehouse env --terraform {root}")
    return Answer("ok", f"The settings are the outputs of {root}.")


def _differences(settings: LakehouseSettings, wanted: Mapping[str, str]) -> Iterator[str]:
    """Each by its name; by its values where these are no secrets."""
    fields = {str(field.validation_alias): (name, field) for name, field in LakehouseSettings.model_fields.items()}
    expected = LakehouseSettings.load(**wanted)
    for variable in sorted(wanted):
        name, field = fields[variable]
        here, there = getattr(settings, name), getattr(expected, name)
        if here != there:
            secret = SecretStr.__name__ in str(field.annotation)
            yield f"{variable} is not Terraform's" if secret else f"{variable} is {_shown(here)}, and Terraform's is {_shown(there)}"


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
