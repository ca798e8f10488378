"""Names, descriptions and tags."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lakehouse.rules.base import NAME_REMEDY, Context, Path, Rule, Violation, is_name
from lakehouse.template import TableTemplate

# Dagster's rule for tags, the strictest of the places they go to (AWS and Google labels take a subset of it in lower case).
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,63}\Z")

_TABLE_DESCRIPTION, _COLUMN_DESCRIPTION = 2048, 255


class NameFormat(Rule):
    """Names are the same in every catalog, path and SQL dialect without quoting."""

    id = "name-format"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        names: list[tuple[Path, str]] = [(("name",), template.name), (("namespace",), template.namespace)]
        names += [(("columns", index, "name"), column.name) for index, column in enumerate(template.columns)]
        for path, name in names:
            if not is_name(name):
                yield Violation(path, f"`{name}` is not a name.", NAME_REMEDY)


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


class MissingDescription(Rule):
    """A table without a description is a question to its owner."""

    id = "no-description"
    severity = "warning"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if not template.description:
            yield Violation(("name",), "the table has no description.", "Say in one line what a row is.")


class DescriptionLength(Rule):
    """A description fits into every catalog: Glue takes one line of 255 characters of a column, 2,048 characters of a table.

    Source: https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-catalog-tables.html
    """

    id = "description-length"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        if len(template.description) > _TABLE_DESCRIPTION:
            yield Violation(("description",), f"it has {len(template.description):,} characters.", f"Use at most {_TABLE_DESCRIPTION:,}.")
        for index, column in enumerate(template.columns):
            path = ("columns", index, "description")
            if len(column.description) > _COLUMN_DESCRIPTION:
                message = f"that of `{column.name}` has {len(column.description):,} characters."
                yield Violation(path, message, f"Use at most {_COLUMN_DESCRIPTION}: Glue refuses a longer one with each commit.")
            elif "\n" in column.description or "\r" in column.description:
                yield Violation(path, f"that of `{column.name}` has several lines.", "Use one: Glue refuses others with each commit.")


class Tag(Rule):
    """A tag is taken by Dagster and by the clouds alike."""

    id = "tag"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for key, value in template.tags.items():
            if not _TAG.match(key) or (value and not _TAG.match(value)):
                yield Violation(("tags", key), f"`{key}: {value}` is not a tag.", "Use 1 to 63 letters, digits, `_`, `.` or `-`.")
