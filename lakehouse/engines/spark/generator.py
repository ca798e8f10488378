"""Writes expressions in Spark's SQL so that they mean what they mean to DuckDB, where sqlglot's own way of writing them would not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.generators.spark import SparkGenerator

from lakehouse.engines.spark.expressions import family, kind_of
from lakehouse.engines.spark.scalars import cast_type

_Write = Callable[[Any, Any], str]
_MICROS = {"hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000}


def _double(self: Any, node: exp.Expr) -> str:
    text = self.sql(node)
    return f"({text})" if kind_of(node) == "float" else f"CAST({text} AS DOUBLE)"


def _time(self: Any, node: exp.Expr) -> str:
    """A date or timestamp as the type that Spark's functions of time know; the session is in UTC."""
    text = self.sql(node)
    return text if kind_of(node) == "timestamptz" else f"CAST({text} AS TIMESTAMP)"


def _date(self: Any, node: exp.Expr) -> str:
    return f"CAST({self.sql(node)} AS DATE)"


def _text(self: Any, node: exp.Expr) -> str:
    return self.sql(node) if kind_of(node) == "text" else f"CAST({self.sql(node)} AS STRING)"


def _div(self: Any, node: exp.Div) -> str:
    """As IEEE 754 has it: no error by zero."""
    over, under = _double(self, node.this), _double(self, node.expression)
    if isinstance(node.expression, exp.Literal) and float(node.expression.name) != 0:
        return f"({over} / {under})"
    # Spark has two zeros, too, and only their texts tell them apart.
    positive = f"(CAST({under} AS STRING) NOT LIKE '-%')" if kind_of(node.expression) == "float" else "TRUE"
    infinite = f"WHEN ({over} > 0D) = {positive} THEN DOUBLE('Infinity') ELSE DOUBLE('-Infinity')"
    by_zero = f"CASE WHEN {over} IS NULL THEN NULL WHEN {over} = 0D OR ISNAN({over}) THEN DOUBLE('NaN') {infinite} END"
    return f"(CASE WHEN {under} = 0D THEN {by_zero} ELSE {over} / NULLIF({under}, 0D) END)"


def _by_zero_null(sign: str) -> _Write:
    return lambda self, node: f"({self.sql(node.this)} {sign} NULLIF({self.sql(node.expression)}, 0))"


def _round(self: Any, node: exp.Round) -> str:
    digits = int(node.args["decimals"].name) if node.args.get("decimals") is not None else 0
    if kind_of(node.this) != "float":
        return f"ROUND({self.sql(node.this)}, {digits})"
    value, power = _double(self, node.this), f"1E{digits}D"
    if not digits:
        return f"ROUND({value}, 0)"
    # As DuckDB does it. Spark's own takes the shortest decimal of the double, which is another number.
    rounded = f"(ROUND({value} * {power}, 0) / {power})"
    return f"(CASE WHEN ISNAN({rounded}) OR ABS({rounded}) = DOUBLE('Infinity') THEN {value} ELSE {rounded} END)"


def _whole(name: str) -> _Write:
    def write(self: Any, node: exp.Expr) -> str:
        value = self.sql(node.this)
        if kind_of(node.this) != "float":
            return f"{name}({value})" if kind_of(node.this) == "decimal" else _double(self, node.this)
        # Spark's gives a whole number of 64 bits; what is larger has no fraction. NaN is larger.
        return f"(CASE WHEN ABS({value}) < 9007199254740992D THEN CAST({name}({value}) AS DOUBLE) ELSE {value} END)"

    return write


def _within(name: str, refused: str) -> _Write:
    def write(self: Any, node: exp.Expr) -> str:
        value = _double(self, node.this)
        error = f"CAST(RAISE_ERROR('{name.lower()} of a number that has none') AS DOUBLE)"
        return f"(CASE WHEN {value} {refused} THEN {error} ELSE {name}({value}) END)"

    return write


def _cast(self: Any, node: exp.Cast) -> str:
    name = "TRY_CAST" if isinstance(node, exp.TryCast) else "CAST"
    found, target, value = kind_of(node.this), cast_type(node), self.sql(node.this)
    if family(target) == "int" and found == "float":
        value = f"RINT({value})"
    if family(target) == "int" and found == "decimal":
        value = f"ROUND({value}, 0)"
    return f"{name}({value} AS {_CASTS.get(node.args['to'].this) or self.sql(node, 'to')})"


_CASTS = {exp.DType.TIMESTAMP: "TIMESTAMP_NTZ", exp.DType.TIMESTAMPNTZ: "TIMESTAMP_NTZ", exp.DType.TIMESTAMPTZ: "TIMESTAMP"}


def _plus(self: Any, node: exp.Add | exp.Sub) -> str:
    sign = "+" if isinstance(node, exp.Add) else "-"
    left, right = self.sql(node.this), self.sql(node.expression)
    if kind_of(node.this) != "date":
        return f"{left} {sign} {right}"
    if isinstance(node.expression, exp.Interval):
        return f"CAST({left} AS TIMESTAMP_NTZ) {sign} {right}"
    if kind_of(node.expression) == "date":
        return f"CAST(DATEDIFF({left}, {right}) AS BIGINT)"
    return f"{'DATE_ADD' if sign == '+' else 'DATE_SUB'}({left}, CAST({right} AS INT))"


def _interval(_: Any, node: exp.Interval) -> str:
    number, unit = int(node.this.name), node.args["unit"].name.upper().removesuffix("S")
    return f"INTERVAL '{number * 3}' MONTH" if unit == "QUARTER" else f"INTERVAL '{number}' {unit}"


def _trunc(self: Any, node: exp.Expr) -> str:
    found = f"DATE_TRUNC('{node.text('unit').upper()}', {_time(self, node.this)})"
    return found if kind_of(node.this) == "timestamptz" else f"CAST({found} AS TIMESTAMP_NTZ)"


def _date_diff(self: Any, node: exp.DateDiff) -> str:
    """How many ends of the unit lie between two times."""
    unit, end, start = node.text("unit").lower(), node.this, node.expression
    if unit == "day":
        return f"CAST(DATEDIFF({_date(self, end)}, {_date(self, start)}) AS BIGINT)"
    if unit in _MICROS:
        first, last = (f"UNIX_MICROS(DATE_TRUNC('{unit.upper()}', {_time(self, found)}))" for found in (start, end))
        return f"(({last} - {first}) DIV {_MICROS[unit]})"
    of_year = {"year": "", "quarter": " * 4 + QUARTER({0})", "month": " * 12 + MONTH({0})"}[unit]
    first, last = (f"YEAR({{0}}){of_year}".format(_date(self, found)) for found in (start, end))
    return f"CAST(({last}) - ({first}) AS BIGINT)"


def _epoch(self: Any, value: exp.Expr) -> str:
    return f"(CAST(UNIX_MICROS({_time(self, value)}) AS DOUBLE) / 1E6D)"


_PARTS = {
    "dow": "(DAYOFWEEK({0}) - 1)",
    "dayofweek": "(DAYOFWEEK({0}) - 1)",
    "isodow": "(WEEKDAY({0}) + 1)",
    "week": "WEEKOFYEAR({0})",
    "doy": "DAYOFYEAR({0})",
    "dayofyear": "DAYOFYEAR({0})",
}


def _part(self: Any, part: str, value: exp.Expr) -> str:
    if part == "epoch":
        return _epoch(self, value)
    of = _time(self, value) if part in _MICROS else _date(self, value)
    return f"CAST({_PARTS.get(part, part.upper() + '({0})').format(of)} AS BIGINT)"


def _named_part(part: str) -> _Write:
    return lambda self, node: _part(self, part, node.this)


_FUNCTIONS = {
    **{name: name.lower() for name in ("Year", "Quarter", "Month", "Week", "Day", "Hour", "Minute", "Second")},
    "DayOfMonth": "day",
    "DayOfWeek": "dow",
    "DayOfWeekIso": "isodow",
    "DayOfYear": "doy",
}


def _element(self: Any, node: exp.Bracket) -> str:
    [index] = node.expressions
    # DuckDB counts from one; sqlglot's tree from zero.
    place = self.sql(index) if index.is_string else str(int(index.name) + 1)
    return f"TRY_ELEMENT_AT({self.sql(node.this)}, {place})"


def _sum(self: Any, node: exp.Sum) -> str:
    is_distinct = isinstance(node.this, exp.Distinct)
    value = node.this.expressions[0] if is_distinct else node.this
    text = f"CAST({self.sql(value)} AS INT)" if kind_of(value) == "bool" else self.sql(value)
    return f"SUM({'DISTINCT ' if is_distinct else ''}{text})"


def _avg(self: Any, node: exp.Avg) -> str:
    if isinstance(node.this, exp.Distinct):
        return f"AVG(DISTINCT {_double(self, node.this.expressions[0])})"
    return f"AVG({_double(self, node.this)})"


def _by(name: str) -> _Write:
    def write(self: Any, node: exp.Expr) -> str:
        value = self.sql(node.this)
        return f"{name}({value}, CASE WHEN {value} IS NOT NULL THEN {self.sql(node.expression)} END)"

    return write


def _length(self: Any, node: exp.Length) -> str:
    name = "CHAR_LENGTH" if kind_of(node.this) in ("text", "null") else "SIZE"
    return f"CAST({name}({self.sql(node.this)}) AS BIGINT)"


def _concat(self: Any, node: exp.Concat) -> str:
    parts = ", ".join(f"COALESCE({_text(self, part)}, '')" for part in node.expressions)
    return f"CONCAT({parts})"


def _concat_ws(self: Any, node: exp.ConcatWs) -> str:
    return f"CONCAT_WS({', '.join(_text(self, part) for part in node.expressions)})"


def _trim(self: Any, node: exp.Trim) -> str:
    return f"TRIM({node.text('position') or 'BOTH'} '{_SPACES}' FROM {self.sql(node.this)})"


def _case(name: str, doubtful: Sequence[tuple[int, int]]) -> _Write:
    characters = "".join(f"{chr(first)}-{chr(last)}" for first, last in doubtful)
    error = f"RAISE_ERROR('{name.lower()}(…) of a character about whose case Spark and DuckDB do not agree')"

    def write(self: Any, node: exp.Expr) -> str:
        value = self.sql(node.this)
        return f"(CASE WHEN {value} RLIKE '[{characters}]' THEN CAST({error} AS STRING) ELSE {name}({value}) END)"

    return write


def _ilike(self: Any, node: exp.ILike) -> str:
    return f"{_lower(self, node)} LIKE {self.sql(exp.Literal.string(node.expression.name.lower()))}"


# What DuckDB trims: Unicode's spaces, and no tab.
_SPACES = "".join(map(chr, [0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000]))
# First and last character of each range where the engines differ: DuckDB makes one of one, and knows an older Unicode.
_lower = _case("LOWER", [(0x130, 0x130), (0x3A3, 0x3A3), (0x1C89, 0x1C89), (0xA7CB, 0xA7CC), (0xA7DA, 0xA7DC), (0x10D50, 0x10D65)])
_upper = _case("UPPER", [
    (0xDF, 0xDF), (0x149, 0x149), (0x19B, 0x19B), (0x1F0, 0x1F0), (0x264, 0x264), (0x390, 0x390), (0x3B0, 0x3B0), (0x587, 0x587),
    (0x1C8A, 0x1C8A), (0x1E96, 0x1E9A), (0x1F50, 0x1F56), (0x1F80, 0x1FFF), (0xA7CD, 0xA7CD), (0xA7DB, 0xA7DB), (0xFB00, 0xFB17),
    (0x10D70, 0x10D85),
])  # fmt: skip


class FeatureGenerator(SparkGenerator):
    """Spark's SQL of a tree whose expressions are annotated, see ``expressions.annotate``."""

    TRANSFORMS: ClassVar[dict[type[exp.Expr], _Write]] = {
        **SparkGenerator.TRANSFORMS,
        exp.Div: _div,
        exp.IntDiv: _by_zero_null("DIV"),
        exp.Mod: _by_zero_null("%"),
        exp.Round: _round,
        exp.Ceil: _whole("CEIL"),
        exp.Floor: _whole("FLOOR"),
        exp.Sqrt: _within("SQRT", "< 0D"),
        exp.Ln: _within("LN", "<= 0D"),
        exp.Exp: lambda self, node: f"EXP({_double(self, node.this)})",
        exp.IsNan: lambda self, node: f"({_double(self, node.this)} = DOUBLE('NaN'))",
        exp.Trim: _trim,
        exp.Lower: _lower,
        exp.Upper: _upper,
        exp.ILike: _ilike,
        exp.Pow: lambda self, node: f"POWER({_double(self, node.this)}, {_double(self, node.expression)})",
        exp.Cast: _cast,
        exp.TryCast: _cast,
        exp.Add: _plus,
        exp.Sub: _plus,
        exp.Interval: _interval,
        exp.DateTrunc: _trunc,
        exp.TimestampTrunc: _trunc,
        exp.DateDiff: _date_diff,
        exp.Extract: lambda self, node: _part(self, node.name.lower(), node.expression),
        exp.TimeToUnix: lambda self, node: _epoch(self, node.this),
        **{getattr(exp, name): _named_part(part) for name, part in _FUNCTIONS.items()},
        exp.Bracket: _element,
        exp.Sum: _sum,
        exp.Avg: _avg,
        exp.ArgMax: _by("MAX_BY"),
        exp.ArgMin: _by("MIN_BY"),
        exp.IgnoreNulls: lambda self, node: f"ANY_VALUE({self.sql(node.this.this)}, TRUE)",
        exp.PercentileCont: lambda self, node: f"PERCENTILE({_double(self, node.this)}, {self.sql(node.expression)})",
        exp.Median: lambda self, node: f"PERCENTILE({_double(self, node.this)}, 0.5)",
        exp.Count: lambda self, node: "COUNT(*)" if node.this is None else f"COUNT({self.sql(node.this)})",
        exp.Length: _length,
        exp.DPipe: lambda self, node: f"CONCAT({_text(self, node.this)}, {_text(self, node.expression)})",
        exp.Concat: _concat,
        exp.ConcatWs: _concat_ws,
        exp.StrPosition: lambda self, node: f"CAST(LOCATE({self.sql(node, 'substr')}, {self.sql(node.this)}) AS BIGINT)",
        exp.EndsWith: lambda self, node: f"ENDSWITH({self.sql(node.this)}, {self.sql(node.expression)})",
        exp.Placeholder: lambda _, __: ":day",
    }


def spark_sql(tree: exp.Expr) -> str:
    """The SQL of an annotated tree."""
    return str(FeatureGenerator(dialect=Spark(), comments=False).generate(tree, copy=False))
