"""The SQL of a feature table, written once in DuckDB's dialect, as Spark's SQL that gives the same rows; or an error that says why not.

sqlglot reads it and writes it. What DuckDB and Spark would not answer alike is either written so that they do
(``generator.py``), or refused (``expressions.py``); nothing that is not known is let through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from sqlglot import exp, parse_one
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope

from lakehouse.engines.spark.expressions import TYPE, RefusedError, common_type, name_of, type_of
from lakehouse.engines.spark.generator import spark_sql
from lakehouse.engines.spark.rules import STRUCTURE, annotate, check_known
from lakehouse.errors import FeatureSqlError
from lakehouse.feature_sql import FeatureSql, Relations

_LINE = "lakehouse-line"
_EMBEDDED = "LAKEHOUSE_ENGINE=embedded runs it"
_Columns = list[tuple[str, pa.DataType]]


def table_name(table: str) -> str:
    """What the SQL for Spark calls an input, ``namespace.table``: a name that it must be given, e.g. by ``with``."""
    return "input__" + table.replace(".", "__")


def to_spark(sql: FeatureSql, relations: Relations) -> str:
    """The query for Spark, over tables with the names of ``table_name``, and with the parameter ``:day``.

    Raises:
        FeatureSqlError: what it says cannot be had of Spark as DuckDB would give it.
    """
    try:
        return _Query(sql, relations).text()
    except RefusedError as error:
        raise _refused(sql, error) from None
    except ParseError as error:
        line = next((found["line"] for found in error.errors if found.get("line")), 1)
        raise FeatureSqlError(sql.name, line, "it cannot be read for Spark.", f"{_EMBEDDED}, or write it more simply.") from None
    except SqlglotError as error:
        problem = str(error).splitlines()[0].rstrip(".")
        raise FeatureSqlError(
            sql.name, 1, f"it cannot be written for Spark: {problem}.", f"{_EMBEDDED}, or write it more simply."
        ) from None


def _refused(sql: FeatureSql, error: RefusedError) -> FeatureSqlError:
    remedy = f"{_EMBEDDED}{f'; or {error.instead}' if error.instead else ''}."
    return FeatureSqlError(sql.name, _line(error.node), f"Spark does not answer {error.what.rstrip(',')} as DuckDB does.", remedy)


class _Query:
    def __init__(self, sql: FeatureSql, relations: Relations) -> None:
        self._columns: dict[int, _Columns] = {}
        self._tables = {
            table_name(table): [(field.name.lower(), field.type) for field in schema] for table, schema in relations.tables.items()
        }
        self._names = {table.lower(): table_name(table) for table in relations.tables}
        self._names |= {short.lower(): table_name(table) for short, table in relations.short.items()}
        self._output = [name.lower() for name, _ in sql.bind(relations)]
        tree = parse_one(sql.text, dialect="duckdb")
        _note_lines(tree)
        if not isinstance(tree, exp.Query):
            raise RefusedError(tree, "this statement")
        self._tree: exp.Query = tree

    def text(self) -> str:
        for node in self._tree.walk():
            _check_clause(node)
            check_known(node)
        if not (self._tree.args.get("limit") or self._tree.args.get("offset")):
            self._tree.set("order", None)  # a table has none
        for scope in traverse_scope(self._tree):
            for source in scope.sources.values():
                if isinstance(source, exp.Table):
                    self._name(source)
        schema: dict[str, object] = {
            name: dict.fromkeys((column for column, _ in columns), "text") for name, columns in self._tables.items()
        }
        self._tree = qualify(
            self._tree, dialect="duckdb", schema=schema, expand_alias_refs=False, validate_qualify_columns=False, identify=True
        )
        for scope in traverse_scope(self._tree):
            self._annotate(scope)
        for node in self._tree.walk():
            if type(node) not in STRUCTURE and TYPE not in node.meta:
                raise RefusedError(node, name_of(node))
        if [name.lower() for name in self._tree.named_selects] != self._output:
            raise RefusedError(self._tree, "which columns this query gives", "name them one by one")
        return spark_sql(self._tree)

    def _name(self, table: exp.Table) -> None:
        """Gives a table of the SQL the name that it has in Spark."""
        found = self._names.get(".".join(part.name.lower() for part in table.parts))
        if found is None or any(value for key, value in table.args.items() if key not in ("this", "db", "catalog", "alias")):
            raise RefusedError(table, name_of(table))
        if not table.alias:
            table.set("alias", exp.TableAlias(this=table.this.copy()))
        table.set("this", exp.to_identifier(found))
        table.set("db", None)
        table.set("catalog", None)

    def _annotate(self, scope: Scope) -> None:
        for node in reversed(list(scope.walk())):  # what a part is of comes after it
            if isinstance(node, exp.Column) and TYPE not in node.meta:
                node.meta[TYPE] = self._type_of_column(scope, node)
            elif type(node) is exp.Subquery and not _is_value(node):
                node.meta[TYPE] = pa.null()
            else:
                annotate(node)
        query = scope.expression
        if isinstance(query, exp.SetOperation):
            self._columns[id(query)] = self._columns_of_set(query)
        elif isinstance(query, exp.Select):
            self._columns[id(query)] = [(found.alias_or_name.lower(), type_of(found)) for found in query.selects]
            _check_names(scope, [name for columns in self._sources(scope).values() for name, _ in columns])

    def _columns_of_set(self, query: exp.SetOperation) -> _Columns:
        left, right = (self._columns[id(found.unnest())] for found in (query.left, query.right))
        if query.args.get("by_name"):
            if [name for name, _ in left] != [name for name, _ in right]:
                raise RefusedError(query, "union by name of other columns, or in another order,", "name the same columns in the same order")
            query.set("by_name", False)
        if len(left) != len(right):
            raise RefusedError(query, "this union")
        return [(name, common_type([first, second], query)) for (name, first), (_, second) in zip(left, right, strict=True)]

    def _sources(self, scope: Scope) -> dict[str, _Columns]:
        return {name.lower(): self._columns_of(source) for name, source in scope.sources.items()}

    def _columns_of(self, source: Any) -> _Columns:
        if isinstance(source, exp.Table):
            return self._tables.get(source.name, [])
        return self._columns.get(id(source.expression.unnest()), [])

    def _type_of_column(self, scope: Scope, column: exp.Column) -> pa.DataType:
        name, table = column.name.lower(), column.table.lower()
        if not table:  # qualify leaves what is an alias of this very SELECT
            select = scope.expression
            found = [item for item in select.selects if item.alias_or_name.lower() == name] if isinstance(select, exp.Query) else []
            if len(found) != 1 or TYPE not in found[0].meta:
                self._annotate_alias(scope, column, found)
            return type_of(found[0])
        at: Scope | None = scope
        while at is not None:
            for source, columns in self._sources(at).items():
                if source == table:
                    types = [type_ for known, type_ in columns if known == name]
                    if len(types) == 1:
                        column.set("db", None)
                        column.set("catalog", None)
                        return types[0]
            at = at.parent
        raise RefusedError(column, f"the column {column.name}")

    def _annotate_alias(self, scope: Scope, column: exp.Column, found: Sequence[exp.Expr]) -> None:
        """Annotates the expression that a name stands for before its turn."""
        if len(found) != 1 or column in found[0].find_all(exp.Column):
            raise RefusedError(column, f"the column {column.name}", "say of which table it is")
        for node in reversed(list(found[0].walk())):
            if isinstance(node, exp.Query | exp.Subquery):
                raise RefusedError(column, f"the column {column.name}", "write out what it stands for")
            if isinstance(node, exp.Column):
                node.meta.setdefault(TYPE, self._type_of_column(scope, node))
            else:
                annotate(node)


def _is_value(node: exp.Subquery) -> bool:
    """Whether a query in parentheses stands for a value, and not for a table."""
    is_table = exp.From | exp.Join | exp.SetOperation | exp.CTE | exp.Subquery | exp.Exists
    return node.parent is not None and not isinstance(node.parent, is_table)


def _check_clause(node: exp.Expr) -> None:
    """Refuses what is said beside expressions, and means something else, or nothing, to Spark."""
    args = node.args
    if isinstance(node, exp.Join):
        words = {str(args.get(name) or "").upper() for name in ("method", "side", "kind")}
        if not words <= {"", "INNER", "OUTER", "LEFT", "RIGHT", "FULL", "CROSS"}:
            raise RefusedError(node, f"a {' '.join(sorted(words)).strip().lower()} join", "use join … on …, or exists (select …)")
    if isinstance(node, exp.Distinct) and args.get("on"):
        raise RefusedError(node, "distinct on", "use `qualify row_number() over (…) = 1`")
    if isinstance(node, exp.With) and args.get("recursive"):
        raise RefusedError(node, "with recursive")
    if isinstance(node, exp.Limit | exp.Offset) and not (node.parent is not None and node.parent.args.get("order")):
        raise RefusedError(node, "a limit without an order", "say which rows: order by … limit …")
    if isinstance(node, exp.Select | exp.Group):
        known = _OF_SELECT if isinstance(node, exp.Select) else _OF_GROUP
        if others := [name for name, value in args.items() if value and name.strip("_") not in known]:
            raise RefusedError(node, f"the clause {others[0].strip('_')}")


# sqlglot's names of the clauses that mean the same to both.
_OF_SELECT = frozenset("with expressions from joins where group having qualify order limit offset distinct".split())  # noqa: SIM905
_OF_GROUP = frozenset({"expressions", "all"})


def _check_names(scope: Scope, columns: Sequence[str]) -> None:
    """Refuses a name that is both a column and what the SELECT calls another value, where the two may be told apart in other ways."""
    select = scope.expression
    assert isinstance(select, exp.Select)
    aliases = {
        found.alias.lower()
        for found in select.selects
        if isinstance(found, exp.Alias) and not (isinstance(found.this, exp.Column) and found.this.name.lower() == found.alias.lower())
    }
    doubtful = aliases & set(columns)
    for clause in ("having", "qualify", "order"):
        for column in _own_columns(select.args.get(clause)):
            if not column.table and column.name.lower() in doubtful:
                raise RefusedError(column, f"{column.name}, a column and another value by the same name,", "give the value another name")


def _own_columns(clause: exp.Expr | None) -> Iterator[exp.Column]:
    if clause is not None:
        yield from clause.find_all(exp.Column)


def _note_lines(tree: exp.Expr) -> None:
    """Writes to every node the line where it stands: its own, or that of its first part that has one, or of what it is a part of."""
    for node in reversed(list(tree.walk())):
        lines = [found.meta[_LINE] for found in node.iter_expressions() if _LINE in found.meta]
        line = node.meta.get("line") or (min(lines) if lines else None)
        if line is not None:
            node.meta[_LINE] = line
    for node in tree.walk():
        if _LINE not in node.meta:
            node.meta[_LINE] = node.parent.meta[_LINE] if node.parent is not None else 1


def _line(node: exp.Expr) -> int:
    at: exp.Expr | None = node
    while at is not None:
        if _LINE in at.meta:
            return int(at.meta[_LINE])
        at = at.parent
    return 1
