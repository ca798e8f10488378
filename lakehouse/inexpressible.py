"""What of a live table no template can say. See ``import_table.py``."""

from __future__ import annotations

from collections.abc import Iterator

from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform, VoidTransform
from pyiceberg.types import IcebergType, ListType, MapType, NestedField, PrimitiveType, StructType

from lakehouse.rules.base import NAME_REMEDY, is_name
from lakehouse.template import PartitionField
from lakehouse.types import TypeStringError, parse_type, type_string


def inexpressible(table: Table) -> Iterator[str]:
    """What of a live table no template can say, and leaving it out would be a change; with the remedy."""
    schema = table.schema()
    namespace, name = table.name()[-2:]
    if table.metadata.format_version != 2:
        remedy = "Upgrade it to 2." if table.metadata.format_version == 1 else "Copy its rows into a table of version 2."
        yield f"its Iceberg format version is {table.metadata.format_version}; templates make version 2. {remedy}"
    for what, text in (("namespace", namespace), ("name", name)):
        if not is_name(text):
            yield f"its {what} `{text}` cannot be a template's. {NAME_REMEDY}"
    for field in schema.fields:
        yield from _inexpressible_field(field)
    for field_id in schema.identifier_field_ids:
        if "." in (column := schema.find_column_name(field_id) or ""):
            yield f"identifier: `{column}` is a nested field. Identify rows by columns."
    for part in table.spec().fields:
        column, transform = schema.find_column_name(part.source_id) or "", str(part.transform)
        wanted = PartitionField(column=column, transform=transform).name
        if isinstance(part.transform, VoidTransform) or "." in column:
            yield f"partition field `{part.name}`: {transform} of `{column}`. Remove it from the partition spec."
        elif part.name != wanted:
            yield (
                f"partition field `{part.name}`, {transform} of `{column}`, would be `{wanted}`. Rename it, which rewrites no data: "
                f'table.update_spec().rename_field("{part.name}", "{wanted}").commit() in PyIceberg.'
            )
    for sort in table.sort_order().fields:
        column = schema.find_column_name(sort.source_id) or ""
        if not isinstance(sort.transform, IdentityTransform) or "." in column:
            yield f"sort order: {sort.transform} of `{column}`; a template sorts by columns themselves. Replace the sort order."


def nested(type_: IcebergType, path: str) -> Iterator[tuple[str, IcebergType]]:
    """A type and all types inside it, with their paths as `plan` writes them."""
    yield path, type_
    match type_:
        case StructType():
            for field in type_.fields:
                yield from nested(field.field_type, f"{path}.{field.name}")
        case ListType():
            yield from nested(type_.element_type, f"{path}.element")
        case MapType():
            yield from nested(type_.key_type, f"{path}.key")
            yield from nested(type_.value_type, f"{path}.value")


def _inexpressible_field(field: NestedField) -> Iterator[str]:
    """The same of a column."""
    problems: list[str] = []
    for path, type_ in nested(field.field_type, field.name):
        names = [child.name for child in type_.fields] if isinstance(type_, StructType) else []
        problems += [f"column `{path}.{name}` cannot have this name. {NAME_REMEDY}" for name in names if not is_name(name)]
        if isinstance(type_, PrimitiveType) and _type_error(type_):
            problems.append(f"column `{path}` is a {type_}, which templates do not have. Replace it by a column of another type.")
        elif isinstance(type_, MapType) and not isinstance(type_.key_type, PrimitiveType):
            problems.append(f"column `{path}` is a map whose keys are nested. Make it a list of structs with key and value.")
    if not is_name(field.name):
        problems.append(f"column `{field.name}` cannot have this name. {NAME_REMEDY}")
    if not problems and (error := _type_error(field.field_type)):
        problems.append(f"column `{field.name}`: {error}. Replace it by a column of another type.")
    yield from problems


def _type_error(type_: IcebergType) -> str:
    """Why templates do not have a type; empty where they do."""
    try:
        _ = parse_type(type_string(type_))
    except TypeStringError as error:
        return str(error)
    return ""
