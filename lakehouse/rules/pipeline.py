"""Pipelines and their sources, durations, publishing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from lakehouse.pipelines import DURATION_PATTERN, VARIABLE
from lakehouse.rules.base import Context, Path, Rule, Violation, source_of
from lakehouse.template import TableTemplate

# cronsim takes the last weekday (5L) and the last working day (LW); Dagster's schedules do not.
_UNKNOWN_TO_DAGSTER = re.compile(r"\bLW\b|[0-7]L\b", re.IGNORECASE)


class Duration(Rule):
    """Durations are a number and a unit."""

    id = "duration"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        durations: list[tuple[Path, str | None]] = [
            (("freshness",), template.freshness),
            (("maintenance", "keep_snapshots"), template.maintenance.keep_snapshots),
        ]
        pipeline = template.pipeline
        if pipeline is not None and pipeline.pattern == "feature_table":
            durations += [(("pipeline", "lookback"), pipeline.lookback), (("pipeline", "window"), pipeline.window)]
        for path, text in durations:
            if text is not None and not re.fullmatch(DURATION_PATTERN, text):
                yield Violation(path, f"`{text}` is not a duration.", "Write a number and a unit: 90m, 24h, 7d or 2w.")


class Cron(Rule):
    """A schedule has five fields that can come true."""

    id = "cron"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if template.pipeline is None or template.pipeline.cron is None:
            return
        cron = template.pipeline.cron
        try:
            if len(cron.split()) != 5:
                raise CronSimError("it has not five fields")
            if _UNKNOWN_TO_DAGSTER.search(cron):
                raise CronSimError("Dagster knows neither LW nor a weekday with L")
            next(CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration) as error:
            remedy = 'Write minute, hour, day, month, weekday, e.g. "0 * * * *" for every hour.'
            yield Violation(("pipeline", "cron"), f"`{cron}` is not a schedule: {error or 'it never comes'}.", remedy)


class TwoSources(Rule):
    """The short form's source stands for a pipeline."""

    id = "two-sources"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if template.source is not None and template.pipeline is not None:
            yield Violation(("source",), "there is a `pipeline` too.", "Move it to `pipeline.source`, or remove `pipeline`.")


class CsvLayout(Rule):
    """CSV options are for CSV, and can be followed."""

    id = "csv-options"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if (found := source_of(template)) is None or found[1].csv_options is None:
            return
        path, source = found
        options = found[1].csv_options
        if source.format != "csv":
            yield Violation((*path, "csv_options"), f"the format is {source.format}.", "Remove csv_options, or use `format: csv`.")
        if len(options.delimiter) != 1 or not options.delimiter.isascii() or options.delimiter in '"\r\n':
            yield Violation((*path, "csv_options", "delimiter"), "a delimiter is one ASCII character.", 'E.g. ";", "|" or "\\t".')
        if options.column_names is not None and len(set(options.column_names)) != len(options.column_names):
            yield Violation((*path, "csv_options", "column_names"), "a name stands twice.", "Rename one.")


class Variable(Rule):
    """A variable in a path is set where the pipeline runs."""

    id = "variable-unset"
    severity = "warning"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if (found := source_of(template)) is None:
            return
        path, source = found
        for name in VARIABLE.findall(source.path):
            if name not in context.variables:
                remedy = f"Set {name} where the pipeline runs: there it is an error."
                yield Violation((*path, "path"), f"the variable `{name}` is not set here, or empty.", remedy)


class VariableFormat(Rule):
    """A variable is written ${NAME}."""

    id = "variable-format"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if (found := source_of(template)) is not None and "$" in VARIABLE.sub("", found[1].path):
            yield Violation((*found[0], "path"), f"`{found[1].path}` has a `$` that starts no variable.", "Write ${NAME}.")


class AuditedPublish(Rule):
    """Audited rows are published by the pipeline that wrote them."""

    id = "publish-audited"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if template.publish == "audited" and template.pipeline is None and template.source is None:
            message = "the table has no pipeline, so nothing would check its rows and publish them."
            yield Violation(("publish",), message, "Add a `pipeline`, or use `publish: direct`.")
