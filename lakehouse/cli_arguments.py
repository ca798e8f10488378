"""Arguments and options that commands share, and what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.errors import SettingsError

if TYPE_CHECKING:
    from lakehouse.template import TableTemplate

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def choose(templates: list[TableTemplate], names: list[str]) -> list[TableTemplate]:
    """The templates of these tables; all without names. Raises SettingsError naming one that no template describes."""
    known = {template.table_name: template for template in templates}
    wanted = {full_name(name, known) for name in names}
    if unknown := sorted(wanted - known.keys()):
        raise SettingsError(f"No template describes {', '.join(unknown)}. There are {', '.join(sorted(known))}.")
    return [template for name, template in known.items() if not names or name in wanted]


def full_name(table: str, templates: dict[str, TableTemplate]) -> str:
    """``namespace.table`` of a name alone, where only one template has it; else the name as it is."""
    matches = [name for name in templates if name.split(".")[-1] == table]
    return table if "." in table or len(matches) != 1 else matches[0]
