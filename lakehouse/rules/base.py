"""What a rule is, and what several rules use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from lakehouse.pipelines import Source
from lakehouse.template import NAME_PATTERN, Column, TableTemplate
from lakehouse.types import TypeStringError

Path = tuple[str | int, ...]
NAME_REMEDY = "Use lower-case letters, digits and _, starting with a letter: catalogs differ on anything else."


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
        tables: every table that a template of the folder describes, as ``namespace.name``.
        templates: for a rule that ``sees_others``, the templates in which no other rule found an error, by table name.
    """

    column_names: Collection[str]
    variables: Collection[str]
    tables: Collection[str]
    templates: Mapping[str, TableTemplate] = field(default_factory=dict[str, TableTemplate])


class Rule:
    """One thing that a template must, or should, observe.

    Attributes:
        sees_others: it judges a template by others as well, once these and it are without other errors.
    """

    id: ClassVar[str]
    severity: ClassVar[Literal["error", "warning"]] = "error"
    sees_others: ClassVar[bool] = False
    all: ClassVar[list[type[Rule]]] = []

    def __init_subclass__(cls, abstract: bool = False) -> None:
        if not abstract:
            Rule.all.append(cls)

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        """Yields what violates the rule."""
        raise NotImplementedError


def is_name(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text) is not None


def has_type(column: Column) -> bool:
    try:
        _ = column.iceberg_type
    except TypeStringError:
        return False
    return True


def typed(template: TableTemplate) -> dict[str, Column]:
    """The columns by name whose type is right; the others have a finding of their own."""
    return {column.name: column for column in template.columns if has_type(column)}


def references(template: TableTemplate) -> Iterator[tuple[Path, str]]:
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
    if template.maintenance.retention_column is not None:
        yield ("maintenance", "retention"), template.maintenance.retention_column


def source_of(template: TableTemplate) -> tuple[Path, Source] | None:
    if template.source is not None:
        return ("source",), template.source
    if template.pipeline is not None and template.pipeline.pattern != "feature_table":
        return ("pipeline", "source"), template.pipeline.source
    return None
