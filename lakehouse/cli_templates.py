"""What ``lakehouse import``, ``new-table`` and ``changelog`` write and print."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.text import Text

from lakehouse.changelog import Changelog
from lakehouse.cli_plan import change_line
from lakehouse.errors import SettingsError
from lakehouse.import_table import Imported
from lakehouse.schema_plan import LEVELS
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings

_SIGNS = {"create": "+", "drop": "-", "change": "~"}
_VERBS = {"create": "new table", "drop": "table without a template", "change": "changed"}


def template_path(settings: LakehouseSettings, table_name: str, output: Path | None) -> Path:
    """The file of an imported template: ``<name>.yaml`` among the settings' templates, in the folder ``output``, or ``output`` itself.

    Raises:
        SettingsError: ``output`` has another name, which lint would refuse.
    """
    name = f"{table_name.split('.')[-1]}.yaml"
    if output is None or output.is_dir():
        return (output or settings.templates) / name
    if output.name != name:
        raise SettingsError(f"The template of {table_name} is named {name}, and --output is {output}. Use {output.parent / name}")
    return output


def json_schema_path(settings: LakehouseSettings, folder: Path) -> str:
    """The JSON schema of templates, as a template in a folder names it: that beside the other templates, else the project's."""
    own = settings.templates / "schema.json"
    schema = own if own.is_file() else PROJECT_ROOT / "table-templates" / "schema.json"
    return Path(os.path.relpath(schema.absolute(), folder.absolute())).as_posix()


def folder_of(settings: LakehouseSettings, output: Path | None) -> Path:
    """The folder that templates are written to: the settings', ``output``, or that of the file ``output``."""
    return settings.templates if output is None else output if output.is_dir() or output.suffix != ".yaml" else output.parent


def write_templates(imported: Mapping[Path, Imported], force: bool) -> None:
    """Writes the files, all or none. Raises SettingsError where one is there already and not to be replaced, or cannot be written."""
    for path in imported:
        if path.exists() and not force:
            raise SettingsError(f"{path} is there already. Replace it with --force, or see the new one first: --stdout")
    write_new({path: found.text for path, found in imported.items()}, force)


def write_new(texts: Mapping[Path, str], force: bool = False) -> None:
    """Writes files; those that it made are removed again where another cannot be. Raises SettingsError."""
    made: list[Path] = []
    for path, text in texts.items():
        try:
            with path.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
        except OSError as error:
            for other in [] if force else made:
                other.unlink(missing_ok=True)
            if isinstance(error, FileExistsError):
                raise SettingsError(f"{path} is there already. Name another table, or remove the file.") from None
            raise SettingsError(f"{path} cannot be written: {error.strerror}. Name a folder that is there: --output") from None


def changelog_lines(log: Changelog) -> Iterator[Text]:
    """A changelog for people, as `plan` prints its differences, and a summary line."""
    for table in log.tables:
        yield Text(f"{_SIGNS[table.action]} {table.table}", style="bold").append(f"  {table.action}", style="dim")
        yield from map(change_line, table.changes)
    yield Text(_summary(log), style="red" if _breaking(log) else "")


def changelog_markdown(log: Changelog) -> Iterator[str]:
    """A changelog for a pull request, breaking changes first. Texts of templates stand in code spans: they mention and link nothing."""
    yield f"**Table templates:** {_summary(log)}"
    for table in sorted(log.tables, key=lambda table: -LEVELS.index(table.level)):
        yield f"\n{_code(table.table)}: {_VERBS[table.action]}"
        if table.changes:
            yield "\n| class | change | note |\n| --- | --- | --- |"
        for change in sorted(table.changes, key=lambda change: -LEVELS.index(change.level)):
            level = "**breaking**" if change.level == "breaking" else change.level
            yield f"| {level} | {_code(str(change))} | {change.note} |"
    for warning in log.warnings:
        yield f"\nWarning: {_code(warning)}"


def _code(text: str) -> str:
    """A code span of one line that holds any text, also in a table's cell."""
    line = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (1 + max((len(ticks) for ticks in re.findall("`+", line)), default=0))
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}"


def _breaking(log: Changelog) -> int:
    return sum(change.level == "breaking" for table in log.tables for change in table.changes)


def _summary(log: Changelog) -> str:
    missed = f", {len(log.not_compared)} that could not be compared" if log.not_compared else ""
    if not log.tables:
        return f"no table changes{missed} between {log.before} and {log.after}"
    counts = {action: sum(table.action == action for table in log.tables) for action in _SIGNS}
    return (
        f"{counts['create']} new, {counts['change']} changed, {counts['drop']} without a template any more "
        f"({_breaking(log)} breaking changes){missed}, between {log.before} and {log.after}"
    )
