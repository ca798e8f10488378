"""Computing features by Spark: the SQL of a feature table, some days at a time; all days are replaced in one commit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial, reduce
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile
from pyiceberg.types import DateType, IcebergType, TimestamptzType

from lakehouse.catalog import load_table
from lakehouse.commit import Batch, commit_replace
from lakehouse.conform import Conformer
from lakehouse.days import DAY
from lakehouse.engines import ComputeDays, Progress, WriteResult
from lakehouse.engines.features import DaysPlan, computing, outside, plan_days
from lakehouse.engines.inputs import IS_CURRENT, VALID_TO, Input
from lakehouse.engines.rows import check_schema, keep_others, result_of_files
from lakehouse.engines.spark.expressions import family
from lakehouse.engines.spark.session import condition_of, explained, is_lost
from lakehouse.engines.spark.snapshots import is_pinned, rows_sql
from lakehouse.engines.spark.stage import check_types, identifier, write_files
from lakehouse.engines.spark.transpile import table_name, to_spark
from lakehouse.engines.spark.values import Converted, from_typed, outside_years, sql_type
from lakehouse.errors import BadRowsError, CommitConflictError, FeatureSqlError, LakehouseError
from lakehouse.feature_sql import FeatureSql, Relations
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate
from lakehouse.write import arrow_schema, delete_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# In one query: each day is a query of its own in it, and Spark plans them all before it begins.
_DAYS_AT_ONCE = 16
_EXAMPLES = 3
_DAY, _BAD, _OUTSIDE = "__day", "__bad", "__outside"
_ERROR = re.compile(r"\[([A-Z_]+(?:\.[A-Z_]+)*)\]")
_RAISED = re.compile(r"\[USER_RAISED_EXCEPTION\] (.*?)\.?\s*(SQLSTATE|$)")
# Spark's types for those of DuckDB.
_AGREE = {
    "int": {"tinyint", "smallint", "int", "bigint"},
    "float": {"double"},
    "real": {"float"},
    "bool": {"boolean"},
    "text": {"string"},
    "uuid": {"string"},
    "date": {"date"},
    "timestamp": {"timestamp_ntz"},
    "timestamptz": {"timestamp"},
    "bytes": {"binary"},
    "struct": {"struct"},
    "list": {"array"},
    "map": {"map"},
}


def compute_days(
    settings: LakehouseSettings, catalog: Catalog, session: SparkSession, work: ComputeDays, batch: Batch, progress: Progress
) -> WriteResult:
    """Computes the features of some days, and replaces these days' rows in one commit.

    Raises:
        FeatureSqlError: the SQL fails, or Spark would not answer it as DuckDB does; BadRowsError, TableMismatchError: what it
            gives does not fit; CommitConflictError: an input was written meanwhile. Nothing is written.
    """
    plan = plan_days(catalog, work, batch)
    if isinstance(plan, WriteResult):
        return plan
    computation = _Computation(settings, catalog, session, work.template, plan)
    files = list[DataFile]()
    try:
        for start in range(0, len(plan.days), _DAYS_AT_ONCE):
            days = plan.days[start : start + _DAYS_AT_ONCE]
            for message in filter(None, (computing(work.template, plan.days, start + number) for number in range(len(days)))):
                progress(message)
            files += computation.write(days)
        computation.check_inputs()
    except BaseException:
        delete_files(plan.table, [file.file_path for file in files])
        raise
    others = partial(keep_others, memory=settings.write_memory // 2, hidden=plan.hidden)
    snapshot = commit_replace(plan.table, plan.row_filter, files, plan.batch, settings.commit_timeout, others)
    return replace(result_of_files(plan.table, snapshot, files), days=plan.batch.days)


@dataclass(frozen=True)
class _Column:
    """A column of the table: its value, and why rows do not fit it."""

    name: str
    value: str
    bad: Sequence[tuple[str, str]]


class _Computation:
    """A feature table's SQL over its inputs, as Spark runs it."""

    def __init__(
        self, settings: LakehouseSettings, catalog: Catalog, session: SparkSession, template: TableTemplate, plan: DaysPlan
    ) -> None:
        self._settings, self._catalog, self._session, self._plan = settings, catalog, session, plan
        self._name = template.table_name
        for table in (plan.table, *(found.table for found in plan.inputs)):
            check_types(table)
        self._sql = FeatureSql(template)
        relations = Relations.of(template, {found.name: found.schema for found in plan.inputs})
        output = self._sql.bind(relations)
        schema = pa.schema([(name, pa.binary(16) if isinstance(type_, pa.UuidType) else type_) for name, type_ in output])
        what = self._what(plan.days[0])
        check_schema(self._name, Conformer(arrow_schema(plan.table), ()), schema, what)
        self._output = output
        self._query = to_spark(self._sql, relations)
        self._read = self._sql.columns_read(relations)
        # What does not fit a decimal is an error, and not a rounded value.
        session.conf.set("spark.sql.decimalOperations.allowPrecisionLoss", "false")

    def write(self, days: Sequence[date]) -> list[DataFile]:
        """Writes the rows of some days, which no snapshot names yet. Raises as ``compute_days``."""
        try:
            rows = reduce(lambda some, more: some.unionAll(more), [self._rows(day) for day in days])
            columns = self._columns(rows)
        except LakehouseError:
            raise
        except Exception as error:
            if is_lost(error):
                raise
            raise self._failed(f"Spark does not take it: {condition_of(error)}.") from None
        kept = rows.selectExpr(*self._judged(columns)).persist()
        try:
            if not self._check(kept):
                return []
            return write_files(self._settings, self._catalog, self._session, self._plan.table, kept, self._plan.hidden)
        finally:
            with suppress(Exception):  # a session that is lost keeps nothing
                kept.unpersist()

    def check_inputs(self) -> None:
        """Raises CommitConflictError where what was read of an input may not be the snapshot that the commit will name."""
        for found in self._plan.inputs:
            if not is_pinned(found.table):
                now = load_table(self._catalog, found.name).current_snapshot()
                if now is None or str(now.snapshot_id) != found.snapshot:
                    raise CommitConflictError(f"{found.name} was written while {self._name} was computed of it. Run it again.")

    def _rows(self, day: date) -> DataFrame:
        """What the SQL gives for one day, and the day."""
        inputs = ", ".join(f"{identifier(table_name(found.name))} as ({self._as_of(found, day)})" for found in self._plan.inputs)
        text = f"with {inputs} select * from ({self._query})"
        rows = self._session.sql(text, args={"day": day}) if self._sql.parameters else self._session.sql(text)
        names = [name for name, _ in self._output]
        return rows.toDF(*names).selectExpr("*", f"date '{day}' as {_DAY}")

    def _as_of(self, found: Input, day: date) -> str:
        """An input as it was seen at the end of the day, see ``lakehouse.engines.inputs``."""
        wanted = self._read[found.name]
        columns, time = [*wanted], found.time
        if time is not None:
            columns += [name for name in (time.name, *([VALID_TO] if found.is_scd else [])) if name not in wanted]
        rows = rows_sql(self._settings, found.table, columns)
        if time is None:
            return rows
        start, end = found.cut(day, day)
        column = identifier(time.name)
        condition = f"{column} < {_moment(end, time.field_type)}"
        if start is not None:
            condition += f" and {column} >= {_moment(start, time.field_type)}"
        shown = list(map(identifier, wanted))
        if found.is_scd:
            limit = _moment(day + DAY, found.table.schema().find_type(VALID_TO))
            ended = {
                VALID_TO: f"case when {VALID_TO} < {limit} then {VALID_TO} end as {VALID_TO}",
                IS_CURRENT: f"({VALID_TO} is null or {VALID_TO} >= {limit}) as {IS_CURRENT}",
            }
            shown = [ended.get(name, identifier(name)) for name in wanted]
        return f"select {', '.join(shown)} from ({rows}) where {condition}"

    def _columns(self, rows: DataFrame) -> list[_Column]:
        """The table's columns, of what the SQL gives. Raises FeatureSqlError where Spark's types are not DuckDB's."""
        spark_types, columns = dict(rows.dtypes), list[_Column]()
        given = dict(self._output)
        for field in arrow_schema(self._plan.table):
            name = identifier(field.name)
            if field.name not in given:
                columns.append(_Column(field.name, f"cast(null as {sql_type(field.type)})", []))
                continue
            found, spark_type = given[field.name], spark_types[field.name]
            if not _is_same(found, spark_type):
                raise self._failed(f"{field.name} is {spark_type} in Spark, and {found} in DuckDB.")
            # Its uuids are texts already, and need no look at any depth.
            is_as_table = spark_type == sql_type(field.type).replace("`", "").replace(", ", ",").replace(": ", ":")
            is_plain = isinstance(found, pa.UuidType) or (pa.types.is_nested(field.type) and is_as_table)
            converted = Converted(name) if is_plain else from_typed(name, found, field.type)
            bad = list(converted.bad)
            if (condition := outside_years(converted.value, field.type)) is not None:
                bad.append((condition, "a date outside the years 1 to 9999"))
            if not field.nullable:
                bad.append((f"{name} is null", "null in a required column"))
            columns.append(_Column(field.name, converted.value, bad))
        self._reasons = [(column.name, reason) for column in columns for _, reason in column.bad]
        return columns

    def _judged(self, columns: Sequence[_Column]) -> list[str]:
        """The table's columns, and of each row its day, why it does not fit, by the reason's number, and whether it is another day's."""
        conditions = [condition for column in columns for condition, _ in column.bad]
        cases = " ".join(f"when {condition} then {number}" for number, condition in enumerate(conditions))
        [day] = [column.value for column in columns if column.name == self._plan.column]
        return [
            *(f"{column.value} as {identifier(column.name)}" for column in columns),
            _DAY,
            f"{f'case {cases} end' if cases else 'cast(null as int)'} as {_BAD}",
            f"not ({day} <=> {_DAY}) as {_OUTSIDE}",
        ]

    def _check(self, rows: DataFrame) -> int:
        """How many rows there are. Raises BadRowsError for the first day of which some do not fit."""
        try:
            counts = rows.groupBy(_DAY, _BAD, _OUTSIDE).count().collect()
        except Exception as error:
            if is_lost(error) or "OutOfMemoryError" in str(error):
                raise
            raise self._explained(error) from None
        wrong = [row for row in counts if row[_BAD] is not None or row[_OUTSIDE]]
        if wrong:
            day = min(row[_DAY] for row in wrong)
            of_day, remedy = [row for row in wrong if row[_DAY] == day], "Correct the SQL."
            if bad := [row for row in of_day if row[_BAD] is not None]:
                reasons = [self._reasons[number] for number in sorted({row[_BAD] for row in bad})]
                examples = [f"column {column}: {reason}" for column, reason in reasons[:_EXAMPLES]]
                raise BadRowsError(self._name, sum(row["count"] for row in bad), examples, remedy)
            raise BadRowsError(self._name, sum(row["count"] for row in of_day), [outside(self._what(day), self._plan.column)], remedy)
        return sum(row["count"] for row in counts)

    def _what(self, day: date) -> str:
        return f"the result of {self._sql.name} for {day}"

    def _failed(self, problem: str) -> FeatureSqlError:
        return FeatureSqlError(self._sql.name, 1, problem, "LAKEHOUSE_ENGINE=embedded runs it, or write it more simply.")

    def _explained(self, error: Exception) -> LakehouseError:
        """An error of Spark while it computes, without its message: that may show values."""
        if (raised := _RAISED.search(str(error))) is not None:  # by our own SQL
            return self._failed(f"{raised[1]}.")
        match = _ERROR.search(str(error))
        condition = match[1] if match else condition_of(error)
        if match is None and condition == type(error).__name__:
            return explained(error)
        problem = f"Spark: {condition}. Its message may show values, and is left out."
        return FeatureSqlError(self._sql.name, 1, problem, "Look at what is computed; try_cast gives null where a cast fails.")


def _is_same(found: pa.DataType, spark_type: str) -> bool:
    """Whether Spark's type of a column has the values of DuckDB's."""
    base = re.split(r"[(<]", spark_type)[0]
    if base == "void" or pa.types.is_null(found):
        return True
    scale = int(spark_type.rpartition(",")[2].rstrip(")")) if base == "decimal" else 0
    if family(found) == "decimal":
        return (base == "decimal" or base in _AGREE["int"]) and scale == found.scale
    return base in _AGREE[family(found)] or (family(found) == "int" and base == "decimal" and not scale)


def _moment(day: date, type_: IcebergType) -> str:
    """A day's first moment in Spark's SQL."""
    if isinstance(type_, DateType):
        return f"date '{day}'"
    return f"timestamp '{day} 00:00:00+00:00'" if isinstance(type_, TimestamptzType) else f"timestamp_ntz '{day} 00:00:00'"
