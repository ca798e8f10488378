"""Rules about expressions of many rows, of a row among others, and of parts of nested values. See ``rules.py``."""

from __future__ import annotations

import pyarrow as pa
from sqlglot import exp

from lakehouse.engines.spark.expressions import (
    FLOAT,
    INT,
    NUMBERS,
    RefusedError,
    Rule,
    check_number,
    check_only,
    common,
    family,
    is_literal,
    name_of,
    of_one,
    type_of,
)

_IN_WINDOWS = (
    exp.RowNumber, exp.Rank, exp.DenseRank, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.Sum, exp.Count, exp.Avg, exp.Min, exp.Max,
)  # fmt: skip


def counts(node: exp.Expr) -> pa.DataType:
    check_only(node, "this")
    if isinstance(node.this, exp.Distinct) and len(node.this.expressions) > 1:
        raise RefusedError(node, "count of several columns")
    return INT


def sums(node: exp.Expr) -> pa.DataType:
    type_ = of_one(NUMBERS | {"bool", "real"})(node)
    if family(type_) in ("int", "bool"):
        return INT
    return pa.decimal128(38, type_.scale) if family(type_) == "decimal" else FLOAT


def distinct(node: exp.Expr) -> pa.DataType:
    return type_of(node.expressions[0]) if node.expressions else pa.null()


def quantile(node: exp.Expr) -> pa.DataType:
    if isinstance(node, exp.PercentileCont) and not is_literal(node.expression, text=False):
        raise RefusedError(node, "quantile_cont of a share that is no number")
    return of_one({"int", "float"}, FLOAT, "expression")(node)


def ignores_nulls(node: exp.Expr) -> pa.DataType:
    if not isinstance(node.this, exp.AnyValue):
        raise RefusedError(node, f"{name_of(node)} ignore nulls")
    return type_of(node.this)


def by(node: exp.Expr) -> pa.DataType:
    check_only(node, "this", "expression")
    type_of(node.expression)
    return type_of(node.this)


def window(node: exp.Expr) -> pa.DataType:
    check_only(node, "this", "partition_by", "order", "spec", "over")
    spec = node.args.get("spec")
    if isinstance(node.parent, exp.Select) and node.arg_key == "windows":
        raise RefusedError(node, "a window with a name", "write it at its place")
    if spec is not None:
        is_counted = any(isinstance(spec.args.get(name), exp.Expr) for name in ("start", "end"))
        if (
            spec.args.get("exclude")
            or spec.text("kind").upper() not in ("ROWS", "RANGE")
            or (spec.text("kind").upper() == "RANGE" and is_counted)
        ):
            raise RefusedError(node, f"the frame {spec.sql('duckdb')}", "use rows between …")
    if not isinstance(node.this, _IN_WINDOWS):
        raise RefusedError(node.this, f"{name_of(node.this)} over a window")
    return type_of(node.this)


def only_in_window(result: pa.DataType | None) -> Rule:
    def rule(node: exp.Expr) -> pa.DataType:
        check_only(node, "this", "offset", "default")
        if not isinstance(node.parent, exp.Window):
            raise RefusedError(node, name_of(node), "say over which rows: over (…)")
        if node.args.get("offset") is not None:
            check_number(node.args["offset"], node, 0)
        if result is not None:
            return result
        default = node.args.get("default")
        return common([node.this, *([default] if default is not None else [])], node)

    return rule


def dot(node: exp.Expr) -> pa.DataType:
    type_ = type_of(node.this)
    if not pa.types.is_struct(type_) or not isinstance(node.expression, exp.Identifier):
        raise RefusedError(node, name_of(node))
    found = [field.type for field in type_ if field.name.lower() == node.expression.name.lower()]
    if len(found) != 1:
        raise RefusedError(node, name_of(node))
    return found[0]


def element(node: exp.Expr) -> pa.DataType:
    type_ = type_of(node.this)
    if len(node.expressions) == 1 and isinstance(index := node.expressions[0], exp.Literal):
        if pa.types.is_list(type_) and not index.is_string:
            return type_.value_type
        if pa.types.is_map(type_) and index.is_string and pa.types.is_string(type_.key_type):
            return type_.item_type
    raise RefusedError(node, name_of(node), "give a list a fixed position from 1 on, or a map a fixed text")


def query(node: exp.Expr) -> pa.DataType:
    query = node.this
    while isinstance(query, exp.Subquery):
        query = query.this
    while isinstance(query, exp.SetOperation):
        query = query.this
    return type_of(query.selects[0]) if query.selects else pa.null()
