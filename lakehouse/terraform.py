"""What Terraform made, for the Python side: the output ``environment`` of a root, and the ``.env`` file that keeps it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lakehouse.errors import SettingsError
from lakehouse.settings import LakehouseSettings

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")


def terraform_environment(root: Path) -> dict[str, str]:
    """The environment variables that an applied Terraform root gives, by name; they are checked as settings.

    Raises:
        SettingsError: no Terraform, no such root, nothing applied yet, or values that are no settings.
    """
    output = terraform_json(root, "output", "-json").get("environment")
    if output is None:
        raise SettingsError(f"Terraform has no output `environment` in {root}. Apply it first: terraform -chdir={root} apply")
    values = {str(name): str(value) for name, value in output["value"].items()}
    try:
        LakehouseSettings.load(**values)
    except TypeError as error:
        raise SettingsError(f"The output `environment` of {root} is of another version of this project: {error}. Apply it again.") from None
    return values


def terraform_json(root: Path, *arguments: str) -> dict[str, Any]:
    """What a Terraform command in a root prints as JSON. Raises SettingsError: no Terraform, no such root, or the command failed."""
    if not any(root.glob("*.tf")):
        raise SettingsError(f"{root} is no Terraform root: it has no *.tf. Name one, such as terraform/aws.")
    command = ["terraform", f"-chdir={root}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SettingsError("terraform is not on the path. Install it: https://developer.hashicorp.com/terraform/install") from None
    if done.returncode:
        raise SettingsError(f"`{' '.join(command)}` failed:\n{done.stderr.strip()}\nRun terraform -chdir={root} init, and apply.")
    printed: dict[str, Any] = json.loads(done.stdout or "{}")
    return printed


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Sets variables in a ``.env`` file. Other lines stay as they are; the file is replaced as a whole, or not at all."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if not ((found := _ASSIGNMENT.match(line)) and found.group(1) in values)]
        text = "\n".join([*kept, *(f"{name}={_quoted(value)}" for name, value in values.items())]) + "\n"
        # Readable by its owner alone: other lines may be secrets.
        descriptor, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=".env.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be written: {error}. Make it a file of UTF-8 text that you may write.") from None


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[A-Za-z0-9_./:@%+=,*-]*", value) else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
