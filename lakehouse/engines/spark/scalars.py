"""Rules about expressions of one row: comparisons, numbers, texts, times, casts. See ``rules.py``."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa
from sqlglot import exp

from lakehouse.engines.spark.expressions import (
    BOOL,
    DATE,
    FLOAT,
    INT,
    ISO,
    NUMBERS,
    TEXT,
    TIMES,
    TIMESTAMP,
    TIMESTAMPTZ,
    RefusedError,
    Rule,
    check_comparable,
    check_number,
    check_only,
    common,
    family,
    is_literal,
    kind_of,
    name_of,
    of_one,
    type_of,
)

_AS_TEXT = frozenset({"text", "int", "bool", "date", "decimal", "timestamp", "uuid", "null"})

_CASTS = {
    "int": {"int", "decimal", "float", "text"},
    "decimal": {"int", "decimal", "text"},
    "float": {"int", "float"},
    "real": {"real", "float"},
    "bool": {"bool", "int", "text"},
    "text": {"text", "int", "decimal", "float"},
    "date": {"date", "timestamp", "timestamptz", "text"},
    "timestamp": {"date", "timestamp", "timestamptz", "text"},
    "timestamptz": {"date", "timestamp", "timestamptz"},
    "uuid": {"uuid", "text"},
    "null": {"int", "decimal", "float", "bool", "text", "date", "timestamp", "timestamptz"},
}

_CAST_TYPES = {
    exp.DType.TINYINT: INT,
    exp.DType.SMALLINT: INT,
    exp.DType.INT: INT,
    exp.DType.BIGINT: INT,
    exp.DType.DOUBLE: FLOAT,
    exp.DType.BOOLEAN: BOOL,
    exp.DType.TEXT: TEXT,
    exp.DType.VARCHAR: TEXT,
    exp.DType.DATE: DATE,
    exp.DType.TIMESTAMP: TIMESTAMP,
    exp.DType.TIMESTAMPNTZ: TIMESTAMP,
    exp.DType.TIMESTAMPTZ: TIMESTAMPTZ,
}

UNITS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")

PARTS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second", "dow", "dayofweek", "isodow", "doy", "dayofyear", "epoch")


def compares(node: exp.Expr) -> pa.DataType:
    check_comparable(node.this, node.expression, node)
    return BOOL


def is_between(node: exp.Expr) -> pa.DataType:
    for bound in (node.args["low"], node.args["high"]):
        check_comparable(node.this, bound, node)
    return BOOL


def is_in(node: exp.Expr) -> pa.DataType:
    check_only(node, "this", "expressions", "query")
    query = node.args.get("query")
    if query is not None and not _is_condition(node):
        # Elsewhere Spark says false where the answer is null.
        raise RefusedError(node, f"{name_of(node.this)} in (select …) at this place", "use exists (select …)")
    for other in node.expressions if query is None else [query]:
        check_comparable(node.this, other, node)
    return BOOL


def _is_condition(node: exp.Expr) -> bool:
    """Whether rows stay for which this is true, or, after a NOT, those for which it is false."""
    at = node.parent
    while isinstance(at, exp.Paren):
        at = at.parent
    if isinstance(at, exp.Not):
        at = at.parent
    while isinstance(at, exp.Paren | exp.And):
        at = at.parent
    return isinstance(at, exp.Where) and isinstance(at.parent, exp.Select)


def connects(node: exp.Expr) -> pa.DataType:
    if not {kind_of(node.this), kind_of(node.expression)} <= {"bool", "null"}:
        raise RefusedError(node, f"{name_of(node)} of what is no boolean")
    return BOOL


def arithmetic(node: exp.Expr) -> pa.DataType:
    left, right = kind_of(node.this), kind_of(node.expression)
    is_sum = isinstance(node, exp.Add | exp.Sub)
    if is_sum and isinstance(node.expression, exp.Interval) and left in TIMES:
        return TIMESTAMPTZ if left == "timestamptz" else TIMESTAMP
    if is_sum and (left, right) == ("date", "int"):
        return DATE
    if isinstance(node, exp.Sub) and (left, right) == ("date", "date"):
        return INT
    if {left, right} <= NUMBERS | {"null"}:
        if isinstance(node, exp.Mul) and (left, right) == ("decimal", "decimal"):
            return pa.decimal128(38, min(38, type_of(node.this).scale + type_of(node.expression).scale))
        return common([node.this, node.expression], node)
    instead = "use date_diff('second', …, …)" if {left, right} <= TIMES else "cast them to numbers"
    raise RefusedError(node, f"{name_of(node)}, of {left} and {right},", instead)


def divides(node: exp.Expr) -> pa.DataType:
    if not {kind_of(node.this), kind_of(node.expression)} <= NUMBERS | {"null"}:
        raise RefusedError(node, name_of(node), "cast both to double")
    return FLOAT


def divides_whole(node: exp.Expr) -> pa.DataType:
    kinds = {kind_of(node.this), kind_of(node.expression)}
    if kinds - {"null"} == {"int"}:
        return INT
    if isinstance(node, exp.Mod) and kinds <= {"int", "decimal"}:
        return common([node.this, node.expression], node)
    raise RefusedError(node, name_of(node), "cast both to whole numbers")


def interval(node: exp.Expr) -> pa.DataType:
    unit = node.args.get("unit")
    name = unit.name.lower().removesuffix("s") if isinstance(unit, exp.Var) else ""
    is_operand = isinstance(node.parent, exp.Add | exp.Sub) and node.arg_key == "expression"
    if not is_operand or name not in UNITS or not isinstance(node.this, exp.Literal) or not node.this.name.isdigit():
        raise RefusedError(node, f"the interval {node.sql('duckdb')} here", "add to a time, or take off it, `interval 2 day`")
    return pa.duration("us")


def number(node: exp.Expr) -> pa.DataType:
    if node.is_string:
        return TEXT
    text = node.name.lower()
    if re.fullmatch(r"\d+", text) and int(text) < 2**63:
        return INT
    if re.fullmatch(r"\d*\.\d*", text) and len(text) <= 38:
        return pa.decimal128(38, len(text.partition(".")[2]))
    if re.fullmatch(r"(\d+\.?\d*|\.\d+)e[+-]?\d+", text):
        return FLOAT
    raise RefusedError(node, f"the number {node.name}")


def cast_type(node: exp.Expr) -> pa.DataType:
    """The type that a cast names. Raises RefusedError for one that Spark lacks, or whose size the engines do not agree about."""
    to = node.args["to"]
    if to.this == exp.DType.DECIMAL and to.expressions:
        sizes = [int(found.name) for found in to.expressions]
        return pa.decimal128(sizes[0], sizes[1] if len(sizes) > 1 else 0)
    if to.this not in _CAST_TYPES:
        remedy = "write decimal(18, 3)" if to.this == exp.DType.DECIMAL else "cast to smallint, int, bigint, decimal(p, s) or double"
        raise RefusedError(node, f"a cast to {to.sql('duckdb').lower()}", remedy)
    return _CAST_TYPES[to.this]


def cast(node: exp.Expr) -> pa.DataType:
    check_only(node, "this", "to")
    found, target = kind_of(node.this), cast_type(node)
    kind = family(target)
    what = f"a cast of {found} to {node.args['to'].sql('duckdb').lower()}"
    if is_literal(node.this, text=True) and kind in ISO:
        if not ISO[kind].fullmatch(node.this.name):
            raise RefusedError(node, f"{name_of(node)}, of a text that is not ISO,", "write it as '2024-01-31'")
    elif kind not in _CASTS.get(found, ()):
        instead = "round(x, 2) keeps it a double" if (found, kind) == ("float", "decimal") else ""
        raise RefusedError(node, what, instead)
    elif isinstance(node, exp.TryCast) and not (found in NUMBERS and kind == "int"):
        raise RefusedError(node, f"try_cast from {found} to {kind}", "have the column of that type in its table")
    return target


def chooses(node: exp.Expr) -> pa.DataType:
    if isinstance(node, exp.Case):
        for branch in node.args["ifs"]:
            if node.this is not None:
                check_comparable(node.this, branch.this, node)
            elif kind_of(branch.this) not in ("bool", "null"):
                raise RefusedError(node, f"{name_of(node)} with a condition that is no boolean")
        default = node.args.get("default")
        return common([*(branch.args["true"] for branch in node.args["ifs"]), *([default] if default is not None else [])], node)
    if isinstance(node.parent, exp.Case) and node.arg_key == "ifs":
        return type_of(node.args["true"])
    if kind_of(node.this) not in ("bool", "null"):
        raise RefusedError(node, f"{name_of(node)} with a condition that is no boolean")
    return common([node.args[name] for name in ("true", "false") if node.args.get(name) is not None], node)


def first_of(node: exp.Expr) -> pa.DataType:
    check_only(node, "this", "expressions")
    return common([node.this, *node.expressions], node)


def nullif(node: exp.Expr) -> pa.DataType:
    check_comparable(node.this, node.expression, node)
    return type_of(node.this)


def texts(node: exp.Expr) -> pa.DataType:
    check_only(node, "this", "expression", "expressions")
    for part in [node.args.get("this"), node.args.get("expression"), *node.expressions]:
        if isinstance(part, exp.Expr) and kind_of(part) not in _AS_TEXT:
            raise RefusedError(part, f"{name_of(part)}, a {kind_of(part)}, as text")
    return TEXT


def of_texts(result: pa.DataType) -> Rule:
    def rule(node: exp.Expr) -> pa.DataType:
        check_only(node, "this", "expression", "replacement", "substr")
        for part in node.iter_expressions():
            if kind_of(part) not in ("text", "null"):
                raise RefusedError(node, f"{name_of(node)} of a {kind_of(part)}", "cast it to varchar")
        if isinstance(node, exp.Replace) and not (is_literal(node.expression, text=True) and node.expression.name):
            raise RefusedError(node, f"{name_of(node)} of something else than a fixed text")
        return result

    return rule


def like(node: exp.Expr) -> pa.DataType:
    pattern = node.expression
    if not isinstance(pattern, exp.Literal) or "\\" in pattern.name or kind_of(node.this) not in ("text", "null"):
        raise RefusedError(node, name_of(node), "give it a fixed pattern without a backslash")
    if isinstance(node, exp.ILike) and not pattern.name.isascii():
        raise RefusedError(node, name_of(node), "give it a pattern of ASCII characters")
    return BOOL


def part_of_text(node: exp.Expr) -> pa.DataType:
    check_only(node, "this", "start", "length", "expression")
    if isinstance(node, exp.Substring):
        check_number(node.args["start"], node, 1)
    if (size := node.args.get("length") or node.args.get("expression")) is not None:
        check_number(size, node, 0)
    return of_one({"text"}, TEXT, "start", "length", "expression")(node)


def rounds(node: exp.Expr) -> pa.DataType:
    check_only(node, "this", "decimals")
    digits = node.args.get("decimals")
    if digits is not None:
        check_number(digits, node, 0)
    if kind_of(node.this) == "decimal":
        return pa.decimal128(38, min(type_of(node.this).scale, int(digits.name) if digits is not None else 0))
    return of_one({"float", "decimal"}, FLOAT, "decimals")(node)


def whole(node: exp.Expr) -> pa.DataType:
    return pa.decimal128(38, 0) if kind_of(node.this) == "decimal" else of_one({"int", "float"}, FLOAT)(node)


def of_two_numbers(node: exp.Expr) -> pa.DataType:
    if not {kind_of(node.this), kind_of(node.expression)} <= NUMBERS | {"null"}:
        raise RefusedError(node, name_of(node), "cast both to double")
    return FLOAT


def truncates(node: exp.Expr) -> pa.DataType:
    check_only(node, "this", "unit")
    _unit(node, UNITS)
    kind = kind_of(node.this)
    if kind not in TIMES:
        raise RefusedError(node, f"date_trunc of a {kind}")
    return TIMESTAMPTZ if kind == "timestamptz" else TIMESTAMP


def _unit(node: exp.Expr, known: Iterable[str]) -> None:
    if node.text("unit").lower() not in known:
        raise RefusedError(
            node, f"{name_of(node)} by {node.text('unit').lower() or 'a unit that is not fixed'}", f"use one of {', '.join(known)}"
        )


def differs(node: exp.Expr) -> pa.DataType:
    check_only(node, "this", "expression", "unit")
    # Weeks are counted from days that the engines do not agree about.
    _unit(node, [unit for unit in UNITS if unit != "week"])
    if not {kind_of(node.this), kind_of(node.expression)} <= TIMES:
        raise RefusedError(node, "date_diff of what is no time", "cast it to date or timestamp")
    return INT


def extracts(node: exp.Expr) -> pa.DataType:
    part = node.name.lower()
    if part not in PARTS or kind_of(node.expression) not in TIMES:
        raise RefusedError(node, f"the part {part} of a {kind_of(node.expression)}", f"use one of {', '.join(PARTS)}")
    return FLOAT if part == "epoch" else INT
