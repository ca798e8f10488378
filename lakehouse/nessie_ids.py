"""The field ids that Nessie gives to the columns of a new table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from pyiceberg.schema import Schema
from pyiceberg.types import IcebergType, ListType, MapType, NestedField, StructType


def numbered_by_nessie(schema: Schema) -> Schema:
    """A schema with the field ids that Nessie gives it in a new table: a nested field's comes before that of the next field.

    It numbers whatever it gets, and then takes the old ids of identifier fields for new ones: there must be no difference.
    """
    ids = itertools.count(1)
    fields = [_numbered(field, ids) for field in schema.fields]
    named = Schema(*fields)
    identifier = [named.find_field(name).field_id for name in schema.identifier_field_names()]
    return Schema(*fields, identifier_field_ids=identifier)


def _numbered(field: NestedField, ids: Iterator[int]) -> NestedField:
    return field.model_copy(update={"field_id": next(ids), "field_type": _numbered_type(field.field_type, ids)})


def _numbered_type(type_: IcebergType, ids: Iterator[int]) -> IcebergType:
    match type_:
        case StructType():
            return StructType(*(_numbered(field, ids) for field in type_.fields))
        case ListType():
            element = _numbered(type_.element_field, ids)
            return ListType(element.field_id, element.field_type, element.required)
        case MapType():
            key, value = _numbered(type_.key_field, ids), _numbered(type_.value_field, ids)
            return MapType(key.field_id, key.field_type, value.field_id, value.field_type, value.required)
        case _:
            return type_
