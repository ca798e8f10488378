"""The repository as somebody has it who has just cloned it, and the commands that its README begins with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from needed import unavailable

ROOT = Path(__file__).resolve().parents[1]
# What a shell has that is nobody's settings of this project, nor those of the tests or of the make that runs them.
_OF_THE_SHELL = re.compile(r"(?!LAKEHOUSE_|DAGSTER_|PYTEST_|MAKE|MFLAGS|VIRTUAL_ENV)")


def clean_clone(folder: Path, *, with_packages: bool = True) -> Path:
    """Clones the checkout's HEAD, with what is not committed yet on top: on CI nothing.

    Args:
        with_packages: gives the clone the packages that are installed here, so that ``make setup`` has nothing to do.
    """
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        unavailable("The checkout is no Git repository, or there is no git.")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True, capture_output=True)
    listed = ["git", "ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")):
        (folder / name).unlink(missing_ok=True)
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    if with_packages:
        (folder / ".venv").symlink_to(ROOT / ".venv")
        for name in ("requirements.lock", "requirements-spark.lock", "pyproject.toml"):
            os.utime(folder / name, (0, 0))
    return folder


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """The variables of a user's shell, and those given. Packages that are linked have the checkout's code: the clone's goes first."""
    return {name: value for name, value in os.environ.items() if _OF_THE_SHELL.match(name)} | {"PYTHONPATH": str(folder)} | variables


def first_commands() -> list[str]:
    """The commands of the README's first block, without their comments."""
    block = re.search(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None, "README.md has no block of commands"
    return [line.partition("#")[0].strip() for line in block[1].splitlines()]


def run(command: str, folder: Path, **variables: str) -> str:
    """Runs a command in the clone, as a shell would. Returns what it printed; fails with it."""
    shell, variables = ["/bin/sh", "-ec", command], environment(folder, **variables)
    done = subprocess.run(shell, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout[-5000:]}"
    return done.stdout
