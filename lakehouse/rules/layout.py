"""Partitions and sort order."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyiceberg.types import DoubleType, FloatType, PrimitiveType

from lakehouse.rules.base import Context, Rule, Violation, typed
from lakehouse.template import TIME_TRANSFORMS, TRANSFORM_PATTERN, TableTemplate


class PartitionTransform(Rule):
    """A partition transform fits its column's type.

    Source: https://iceberg.apache.org/spec/#partition-transforms
    """

    id = "partition-transform"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        columns = typed(template)
        for index, part in enumerate(template.partition_spec):
            path = ("partition_spec", index, "transform")
            remedy = "Transforms: identity, year, month, day, hour, bucket[N], truncate[N]; N at least 1."
            if not re.fullmatch(TRANSFORM_PATTERN, part.transform):
                yield Violation(path, f"`{part.transform}` is not a transform.", remedy)
            elif part.column in columns and not part.iceberg_transform.can_transform(columns[part.column].iceberg_type):
                column = columns[part.column]
                yield Violation(path, f"`{part.transform}` does not take `{column.name}`, a {column.type}.", remedy)
            elif part.column in columns and isinstance(columns[part.column].iceberg_type, FloatType | DoubleType):
                message = f"`{part.column}` is a {columns[part.column].type}; NaN and -0.0 make no certain partitions."
                yield Violation(path, message, "Partition by another column, or make it a decimal.")


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
            if part.transform not in TIME_TRANSFORMS:
                continue
            if part.column in seen:
                message = f"`{part.column}` is partitioned by {seen[part.column]} and by {part.transform}."
                yield Violation(("partition_spec", index), message, "Keep the finest only: filters on the coarser use it too.")
            seen[part.column] = part.transform


class SortColumn(Rule):
    """A table is sorted by primitive columns, each once."""

    id = "sort-column"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        columns, seen = typed(template), set[str]()
        for index, sort in enumerate(template.sort_order):
            path = ("sort_order", index, "column")
            if sort.column in seen:
                yield Violation(path, f"`{sort.column}` stands twice.", "Remove one.")
            seen.add(sort.column)
            if sort.column in columns and not isinstance(columns[sort.column].iceberg_type, PrimitiveType):
                yield Violation(path, f"`{sort.column}` is nested ({columns[sort.column].type}).", "Sort by a primitive column.")
