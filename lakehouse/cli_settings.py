"""``lakehouse env`` and ``check-destroy``: the settings, and the Terraform root that they come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lakehouse.cli_arguments import Json
from lakehouse.cli_output import ERR, OUT, print_grid, print_json
from lakehouse.settings import LakehouseSettings

app = typer.Typer()


@app.command(epilog="Example: lakehouse env --terraform terraform/aws")
def env(
    terraform: Annotated[
        Path | None, typer.Option("--terraform", help="An applied Terraform root: write its settings to the .env file first.")
    ] = None,
    env_file: Annotated[Path, typer.Option("--env-file", help="With --terraform: the file to write.")] = Path(".env"),
    as_json: Json = False,
) -> None:
    """Show every setting, its value and where it comes from. Secrets are never shown. All are in docs/configuration-reference.md."""
    from lakehouse.terraform import terraform_environment, write_env

    if terraform is not None:
        values = terraform_environment(terraform)
        write_env(env_file, values)
        if not as_json:
            OUT.print(f"{len(values)} settings of {terraform} written to {env_file}")
        for name in sorted(name for name, value in values.items() if os.environ.get(name, value) != value):
            ERR.print(Text(f"warning: {name} is set to another value in the environment, which counts. Unset it.", style="yellow"))
    settings = LakehouseSettings.load()
    rows = [
        {
            "variable": str(field.validation_alias),
            "value": None if (value := getattr(settings, name)) is None else str(value),
            "from": _origin(settings, name, str(field.validation_alias)),
            "meaning": field.description,
        }
        for name, field in LakehouseSettings.model_fields.items()
    ]
    if as_json:
        print_json(rows)
    else:
        print_grid("Settings", ["variable", "value", "from", "meaning"], [list(row.values()) for row in rows])


def _origin(settings: LakehouseSettings, name: str, variable: str) -> str:
    if name not in settings.model_fields_set:
        return "default"
    return "environment" if os.environ.get(variable) else ".env"


@app.command("check-destroy", epilog="Example: lakehouse check-destroy --terraform terraform/aws")
def check_destroy(
    terraform: Annotated[Path, typer.Option("--terraform", help="The applied Terraform root.")] = Path("terraform/aws"),
) -> None:
    """Say whether terraform destroy would lose files or tables; exit code 1 if so. make aws-destroy and gcp-destroy ask it first."""
    from lakehouse.destroy import check_destroy as emptiness

    empty = emptiness(terraform)
    OUT.print(f"Empty: {', '.join(empty)}" if empty else "There is no warehouse and no landing bucket in Terraform's state.")
