"""``lakehouse doctor``: whether the setup works, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lakehouse.cli_arguments import Json
from lakehouse.cli_output import OUT, print_json

app = typer.Typer()
_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


@app.command(epilog="Example: lakehouse doctor --json")
def doctor(
    terraform: Annotated[
        Path | None, typer.Option("--terraform", help="The Terraform root that the settings came from; default: the backend's.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that one check is waited for.")] = 20,
    as_json: Json = False,
) -> None:
    """Check the setup, and say what to do: a line per check. Exit code 1 if there is an error. It writes, and deletes, one small object."""
    from lakehouse.doctor import diagnose

    answers = diagnose(timeout, terraform)
    if as_json:
        print_json([vars(answer) for answer in answers])
    else:
        for answer in answers:
            line = Text(f"{answer.status:8}", style=_STYLES[answer.status]).append(f"{answer.check:12}", style="bold")
            OUT.print(line.append(" ".join(answer.message.split()), style="default"))
        counts = {status: sum(answer.status == status for answer in answers) for status in _STYLES}
        OUT.print(", ".join(f"{status}: {count}" for status, count in counts.items()))
    if any(answer.status == "error" for answer in answers):
        raise typer.Exit(1)
