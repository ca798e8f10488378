"""What the pages say of each table: from its template, its checks with their last results, and live figures where there are some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lakehouse.catalog_page.facts import Fact, facts_of
from lakehouse.catalog_page.lineage import page_of, pattern_of
from lakehouse.catalog_page.live import Figures, LiveAnswer, publishable
from lakehouse.catalog_page.results import CheckResult, Results
from lakehouse.governance import ROLES, visible_columns
from lakehouse.settings import PROJECT_ROOT
from lakehouse.template import Column, TableTemplate

# Who sees to it that a role reads only its columns.
ENFORCEMENT = {
    "local": "Nothing enforces this on the backend local: who can read the files sees every column.",
    "aws-glue": "Lake Formation's grants enforce this.",
    "aws-nessie": "Lake Formation's grants on Glue's entries enforce this, for who queries main there.",
    "gcp": "BigQuery's policy tags enforce this, for who queries there.",
}


@dataclass(frozen=True)
class ColumnEntry:
    """A column, and for each role whether it may read it."""

    column: Column
    sees: Mapping[str, bool]
    is_identifier: bool


@dataclass(frozen=True)
class CheckEntry:
    """A check and its last result, None where it has none.

    Attributes:
        origin: ``template`` where the template gives it, ``file`` where the SodaCL file has it; empty where neither does any more.
        source: the file, and the line.
    """

    name: str
    definition: str
    origin: str
    source: str
    blocking: bool
    warns: bool
    result: CheckResult | None

    @property
    def message(self) -> str:
        """Why it did not pass, where that is more than its definition; else empty."""
        told = self.result.message if self.result is not None and self.result.outcome != "pass" else ""
        return "" if told.startswith(f"{self.definition}: ") else told


@dataclass(frozen=True)
class TableEntry:
    """One table.

    Attributes:
        facts: label and texts, in the order in which they are shown.
        source: the template's file as people know it.
        quarantine_of: the table whose rows that do not fit it has; empty for any other table.
        scan_error: why the last scan had no results; empty where it had.
        figures: None where there are none; missing says why.
    """

    template: TableTemplate
    columns: list[ColumnEntry]
    facts: list[Fact]
    source: str
    quarantine_of: str = ""
    checks: list[CheckEntry] = field(default_factory=list[CheckEntry])
    scan_error: str = ""
    figures: Figures | None = None
    missing: str = ""

    @property
    def name(self) -> str:
        """``namespace.name``."""
        return self.template.table_name

    @property
    def page(self) -> str:
        return page_of(self.template)

    @property
    def kind(self) -> str:
        """The pattern of its pipeline, or quarantine; empty where nothing fills it."""
        return "quarantine" if self.quarantine_of else pattern_of(self.template)

    @property
    def hidden(self) -> int:
        """How many columns the reader does not see."""
        return sum(not column.sees["reader"] for column in self.columns)

    @property
    def personal(self) -> int:
        """How many columns are personal data."""
        return sum(column.column.pii for column in self.columns)

    @property
    def outcomes(self) -> Counter[str]:
        """How many checks have which outcome; those without a result are not counted."""
        return Counter(check.result.outcome for check in self.checks if check.result is not None)

    @property
    def worst(self) -> str:
        """The worst outcome of its checks; empty where none has a result."""
        return next((outcome for outcome in ("error", "fail", "warn", "pass") if self.outcomes[outcome]), "")


@dataclass(frozen=True)
class Site:
    """All that the pages say.

    Attributes:
        tables: quarantine tables among them, each after its own; by namespace and name.
        reason: why there are no live figures; None where there are.
        made_at: in UTC.
    """

    tables: list[TableEntry]
    backend: str
    branch: str
    reason: str | None
    made_at: datetime
    repository_url: str | None = None

    @property
    def namespaces(self) -> dict[str, list[TableEntry]]:
        found: dict[str, list[TableEntry]] = {}
        for entry in self.tables:
            found.setdefault(entry.template.namespace, []).append(entry)
        return found

    @property
    def outcomes(self) -> Counter[str]:
        return sum((entry.outcomes for entry in self.tables), Counter[str]())

    @property
    def enforcement(self) -> str:
        return ENFORCEMENT[self.backend]


def gather(
    templates: Sequence[TableTemplate],
    checks: Mapping[str, Sequence[Mapping[str, Any]]],
    results: tuple[Results, Mapping[str, str]],
    live: LiveAnswer,
) -> list[TableEntry]:
    """The tables' entries.

    Args:
        templates: with those of quarantine tables.
        checks: by table name, as ``lakehouse checks --json`` has them.
        results: by table and check; by table why a scan could not be made.
    """
    found, errors = results
    quarantined = {quarantine.table_name: template for template in templates if (quarantine := template.quarantine) is not None}

    def file_of(template: TableTemplate) -> str:
        return _file(str(quarantined.get(template.table_name, template).path.absolute()))

    return [
        TableEntry(
            template,
            _columns(template),
            facts_of(template, owner := quarantined[template.table_name].table_name if template.table_name in quarantined else ""),
            file_of(template),
            owner,
            _checks(checks.get(template.table_name, ()), found.get(template.table_name, {})),
            errors.get(template.table_name, ""),
            live.figures.get(template.table_name),
            publishable(live.missing.get(template.table_name, "")),
        )
        for template in sorted(templates, key=lambda template: template.table_name)
    ]


def _columns(template: TableTemplate) -> list[ColumnEntry]:
    sees = {role: frozenset(visible_columns(template, role)) for role in ROLES}
    return [
        ColumnEntry(column, {role: column.name in sees[role] for role in ROLES}, column.name in template.identifier)
        for column in template.columns
    ]


def _checks(known: Sequence[Mapping[str, Any]], results: Mapping[str, CheckResult]) -> list[CheckEntry]:
    entries = [
        CheckEntry(
            check["name"],
            check["definition"],
            "template" if check["generated"] else "file",
            _file(check["source"]),
            check["blocking"],
            check["severity"] == "warn",
            results.get(check["name"]),
        )
        for check in known
    ]
    names = {entry.name for entry in entries}
    others = (result for name, result in results.items() if name not in names)
    return [*entries, *(CheckEntry(other.name, other.definition, "", "", False, False, other) for other in others)]


def _file(path: str) -> str:
    """A path as the repository has it; of one elsewhere the name alone."""
    inside = path.removeprefix(f"{PROJECT_ROOT}/")
    return Path(inside).name if Path(inside).is_absolute() else inside
