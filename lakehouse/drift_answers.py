"""What is found when live tables are compared with templates, as values and in words: their schemas, the grants on them."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lakehouse.errors import Problem
from lakehouse.grants import ALL_TABLES, Finding
from lakehouse.schema_plan import Change
from lakehouse.template import TableTemplate

Aspect = Literal["templates", "catalog", "schema", "grants"]
State = Literal["in step", "drifted", "missing", "unmanaged", "unreachable", "not checked"]
EVERYTHING = "*"
# A live comment may say anything, and an owner may be a person, which is nobody's business: these differ, and how is not told.
_UNTOLD = {"Description", "comment", "owner"}


@dataclass(frozen=True)
class TableDrift:
    """The answer about one table.

    Attributes:
        table: ``namespace.name``; for grants also ``namespace.*``, the database itself, and EVERYTHING.
        aspect: what was compared: the table's ``schema`` with everything that `plan` compares, or the ``grants`` on it. EVERYTHING
            has the aspects ``catalog``, whether it answers, and ``templates``, whether all can be used.
        extra_columns: columns of the live table that the template does not have, nested ones dotted.
        missing_columns: columns of the template that the live table does not have.
        differences: the other kinds, a sentence each.
        reason: why it is missing, unreachable or not checked, or only partially seen.
        details: each difference as JSON: ``kind``, ``subject``, ``live``, ``template`` and ``level`` of a schema's, as `plan` has them,
            or a ``digest`` of values that are not told; ``kind``, ``principal``, ``permissions``, ``columns`` and ``message`` of a grant's;
            ``kind`` and ``message`` of what points at a table.
        partial: whether it is known to differ, and something of it could not be looked at.
    """

    table: str
    state: State
    aspect: Aspect = "schema"
    extra_columns: tuple[str, ...] = ()
    missing_columns: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    reason: str = ""
    details: tuple[dict[str, Any], ...] = ()
    partial: bool = False

    @property
    def unseen(self) -> bool:
        """Whether not everything of it could be looked at."""
        return self.partial or self.state in ("unreachable", "not checked")

    @property
    def differs(self) -> bool:
        """Whether it is known not to be what the templates say."""
        return self.state in ("drifted", "missing", "unmanaged")

    @property
    def fingerprint(self) -> str:
        """The same for the same difference, and for no other; empty without one."""
        if not self.differs:
            return ""
        # Not the level: it depends on whether the table has rows by now.
        details = [{fact: value for fact, value in detail.items() if fact != "level"} for detail in self.details]
        told = [self.state, self.extra_columns, self.missing_columns, self.differences, details, self.partial]
        return _digest(told)

    @property
    def name(self) -> str:
        """What it is about, as people read it."""
        noun = {"templates": "the templates", "catalog": "the catalog", "grants": "the lakehouse", "schema": "the lakehouse"}
        return noun[self.aspect] if self.table == EVERYTHING else self.table

    @property
    def message(self) -> str:
        """The answer in words."""
        what = "Permission" if self.aspect == "grants" else "Schema"
        match self.state:
            case "in step":
                return f"{what} of {self.name}: in step."
            case "unreachable" | "not checked":
                return f"{what} drift of {self.name} is unknown: {self.state}. {self.reason}".rstrip()
            case "missing":
                return f"{what} drift detected in {self.name}. The table is missing. {self.reason}"
            case "unmanaged":
                return f"{what} drift detected in {self.name}. The table has no template. {self.reason}"
            case "drifted":
                named = (("Extra columns", self.extra_columns), ("Missing columns", self.missing_columns))
                sentences = [_set(title, columns) for title, columns in named if columns]
                unseen = [f"Not everything could be looked at: {self.reason}"] if self.partial else []
                return " ".join([f"{what} drift detected in {self.name}.", *sentences, *self.differences, *unseen])


def templates_drift(errors: Sequence[Problem]) -> TableDrift:
    """The answer about the templates themselves, given what keeps some from being used."""
    if not errors:
        return TableDrift(EVERYTHING, "in step", "templates")
    files = sorted({problem.file.rsplit("/", 1)[-1] for problem in errors})
    reason = f"{', '.join(files)} cannot be used, and nothing is known of their tables. See: lakehouse lint"
    return TableDrift(EVERYTHING, "unreachable", "templates", reason=reason)


def grants_drift(templates: Iterable[TableTemplate], findings: Iterable[Finding]) -> list[TableDrift]:
    """The answers about grants: of each table, each database, and everything.

    Where not all grants could be seen, none is said to be missing; what is too open is told in any case.
    """
    by_subject: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_subject[_subject(finding)].append(finding)
    unseen = {subject for subject, found in by_subject.items() if any(finding.kind == "unreachable" for finding in found)}
    subjects = {EVERYTHING, *by_subject}
    for template in templates:
        subjects |= {f"{template.namespace}.*", template.table_name}
        subjects |= {template.quarantine.table_name} if template.quarantine else set()
    return [_grants(subject, by_subject.get(subject, []), unseen) for subject in sorted(subjects)]


def _subject(finding: Finding) -> str:
    table = "*" if finding.table in ("", ALL_TABLES) else finding.table
    return f"{finding.database}.{table}" if finding.database else EVERYTHING


def _grants(subject: str, findings: Sequence[Finding], unseen: Collection[str]) -> TableDrift:
    partial = not {subject, f"{subject.partition('.')[0]}.*", EVERYTHING}.isdisjoint(unseen)
    wrong = [finding for finding in findings if finding.too_open or (finding.kind == "missing" and not partial)]
    titles = {
        "missing": "Missing grants",
        "excessive": "Excessive grants",
        "leftover": "Leftover grants",
        "foreign": "Grants to others",
        "s3": "Access to files",
    }
    told = [
        _set(title, [_grant_text(finding) for finding in wrong if finding.kind == kind])
        for kind, title in titles.items()
        if any(finding.kind == kind for finding in wrong)
    ]
    facts = ("kind", "principal", "permissions", "columns", "message")
    details = tuple({fact: getattr(finding, fact) for fact in facts} for finding in wrong)
    reason = " ".join(first_sentence(finding.message) for finding in findings if finding.kind == "unreachable")
    if wrong:
        return TableDrift(subject, "drifted", "grants", differences=tuple(told), reason=reason, details=details, partial=bool(reason))
    if reason:
        return TableDrift(subject, "unreachable", "grants", reason=reason)
    if partial:
        return TableDrift(subject, "not checked", "grants", reason="Not all grants can be seen.")
    if absent := [finding.message for finding in findings if finding.kind == "absent"]:
        return TableDrift(subject, "not checked", "grants", reason=absent[0])
    return TableDrift(subject, "in step", "grants")


def _grant_text(finding: Finding) -> str:
    if not finding.permissions:
        return finding.message.rstrip(".")
    columns = f" of {', '.join(finding.columns)}" if finding.columns else ""
    return f"{finding.principal.rsplit('/', 1)[-1]}: {', '.join(finding.permissions)}{columns}"


def schema_drift(table: str, changes: Sequence[Change]) -> TableDrift:
    """The answer about a table that is there, from what `plan` would change. Values of comments are left out."""
    if not changes:
        return TableDrift(table, "in step")
    by_kind: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_kind[change.kind].append(change)
    return TableDrift(
        table,
        "drifted",
        extra_columns=tuple(change.subject for change in by_kind["drop-column"]),
        missing_columns=tuple(change.subject for change in by_kind["add-column"]),
        differences=tuple(_differences(by_kind)),
        details=tuple(_detail(change) for change in changes),
    )


def pointer_drift(drift: TableDrift, wrong: Sequence[str]) -> TableDrift:
    """The answer about a table with what is wrong about what readers are shown of it: sentences."""
    if not wrong:
        return drift
    told = f"Readers are not shown its newest state: {' '.join(wrong)}"
    detail = {"kind": "pointer", "message": told}
    return replace(drift, state="drifted", differences=(*drift.differences, told), details=(*drift.details, detail))


def pointer_unseen(drift: TableDrift, reason: str) -> TableDrift:
    """The answer about a table of which it is not known what readers are shown."""
    if drift.state == "in step":
        return replace(drift, state="unreachable", reason=reason)
    return replace(drift, partial=True, reason=reason)


def _differences(by_kind: dict[str, list[Change]]) -> Iterator[str]:
    titles = {
        "Not renamed yet": ("rename-column",),
        "Types": ("widen-column", "retype-column"),
        "Nullability": ("relax-column", "require-column"),
        "Descriptions": ("describe-column",),
        "Order of columns differs in": ("move-columns",),
        "Identifier": ("identifier",),
        "Partitions": ("partition",),
        "Sort order": ("sort-order",),
        "Properties": ("property",),
    }
    for title, kinds in titles.items():
        if told := [_difference(change) for kind in kinds for change in by_kind[kind]]:
            yield _set(title, told)


def _difference(change: Change) -> str:
    match change.kind:
        case "rename-column":
            return f"{change.before}, to be {change.after}"
        case "move-columns":
            return change.subject or "the table"
        case "describe-column":
            return change.subject
        case "property" if change.subject in _UNTOLD:
            return change.subject
        case _:
            values = f"{change.before} instead of {change.after}"
            return f"{change.subject}: {values}" if change.subject else values


def _detail(change: Change) -> dict[str, Any]:
    untold = change.kind == "describe-column" or (change.kind == "property" and change.subject in _UNTOLD)
    values = {"live": change.before, "template": change.after}
    if untold:
        values = {"digest": _digest(values)}
    return {"kind": change.kind, "subject": change.subject, **values, "level": change.level}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _set(title: str, items: Sequence[str]) -> str:
    return f"{title}: {{{', '.join(items)}}}."


def first_sentence(text: str) -> str:
    """The first line of a text, ending in one full stop."""
    return text.partition("\n")[0].rstrip(" .:") + "."
