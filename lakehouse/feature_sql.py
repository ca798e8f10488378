"""The SQL of a feature table, looked at and never run: which columns it reads, what it gives, whether it can be run at all."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from lakehouse.duck import quoted
from lakehouse.errors import FeatureSqlError
from lakehouse.template import TableTemplate

PARAMETER = "day"
# What gives another answer the next time. Some stand without parentheses, like columns.
_CLOCK_AND_DICE = frozenset(
    """
    current_date current_localtime current_localtimestamp current_time current_timestamp gen_random_uuid get_current_time
    get_current_timestamp localtime localtimestamp nextval now random sample setseed today transaction_timestamp
    uuid uuidv4 uuidv7
    """.split()  # noqa: SIM905
)
_LOOKS = ("describe", "desc", "show", "summarize")  # to DuckDB queries, which can stand in no other
_TOKEN = re.compile(rb"\$?\w+|[^\w\s]")
_ONE_AT_A_TIME = threading.RLock()
DICE = frozenset("gen_random_uuid nextval random sample setseed uuid uuidv4 uuidv7".split())  # noqa: SIM905
_RUNS_TEXT = ("query", "query_table")
_ERROR = re.compile(r"(?:[A-Z]\w+(?: \w+)* Error: )?(?P<body>.*?)(?:\n\nLINE (?P<line>\d+):.*)?\Z", re.DOTALL)
_SUGGESTION = re.compile(r"Candidate bindings: .*|Did you mean \"(?!pg_|duckdb_|sqlite_|information_schema).*")


@dataclass(frozen=True)
class Relations:
    """The tables that a SQL may name, as ``namespace.table``, and what each is called without the namespace."""

    tables: Mapping[str, pa.Schema]
    short: Mapping[str, str]

    @classmethod
    def of(cls, template: TableTemplate, tables: Mapping[str, pa.Schema]) -> Relations:
        """Those of a feature table. Its own namespace comes first; a name that may mean several is none."""
        names = {table.split(".")[1] for table in tables}
        found = {name: template.named(name, tables.keys()) for name in sorted(names)}
        return cls(tables, {name: tables[0] for name, tables in found.items() if len(tables) == 1})


class FeatureSql:
    """One SQL file.

    Attributes:
        name: the file's, as messages have it.
        text: its one statement.
        parameters: the names for the day, as they are written; at most one.

    Raises:
        FeatureSqlError: it cannot be read, or is not one SELECT statement with no parameter but ``$day``.
    """

    def __init__(self, template: TableTemplate) -> None:
        assert template.feature_table is not None
        self.name = template.feature_table.sql
        try:
            text = (template.path.parent / self.name).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise FeatureSqlError(self.name, 1, f"it cannot be read: {error}.", "Make it a readable file of UTF-8 text.") from None
        with _errors(self.name):
            statements = _looker().cursor().extract_statements(text)
        tokens = _tokens(text)
        firsts = [token for before, token in zip([(1, ";"), *tokens], tokens, strict=False) if before[1] == ";" != token[1]]
        words = [word.lower() for _, word in tokens if word.isalpha()]
        is_query = len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT
        if not is_query or (words and words[0] in _LOOKS):
            raise FeatureSqlError(self.name, *_no_query(firsts, words))
        self.text = _without_semicolons(text)
        self.parameters = sorted(statements[0].named_parameters)
        if others := [name for name in self.parameters if name.lower() != PARAMETER]:
            shown = ", ".join(f"${name}" for name in others)
            raise FeatureSqlError(self.name, self._line_of(others[0]), f"{shown} has no value.", "The only parameter is $day.")

    def values(self, day: date) -> dict[str, date]:
        """The parameters' values."""
        return dict.fromkeys(self.parameters, day)

    def bind(self, relations: Relations) -> list[tuple[str, pa.DataType]]:
        """Name and type of each column that the SQL gives over such tables. A uuid is one, though DuckDB hands it over as text.

        Raises:
            FeatureSqlError: it names what is not there, or types do not fit.
        """
        values = self.values(date(2024, 1, 1))
        with _tables(relations) as connection, _errors(self.name):
            described = connection.execute(f"describe {self.text}", values).fetchall()
            with connection.execute(f"select * from ({self.text}\n) limit 0", values).to_arrow_reader(1) as reader:
                types = reader.schema.types
        return [(name, pa.uuid() if found == "UUID" else type_) for (name, found, *_), type_ in zip(described, types, strict=True)]

    def columns_read(self, relations: Relations) -> dict[str, list[str]]:
        """The columns of each table that the SQL may read: those that it names, or all where it may mean all."""
        nodes = list(_nodes(self._tree()))
        named = {text.lower() for node in nodes for text in _texts(node)}
        everything = not nodes or _means_all(nodes)
        return {
            table: [name for name in schema.names if everything or name.lower() in named] or schema.names[:1]
            for table, schema in relations.tables.items()
        }

    def clock_and_dice(self) -> list[tuple[int, str]]:
        """Line and name of what the SQL calls that depends on when it is run, or on chance."""
        found: list[tuple[int, str]] = []
        for node in _nodes(self._tree()):
            name = _called(node)
            if name in _CLOCK_AND_DICE or (name == "age" and len(node["children"]) == 1):  # until today
                before = self.text.encode()[: node.get("query_location", 0)]
                found.append((before.count(b"\n") + 1, name))
        return sorted(set(found))

    def _tree(self) -> Any:
        """DuckDB's syntax tree; empty for the few statements that it cannot show, such as a PIVOT."""
        row = _looker().cursor().execute("select json_serialize_sql(?)", [self.text]).fetchone()
        return json.loads(row[0]).get("statements", []) if row else []

    def _line_of(self, parameter: str) -> int:
        tokens = _tokens(self.text)
        names = ("$" + parameter, *(["?"] if parameter.isdigit() else []))
        return next((line for line, token in tokens if token in names), 1)


def _tokens(text: str) -> list[tuple[int, str]]:
    """Line and text of each word and sign, up to where the next one may begin; comments are none."""
    data = text.encode()
    positions = [position for position, _ in duckdb.tokenize(text)]
    found = [(position, _TOKEN.match(data, position)) for position in positions]
    return [(data.count(b"\n", 0, position) + 1, match[0].decode()) for position, match in found if match]


def _no_query(firsts: Sequence[tuple[int, str]], words: Sequence[str]) -> tuple[int, str, str]:
    """The line, what it is, and the remedy for what is not one SELECT statement: each one's first word, and all words."""
    remedy = "Write one query; `with` names its parts."
    if not firsts:
        return 1, "it is empty.", remedy
    if len(firsts) > 1:
        return firsts[1][0], "a second statement begins here.", remedy
    if "pivot" in words:
        return firsts[0][0], "the columns of its PIVOT depend on the rows.", "Name the values: `pivot … on column in ('a', 'b')`."
    return firsts[0][0], f"it is a {words[0].upper() if words else firsts[0][1]} statement, and no SELECT.", remedy


def _without_semicolons(text: str) -> str:
    """The text of one statement, which may stand in another one, with every character at its place."""
    characters = bytearray(text.encode())
    for position, _ in duckdb.tokenize(text):
        if characters[position] == ord(";"):
            characters[position] = ord(" ")
    return characters.decode()


def explained(file: str, error: Exception) -> FeatureSqlError:
    """One of DuckDB's errors as what is wrong, in which line, and its own suggestion."""
    match = _ERROR.match(str(error).strip())
    assert match is not None
    lines = [line.strip() for line in match["body"].splitlines() if line.strip()]
    problem = (lines[0] if lines else type(error).__name__).rstrip("!.")
    suggestion = _SUGGESTION.search(match["body"])
    if "file system operations are disabled" in problem:
        remedy = "A feature table reads its pipeline's inputs and nothing else."
    elif "Unsupported Arrow type" in problem:
        remedy = "Cast it to a type that a table can have."
    elif problem.startswith("Table with name"):
        remedy = " ".join(["Correct the name, or add the table to pipeline.inputs.", *([suggestion[0]] if suggestion else [])])
    else:
        remedy = suggestion[0].rstrip(".") + "." if suggestion else "Correct it."
    return FeatureSqlError(file, int(match["line"] or 1), f"{problem}.", remedy.replace("?.", "?"))


@cache
def _looker() -> duckdb.DuckDBPyConnection:
    """A database for looking only: it reads no file, no variable of this process, and stays empty."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "threads": 1})
    connection.execute("set TimeZone = 'UTC'; set python_enable_replacements = false; set enable_external_access = false")
    return connection


@contextmanager
def _tables(relations: Relations) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that has these tables, without rows, until the end."""
    with _ONE_AT_A_TIME, closing(_looker().cursor()) as connection:
        connection.begin()
        for table, schema in relations.tables.items():
            namespace, name = map(quoted, table.split("."))
            columns = ", ".join(f"{quoted(field.name)} {_duckdb_type(field.type)}" for field in schema)
            connection.execute(f"create schema if not exists {namespace}; create table {namespace}.{name} ({columns})")
        create_short_names(connection, relations)
        try:
            yield connection
        finally:
            connection.rollback()


@cache
def _duckdb_type(type_: pa.DataType) -> str:
    """What DuckDB makes of an Arrow type."""
    connection = _looker().cursor()
    connection.register("__column", pa.table([pa.nulls(0, type_)], names=["x"]))
    described = connection.execute("describe from __column").fetchone()
    connection.close()
    assert described is not None
    return str(described[1])


def create_short_names(connection: duckdb.DuckDBPyConnection, relations: Relations) -> None:
    """Views by which tables are found without their namespace."""
    for name, table in relations.short.items():
        namespace = table.split(".")[0]
        if namespace != "main":  # where DuckDB looks by itself
            connection.execute(f"create view main.{quoted(name)} as from {quoted(namespace)}.{quoted(name)}")


@contextmanager
def _errors(file: str) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:  # a reader raises DuckDB's errors as its own
        raise explained(file, error) from None


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(child)


def _texts(node: dict[str, Any]) -> Iterator[str]:
    for value in node.values():
        yield from (text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))


def _means_all(nodes: list[dict[str, Any]]) -> bool:
    """Whether a query may read columns that it does not name: by a star, by position, a row as a whole, other columns' names."""
    tables = [node for node in nodes if "class" not in node]  # expressions have one
    relations = {str(node[key]).lower() for node in tables for key in ("table_name", "alias") if node.get(key)}
    return any(
        node.get("type") in ("STAR", "POSITIONAL_REFERENCE", "SHOW_REF")
        or node.get("ref_type") == "NATURAL"
        or node.get("column_name_alias")
        or node.get("function_name") in _RUNS_TEXT
        or (node.get("type") == "COLUMN_REF" and node["column_names"][-1].lower() in relations)
        for node in nodes
    )


def _called(node: dict[str, Any]) -> str | None:
    if node.get("type") == "FUNCTION":
        return str(node["function_name"]).lower()
    if node.get("type") == "COLUMN_REF" and node["column_names"][0].lower().startswith(("current_", "local")):
        return str(node["column_names"][0]).lower()
    return "sample" if node.get("sample") else None
