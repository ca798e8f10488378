"""Columns and what identifies a row."""

from __future__ import annotations

from collections.abc import Iterator

from pyiceberg.types import DoubleType, FloatType, IcebergType, ListType, MapType, PrimitiveType, StructType

from lakehouse.rules.base import NAME_REMEDY, Context, Rule, Violation, has_type, is_name, references, typed
from lakehouse.template import TableTemplate
from lakehouse.types import TypeStringError


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


class MapKey(Rule):
    """A map's keys are of a primitive type: JSON and most engines can hold no others."""

    id = "map-key"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for index, column in enumerate(template.columns):
            if has_type(column) and _has_nested_key(column.iceberg_type):
                message = f"the type of `{column.name}` has a map whose keys are nested."
                yield Violation(("columns", index, "type"), message, "Use a primitive type, or a list of structs with key and value.")


def _has_nested_key(type_: IcebergType) -> bool:
    match type_:
        case MapType():
            return not isinstance(type_.key_type, PrimitiveType) or _has_nested_key(type_.value_type)
        case ListType():
            return _has_nested_key(type_.element_type)
        case StructType():
            return any(_has_nested_key(field.field_type) for field in type_.fields)
        case _:
            return False


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
                elif not is_name(name):
                    yield Violation(path, f"`{name}` is not a name.", NAME_REMEDY)
                former[name] = column.name


class FormerNameOfRestricted(Rule):
    """Under a former name of a restricted column a live table may still have that column: nobody is granted the name."""

    id = "former-name"
    severity = "warning"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        readable = {column.name for column in template.columns if column.access_level != "restricted"}
        for index, column in enumerate(template.columns):
            for position, name in enumerate(column.renamed_from):
                if column.access_level == "restricted" and name in readable:
                    message = (
                        f"the column `{name}` is hidden from the reader as long as `{column.name}`, which is restricted, names it here."
                    )
                    remedy = "Remove it once every environment has renamed the column, and no snapshot from before is left."
                    yield Violation(("columns", index, "renamed_from", position), message, remedy)


class UnknownColumn(Rule):
    """Identifier, partitions, sort order and pipeline name columns of the table."""

    id = "unknown-column"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for path, name in references(template):
            if name not in context.column_names:
                yield Violation(path, f"there is no column `{name}`.", f"Columns: {', '.join(sorted(context.column_names))}.")


class IdentifierColumn(Rule):
    """Iceberg's identifier fields are required primitives, neither float nor double.

    Source: https://iceberg.apache.org/spec/#identifier-field-ids
    """

    id = "identifier-column"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        columns = typed(template)
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


class PublicPii(Rule):
    """Personal data that everybody may read."""

    id = "pii-public"
    severity = "warning"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for index, column in enumerate(template.columns):
            if column.pii and column.access_level == "public":
                message = f"`{column.name}` is pii and public: every reader sees it."
                yield Violation(("columns", index), message, "Set `access_level: restricted`, or internal if that is meant.")
