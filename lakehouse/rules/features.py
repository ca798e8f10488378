"""feature_table: its days, its window, its inputs, its SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

from pyiceberg.types import DateType

from lakehouse.days import DAY
from lakehouse.errors import FeatureSqlError
from lakehouse.pipelines import DURATION_PATTERN, FeatureTablePipeline, parse_duration
from lakehouse.rules.base import Context, Path, Rule, Violation, typed
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from lakehouse.feature_sql import FeatureSql, Relations

_SQL: Path = ("pipeline", "sql")
_RESERVED = ("temp", "memory", "system", "pg_catalog", "information_schema")


class _FeatureRule(Rule, abstract=True):
    """A rule for tables with a feature_table pipeline."""

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if template.feature_table is not None:
            yield from self.check_pipeline(template, template.feature_table, context)

    def check_pipeline(self, template: TableTemplate, pipeline: FeatureTablePipeline, context: Context) -> Iterator[Violation]:
        """Yields what violates the rule."""
        raise NotImplementedError


class FeatureDay(_FeatureRule):
    """A feature table is partitioned by one required date column, which says the day."""

    id = "feature-day"

    def check_pipeline(self, template: TableTemplate, pipeline: FeatureTablePipeline, context: Context) -> Iterator[Violation]:
        columns = typed(template)
        if any(part.column not in columns for part in template.partition_spec):
            return  # a finding of its own
        days = [
            (index, columns[part.column])
            for index, part in enumerate(template.partition_spec)
            if part.transform in ("identity", "day") and isinstance(columns[part.column].iceberg_type, DateType)
        ]
        remedy = "Write `- {column: <a required date column>, transform: identity}`."
        if len(days) != 1:
            yield Violation(("partition_spec",), f"{len(days) or 'none'} of its fields says the day that a run replaces.", remedy)
        elif not days[0][1].required:
            yield Violation(("partition_spec", days[0][0], "column"), f"`{days[0][1].name}` is not required.", "Set `required: true`.")
        elif any(part.transform in ("year", "month", "day", "hour") and part.column != days[0][1].name for part in template.partition_spec):
            yield Violation(("partition_spec",), "another field is a time, too.", "Partition by the day alone.")


class FeaturePartitionDays(_FeatureRule):
    """Daily partitions start on a day, and end on no earlier one."""

    id = "partition-days"

    def check_pipeline(self, template: TableTemplate, pipeline: FeatureTablePipeline, context: Context) -> Iterator[Violation]:
        days: dict[str, date] = {}
        for key, text in (("start", pipeline.partitions.start), ("end", pipeline.partitions.end)):
            if text is None:
                continue
            try:
                days[key] = date.fromisoformat(text)
                if days[key].isoformat() != text or not days[key] + DAY:
                    raise ValueError
            except (ValueError, OverflowError):
                yield Violation(("pipeline", "partitions", key), f"`{text}` is not a day.", 'Write it as "YYYY-MM-DD", quoted.')
        if len(days) == 2 and days["end"] < days["start"]:
            yield Violation(("pipeline", "partitions", "end"), "it is before the start.", "Name the last day.")


class FeatureWindow(_FeatureRule):
    """The window of a feature table is whole days."""

    id = "feature-window"

    def check_pipeline(self, template: TableTemplate, pipeline: FeatureTablePipeline, context: Context) -> Iterator[Violation]:
        text = pipeline.window
        if text is not None and re.fullmatch(DURATION_PATTERN, text) and parse_duration(text) % timedelta(days=1):
            yield Violation(("pipeline", "window"), f"`{text}` is no number of whole days.", "Write days or weeks: 7d or 2w.")


class FeatureSqlFile(_FeatureRule):
    """A feature table's SQL file stands beside its template."""

    id = "feature-sql"

    def check_pipeline(self, template: TableTemplate, pipeline: FeatureTablePipeline, context: Context) -> Iterator[Violation]:
        folder = template.path.parent
        sql = folder / pipeline.sql
        try:
            found = folder.resolve() in sql.resolve().parents and sql.is_file()
        except (OSError, ValueError):  # no file can have such a name: too long, or with a NUL in it
            found = False
        if not found:
            yield Violation(_SQL, f"there is no file `{pipeline.sql}` beside the template.", "Add it.")


class FeatureInputs(_FeatureRule):
    """A feature table is computed from other tables that templates describe."""

    id = "feature-inputs"

    def check_pipeline(self, template: TableTemplate, pipeline: FeatureTablePipeline, context: Context) -> Iterator[Violation]:
        for index, name in enumerate(pipeline.inputs):
            path = ("pipeline", "inputs", index)
            found = template.named(name, context.tables)
            if template.table_name in found:
                yield Violation(path, "it is the table itself.", "Name the tables that the SQL reads.")
            elif not found:
                yield Violation(path, f"no template describes `{name}`.", f"Tables: {', '.join(sorted(context.tables))}.")
            elif len(found) > 1:
                yield Violation(path, f"`{name}` may be {' or '.join(sorted(found))}.", "Write namespace.name.")
            elif (namespace := found[0].split(".")[0]) in _RESERVED:
                yield Violation(path, f"SQL cannot name a table in `{namespace}`, which DuckDB has itself.", "Use another namespace.")


class FeatureCycle(_FeatureRule):
    """No feature table is computed from itself, by way of others."""

    id = "feature-cycle"
    sees_others = True

    def check_pipeline(self, template: TableTemplate, pipeline: FeatureTablePipeline, context: Context) -> Iterator[Violation]:
        for index, name in enumerate(pipeline.inputs):
            way = _way(name, template, template, context, set())
            if way is not None:
                remedy = "Take one of these inputs out."
                yield Violation(("pipeline", "inputs", index), f"it is computed from this table: {' from '.join(way)}.", remedy)


class FeatureEventTime(_FeatureRule):
    """An input has a time at which a day's end can cut it; one without may show what came later."""

    id = "feature-event-time"
    severity = "warning"
    sees_others = True

    def check_pipeline(self, template: TableTemplate, pipeline: FeatureTablePipeline, context: Context) -> Iterator[Violation]:
        for index, name in enumerate(pipeline.inputs):
            for table in template.named(name, context.templates):
                other = context.templates[table]
                if other.scd_type2 is None and other.event_time is None:
                    message = f"{table} is partitioned by no time: the SQL sees all its rows, also those of later days."
                    remedy = "Partition it by the day of its event time, or see to it that its rows never change."
                    yield Violation(("pipeline", "inputs", index), message, remedy)


class FeatureQuery(_FeatureRule):
    """The SQL of a feature table is one query that names what is there, and gives what the table takes."""

    id = "feature-query"
    sees_others = True

    def check_pipeline(self, template: TableTemplate, pipeline: FeatureTablePipeline, context: Context) -> Iterator[Violation]:
        from lakehouse.values import described, is_lossless

        try:
            if (found := _sql_of(template, context)) is None:
                return
            sql, relations = found
            output = sql.bind(relations)
        except FeatureSqlError as error:
            yield Violation(_SQL, f"{error.file}:{error.line}: {error.problem}", error.remedy)
            return
        columns, given = {column.name: column for column in template.columns}, [name for name, _ in output]
        for name, type_ in dict(output).items():
            if name not in columns:
                yield Violation(_SQL, f"{sql.name} gives a column `{name}`, which the table lacks.", "Add it to columns, or leave it out.")
            elif given.count(name) > 1:
                yield Violation(_SQL, f"{sql.name} gives the column `{name}` twice.", "Name one of them otherwise.")
            elif "struct<: " in str(type_):  # as DuckDB has it of row(1, 2)
                message = f"{sql.name} gives `{name}` as a struct without names."
                yield Violation(_SQL, message, "Name the struct's fields: {'a': …}, not row(…).")
            elif not is_lossless(type_, target := template.arrow_schema.field(name).type):
                message = f"{sql.name} gives `{name}` as {described(type_)}; the table has {described(target)}."
                yield Violation(_SQL, message, f"Cast it in the SQL, or make the column another type than {columns[name].type}.")
        for name, column in columns.items():
            if column.required and name not in given:
                yield Violation(_SQL, f"{sql.name} gives no column `{name}`, which is required.", "Select it.")


class FeatureClock(_FeatureRule):
    """Features do not depend on when they are computed, nor on chance."""

    id = "feature-clock"
    severity = "warning"
    sees_others = True

    def check_pipeline(self, template: TableTemplate, pipeline: FeatureTablePipeline, context: Context) -> Iterator[Violation]:
        from lakehouse.feature_sql import DICE

        try:
            found = _sql_of(template, context)
            calls = found[0].clock_and_dice() if found else []
        except FeatureSqlError:
            return  # a finding of its own
        for line, name in calls:
            message = f"{found[0].name if found else ''}:{line}: `{name}` gives other features whenever a day is computed again."
            remedy = "Take what is the same each time: a hash of the row's key, say." if name in DICE else "Use $day."
            yield Violation(_SQL, message, remedy if name != "age" else "Give it two: `age($day, …)`.")


def _sql_of(template: TableTemplate, context: Context) -> tuple[FeatureSql, Relations] | None:
    """The SQL, and the tables that it may name; None where one of these has errors of its own."""
    assert template.feature_table is not None
    if not all(template.named(name, context.templates) for name in template.feature_table.inputs):
        return None
    from lakehouse.feature_sql import FeatureSql, Relations  # DuckDB, which folders without feature tables do without

    inputs = template.input_templates(context.templates)
    return FeatureSql(template), Relations.of(template, {found.table_name: found.arrow_schema for found in inputs})


def _way(name: str, of: TableTemplate, to: TableTemplate, context: Context, seen: set[str]) -> list[str] | None:
    """The tables by which an input of a table leads to another table."""
    for table in of.named(name, context.templates):
        if table == to.table_name:
            return [table]
        pipeline = context.templates[table].feature_table
        if pipeline is None or table in seen:
            continue
        for deeper in pipeline.inputs:
            if (way := _way(deeper, context.templates[table], to, context, {*seen, table})) is not None:
                return [table, *way]
    return None
