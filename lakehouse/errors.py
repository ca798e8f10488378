"""Every error a user can cause or meet. Each carries its facts as attributes and ends in the remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

_QUARANTINE = "Correct them. Those of a pipeline's source files can be put aside instead: set `on_bad_rows: quarantine` in the template."


def without_credentials(text: str) -> str:
    """A text with the URIs in it cut to what names a file: no user, password or query."""
    return re.sub(r"(://[^?\s]*)\?\S*", r"\1", re.sub(r"://\S*@", "://", text))


class LakehouseError(Exception):
    """The root: what is wrong, where, and what to do about it."""


class SettingsError(LakehouseError):
    """An environment variable is missing or has a value that cannot be used."""


class MissingExtraError(LakehouseError):
    """An optional dependency is needed and not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        self.extra = extra
        super().__init__(f"{purpose} needs the extra [{extra}]. Install it: pip install 'iceberg-lakehouse-template[{extra}]'")


@dataclass(frozen=True)
class Problem:
    """One finding about one template.

    Attributes:
        line, column: 1-based position in the file, 1 and 1 where the whole file is meant.
        key: dotted path of the YAML key, e.g. ``columns[2].type``; empty for the whole file.
    """

    file: str
    line: int
    column: int
    key: str
    rule: str
    severity: Literal["error", "warning"]
    message: str
    remedy: str

    def __str__(self) -> str:
        key = f" {self.key}:" if self.key else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity}[{self.rule}]{key} {self.message} {self.remedy}"


class TemplateError(LakehouseError):
    """Templates that cannot be used; ``problems`` holds every finding of every file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class CatalogError(LakehouseError):
    """The catalog, or a table in it, is not there or does not answer."""


class SparkError(LakehouseError):
    """Spark cannot be reached or used, or a job of it failed."""


class TableMismatchError(LakehouseError):
    """A live table is not what its template, or the data to be written, needs it to be."""


class PermissionOrderError(LakehouseError):
    """A change that would show a restricted column to those who may not see it: grants are narrowed first."""


class GovernanceError(LakehouseError):
    """A column is not protected as its template says, and what showed it is taken away."""


class NotEmptyError(LakehouseError):
    """What is about to be destroyed holds files."""


class SourceError(LakehouseError):
    """Source files that cannot be listed or read, or that changed after they were taken."""


class BadRowsError(LakehouseError):
    """Rows that do not fit the table. The message has counts and examples, never a value of a pii column."""

    def __init__(self, table: str, count: int, examples: Sequence[str], remedy: str = _QUARANTINE) -> None:
        self.table, self.count, self.examples = table, count, list(examples)
        shown = "".join(f"\n  {example}" for example in examples)
        super().__init__(f"{count:,} rows do not fit {table}, for example:{shown}\nNone of them is written. {remedy}")


class FeatureSqlError(LakehouseError):
    """The SQL of a feature table cannot be run.

    Attributes:
        file, line: where; the line is 1 where the whole file is meant.
        problem, remedy: a sentence each.
    """

    def __init__(self, file: str, line: int, problem: str, remedy: str) -> None:
        self.file, self.line, self.problem, self.remedy = file, line, problem, remedy
        super().__init__(f"{file}:{line}: {problem} {remedy}")


class MemoryLimitError(LakehouseError):
    """Work that does not fit into the memory that the settings give it, not even with its rows on local disk."""


class CommitConflictError(LakehouseError):
    """Another run changed what this run was about to change; its own files are removed, nothing of it is visible."""


class CommitUnknownError(LakehouseError):
    """A commit's outcome could not be learned. Its files are kept: a rerun finds out and finishes."""


class AuditOpenError(CommitConflictError):
    """Rows of an earlier audited run wait for a decision; this run wrote nothing.

    Attributes:
        table: the table, ``run`` that made the audit, ``opened_at`` in UTC.
    """

    def __init__(self, table: str, run: str, opened_at: datetime) -> None:
        self.table, self.run, self.opened_at = table, run, opened_at
        super().__init__(
            f"{table} has an open audit: rows of {run} of {opened_at:%Y-%m-%d %H:%M:%S} UTC are not published. Look at it: "
            f"lakehouse audit show {table}. Then publish it, lakehouse audit publish {table}, or drop it, lakehouse audit drop {table}: "
            "its source files are then taken again."
        )


class AuditOutdatedError(CommitConflictError):
    """An audit rests on a table that is another now, so that it cannot be published. It stays open."""

    def __init__(self, table: str, reason: str) -> None:
        self.table = table
        super().__init__(f"{table} cannot be published as it was audited: {reason}. Drop it, lakehouse audit drop {table}, and run again.")


class NoAuditError(LakehouseError):
    """There is no open audit of a table, or not the one that is meant."""


class RollbackError(LakehouseError):
    """A table cannot go back to a snapshot: it is not there, or not one that main was at before."""


class InterchangeError(LakehouseError):
    """A file of another standard that is not what it is said to be, or describes what no template can."""
