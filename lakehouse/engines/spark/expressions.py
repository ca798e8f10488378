"""Expressions of a feature table's SQL: of which type each is by DuckDB's rules, and what Spark would not answer alike.

DuckDB's dialect is the one that the SQL is written in. Rules are made of what is here; ``rules.py`` names them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import pyarrow as pa
from sqlglot import exp

TYPE = "lakehouse-type"

INT, FLOAT, BOOL, TEXT = pa.int64(), pa.float64(), pa.bool_(), pa.string()

DATE, TIMESTAMP, TIMESTAMPTZ = pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")

NUMBERS, TIMES = frozenset({"int", "decimal", "float"}), frozenset({"date", "timestamp", "timestamptz"})

ISO = {
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "timestamp": re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d{1,6})?)?"),
    "timestamptz": re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d{1,6})?(\+00(:00)?|Z)?)?"),
}

Rule = Callable[[exp.Expr], pa.DataType]


class RefusedError(Exception):
    """What Spark would not answer as DuckDB does.

    Args:
        node: where it stands.
        what: it, as the subject of a sentence.
        instead: what to write; empty where there is nothing.
    """

    def __init__(self, node: exp.Expr, what: str, instead: str = "") -> None:
        self.node, self.what, self.instead = node, what, instead
        super().__init__(what)


def family(type_: pa.DataType) -> str:
    """The kind of type that rules speak of. ``real`` is a float of 32 bits, which the two engines widen differently."""
    kinds = pa.types
    if kinds.is_timestamp(type_):
        return "timestamptz" if type_.tz else "timestamp"
    if isinstance(type_, pa.UuidType):
        return "uuid"
    tests: list[tuple[Callable[[pa.DataType], bool], str]] = [
        (kinds.is_integer, "int"),
        (kinds.is_float64, "float"),
        (kinds.is_float32, "real"),
        (kinds.is_decimal, "decimal"),
        (kinds.is_boolean, "bool"),
        (kinds.is_string, "text"),
        (kinds.is_date, "date"),
        (kinds.is_null, "null"),
        (kinds.is_struct, "struct"),
        (kinds.is_list, "list"),
        (kinds.is_map, "map"),
    ]
    return next((name for test, name in tests if test(type_)), "bytes")


def type_of(node: exp.Expr) -> pa.DataType:
    """The type of an expression that ``annotate`` has seen. Raises RefusedError where it has none."""
    found = node.meta.get(TYPE)
    if found is None:
        raise RefusedError(node, f"{name_of(node)} at this place")
    return found


def kind_of(node: exp.Expr) -> str:
    """The family of an expression's type."""
    return family(type_of(node))


def name_of(node: exp.Expr) -> str:
    """What people call an expression: ``strftime(…)``, or the SQL of what is no function."""
    if isinstance(node, exp.Anonymous):
        return f"{node.name.lower()}(…)"
    text = node.sql("duckdb")
    if isinstance(node, exp.Func) and (called := re.match(r"(\w+)\(", text)) and not isinstance(node, exp.Cast | exp.Case):
        return f"{called[1].lower()}(…)"
    return text if len(text) <= 60 else f"{text[:59]}…"


def common(nodes: Iterable[exp.Expr], of: exp.Expr) -> pa.DataType:
    """The type that values of several types become where one of them is chosen."""
    return common_type([type_of(node) for node in nodes], of)


def common_type(types: list[pa.DataType], of: exp.Expr) -> pa.DataType:
    """See ``common``."""
    known = [type_ for type_ in types if not pa.types.is_null(type_)]
    kinds = {family(type_) for type_ in known}
    if not known:
        return pa.null()
    if kinds == {"decimal"} or kinds == {"decimal", "int"}:
        return pa.decimal128(38, max(getattr(type_, "scale", 0) for type_ in known))
    if kinds <= NUMBERS:
        return FLOAT if "float" in kinds else INT
    if len(kinds) == 1:
        return known[0]
    if kinds == {"date", "timestamp"}:
        return TIMESTAMP
    raise RefusedError(of, f"{name_of(of)}, which mixes {' and '.join(sorted(kinds))},", "cast them to one type")


def is_literal(node: exp.Expr, text: bool) -> bool:
    while isinstance(node, exp.Paren):
        node = node.this
    return isinstance(node, exp.Literal) and bool(node.is_string) == text


def check_comparable(left: exp.Expr, right: exp.Expr, of: exp.Expr, ordered: bool = True) -> None:
    kinds = {kind_of(left), kind_of(right)} - {"null"}
    for literal, other in ((left, right), (right, left)):
        if is_literal(literal, text=True) and kind_of(other) in ISO:
            if ISO[kind_of(other)].fullmatch(literal.name):
                return
            raise RefusedError(of, f"{name_of(of)} with a text that is no ISO {kind_of(other)}", "write it as '2024-01-31'")
    if kinds <= NUMBERS or kinds <= TIMES:
        return
    nested = kinds & {"struct", "list", "map", "bytes"}
    if len(kinds) == 1 and not nested:
        return
    if nested and ordered:
        raise RefusedError(of, f"{name_of(of)}, which compares nested values,", "compare their parts")
    raise RefusedError(of, f"{name_of(of)}, which compares {' with '.join(sorted(kinds))},", "cast them to one type")


def check_only(node: exp.Expr, *names: str) -> None:
    """Refuses what an expression says besides these arguments."""
    known = {*names, "big_int", "safe", "typed", "coalesce", "ignore_nulls", "date_part_boundary", "nulls_last"}
    if others := [name for name, value in node.args.items() if value not in (None, False, []) and name not in known]:
        raise RefusedError(node, f"{name_of(node)} with {', '.join(others)}")


def of_one(kinds: Iterable[str], result: pa.DataType | None = None, *arguments: str) -> Rule:
    """A function of one value whose type is among ``kinds``; ``arguments`` are whatever further ones it may have."""
    allowed = frozenset(kinds) | {"null"}

    def rule(node: exp.Expr) -> pa.DataType:
        check_only(node, "this", *arguments)
        if kind_of(node.this) not in allowed:
            instead = "cast it to double" if kind_of(node.this) in ("real", "decimal") and "float" in allowed else ""
            raise RefusedError(node, f"{name_of(node)} of a {kind_of(node.this)}", instead)
        return type_of(node.this) if result is None else result

    return rule


def check_number(node: exp.Expr | None, of: exp.Expr, least: int) -> None:
    if not isinstance(node, exp.Literal) or node.is_string or not node.name.isdigit() or int(node.name) < least:
        raise RefusedError(of, f"{name_of(of)} with something else than a number from {least} on")


def inner(node: exp.Expr) -> pa.DataType:
    return type_of(node.this)


def always(result: pa.DataType) -> Rule:
    return lambda _: result
