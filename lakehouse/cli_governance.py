"""What ``lakehouse governance`` finds, does and prints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from lakehouse.errors import CatalogError
from lakehouse.governance import ROLES, visible_columns
from lakehouse.grants import Finding, Outcome
from lakehouse.live_grants import close, live_findings
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate


@dataclass(frozen=True)
class Report:
    """What the command prints.

    Attributes:
        items: the list that ``--json`` prints.
        lines: what was done, a line each.
        title, columns, rows: the grid.
        remedies: what to do about what is in the grid, each once.
        summary: one line.
        failed: whether the exit code is 1.
    """

    items: list[dict[str, Any]]
    title: str
    columns: Sequence[str]
    rows: list[list[str]]
    summary: str
    lines: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)
    failed: bool = False


def matrix(templates: Collection[TableTemplate], table: str | None) -> Report:
    """Which role reads which column, as the templates say; of one table or of all. An item per column:

    ``table``, ``column``, ``access_level``, ``pii``, and for each role whether it may read the column.
    """
    items: list[dict[str, Any]] = []
    for template in _chosen(templates, table):
        readable = {role: set(visible_columns(template, role)) for role in ROLES}
        for column in template.columns:
            sees: dict[str, bool] = {role: column.name in readable[role] for role in ROLES}
            facts = {"table": template.table_name, "column": column.name, "access_level": column.access_level, "pii": column.pii}
            items.append({**facts, **sees})
    rows = [[item["table"], item["column"], item["access_level"], "pii" if item["pii"] else "",
             *("yes" if item[role] else "no" for role in ROLES)] for item in items]  # fmt: skip
    hidden = sum(not item["reader"] for item in items)
    summary = f"{len(items)} columns, {hidden} hidden from the reader. Compare with the live grants: lakehouse governance --live"
    return Report(items, "Who reads what", ("table", "column", "access", "pii", *ROLES), rows, summary)


def live(settings: LakehouseSettings, templates: Collection[TableTemplate], table: str | None, fix: bool) -> Report:
    """What the live grants are less or more than the templates; with ``fix``, what is left after closing what is too open.

    An item per finding: ``status`` (``open``, or ``closed`` for what ``fix`` closed), ``kind``, ``too_open``, ``database``,
    ``table``, ``principal``, ``permissions``, ``columns``, ``message``, ``remedy``, ``done`` (what ``fix`` did, else null).
    A finding that ``fix`` could not close has ``done`` beside the status ``open``.
    """
    chosen = _chosen(templates, table)

    def look() -> list[Finding]:
        # All templates: a grant on all tables of a database concerns each of them.
        found = live_findings(settings, templates)
        return found if table is None else [finding for finding in found if finding.concerns(table)]

    found, outcomes = look(), list[Outcome]()
    if fix and (outcomes := list(close(settings, found))):
        found = look()
    done = {_key(outcome.finding): outcome.text for outcome in outcomes}
    remaining = {_key(finding) for finding in found}
    closed = [outcome for outcome in outcomes if _key(outcome.finding) not in remaining]
    items = [_item(outcome.finding, "closed", outcome.text) for outcome in closed]
    items += [_item(finding, "open", done.get(_key(finding))) for finding in found]
    too_open, unreachable, missing, absent = (
        sum(finding.too_open if kind is None else finding.kind == kind for finding in found)
        for kind in (None, "unreachable", "missing", "absent")
    )
    summary = (
        f"{len(chosen)} {'table' if len(chosen) == 1 else 'tables'}: {too_open} too open, {unreachable} not looked at, "
        f"{missing} missing grants, {absent} not there" + (f"; {len(closed)} closed" if fix else "")
    )
    return Report(
        items,
        "Live grants that are not what the templates say",
        ("where", "finding", "principal", "permissions", "columns", "what"),
        [_row(finding) for finding in found],
        summary,
        [f"{_where(outcome.finding)}: {outcome.text}" for outcome in outcomes],
        list(dict.fromkeys(finding.remedy for finding in found)),
        bool(too_open or unreachable),
    )


def _chosen(templates: Collection[TableTemplate], table: str | None) -> list[TableTemplate]:
    chosen = [template for template in templates if table in (None, template.table_name)]
    if table is not None and not chosen:
        raise CatalogError(f"No template describes {table}. The tables are: {', '.join(template.table_name for template in templates)}.")
    return chosen


def _where(finding: Finding) -> str:
    return ".".join(filter(None, (finding.database, finding.table))) or "the lakehouse"


def _key(finding: Finding) -> tuple[object, ...]:
    return finding.kind, finding.database, finding.table, finding.principal, finding.permissions, finding.columns, finding.message


def _item(finding: Finding, status: str, done: str | None) -> dict[str, Any]:
    facts = ("kind", "too_open", "database", "table", "principal", "permissions", "columns", "message", "remedy")
    return {"status": status, **{name: getattr(finding, name) for name in facts}, "done": done}


def _row(finding: Finding) -> list[str]:
    lists = (", ".join(finding.permissions), ", ".join(finding.columns))
    return [_where(finding), finding.kind, finding.principal.rsplit("/", 1)[-1], *lists, finding.message]
