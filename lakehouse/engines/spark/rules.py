"""Which expressions of a feature table's SQL Spark takes, and of which type each is.

What is not named here is refused: sqlglot would write it for Spark all the same, and it could mean something else there.
``generator.py`` writes what is taken; a test runs each on both engines.
"""

from __future__ import annotations

import pyarrow as pa
from sqlglot import exp

from lakehouse.engines.spark import aggregates as rows
from lakehouse.engines.spark import scalars
from lakehouse.engines.spark.expressions import (
    BOOL,
    DATE,
    FLOAT,
    INT,
    NUMBERS,
    TEXT,
    TIMES,
    TYPE,
    RefusedError,
    Rule,
    always,
    inner,
    name_of,
    of_one,
)

_BOOLS, _SIMPLE = of_one({"bool"}, BOOL), of_one({"int", "decimal", "float", "real", "bool", "text", "uuid"} | TIMES)

_OF_TIME = of_one(TIMES, INT)

_FLOATS = of_one(NUMBERS, FLOAT)

RULES: dict[type[exp.Expr], Rule] = {
    exp.Literal: scalars.number,
    exp.Boolean: always(BOOL),
    exp.Null: always(pa.null()),
    exp.Placeholder: always(DATE),
    exp.Star: always(pa.null()),
    exp.Alias: inner,
    exp.Paren: inner,
    exp.Subquery: rows.query,
    exp.Exists: always(BOOL),
    exp.Dot: rows.dot,
    exp.Bracket: rows.element,
    **dict.fromkeys((exp.Cast, exp.TryCast), scalars.cast),
    **dict.fromkeys((exp.Case, exp.If), scalars.chooses),
    **dict.fromkeys((exp.Coalesce, exp.Greatest, exp.Least), scalars.first_of),
    exp.Nullif: scalars.nullif,
    # What is true of values.
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ), scalars.compares),
    exp.Between: scalars.is_between,
    exp.In: scalars.is_in,
    exp.Is: always(BOOL),
    **dict.fromkeys((exp.And, exp.Or), scalars.connects),
    exp.Not: _BOOLS,
    **dict.fromkeys((exp.Like, exp.ILike), scalars.like),
    # Numbers.
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul), scalars.arithmetic),
    exp.Div: scalars.divides,
    **dict.fromkeys((exp.IntDiv, exp.Mod), scalars.divides_whole),
    exp.Neg: of_one(NUMBERS),
    exp.Abs: of_one(NUMBERS),
    exp.Round: scalars.rounds,
    **dict.fromkeys((exp.Ceil, exp.Floor), scalars.whole),
    **dict.fromkeys((exp.Sqrt, exp.Ln, exp.Exp), _FLOATS),
    exp.Pow: scalars.of_two_numbers,
    exp.IsNan: of_one({"float"}, BOOL),
    # Texts.
    **dict.fromkeys((exp.DPipe, exp.Concat, exp.ConcatWs), scalars.texts),
    **dict.fromkeys((exp.StartsWith, exp.EndsWith, exp.Contains), scalars.of_texts(BOOL)),
    exp.StrPosition: scalars.of_texts(INT),
    exp.Replace: scalars.of_texts(TEXT),
    **dict.fromkeys((exp.Lower, exp.Upper), of_one({"text"})),
    exp.Length: of_one({"text", "list", "map"}, INT),
    exp.Trim: of_one({"text"}, None, "position"),
    **dict.fromkeys((exp.Substring, exp.Left, exp.Right), scalars.part_of_text),
    # Times.
    exp.Interval: scalars.interval,
    **dict.fromkeys((exp.DateTrunc, exp.TimestampTrunc), scalars.truncates),
    exp.DateDiff: scalars.differs,
    exp.Extract: scalars.extracts,
    **dict.fromkeys(
        (exp.Year, exp.Quarter, exp.Month, exp.Week, exp.Day, exp.DayOfMonth, exp.DayOfWeek, exp.DayOfWeekIso, exp.DayOfYear), _OF_TIME
    ),
    **dict.fromkeys((exp.Hour, exp.Minute, exp.Second), of_one({"timestamp", "timestamptz"}, INT)),
    exp.TimeToUnix: of_one(TIMES, FLOAT),
    # Of many rows.
    exp.Count: rows.counts,
    exp.Sum: rows.sums,
    exp.Avg: of_one(NUMBERS | {"real"}, FLOAT),
    **dict.fromkeys((exp.Min, exp.Max), _SIMPLE),
    exp.AnyValue: of_one({"int", "decimal", "float", "real", "bool", "text", "uuid"} | TIMES),
    exp.IgnoreNulls: rows.ignores_nulls,
    **dict.fromkeys((exp.ArgMax, exp.ArgMin), rows.by),
    **dict.fromkeys((exp.PercentileCont, exp.Median), rows.quantile),
    **dict.fromkeys((exp.Stddev, exp.StddevSamp, exp.StddevPop, exp.Variance, exp.VariancePop), of_one(NUMBERS | {"real"}, FLOAT)),
    **dict.fromkeys((exp.LogicalAnd, exp.LogicalOr), _BOOLS),
    exp.Filter: inner,
    exp.Distinct: rows.distinct,
    # Of a row among others.
    exp.Window: rows.window,
    **dict.fromkeys((exp.RowNumber, exp.Rank, exp.DenseRank), rows.only_in_window(INT)),
    **dict.fromkeys((exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue), rows.only_in_window(None)),
}

# What has no type; ``transpile.py`` looks at what of these is taken.
STRUCTURE: frozenset[type[exp.Expr]] = frozenset(
    {
        *(exp.Select, exp.Union, exp.Except, exp.Intersect, exp.With, exp.CTE, exp.From, exp.Table, exp.TableAlias, exp.Join),
        *(exp.Where, exp.Group, exp.Having, exp.Qualify, exp.Order, exp.Ordered, exp.Limit, exp.Offset),
        *(exp.Identifier, exp.Var, exp.DataType, exp.DataTypeParam, exp.WindowSpec),
    }
)
# What to write for what is refused.
_INSTEAD: dict[type[exp.Expr], str] = {
    exp.CountIf: "use count(*) filter (where …)",
    exp.First: "use any_value(…), or arg_min(…, …) by what puts rows into order",
    exp.Last: "use arg_max(…, …) by what puts rows into order",
    exp.RegexpLike: "use like, starts_with or contains",
    exp.Log: "use ln(…) / ln(10)",
    exp.Sign: "use case when … > 0 then 1 … end",
}


def check_known(node: exp.Expr) -> None:
    """Raises RefusedError for an expression that no rule is about."""
    if type(node) not in STRUCTURE and type(node) not in RULES and type(node) is not exp.Column:
        raise RefusedError(node, name_of(node), _INSTEAD.get(type(node), ""))


def annotate(node: exp.Expr) -> None:
    """Notes the type of an expression whose parts have theirs. Raises RefusedError where Spark would answer otherwise."""
    check_known(node)
    if type(node) not in STRUCTURE and TYPE not in node.meta:
        node.meta[TYPE] = RULES[type(node)](node)
