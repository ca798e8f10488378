"""What the SQL of a feature table sees of its inputs: each cut at a day's end, as views in DuckDB.

Data files on local disk that have the table's columns are read by DuckDB itself; the rows of others, of which only
the columns and the time that are needed, wait in DuckDB's memory, or where that is short on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import And, BooleanExpression, GreaterThanOrEqual, LessThan, Reference
from pyiceberg.expressions.literals import literal
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import FileScanTask, Table
from pyiceberg.types import DateType, IcebergType, PrimitiveType, TimestamptzType

from lakehouse.days import DAY, event_time
from lakehouse.duck import GLOB, quoted, sql_text
from lakehouse.read import holds_schema, rows_of
from lakehouse.template import TableTemplate
from lakehouse.write import arrow_schema

LOADED = "__loaded"  # the schema of the tables that hold rows; no template can have such a namespace
VALID_FROM, VALID_TO, IS_CURRENT = "valid_from", "valid_to", "is_current"
_EPOCH = date(1970, 1, 1)


@dataclass
class _File:
    """A data file that some day needs.

    Attributes:
        path: where DuckDB reads it; None if its rows are to be loaded.
        first, last: bounds of the event time, as numbers of its type; None where unknown.
        loaded: the table that holds its rows.
    """

    task: FileScanTask
    path: str | None
    first: int | None
    last: int | None
    loaded: str | None = None


class Input:
    """One input, as of the snapshot that was its newest when this was made.

    Args:
        window: how many days, up to and including a day, are seen on it; None for all.
        days: the days that are to be computed, in order.
    """

    def __init__(self, template: TableTemplate, table: Table, window: int | None, days: Sequence[date]) -> None:
        self.table, self._days = table, days
        self.name = ".".join(table.name())
        self.schema: pa.Schema = arrow_schema(table)
        snapshot = table.current_snapshot()
        self.snapshot = str(snapshot.snapshot_id) if snapshot else ""
        open_columns = {column.name for column in template.columns if not column.hidden}
        self.hidden = frozenset(self.schema.names) - open_columns  # also what no template describes
        self.is_scd = template.scd_type2 is not None
        self._window = None if self.is_scd else window
        schema = table.schema()
        self.time = schema.find_field(VALID_FROM) if self.is_scd else event_time(schema, table.spec())
        self._columns: list[str] = []
        self._read: list[str] = []
        self._files: list[_File] = []

    def plan(self, columns: Sequence[str]) -> list[str]:
        """Finds the files that the days need, of which the SQL reads these columns. Returns those that DuckDB reads itself."""
        self._columns = list(columns)
        extra = [self.time.name] if self.time else []
        extra += [VALID_TO] if self.is_scd and IS_CURRENT in columns else []
        self._read = [name for name in self.schema.names if name in (*columns, *extra)]
        wanted = self._row_filter(self._days[0], self._days[-1])
        tasks = (self.table.scan(wanted) if wanted is not None else self.table.scan()).plan_files()
        files = [self._file(task) for task in tasks]
        self._files = [file for file in files if any(self._needs(day, file) for day in self._days)]
        return [file.path for file in self._files if file.path is not None]

    def show(self, connection: duckdb.DuckDBPyConnection, day: date) -> None:
        """Makes the view of this input as of the day's end. Days come in their order: what no later one needs is let go."""
        needed = [file for file in self._files if self._needs(day, file)]
        for file in self._files:
            if file.loaded is not None and not any(self._needs(later, file) for later in self._days if later >= day):
                connection.execute(f"drop table {file.loaded}")
                file.loaded = None
        for file in needed:
            if file.path is None and file.loaded is None:
                self._load(connection, file)
        columns = ", ".join(map(quoted, self._read))
        paths = ", ".join(sql_text(file.path) for file in needed if file.path is not None)
        sources = [f"read_parquet([{paths}], hive_partitioning = false)"] if paths else []
        sources += [file.loaded for file in needed if file.loaded is not None]
        if not sources:
            sources = [self._create(connection, "empty", self.schema.empty_table())]
        rows = " union all ".join(f"select {columns} from {source}" for source in sources)
        namespace, name = map(quoted, self.name.split("."))
        connection.execute(f"create schema if not exists {namespace}")
        condition = f" where {self._condition(day, day)}" if self.time else ""
        connection.execute(f"create or replace view {namespace}.{name} as select {self._shown(day)} from ({rows}){condition}")

    def _file(self, task: FileScanTask) -> _File:
        file = task.file
        first, last = (self._bound(bounds) for bounds in (file.lower_bounds, file.upper_bounds))
        scheme, _, path = PyArrowFileIO.parse_location(file.file_path)
        readable = scheme == "file" and not task.delete_files and not GLOB & set(path)
        wanted = pa.schema([field for field in self.schema if field.name in self._read])
        return _File(task, path if readable and holds_schema(pq.read_schema(path), wanted) else None, first, last)

    def _bound(self, bounds: dict[int, bytes] | None) -> int | None:
        if self.time is None or not bounds or self.time.field_id not in bounds:
            return None
        assert isinstance(self.time.field_type, PrimitiveType)
        bound: Any = from_bytes(self.time.field_type, bounds[self.time.field_id])
        return (bound - _EPOCH).days if isinstance(bound, date) else int(bound)

    def _needs(self, day: date, file: _File) -> bool:
        """Whether the file may have rows that are seen at the end of the day."""
        if self.time is None:
            return True
        start, end = self.cut(day, day)
        too_late = file.first is not None and file.first >= _number(end, self.time.field_type)
        too_early = start is not None and file.last is not None and file.last < _number(start, self.time.field_type)
        return not too_late and not too_early

    def cut(self, first: date, last: date) -> tuple[date | None, date]:
        """From when, inclusive, to when, exclusive, rows are seen on one of some days."""
        end = last + DAY
        if self._window is None or (first - date.min).days < self._window:
            return None, end
        return first + DAY - timedelta(days=self._window), end

    def _row_filter(self, first: date, last: date) -> BooleanExpression | None:
        if self.time is None:
            return None
        start, end = self.cut(first, last)
        reference = Reference(self.time.name)
        before: BooleanExpression = LessThan(term=reference, value=literal(_moment(end, self.time.field_type)))
        if start is None:
            return before
        return And(GreaterThanOrEqual(term=reference, value=literal(_moment(start, self.time.field_type))), before)

    def _condition(self, first: date, last: date) -> str:
        assert self.time is not None
        start, end = self.cut(first, last)
        column, type_ = quoted(self.time.name), self.time.field_type
        from_start = "" if start is None else f" and {column} >= {_sql(start, type_)}"
        return f"{column} < {_sql(end, type_)}{from_start}"

    def _shown(self, day: date) -> str:
        """The columns; of a dimension's versions as they were when what ended them had not happened."""
        shown: list[str] = []
        for name in self._columns:
            column = quoted(name)
            if self.is_scd and name in (VALID_TO, IS_CURRENT):
                end = _sql(day + DAY, self.table.schema().find_type(VALID_TO))
                column = (
                    f"case when {VALID_TO} < {end} then {VALID_TO} end as {column}"
                    if name == VALID_TO
                    else f"({VALID_TO} is null or {VALID_TO} >= {end}) as {column}"
                )
            shown.append(column)
        return ", ".join(shown)

    def _load(self, connection: duckdb.DuckDBPyConnection, file: _File) -> None:
        """Puts into DuckDB what the days need of a file that it cannot read itself."""
        schema = pa.schema([field for field in self.schema if field.name in self._read])
        batches = (batch.cast(schema) for batch in rows_of(self.table, [file.task], self._read))
        condition = f" where {self._condition(self._days[0], self._days[-1])}" if self.time else ""
        number = self._files.index(file)
        file.loaded = self._create(connection, str(number), pa.RecordBatchReader.from_batches(schema, batches), condition)

    def _create(
        self, connection: duckdb.DuckDBPyConnection, suffix: str, rows: pa.Table | pa.RecordBatchReader, condition: str = ""
    ) -> str:
        table = f"{quoted(LOADED)}.{quoted(f'{self.name}.{suffix}')}"
        connection.execute(f"create schema if not exists {quoted(LOADED)}")
        connection.register("__rows", rows)
        try:
            connection.execute(f"create or replace table {table} as from __rows{condition}")
        finally:
            connection.unregister("__rows")
        return table


def allow_only(connection: duckdb.DuckDBPyConnection, paths: Iterable[str]) -> None:
    """From here on the connection reads these files and, but for its own folder, nothing else: no file, no variable of this process."""
    connection.execute(f"set allowed_paths = [{', '.join(map(sql_text, paths))}]")
    connection.execute("set python_enable_replacements = false; set enable_external_access = false; set lock_configuration = true")


def _number(day: date, type_: IcebergType) -> int:
    """A day's first moment as Iceberg keeps it: in days, or in microseconds, since 1970."""
    days = (day - _EPOCH).days
    return days if isinstance(type_, DateType) else days * 86_400_000_000


def _moment(day: date, type_: IcebergType) -> str:
    if isinstance(type_, DateType):
        return day.isoformat()
    return f"{day}T00:00:00" + ("+00:00" if isinstance(type_, TimestamptzType) else "")


def _sql(day: date, type_: IcebergType) -> str:
    if isinstance(type_, DateType):
        return f"date '{day}'"
    return f"timestamptz '{day} 00:00:00+00'" if isinstance(type_, TimestamptzType) else f"timestamp '{day} 00:00:00'"
