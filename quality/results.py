"""What a scan says: the results of its checks, read from Soda's JSON.

Soda tells of rows where it should not: a check's value may be a row's, and a data source's error quotes one. Only what cannot
hold a row's value is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol

from quality.errors import DataSourceUnreachableError, InvalidChecksError, ScanCrashedError
from quality.sodacl import FRESHNESS

Outcome = Literal["pass", "warn", "fail", "error"]
_RANK: Mapping[Outcome, int] = {"pass": 0, "warn": 1, "fail": 2, "error": 3}
# Errors about the text of a query, which say what is wrong with it; all others may quote a row.
_ABOUT_SQL = re.compile(r"(Parser|Binder|Catalog) Error: [^\n]*")
_ERROR_KIND = re.compile(r"\b([A-Z]\w*(?: \w+)? (?:Error|Exception))\b")
# What an exception says that comes of no query's rows: there are no credentials, or none that count, or nobody answers.
_UNREACHABLE = re.compile(
    r"^(?:botocore\.exceptions\.(?!ClientError)|google\.auth\.exceptions\.|requests\.exceptions\.|urllib3\.exceptions\.)\w+: .*"
    r"|^google\.api_core\.exceptions\.(?:Forbidden|Unauthorized|ServiceUnavailable|RetryError)\b.*"
    r"|An error occurred \((?:AccessDenied|UnrecognizedClient|ExpiredToken|InvalidSignature)\w*\).*",
    re.MULTILINE,
)
_SCAN_FAILED = "Error occurred while executing scan"
_SCHEMA_EVENTS = {
    "missing_column_names": "missing",
    "present_column_names": "not declared",
    "column_type_mismatches": "of another type",
    "column_index_mismatches": "in another place",
}
# What leaves all checks without a result that have none yet: a query that fails, for one.
_OF_THE_SCAN = ("Query execution error", "Query error", "Could not connect", "YAML syntax error", "Table with name", _SCAN_FAILED)
_NO_VALUE = "Cannot evaluate check"  # Soda does not say which
_METRIC = re.compile(r"(\w+) ?(?:[(<>=!:]|(?:not )?between\b|\Z)")


class ExpectedCheck(Protocol):
    """What a scan must know of a check that it runs: see ``quality.checks.Check``."""

    @property
    def name(self) -> str: ...
    @property
    def definition(self) -> str: ...
    @property
    def threshold(self) -> str: ...
    @property
    def column(self) -> str | None: ...
    @property
    def shows_value(self) -> bool: ...


@dataclass(frozen=True)
class CheckResult:
    """What a scan says of one check.

    Attributes:
        value: the measured value, of ``freshness`` in seconds; None where there is none, or it may not be shown.
        threshold: as SodaCL has it, e.g. ``> 0``.
        message: why it could not be evaluated, or which columns are wrong; never a value of a row.
    """

    name: str
    outcome: Outcome
    definition: str
    value: float | int | None = None
    threshold: str = ""
    column: str | None = None
    message: str = ""

    @property
    def is_freshness(self) -> bool:
        """Whether it is about the age of the newest row."""
        return self.definition.startswith(FRESHNESS)

    @property
    def value_text(self) -> str:
        """The value as people read it; of ``freshness`` the age, ``2 days, 3:04:05``. Empty where there is none."""
        if self.value is None:
            return ""
        if self.is_freshness:
            return str(timedelta(seconds=round(self.value)))
        return f"{self.value:,.0f}" if float(self.value).is_integer() else f"{self.value:,.3f}"


@dataclass(frozen=True)
class ScanResult:
    """What a scan says of a table.

    Attributes:
        table: namespace.name.
        checks: all that were asked for, in their order. One without a result is in error.
        errors: of the scan as a whole.
        duration: of Soda's process, in seconds.
        snapshot_id: of the scanned snapshot; None where the data source reads the current one.
    """

    table: str
    checks: tuple[CheckResult, ...]
    errors: tuple[str, ...] = ()
    duration: float = 0.0
    snapshot_id: int | None = None

    @property
    def worst(self) -> Outcome:
        """The worst outcome of all checks; of a scan with errors, error."""
        return max(["error" if self.errors else "pass", *(check.outcome for check in self.checks)], key=lambda outcome: _RANK[outcome])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "checks": [asdict(check) for check in self.checks], "errors": list(self.errors)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ScanResult:
        """The inverse of ``as_dict``."""
        return cls(**{**data, "checks": tuple(CheckResult(**check) for check in data["checks"]), "errors": tuple(data["errors"])})


def read_result(table: str, data: Mapping[str, Any], tail: Sequence[str], expected: Sequence[ExpectedCheck], duration: float) -> ScanResult:
    """The result of a scan.

    Args:
        data: what Soda wrote as JSON; tail: the last lines that it printed.
        expected: the checks that were asked for, each of which gets a result.
        duration: of Soda's process, in seconds.

    Raises:
        InvalidChecksError, DataSourceUnreachableError, ScanCrashedError: there is no result, and why.
    """
    _raise_unreachable(table, data, tail)
    raw = [str(line.get("message", "")) for line in data.get("logs", []) if line.get("level") == "error"]
    told = {message: _safe(message) for message in raw}
    reasons = tuple(dict.fromkeys(filter(None, told.values())))
    found = {str(check.get("name")): check for check in data.get("checks", [])}
    if any(message.startswith(("Invalid ", "YAML syntax error")) for message in raw) and not found:
        raise InvalidChecksError(f"Soda does not take the checks of {table}: {'; '.join(reasons)}. See lakehouse checks {table}.")
    common = [safe for message, safe in told.items() if message.startswith(_OF_THE_SCAN)]
    own = {check.name: [reason for reason in reasons if reason not in common and _names(reason, check)] for check in expected}
    results = tuple(_check(check, found.get(check.name), [*own[check.name], *filter(None, common)]) for check in expected)
    wrong = [check.name for check in results if check.outcome == "error"]
    explained = {reason for name in wrong for reason in [*own[name], *common]}
    errors = [reason for reason in reasons if reason not in explained and not (wrong and reason.startswith(_NO_VALUE))]
    return ScanResult(table, results, tuple(errors), round(duration, 3))


def _raise_unreachable(table: str, data: Mapping[str, Any], tail: Sequence[str]) -> None:
    """Raises where the scan ended before any query had an answer."""
    errors = [str(line.get("message", "")) for line in data.get("logs", []) if line.get("level") == "error"]
    exceptions = [query.get("exception") for query in data.get("queries", [])]
    reasons = [_safe(message) for message in errors if message.startswith("Could not connect to data source")]
    if exceptions and all(exceptions):
        # The first of a chain is the cause, the last says it best.
        reasons += [found[-1] for text in exceptions[:1] if (found := _UNREACHABLE.findall(text))]
    elif not exceptions and not reasons and any(message.startswith(_SCAN_FAILED) for message in errors):
        start = next(index for index, line in enumerate(tail) if line.startswith(_SCAN_FAILED))
        reason = next((line.strip(" |") for line in tail[start + 1 :] if line.startswith("  | ")), "it gives no reason")
        if not re.search("credentials|Did you install module", reason):
            raise ScanCrashedError(f"The soda scan of {table} failed before its first query: {reason}")
        reasons.append(reason)
    if reasons:
        raise DataSourceUnreachableError(f"The soda scan of {table} does not reach its data source: {reasons[0]}")


def _names(reason: str, check: ExpectedCheck) -> bool:
    """Whether an error of Soda's is about this check: it has its name, its definition or its metric."""
    metric = _METRIC.match(check.definition)
    words = {check.name, f"rows_{check.name}", *(metric.groups() if metric else ())}
    return check.definition in reason.replace('"', "").replace("`", "") or not words.isdisjoint(re.findall(r"\w+", reason))


def _check(expected: ExpectedCheck, found: Mapping[str, Any] | None, reasons: Sequence[str]) -> CheckResult:
    outcome = found.get("outcome") if found else None
    result = CheckResult(expected.name, "error", expected.definition, None, expected.threshold, expected.column)
    if found is None or outcome not in ("pass", "warn", "fail"):
        reason = "; ".join(dict.fromkeys(reasons)) or "no value could be told"
        message = f"Soda could not evaluate it: {reason.rstrip('.!')}."
        return CheckResult(**{**asdict(result), "message": message})
    diagnostics = found.get("diagnostics") or {}
    value = diagnostics.get("value") if expected.shows_value else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = None
    elif diagnostics.get("measure") == "time":
        value = value / 1000
    return CheckResult(**{**asdict(result), "outcome": outcome, "value": value, "message": _schema_message(diagnostics)})


def _schema_message(diagnostics: Mapping[str, Any]) -> str:
    """Which columns a schema check finds wrong."""
    told = [f"{', '.join(sorted(names))} {what}" for key, what in _SCHEMA_EVENTS.items() if (names := diagnostics.get(key))]
    return f"Columns: {'; '.join(told)}." if told else ""


def _safe(message: str) -> str:
    """What an error says, without what may be a row's value."""
    if (about_sql := _ABOUT_SQL.search(message)) is not None:
        return about_sql.group()
    if message.startswith(("Could not connect", "Invalid check", "YAML syntax error")):
        return message.split("\n")[0]
    if message.startswith(_SCAN_FAILED):
        return ""
    kind = _ERROR_KIND.search(message.partition(":")[2])
    return f"{message.partition(':')[0]}" + (f": {kind.group()}, whose text may quote rows and is left out" if kind else "")
