"""A table's checks: those that its template gives, and those of its SodaCL file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lakehouse.settings import PROJECT_ROOT, Backend, LakehouseSettings
from lakehouse.template import QUARANTINE_SUFFIX, TableTemplate
from lakehouse.yaml_reader import read_yaml
from quality.errors import ChecksError
from quality.generated import Dialect, freshness_column, generated_entries
from quality.sodacl import FRESHNESS, Entry, EntryError, read_entry

_SUFFIX = "_checks.yaml"
_TAKEN = "schema_drift"  # Dagster's name of the check that a table is what its template says
_DIALECTS: Mapping[Backend, Dialect] = {"local": "duckdb", "aws-nessie": "duckdb", "aws-glue": "athena", "gcp": "bigquery"}


@dataclass(frozen=True)
class Check:
    """One check of a table.

    Attributes:
        name: [a-z0-9_]+, unique in its table; Soda's and Dagster's name of it.
        definition: one line of SodaCL, e.g. ``missing_count(event_id) = 0``.
        threshold: as SodaCL has it, e.g. ``> 0``; empty where there is none.
        column: where it is about one column.
        columns: the columns that a scan of it reads; None where that is not known, so all.
        generated: whether it is the template's, not the SodaCL file's.
        blocking: whether the template's ``checks.blocking`` names it.
        severity: ``warn`` where it has only ``warn:`` thresholds.
        source: the template, or the SodaCL file and line; relative to the project where possible.
        shows_value: False where its value could be one of a pii or restricted column's.
        sodacl: the entry of a ``checks for`` list as Soda gets it, with ``name`` set.
    """

    name: str
    definition: str
    threshold: str
    column: str | None
    columns: frozenset[str] | None
    generated: bool
    blocking: bool
    severity: Literal["error", "warn"]
    source: str
    shows_value: bool
    sodacl: Any

    @property
    def is_freshness(self) -> bool:
        """Whether it is about the age of the newest row."""
        return self.definition.startswith(FRESHNESS)


def table_checks(settings: LakehouseSettings, template: TableTemplate, dialect: Dialect | None = None) -> tuple[Check, ...]:
    """All checks of a table: generated ones first, then those of its file, which replace generated ones of the same name.

    A quarantine table has none: what is in it is known not to fit.

    Args:
        dialect: of the data source that is scanned; without it, that of the settings' backend.

    Raises:
        ChecksError: naming file, line and remedy.
    """
    if template.name.endswith(QUARANTINE_SUFFIX):
        return ()
    path = checks_file(settings, template)
    own = {} if path is None else _own_checks(path, template)
    _require_freshness(template, own)
    entries = generated_entries(template, dialect or dialect_of(settings)) if template.checks.generated else []
    given = [_check(read_entry(entry), template, shown(template.path), generated=True) for entry in entries]
    checks = {check.name: check for check in given if check.name not in own} | own
    _require_blocking(template, checks)
    blocking = frozenset(template.checks.blocking)
    return tuple(replace(check, blocking=check.name in blocking) for check in checks.values())


def dialect_of(settings: LakehouseSettings) -> Dialect:
    """The SQL of the data source that scans of the settings' backend use."""
    return "duckdb" if settings.scans == "local" else _DIALECTS[settings.backend]


def checks_file(settings: LakehouseSettings, template: TableTemplate) -> Path | None:
    """The table's SodaCL file; None where it has none. Raises ChecksError where there is no folder to look in."""
    if not settings.checks.is_dir():
        raise ChecksError(f"There is no folder {settings.checks}, in which SodaCL files are.", "Create it, or correct LAKEHOUSE_CHECKS.")
    names = (f"{template.table_name}{_SUFFIX}", f"{template.name}{_SUFFIX}")
    return next((path for name in names if (path := settings.checks / name).is_file()), None)


def unused_files(settings: LakehouseSettings, templates: list[TableTemplate]) -> list[Path]:
    """Files in the folder of SodaCL files that no template's table takes: a misspelt name means that nothing is checked."""
    used = {checks_file(settings, template) for template in templates}
    return sorted(path for path in settings.checks.glob("*.y*ml") if path not in used)


def shown(path: Path) -> str:
    """A path as messages and metadata have it: relative to the project where possible."""
    absolute = path.absolute()
    return str(absolute.relative_to(PROJECT_ROOT)) if absolute.is_relative_to(PROJECT_ROOT) else str(path)


def _own_checks(path: Path, template: TableTemplate) -> dict[str, Check]:
    checks: dict[str, Check] = {}
    lines: dict[str, int] = {}
    for entry, line in _entries(path, template):
        file = shown(path)
        name = next(iter(entry)) if isinstance(entry, dict) and entry else entry
        try:
            check = _check(read_entry(entry), template, f"{file}:{line}", generated=False)
            if check.name == _TAKEN:
                raise EntryError(f"has the name {_TAKEN}, which is that of a check of the project's own.", "Give it another `name:`.")
        except EntryError as error:
            raise ChecksError(f"the check `{name}` {error.problem}", error.remedy, file=file, line=line) from None
        if check.name in checks:
            raise ChecksError(
                f"the name {check.name} stands for another check already, on line {lines[check.name]}.",
                "Give one of the two a `name:` of its own below its definition.",
                file=file,
                line=line,
            )
        checks[check.name], lines[check.name] = check, line
    return checks


def _entries(path: Path, template: TableTemplate) -> Iterator[tuple[Any, int]]:
    """The entries of the file's ``checks for <name>:`` list, with their lines."""
    file, header = shown(path), f"checks for {template.name}"
    try:
        document = read_yaml(path.read_bytes())
    except OSError as error:
        raise ChecksError(f"cannot be read: {error.strerror}.", "Make it a readable file.", file=file) from None
    if document.findings:
        found = document.findings[0]
        raise ChecksError(found.message, found.remedy, file=file, line=found.line, column=found.column)
    sections = document.data if isinstance(document.data, dict) else {}
    for key in sections:
        line, _ = document.position((key,))
        if " ".join(key.split()) != header:
            raise ChecksError(f"`{key}` is not a section of this table.", _section_remedy(header), file=file, line=line)
        if not isinstance(sections[key], list):
            raise ChecksError(f"`{key}` has no list of checks.", "Write one a line: `- row_count > 0`.", file=file, line=line)
        yield from ((entry, document.position((key, index))[0]) for index, entry in enumerate(sections[key]))
    if not sections:
        raise ChecksError("there are no checks.", _section_remedy(header), file=file, line=1)


def _section_remedy(header: str) -> str:
    return f"Write `{header}:` and a list of checks below it, and nothing else; a `filter:` belongs to its check."


def _check(entry: Entry, template: TableTemplate, source: str, *, generated: bool) -> Check:
    names = [column.name for column in template.columns]
    for argument in entry.arguments:
        if argument not in names:
            close = difflib.get_close_matches(argument, names, 1)
            hint = f"Did you mean {close[0]}?" if close else f"It has {', '.join(names)}."
            raise EntryError(f"is about the column {argument}, which {shown(template.path)} does not have.", hint)
    tells_of = frozenset(entry.arguments if entry.about_columns else names)
    return Check(
        name=entry.name,
        definition=entry.definition,
        threshold=entry.threshold,
        column=entry.arguments[0] if len(entry.arguments) == 1 else None,
        columns=entry.columns,
        generated=generated,
        blocking=False,
        severity=entry.severity,
        source=source,
        shows_value=entry.counts or not tells_of & template.hidden_columns,
        sodacl=entry.sodacl,
    )


def _require_freshness(template: TableTemplate, own: Mapping[str, Check]) -> None:
    """A freshness that is promised and cannot be checked is an error, lest it be thought to be."""
    promised = template.checks.generated and template.freshness is not None and freshness_column(template) is None
    if promised and not any(check.is_freshness for check in own.values()):
        raise ChecksError(
            f"{template.table_name} has no column that says when a row's event was.",
            f"Partition it by a time or date, or write a check `freshness(<column>) < {template.freshness}` in its SodaCL file.",
            file=shown(template.path),
            line=line_of(template, "freshness"),
            key="freshness",
        )


def _require_blocking(template: TableTemplate, checks: Mapping[str, Check]) -> None:
    for index, name in enumerate(template.checks.blocking):
        if name not in checks:
            known = f"It has {', '.join(sorted(checks))}." if checks else "It has none."
            problem, remedy = f"{template.table_name} has no check {name} that could block. {known}", "lakehouse checks shows them."
        elif checks[name].severity == "warn":
            problem = f"the check {name} has only `warn:` thresholds ({checks[name].source}), so that it never blocks."
            remedy = "Give it a `fail:` threshold, or take it out of checks.blocking."
        else:
            continue
        line = line_of(template, "checks", "blocking", index)
        raise ChecksError(problem, remedy, file=shown(template.path), line=line, key=f"checks.blocking[{index}]")


def line_of(template: TableTemplate, *keys: str | int) -> int:
    """The line of a key in a template's file."""
    return read_yaml(template.path.read_bytes()).position(keys)[0] if template.path.is_file() else 1
