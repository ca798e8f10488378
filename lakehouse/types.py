"""The template's type strings and what they are in Iceberg.

The names are those of the Iceberg specification, https://iceberg.apache.org/spec/#primitive-types;
nested types are written ``list<T>``, ``map<K, V>`` and ``struct<a: T, b: T>``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from pyiceberg import types as ice

PRIMITIVES: dict[str, ice.PrimitiveType] = {
    "boolean": ice.BooleanType(),
    "int": ice.IntegerType(),
    "long": ice.LongType(),
    "float": ice.FloatType(),
    "double": ice.DoubleType(),
    "date": ice.DateType(),
    "time": ice.TimeType(),
    "timestamp": ice.TimestampType(),
    "timestamptz": ice.TimestamptzType(),
    "string": ice.StringType(),
    "uuid": ice.UUIDType(),
    "binary": ice.BinaryType(),
}
_COMMON_MISTAKES = {
    "bool": "boolean",
    "integer": "int",
    "bigint": "long",
    "int32": "int",
    "int64": "long",
    "smallint": "int",
    "float32": "float",
    "float64": "double",
    "real": "float",
    "number": "double",
    "numeric": "decimal(38,9)",
    "decimal": "decimal(38,9)",
    "varchar": "string",
    "char": "string",
    "text": "string",
    "str": "string",
    "datetime": "timestamp",
    "timestamp_tz": "timestamptz",
    "bytes": "binary",
    "fixed": "fixed[16]",
    "array": "list<string>",
    "list": "list<string>",
    "map": "map<string, string>",
    "struct": "struct<a: string>",
    "json": "string",
}
_MAX_DEPTH = 16
_MAX_NUMBER = 2**31 - 1  # Iceberg's and Arrow's lengths are 32-bit integers
FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|[0-9]+|\S)")


class TypeStringError(ValueError):
    """A type string that is not one; the message says where and what would be right."""


class _Parser:
    """Recursive descent over one type string. Field ids are placeholders: 0 everywhere, see ``assign_ids``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [(match.group(1), match.start(1)) for match in _TOKEN.finditer(text)]
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def position(self) -> int:
        return self.tokens[self.at][1] + 1 if self.at < len(self.tokens) else len(self.text) + 1

    def take(self, expected: str) -> None:
        if self.peek() != expected:
            found = repr(self.peek()) if self.peek() else "the end"
            raise TypeStringError(f"expected {expected!r} at character {self.position()} of {self.text!r}, found {found}")
        self.at += 1

    def number(self) -> int:
        token, position = self.peek(), self.position()
        if not (token.isascii() and token.isdigit() and len(token) <= 10 and int(token) <= _MAX_NUMBER):
            raise TypeStringError(f"expected a whole number up to {_MAX_NUMBER} at character {position} of {self.text!r}")
        self.at += 1
        return int(token)

    def parse(self) -> ice.IcebergType:
        result = self.type(1)
        if self.peek():
            raise TypeStringError(f"{self.peek()!r} at character {self.position()} of {self.text!r} follows a complete type")
        return result

    def type(self, depth: int) -> ice.IcebergType:
        name, position = self.peek(), self.position()
        if depth > _MAX_DEPTH:
            raise TypeStringError(f"nested deeper than {_MAX_DEPTH} levels")
        if name == "":
            raise TypeStringError("is empty" if not self.text.strip() else f"a type is missing at the end of {self.text!r}")
        self.at += 1
        following = self.peek()
        if name in PRIMITIVES:
            return PRIMITIVES[name]
        if (name, following) in _PARAMETRISED:
            return _PARAMETRISED[name, following](self, depth)
        hint = _COMMON_MISTAKES.get(name.lower(), name.lower() if name.lower() in PRIMITIVES else None)
        raise TypeStringError(f"unknown type {name!r} at character {position}" + (f"; did you mean {hint!r}?" if hint else ""))

    def decimal(self, _depth: int) -> ice.IcebergType:
        self.take("(")
        precision = self.number()
        self.take(",")
        scale = self.number()
        self.take(")")
        if not 1 <= precision <= 38 or scale > precision:
            raise TypeStringError(f"decimal({precision},{scale}) needs a precision of 1 to 38 and a scale no larger than it")
        return ice.DecimalType(precision, scale)

    def fixed(self, _depth: int) -> ice.IcebergType:
        self.take("[")
        length = self.number()
        self.take("]")
        if length < 1:
            raise TypeStringError("fixed[N] needs a length of at least 1 byte")
        return ice.FixedType(length)

    def list(self, depth: int) -> ice.IcebergType:
        self.take("<")
        element = self.type(depth + 1)
        self.take(">")
        return ice.ListType(0, element, element_required=False)

    def map(self, depth: int) -> ice.IcebergType:
        self.take("<")
        key = self.type(depth + 1)
        self.take(",")
        value = self.type(depth + 1)
        self.take(">")
        return ice.MapType(0, key, 0, value, value_required=False)

    def struct(self, depth: int) -> ice.IcebergType:
        self.take("<")
        fields: dict[str, ice.IcebergType] = {}
        while True:
            name, position = self.peek(), self.position()
            if not FIELD_NAME.match(name):
                raise TypeStringError(f"field name {name!r} at character {position} must match [a-z][a-z0-9_]*")
            if name in fields:
                raise TypeStringError(f"field {name!r} stands twice in one struct")
            self.at += 1
            self.take(":")
            fields[name] = self.type(depth + 1)
            if self.peek() != ",":
                break
            self.take(",")
        self.take(">")
        return ice.StructType(*(ice.NestedField(0, name, type_, required=False) for name, type_ in fields.items()))


_PARAMETRISED: dict[tuple[str, str], Callable[[_Parser, int], ice.IcebergType]] = {
    ("decimal", "("): _Parser.decimal,
    ("fixed", "["): _Parser.fixed,
    ("list", "<"): _Parser.list,
    ("map", "<"): _Parser.map,
    ("struct", "<"): _Parser.struct,
}


@lru_cache(maxsize=4096)
def parse_type(text: str) -> ice.IcebergType:
    """The Iceberg type of a type string. Nested field ids are 0 until a schema assigns them.

    Raises:
        TypeStringError: with the character at which the string stops being a type.
    """
    return _Parser(text).parse()


def type_string(type_: ice.IcebergType) -> str:
    """The type string of an Iceberg type: ``parse_type(type_string(t))`` is ``t`` but for its ids."""
    match type_:
        case ice.ListType():
            return f"list<{type_string(type_.element_type)}>"
        case ice.MapType():
            return f"map<{type_string(type_.key_type)}, {type_string(type_.value_type)}>"
        case ice.StructType():
            return f"struct<{', '.join(f'{field.name}: {type_string(field.field_type)}' for field in type_.fields)}>"
        case ice.DecimalType():
            return f"decimal({type_.precision},{type_.scale})"
        case _:
            return str(type_)


def assign_ids(fields: list[ice.NestedField]) -> list[ice.NestedField]:
    """The same fields with ids 1…n in the order in which a catalog assigns them to a new table.

    All fields of one level come before those nested in them, as in Iceberg's ``TypeUtil.assignFreshIds``.
    """
    counter = iter(range(1, 1_000_000))

    def number_fields(level: list[ice.NestedField]) -> list[ice.NestedField]:
        ids = [next(counter) for _ in level]
        return [
            field.model_copy(update={"field_id": id_, "field_type": number(field.field_type)})
            for field, id_ in zip(level, ids, strict=True)
        ]

    def number(type_: ice.IcebergType) -> ice.IcebergType:
        match type_:
            case ice.StructType():
                return ice.StructType(*number_fields(list(type_.fields)))
            case ice.ListType():
                id_ = next(counter)
                return ice.ListType(id_, number(type_.element_type), element_required=type_.element_required)
            case ice.MapType():
                key, value = next(counter), next(counter)
                return ice.MapType(key, number(type_.key_type), value, number(type_.value_type), value_required=type_.value_required)
            case _:
                return type_

    return number_fields(fields)
