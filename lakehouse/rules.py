"""Lint rules: each a small class whose docstring says what it guards and whose id stands in every finding.

A new rule is a subclass of ``Rule`` with an ``id``; being defined registers it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import ClassVar, Literal

from cronsim import CronSim, CronSimError
from pyiceberg.types import DoubleType, FloatType, PrimitiveType

from lakehouse.template import DURATION_PATTERN, NAME_PATTERN, TRANSFORM_PATTERN, Column, Source, TableTemplate
from lakehouse.types import TypeStringError

Path = tuple[str | int, ...]
# Dagster's rule for tags, the strictest of the places they go to (AWS and Google labels take a subset of it in lower case).
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,63}\Z")
# cronsim takes the last weekday (5L) and the last working day (LW); Dagster's schedules do not.
_UNKNOWN_TO_DAGSTER = re.compile(r"\bLW\b|[0-7]L\b", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME_REMEDY = "Use lower-case letters, digits and _, starting with a letter: catalogs differ on anything else."


@dataclass(frozen=True)
class Violation:
    """What one rule found at one key of a template."""

    path: Path
    message: str
    remedy: str


@dataclass(frozen=True)
class Context:
    """What a rule may know besides the template itself.

    Attributes:
        column_names: every column name in the file, also of columns that are wrong otherwise.
        variables: the names that ``${NAME}`` may stand for.
    """

    column_names: Collection[str]
    variables: Collection[str]


class Rule:
    """One thing that a template must, or should, observe."""

    id: ClassVar[str]
    severity: ClassVar[Literal["error", "warning"]] = "error"
    all: ClassVar[list[type[Rule]]] = []

    def __init_subclass__(cls) -> None:
        Rule.all.append(cls)

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        """Yields what violates the rule."""
        raise NotImplementedError


def _is_name(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text) is not None


def _has_type(column: Column) -> bool:
    try:
        _ = column.iceberg_type
    except TypeStringError:
        return False
    return True


def _typed(template: TableTemplate) -> dict[str, Column]:
    """The columns by name whose type is right; the others have a finding of their own."""
    return {column.name: column for column in template.columns if _has_type(column)}


def _references(template: TableTemplate) -> Iterator[tuple[Path, str]]:
    """Every place in a template that names one of its own columns."""
    for index, name in enumerate(template.identifier):
        yield ("identifier", index), name
    for index, part in enumerate(template.partition_spec):
        yield ("partition_spec", index, "column"), part.column
    for index, sort in enumerate(template.sort_order):
        yield ("sort_order", index, "column"), sort.column
    pipeline = template.pipeline
    if pipeline is not None and pipeline.pattern == "scd_type2":
        for index, name in enumerate(pipeline.key):
            yield ("pipeline", "key", index), name
        yield ("pipeline", "effective_at"), pipeline.effective_at


def _source(template: TableTemplate) -> tuple[Path, Source] | None:
    if template.source is not None:
        return ("source",), template.source
    if template.pipeline is not None and template.pipeline.pattern != "feature_table":
        return ("pipeline", "source"), template.pipeline.source
    return None


class NameFormat(Rule):
    """Names are the same in every catalog, path and SQL dialect without quoting."""

    id = "name-format"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        names: list[tuple[Path, str]] = [(("name",), template.name), (("namespace",), template.namespace)]
        names += [(("columns", index, "name"), column.name) for index, column in enumerate(template.columns)]
        for path, name in names:
            if not _is_name(name):
                yield Violation(path, f"`{name}` is not a name.", _NAME_REMEDY)


class ReservedName(Rule):
    """Names with two underscores belong to the tables that are derived from a template."""

    id = "reserved-name"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if "__" in template.name:
            yield Violation(("name",), f"`{template.name}` has two underscores in a row.", "Use one: `__` marks derived tables.")


class FileName(Rule):
    """A table is found by its file's name."""

    id = "file-name"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if template.path.stem != template.name:
            yield Violation(
                ("name",),
                f"the table is `{template.name}`, the file `{template.path.name}`.",
                f"Rename the file to {template.name}.yaml, or the table to {template.path.stem}.",
            )


class DuplicateColumn(Rule):
    """A column name stands once."""

    id = "duplicate-column"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        seen: set[str] = set()
        for index, column in enumerate(template.columns):
            if column.name in seen:
                yield Violation(("columns", index, "name"), f"the column `{column.name}` stands twice.", "Rename or remove one.")
            seen.add(column.name)


class ColumnType(Rule):
    """A type string is one of the specification's types."""

    id = "column-type"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for index, column in enumerate(template.columns):
            try:
                _ = column.iceberg_type
            except TypeStringError as error:
                remedy = "The types are listed in docs/template-reference.md, e.g. string, timestamptz, decimal(18,2), list<long>."
                yield Violation(("columns", index, "type"), f"the type of `{column.name}`: {error}.", remedy)


class RenamedFrom(Rule):
    """A former name belongs to one column only. It may be a present column's name too: names are swapped, and taken again."""

    id = "renamed-from"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        former: dict[str, str] = {}
        for index, column in enumerate(template.columns):
            for position, name in enumerate(column.renamed_from):
                path = ("columns", index, "renamed_from", position)
                if name == column.name:
                    yield Violation(path, f"`{name}` is renamed from itself.", "Remove it.")
                elif name in former:
                    yield Violation(path, f"`{name}` is a former name of `{former[name]}` too.", "Keep it at one column.")
                elif not _is_name(name):
                    yield Violation(path, f"`{name}` is not a name.", _NAME_REMEDY)
                former[name] = column.name


class UnknownColumn(Rule):
    """Identifier, partitions, sort order and pipeline name columns of the table."""

    id = "unknown-column"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for path, name in _references(template):
            if name not in context.column_names:
                yield Violation(path, f"there is no column `{name}`.", f"Columns: {', '.join(sorted(context.column_names))}.")


class IdentifierColumn(Rule):
    """Iceberg's identifier fields are required primitives, neither float nor double.

    Source: https://iceberg.apache.org/spec/#identifier-field-ids
    """

    id = "identifier-column"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        columns = _typed(template)
        for index, name in enumerate(template.identifier):
            path = ("identifier", index)
            if template.identifier.index(name) != index:
                yield Violation(path, f"`{name}` stands twice.", "Remove one.")
            if name not in columns:
                continue
            column = columns[name]
            if not column.required:
                yield Violation(path, f"`{name}` may be null.", f"Set `required: true` on `{name}`, or leave it out.")
            if isinstance(column.iceberg_type, FloatType | DoubleType):
                yield Violation(path, f"`{name}` is a {column.type}; equal values are not certain.", "Use a decimal or an integer.")
            if not isinstance(column.iceberg_type, PrimitiveType):
                yield Violation(path, f"`{name}` is nested ({column.type}).", "Use columns of primitive types.")


class PartitionTransform(Rule):
    """A partition transform fits its column's type.

    Source: https://iceberg.apache.org/spec/#partition-transforms
    """

    id = "partition-transform"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        columns = _typed(template)
        for index, part in enumerate(template.partition_spec):
            path = ("partition_spec", index, "transform")
            remedy = "Transforms: identity, year, month, day, hour, bucket[N], truncate[N]; N at least 1."
            if not re.fullmatch(TRANSFORM_PATTERN, part.transform):
                yield Violation(path, f"`{part.transform}` is not a transform.", remedy)
            elif part.column in columns and not part.iceberg_transform.can_transform(columns[part.column].iceberg_type):
                column = columns[part.column]
                yield Violation(path, f"`{part.transform}` does not take `{column.name}`, a {column.type}.", remedy)


class PartitionName(Rule):
    """Partition fields have names of their own."""

    id = "partition-name"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        seen: dict[str, str] = {}
        for index, part in enumerate(template.partition_spec):
            path = ("partition_spec", index)
            if part.name in seen:
                yield Violation(path, f"two partition fields would be named `{part.name}`.", "Remove one of them.")
            elif part.transform != "identity" and part.name in context.column_names:
                yield Violation(path, f"its name `{part.name}` is a column's.", f"Rename the column `{part.name}`.")
            seen[part.name] = part.column


class HiddenPartition(Rule):
    """Partition values stand in paths and manifests, which more people read than rows."""

    id = "hidden-partition"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for index, part in enumerate(template.partition_spec):
            if part.column in template.hidden_columns:
                message = f"`{part.column}` is pii or restricted; its values would show in paths and manifests."
                yield Violation(("partition_spec", index, "column"), message, "Partition by another column.")


class RedundantTimeTransforms(Rule):
    """Several time transforms of one column: the finest is enough, and other engines may refuse the rest."""

    id = "redundant-partition"
    severity = "warning"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        seen: dict[str, str] = {}
        for index, part in enumerate(template.partition_spec):
            if part.transform not in ("year", "month", "day", "hour"):
                continue
            if part.column in seen:
                message = f"`{part.column}` is partitioned by {seen[part.column]} and by {part.transform}."
                yield Violation(("partition_spec", index), message, "Keep the finest only: filters on the coarser use it too.")
            seen[part.column] = part.transform


class SortColumn(Rule):
    """A table is sorted by primitive columns, each once."""

    id = "sort-column"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        columns, seen = _typed(template), set[str]()
        for index, sort in enumerate(template.sort_order):
            path = ("sort_order", index, "column")
            if sort.column in seen:
                yield Violation(path, f"`{sort.column}` stands twice.", "Remove one.")
            seen.add(sort.column)
            if sort.column in columns and not isinstance(columns[sort.column].iceberg_type, PrimitiveType):
                yield Violation(path, f"`{sort.column}` is nested ({columns[sort.column].type}).", "Sort by a primitive column.")


class HiddenBounds(Rule):
    """Bounds of a pii or restricted column stay out of manifests."""

    id = "hidden-bounds"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for key, value in template.properties.items():
            column = key.removeprefix("write.metadata.metrics.column.")
            if column != key and column.split(".")[0] in template.hidden_columns and value != "none":
                message = f"it would write bounds of `{column}`, which is pii or restricted, into metadata."
                yield Violation(("properties", key), message, "Remove it.")


class ManagedProperty(Rule):
    """Some properties are set by the project and break it otherwise."""

    id = "managed-property"
    _managed = ("commit.retry.num-retries", "format-version", "location")

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for key in template.properties:
            if key in self._managed or key.startswith("lakehouse."):
                yield Violation(("properties", key), f"`{key}` is set by the project.", "Remove it.")


class Tag(Rule):
    """A tag is taken by Dagster and by the clouds alike."""

    id = "tag"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for key, value in template.tags.items():
            if not _TAG.match(key) or (value and not _TAG.match(value)):
                yield Violation(("tags", key), f"`{key}: {value}` is not a tag.", "Use 1 to 63 letters, digits, `_`, `.` or `-`.")


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
            durations.append((("pipeline", "lookback"), pipeline.lookback))
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


class FeaturePartitionStart(Rule):
    """Daily partitions start on a day."""

    id = "partition-start"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if template.pipeline is None or template.pipeline.pattern != "feature_table":
            return
        start = template.pipeline.partitions.start
        try:
            if date.fromisoformat(start).isoformat() != start:
                raise ValueError
        except ValueError:
            yield Violation(("pipeline", "partitions", "start"), f"`{start}` is not a day.", 'Write it as "YYYY-MM-DD", quoted.')


class FeatureSql(Rule):
    """A feature table's SQL file stands beside its template."""

    id = "feature-sql"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if template.pipeline is None or template.pipeline.pattern != "feature_table":
            return
        folder = template.path.parent
        sql = folder / template.pipeline.sql
        try:
            found = folder.resolve() in sql.resolve().parents and sql.is_file()
        except (OSError, ValueError):  # no file can have such a name: too long, or with a NUL in it
            found = False
        if not found:
            yield Violation(("pipeline", "sql"), f"there is no file `{template.pipeline.sql}` beside the template.", "Add it.")


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
        if (found := _source(template)) is None or found[1].csv_options is None:
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
        if (found := _source(template)) is None:
            return
        path, source = found
        for name in _VARIABLE.findall(source.path):
            if name not in context.variables:
                remedy = f"Set {name} where the pipeline runs: there it is an error."
                yield Violation((*path, "path"), f"the variable `{name}` is not set here.", remedy)


class VariableFormat(Rule):
    """A variable is written ${NAME}."""

    id = "variable-format"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if (found := _source(template)) is not None and "$" in _VARIABLE.sub("", found[1].path):
            yield Violation((*found[0], "path"), f"`{found[1].path}` has a `$` that starts no variable.", "Write ${NAME}.")


class PublicPii(Rule):
    """Personal data that everybody may read."""

    id = "pii-public"
    severity = "warning"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for index, column in enumerate(template.columns):
            if column.pii and column.access_level == "public":
                message = f"`{column.name}` is pii and public: every reader sees it."
                yield Violation(("columns", index), message, "Set `access_level: restricted`, or internal if that is meant.")


class MissingDescription(Rule):
    """A table without a description is a question to its owner."""

    id = "no-description"
    severity = "warning"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if not template.description:
            yield Violation(("name",), "the table has no description.", "Say in one line what a row is.")


class AuditedPublish(Rule):
    """Audited writes need the quality checks that judge them."""

    id = "publish-audited"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if template.publish == "audited":
            message = "this version cannot check rows before they are published."
            yield Violation(("publish",), message, "Use `publish: direct`.")
