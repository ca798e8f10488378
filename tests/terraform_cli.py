"""The real Terraform, run as a user runs it, in a copy of ``terraform/``: no lock file or state is left in the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from needed import unavailable

ROOT = Path(__file__).resolve().parents[1]


def terraform_folder(target: Path, *left_out: str) -> Path:
    """A copy of the repository's ``terraform/`` without what Terraform left there, and without some further names."""
    return Path(shutil.copytree(ROOT / "terraform", target, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", *left_out)))


@dataclass(frozen=True)
class Run:
    """What one command said.

    Attributes:
        errors: summary and detail of each error diagnostic.
        changes: of a plan, the actions by resource address, without reads and no-ops.
    """

    code: int
    text: str
    errors: list[str] = field(default_factory=list)
    changes: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.code == 0


@dataclass
class Terraform:
    """Terraform in one folder.

    Attributes:
        variables: of the root module; anything that JSON can hold.
        environment: on top of the process's, where None takes a variable out.
    """

    folder: Path
    variables: dict[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str | None] = field(default_factory=dict)

    def init(self) -> None:
        assert (run := self.run("init", "-input=false", "-backend=false")).ok, run.text

    def plan(self, *options: str) -> Run:
        """A plan, not kept. Errors and changes are in the result."""
        return self._with_variables("plan", "-json", "-input=false", "-lock=false", *options)

    def apply(self, *options: str) -> Run:
        return self._with_variables("apply", "-json", "-input=false", "-auto-approve", *options)

    def destroy(self) -> Run:
        return self._with_variables("destroy", "-json", "-input=false", "-auto-approve")

    def outputs(self) -> dict[str, Any]:
        run = self.run("output", "-json")
        assert run.ok, run.text
        return {name: output["value"] for name, output in json.loads(run.text).items()}

    def run(self, *arguments: str) -> Run:
        """Any command. Raises nothing: the caller looks at the code."""
        environment = {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "NO_COLOR": "1", **self.environment}
        if not Path(environment.get("TF_CLI_CONFIG_FILE") or ".").exists():
            environment.pop("TF_CLI_CONFIG_FILE")  # Terraform warns of a file that is not there
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env={name: value for name, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            check=False,
        )
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"@')] if "-json" in arguments else []
        found = [event["diagnostic"] for event in events if event.get("@level") == "error" and "diagnostic" in event]
        changed = [event["change"] for event in events if event.get("type") == "planned_change"]
        return Run(
            done.returncode,
            done.stdout if done.returncode == 0 else done.stdout + done.stderr,
            [f"{diagnostic['summary']}: {diagnostic.get('detail', '')}" for diagnostic in found],
            {change["resource"]["addr"]: change["action"] for change in changed if change["action"] != "read"},
        )

    def _with_variables(self, command: str, *options: str) -> Run:
        (self.folder / "test.auto.tfvars.json").write_text(json.dumps(self.variables))
        return self.run(command, *options)


@contextmanager
def provider_that_stays(terraform: Terraform, name: str) -> Iterator[Mapping[str, str]]:
    """One process of a provider for every run of ``terraform test``, which else starts one for each, most of its time.

    Yields the variable by which Terraform finds it; ``-debug`` is how a provider's authors attach a debugger.
    """
    [binary] = terraform.folder.glob(f".terraform/providers/*/hashicorp/{name}/*/*/terraform-provider-{name}*")
    with subprocess.Popen([str(binary), "-debug"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as provider:
        try:
            assert provider.stdout is not None
            said = (line.strip().partition("TF_REATTACH_PROVIDERS=")[2] for line in provider.stdout)
            yield {"TF_REATTACH_PROVIDERS": next(line for line in said if line).strip("'")}
        finally:
            provider.terminate()


def require_terraform() -> None:
    """Skips where there is no Terraform, but on CI, which must have it."""
    if shutil.which("terraform") is None:
        unavailable("terraform is not installed: https://developer.hashicorp.com/terraform/install")
