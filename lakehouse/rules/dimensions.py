"""scd_type2: the columns that a merge needs, and what the change records' columns may be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyiceberg.types import BooleanType, DateType, DoubleType, FloatType, IcebergType, PrimitiveType, TimestampType, TimestamptzType

from lakehouse.pipelines import SKIP_WHEN_PATTERN, VALIDITY, ScdType2Pipeline
from lakehouse.rules.base import Context, Path, Rule, Violation, typed
from lakehouse.template import TableTemplate

_MOMENTS = (TimestamptzType, TimestampType, DateType)


class _DimensionRule(Rule, abstract=True):
    """A rule for tables with an scd_type2 pipeline."""

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if template.scd_type2 is not None:
            yield from self.check_pipeline(template, template.scd_type2)

    def check_pipeline(self, template: TableTemplate, pipeline: ScdType2Pipeline) -> Iterator[Violation]:
        """Yields what violates the rule."""
        raise NotImplementedError


class ValidityColumns(_DimensionRule):
    """An scd_type2 table has valid_from, required, and valid_to, both of one time type, and is_current, a boolean."""

    id = "validity-columns"

    def check_pipeline(self, template: TableTemplate, pipeline: ScdType2Pipeline) -> Iterator[Violation]:
        columns = typed(template)
        names = [column.name for column in template.columns]
        for name in VALIDITY:
            if name not in names:
                yield Violation(("pipeline", "pattern"), f"the merge fills a column `{name}`, which the table lacks.", "Add it.")
        begin, end, current = (columns.get(name) for name in VALIDITY)
        if begin is not None and not isinstance(begin.iceberg_type, _MOMENTS):
            yield Violation(_of(names, "valid_from"), f"`valid_from` is a {begin.type}.", "Use timestamptz, timestamp or date.")
        if begin is not None and not begin.required:
            yield Violation(_of(names, "valid_from"), "`valid_from` may be null.", "Set `required: true`.")
        if begin is not None and end is not None and begin.iceberg_type != end.iceberg_type:
            yield Violation(_of(names, "valid_to"), f"`valid_to` is a {end.type}, `valid_from` a {begin.type}.", "Use one type for both.")
        if end is not None and end.required:
            yield Violation(_of(names, "valid_to"), "`valid_to` is required; the current version has none.", "Remove `required`.")
        if current is not None and not isinstance(current.iceberg_type, BooleanType):
            yield Violation(_of(names, "is_current"), f"`is_current` is a {current.type}.", "Make it a boolean.")


class BusinessKey(_DimensionRule):
    """A business key consists of columns whose values are equal or not: primitives, neither float nor double."""

    id = "business-key"

    def check_pipeline(self, template: TableTemplate, pipeline: ScdType2Pipeline) -> Iterator[Violation]:
        columns = typed(template)
        for index, name in enumerate(pipeline.key):
            path: Path = ("pipeline", "key", index)
            if pipeline.key.index(name) != index:
                yield Violation(path, f"`{name}` stands twice.", "Remove one.")
            if name in (*VALIDITY, pipeline.effective_at):
                yield Violation(path, f"`{name}` says when a version holds.", "Name what stays the same from version to version.")
            elif name in columns and not _is_comparable(columns[name].iceberg_type):
                yield Violation(path, f"`{name}` is a {columns[name].type}.", "Use columns of primitive types, neither float nor double.")


class VersionIdentifier(_DimensionRule):
    """A version is identified by its key and valid_from."""

    id = "version-identifier"

    def check_pipeline(self, template: TableTemplate, pipeline: ScdType2Pipeline) -> Iterator[Violation]:
        wanted = [*pipeline.key, "valid_from"]
        if template.identifier and set(template.identifier) != set(wanted):
            yield Violation(("identifier",), "a key has many versions, each with its valid_from.", f"Write [{', '.join(wanted)}].")


class EffectiveAt(_DimensionRule):
    """effective_at is the change records' time; where the table has the column too, it holds the same as valid_from."""

    id = "effective-at"

    def check_pipeline(self, template: TableTemplate, pipeline: ScdType2Pipeline) -> Iterator[Violation]:
        columns, path = typed(template), ("pipeline", "effective_at")
        name = pipeline.effective_at
        if name in VALIDITY[1:]:
            yield Violation(path, f"`{name}` is what the merge works out.", "Name the column that says from when a record holds.")
        elif name in columns and "valid_from" in columns and columns[name].iceberg_type != columns["valid_from"].iceberg_type:
            message = f"`{name}` is a {columns[name].type}, `valid_from` a {columns['valid_from'].type}."
            yield Violation(path, message, "Use one type for both.")


class Operation(_DimensionRule):
    """operation is a column of the change records alone: a version has none."""

    id = "operation"

    def check_pipeline(self, template: TableTemplate, pipeline: ScdType2Pipeline) -> Iterator[Violation]:
        name = pipeline.operation
        if name is not None and (name == pipeline.effective_at or name in [column.name for column in template.columns]):
            message = f"`{name}` is a column of the table, or effective_at; a version has no operation."
            yield Violation(("pipeline", "operation"), message, f"Remove the column `{name}`, or name another.")


class SkipWhen(_DimensionRule):
    """skip_when names a column of the change records."""

    id = "skip-when"

    def check_pipeline(self, template: TableTemplate, pipeline: ScdType2Pipeline) -> Iterator[Violation]:
        if pipeline.skip_when is None:
            return
        known = {column.name for column in template.columns} - set(VALIDITY) | {pipeline.effective_at, pipeline.operation or ""}
        if not re.fullmatch(SKIP_WHEN_PATTERN, pipeline.skip_when):
            yield Violation(("pipeline", "skip_when"), f"`{pipeline.skip_when}` is not a rule.", "Write `<column> is null`.")
        elif pipeline.skip_column not in known:
            message = f"the change records have no column `{pipeline.skip_column}`."
            yield Violation(("pipeline", "skip_when"), message, f"Columns: {', '.join(sorted(known - {''}))}.")


def _of(names: list[str], name: str) -> Path:
    return ("columns", names.index(name), "type")


def _is_comparable(type_: IcebergType) -> bool:
    return isinstance(type_, PrimitiveType) and not isinstance(type_, FloatType | DoubleType)
