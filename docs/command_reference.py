"""The commands of ``lakehouse``, from the command line's own definition: docs/cli-reference.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from cells import cell, table

from lakehouse.cli import app


def command_sections() -> str:
    """A section per command: what it does, how it is called, arguments and options, examples."""
    command: Any = typer.main.get_command(app)
    return "\n".join(_section(context) for context in _commands(command, command.make_context("lakehouse", [], resilient_parsing=True)))


def _commands(command: Any, context: Any) -> Iterator[Any]:
    """The context of each command; of a group, its commands'."""
    commands: dict[str, Any] = getattr(command, "commands", {})
    for name, inner in commands.items():
        yield from _commands(inner, inner.make_context(name, [], parent=context, resilient_parsing=True))
    if not commands:
        yield context


def _section(context: Any) -> str:
    command = context.command
    usage = command.get_usage(context).removeprefix("Usage: ")
    rows = [_row(parameter.get_help_record(context)) for parameter in command.get_params(context) if "--help" not in parameter.opts]
    examples = command.epilog.removeprefix("Example: ").replace("; ", "\n")
    return "\n".join(
        [
            f"## {context.command_path}\n\n{command.help}\n\n```text\n{usage}\n```\n",
            table(["argument or option", "meaning"], rows) if rows else "It takes no arguments.\n",
            f"```sh\n{examples}\n```\n",
        ]
    )


def _row(record: tuple[str, str]) -> list[str]:
    """An argument's or option's line in ``--help``."""
    names, meaning = record
    return [cell(f"`{names}`"), cell(meaning)]
