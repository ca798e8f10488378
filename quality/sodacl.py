"""What one entry of SodaCL says: its name, the columns it reads, its threshold. Soda itself is never imported.

The language: https://docs.soda.io/soda-v3/soda-cl-overview. Forms that are not known here are passed through to Soda.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

# How the definition of a check begins that says how old the newest row is.
FRESHNESS = "freshness("
# Metrics whose value is a number of rows, and so never a value of one.
_COUNTS = {"row_count", "missing_count", "missing_percent", "invalid_count", "invalid_percent", "duplicate_count", "duplicate_percent"}
_METRIC = re.compile(r"(?P<metric>\w+)\s*(\((?P<arguments>[^)]*)\))?\s*(?P<threshold>((not )?between\b|[<>=!]).*)?\Z")
# The keys that Soda knows below a check; it would leave out any other, and let the check pass for it.
_THRESHOLDS = ("warn", "fail")
_MISSING = ("missing values", "missing format", "missing regex")
_VALID = (
    *(f"{what} {how}" for what in ("valid", "invalid") for how in ("values", "format", "regex")),
    *(f"valid {how}" for how in ("min", "max", "length", "min length", "max length")),
)  # fmt: skip
_SCHEMA = (
    "when required column missing",
    "when forbidden column present",
    "when wrong column type",
    "when wrong column index",
    "when mismatching columns",
    "with optional columns",
)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_QUOTED = re.compile(r"[\"`](\w+)[\"`]")
_NUMBER = re.compile(r"[+-]?[0-9.]+\Z")
# `${NOW}` is Soda's own; any other would be filled in from the environment, secrets too, into SQL, logs and results.
_VARIABLE = re.compile(r"\$\{(?!\s*NOW\s*\})|\{%")
_REFUSED = (
    (r"values in .* exist in |row_count same as ", "compares with another table, and a scan sees only its own.", "Remove it."),
    (r"(anomaly|change)\b.* for ", "needs a history of measurements, which Soda Core does not keep.", "Give the metric a fixed threshold."),
    (r"group evolution\Z", "needs a history of measurements, which Soda Core does not keep.", "List what is valid: `valid values`."),
    (r"group by\Z", "names its results after values of rows.", "Write a `failed rows` check whose query groups."),
    (r"distribution_difference\b", "needs Soda's scientific package, which is not installed.", "Check the metrics that matter one by one."),
    (r"attributes\Z", "is for Soda Cloud only.", "Remove it."),
)  # fmt: skip


class EntryError(ValueError):
    """An entry that cannot be a check: ``problem`` and ``remedy`` are a sentence each, the first begins in the middle."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem} {remedy}")


@dataclass(frozen=True)
class Entry:
    """One check as SodaCL has it.

    Attributes:
        name: from its ``name:``, else from the definition without its threshold; [a-z0-9_]+.
        definition: one line of SodaCL, its columns without quotes.
        threshold: ``> 0``, or ``warn: when > 5, fail: when > 9``; empty where there is none.
        arguments: the columns that its metric is about.
        columns: the columns that it reads; None where that is not known: it has SQL of the user's, or looks at the whole table.
        severity: ``warn`` where it has only ``warn:`` thresholds.
        counts: whether its value is a number of rows, never a value of one.
        about_columns: whether ``arguments`` are all that its value can tell of.
        sodacl: the entry with its name, for a checks file that Soda reads.
    """

    name: str
    definition: str
    threshold: str
    arguments: tuple[str, ...]
    columns: frozenset[str] | None
    severity: Literal["error", "warn"]
    counts: bool
    about_columns: bool
    sodacl: dict[str, Any]


def read_entry(entry: Any) -> Entry:
    """What an entry of a ``checks for`` list, as YAML gives it, says.

    Raises:
        EntryError: it cannot be a check, or not one that works here.
    """
    key, details = _key_and_details(entry)
    _refuse(key, details)
    match = _METRIC.match(key)
    metric, inline = (match["metric"], match["threshold"] or "") if match else ("", "")
    _refuse_keys(key, metric, bool(match and match["arguments"]), details)
    thresholds = {word: details[word] for word in _THRESHOLDS if word in details}
    if match and not inline and not thresholds and key != "schema":
        raise EntryError("has no threshold.", f"Write one: `{key} = 0`, or `fail: when > 0` below it.")
    if inline and thresholds:
        raise EntryError("has a threshold, so that Soda ignores `warn:` and `fail:` below it.", f"Remove `{inline}` or those.")
    arguments = _arguments(metric, match["arguments"]) if match and match["arguments"] else ()
    in_columns = bool(match) and key != "schema" and (bool(arguments) or metric == "row_count")
    own_sql = any(word.endswith(("query", "expression")) for word in details)
    name = _slug(str(details["name"]) if "name" in details else key.removesuffix(inline))
    if not name:
        raise EntryError("has no letter or digit to be named after.", "Give it a `name:`.")
    return Entry(
        name=name,
        definition=_definition(key, {word: value for word, value in details.items() if word != "name"}),
        threshold=inline or ("" if key == "schema" else ", ".join(f"{word}: {value}" for word, value in thresholds.items())),
        arguments=arguments,
        columns=frozenset(arguments) if in_columns and not any(map(_is_sql, details)) else None,
        severity="warn" if "warn" in thresholds and "fail" not in thresholds else "error",
        counts=(metric in _COUNTS and not own_sql) or key in ("failed rows", "schema"),
        about_columns=in_columns and not own_sql,
        sodacl=_for_soda(key, details, name),
    )


def _for_soda(key: str, details: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The entry as Soda gets it: named, and so that no rows leave the data source.

    For a ``failed rows`` check Soda would fetch every failing row, a minute for five million, only to count them: the
    same check as a metric of the number of rows counts them where they are.
    """
    if key == "schema" or not (_METRIC.match(key) or key == "failed rows"):
        return {key: {**details, "name": name}}
    if key != "failed rows":
        return {key: {**details, "samples limit": 0, "name": name}}
    thresholds = {word: details[word] for word in _THRESHOLDS if word in details}
    metric = f"rows_{name}"
    if "fail condition" in details:
        counting = {f"{metric} expression": f"count(case when ({details['fail condition']}\n) then 1 end)"}
    else:
        counting = {f"{metric} query": f"select count(*) from ({str(details['fail query']).strip().rstrip(';')}\n) as failed_rows"}
    return {metric if thresholds else f"{metric} = 0": {**counting, **thresholds, "name": name}}


def _key_and_details(entry: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(entry, str):
        return " ".join(entry.split()), {}
    if not isinstance(entry, dict):
        raise EntryError("is neither text nor a mapping.", "Write `- row_count > 0`, or with more: `- row_count > 0:` and keys below it.")
    if len(entry) != 1:
        names = ", ".join(f"`{key}`" for key in entry)
        raise EntryError(f"has several keys beside each other: {names}.", "Indent what belongs to the check below its first line.")
    key, details = next(iter(entry.items()))
    if not isinstance(details, dict | None):
        raise EntryError(f"has {details!r} below it, which is no mapping.", "Write keys and values, such as `name: …`.")
    return " ".join(key.split()), details or {}


def _refuse(key: str, details: Mapping[str, Any]) -> None:
    for pattern, problem, remedy in _REFUSED:
        if re.match(pattern, key):
            raise EntryError(problem, remedy)
    if any(word.endswith("sql_file") for word in details):
        raise EntryError("has its SQL in another file.", "Write it here: `<metric> query: |`, or `fail query: |`.")
    text = json.dumps([key, details], default=str)
    if key == "schema" and "when schema changes" in text:
        raise EntryError("needs a history of schemas, which Soda Core does not keep.", "Name the columns: `when required column missing`.")
    if _VARIABLE.search(text):
        raise EntryError(
            "has a variable, `${…}`, or a Jinja block, `{%`.",
            "Write the value out: variables could carry secrets into results. Only ${NOW} is filled in.",
        )


def _refuse_keys(key: str, metric: str, has_arguments: bool, details: Mapping[str, Any]) -> None:
    """Refuses what Soda would leave out, or not do as it reads."""
    if key == "failed rows" and "filter" in details:
        raise EntryError("has a filter, which failed rows cannot have.", "Write it into the fail condition: `… and (<filter>)`.")
    _require_known(details, _known_keys(key, metric, has_arguments))
    if key == "schema":
        found = [details[word] for word in _THRESHOLDS if word in details]
        if not found or not all(isinstance(rules, dict) and rules for rules in found):
            raise EntryError("has no rule.", "Write `fail:`, and below it for example `when required column missing: [id]`.")
        for rules in found:
            _require_known(rules, _SCHEMA)
    if key == "failed rows" and len({"fail condition", "fail query"} & details.keys()) != 1:
        raise EntryError("has not one of `fail condition` and `fail query`.", "Write which rows are wrong in one of the two.")
    if "filter" in details and any(word.endswith(("query", "expression")) for word in details):
        raise EntryError("has a filter, which Soda does not apply to SQL of your own.", "Write it into the SQL.")
    if metric in ("invalid_count", "invalid_percent") and not any(word in _VALID for word in details):
        raise EntryError("does not say what is valid, so that nothing is invalid.", "Write it below the check: `valid values: [a, b]`.")


def _known_keys(key: str, metric: str, has_arguments: bool) -> tuple[str, ...]:
    if key == "schema":
        return ("name", *_THRESHOLDS)
    if key == "failed rows":
        return ("name", *_THRESHOLDS, "fail condition", "fail query", "samples limit")
    known: tuple[str, ...] = ("name", *_THRESHOLDS, "filter", "samples limit")
    if not metric or metric == "freshness":
        return known
    known += (f"{metric} expression", f"{metric} query")
    if not has_arguments:
        return known
    return (*known, *_MISSING) if metric.startswith("missing_") else (*known, *_MISSING, *_VALID, "include null")


def _require_known(details: Mapping[str, Any], known: Collection[str]) -> None:
    for word, value in details.items():
        if word not in known:
            close = difflib.get_close_matches(word, known, 1)
            remedy = f"Did you mean `{close[0]}`?" if close else f"Its keys are {', '.join(known)}."
            raise EntryError(f"has the key `{word}` below it, which it cannot have.", remedy)
        if value is None:
            raise EntryError(f"has the key `{word}` without a value.", "Write one, or take it out.")


def _arguments(metric: str, text: str) -> tuple[str, ...]:
    arguments = [argument.strip().strip('"`') for argument in text.split(",")]
    if metric == "freshness":  # the second is the variable with the time that counts as now
        arguments = arguments[:1]
    return tuple(argument for argument in arguments if not _NUMBER.match(argument))


def _is_sql(key: str) -> bool:
    return key == "filter" or key.endswith(("query", "expression"))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")


def _definition(key: str, details: Mapping[str, Any]) -> str:
    key = _QUOTED.sub(r"\1", key)
    if not details or key == "schema":
        return key
    flat = yaml.dump(_on_one_line(details), Dumper=_DUMPER, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return f"{key}: {flat.strip()}"


def _on_one_line(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _on_one_line(item) for key, item in value.items()}
    if isinstance(value, list):
        return [*map(_on_one_line, value)]
    return " ".join(value.split()) if isinstance(value, str) else value
