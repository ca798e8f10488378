"""Computing features: the SQL of a feature table runs in DuckDB, day by day, and its days are replaced in one commit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import duckdb
import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThanOrEqual, In, LessThanOrEqual, Reference
from pyiceberg.expressions.literals import literal
from pyiceberg.table import Table
from pyiceberg.types import DateType

from lakehouse.catalog import load_table
from lakehouse.commit import Batch, find_committed
from lakehouse.days import day_ranges, format_days
from lakehouse.duck import connect, quoted
from lakehouse.engines import ComputeDays, Progress, WriteResult
from lakehouse.engines.inputs import Input, allow_only
from lakehouse.engines.rows import fitting, replace_rows, result_of_snapshot
from lakehouse.errors import FeatureSqlError, TableMismatchError
from lakehouse.feature_sql import FeatureSql, Relations, create_short_names, explained
from lakehouse.history import INPUTS
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

_BATCH_ROWS = 122_880
_PROGRESS_STEPS = 10


@dataclass(frozen=True)
class DaysPlan:
    """What is to be computed, and of what.

    Attributes:
        column: of the table, the one that says the day.
        days: in order; at least one.
        batch: with the days and the inputs' snapshots in it.
        hidden: columns without bounds in the metadata.
    """

    table: Table
    column: str
    days: list[date]
    inputs: list[Input]
    batch: Batch
    hidden: frozenset[str]

    @property
    def row_filter(self) -> BooleanExpression:
        """The rows of these days."""
        return _days_filter(self.column, self.days)


def plan_days(catalog: Catalog, work: ComputeDays, batch: Batch) -> DaysPlan | WriteResult:
    """What is to be computed; the result where there is nothing, or where an earlier attempt did it.

    Raises:
        TableMismatchError: the table has no column that says the day; AuditOpenError: another's audit is open.
    """
    template = work.template
    table, batch = load_table(catalog, template.table_name), replace(batch, audited=template.publish == "audited")
    if (snapshot := find_committed(table, batch)) is not None:
        return result_of_snapshot(table, snapshot)
    column, days = _day_column(template, table), sorted(set(work.days))
    if not days:
        return WriteResult(template.table_name)
    assert template.feature_table is not None
    window = template.feature_table.window_days
    inputs = [Input(found, load_table(catalog, found.table_name), window, days) for found in work.inputs]
    batch = replace(
        batch,
        source=template.feature_table.sql,
        days=format_days(days),
        facts={**batch.facts, INPUTS: json.dumps({found.name: found.snapshot for found in inputs})},
    )
    open_columns = {found.name for found in template.columns if not found.hidden}
    return DaysPlan(table, column, days, inputs, batch, frozenset(table.schema().column_names) - open_columns)


def computing(template: TableTemplate, days: Sequence[date], number: int) -> str | None:
    """What to tell where the day with this number, from 0, comes next: some ten times in all, and nothing of a single day."""
    if len(days) > 1 and number * _PROGRESS_STEPS // len(days) > (number - 1) * _PROGRESS_STEPS // len(days):
        return f"{template.table_name}: computing {days[number]}, day {number + 1:,} of {len(days):,}"
    return None


def outside(what: str, column: str) -> str:
    """How rows of another day are told."""
    return f"{what} has rows of another day: select $day as {column}."


def compute_days(settings: LakehouseSettings, catalog: Catalog, work: ComputeDays, batch: Batch, progress: Progress) -> WriteResult:
    """Computes the features of some days, and replaces these days' rows in one commit.

    Raises:
        FeatureSqlError: the SQL fails; BadRowsError, TableMismatchError: what it gives does not fit. Nothing is written.
    """
    plan = plan_days(catalog, work, batch)
    if isinstance(plan, WriteResult):
        return plan
    template, table, column, days = work.template, plan.table, plan.column, plan.days
    with connect(settings.write_memory // 2) as connection:
        computation = _Computation(connection, template, plan.inputs)

        def rows() -> Iterator[pa.RecordBatch]:
            for number, day in enumerate(days):
                if (message := computing(template, days, number)) is not None:
                    progress(message)
                day_filter = EqualTo(term=Reference(column), value=literal(day.isoformat()))
                what, remedy = f"the result of {computation.sql.name} for {day}", "Correct the SQL."
                yield from fitting(table, computation.rows(day), day_filter, what, outside(what, column), remedy)

        result = replace_rows(settings, table, rows(), plan.row_filter, plan.batch, settings.write_memory // 2, plan.hidden)
    return replace(result, days=plan.batch.days)


class _Computation:
    """A feature table's SQL over its inputs."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, template: TableTemplate, inputs: Sequence[Input]) -> None:
        self._connection, self._inputs = connection, inputs
        self.sql = FeatureSql(template)
        relations = Relations.of(template, {found.name: found.schema for found in inputs})
        output = self.sql.bind(relations)
        read = self.sql.columns_read(relations)
        self._hidden = sorted({name for found in inputs for name in found.hidden & set(read[found.name])})
        self._uuids = [name for name, type_ in output if isinstance(type_, pa.UuidType)]
        allow_only(connection, [path for found in inputs for path in found.plan(read[found.name])])
        self._relations: Relations | None = relations

    def rows(self, day: date) -> Iterator[pa.RecordBatch]:
        """What the SQL gives for one day. Days must come in their order."""
        for found in self._inputs:
            found.show(self._connection, day)
        if self._relations is not None:
            create_short_names(self._connection, self._relations)
            self._relations = None
        try:
            with self._connection.execute(self._query, self.sql.values(day)).to_arrow_reader(_BATCH_ROWS) as reader:
                for batch in reader:
                    yield self._typed(batch)
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # the reader raises DuckDB's errors as its own
            raise self._explained(error) from None

    @property
    def _query(self) -> str:
        if not self._uuids:
            return self.sql.text
        # DuckDB hands uuids over as text; parsed one by one they would take longer than the query. No new line: errors name it.
        bytes_ = ", ".join(f"unhex(replace(cast({quoted(name)} as varchar), '-', '')) as {quoted(name)}" for name in self._uuids)
        return f"select * replace ({bytes_}) from ({self.sql.text}\n)"

    def _typed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for name in self._uuids:
            index = batch.schema.get_field_index(name)
            batch = batch.set_column(index, name, batch.column(index).cast(pa.binary(16)))
        return batch

    def _explained(self, error: Exception) -> FeatureSqlError:
        found = explained(self.sql.name, error)
        if "Out of Memory" in str(error):
            remedy = "Give it more, by LAKEHOUSE_WRITE_MEMORY, of which it has half; or make `window` shorter."
            return FeatureSqlError(found.file, found.line, "the query does not fit into its memory.", remedy)
        if not self._hidden:
            return found
        kind = str(error).split(":", 1)[0]
        problem = f"{kind}. DuckDB's message may show values of {', '.join(self._hidden)}, pii or restricted, and is left out."
        return FeatureSqlError(found.file, found.line, problem, "Look at what this line computes; try_cast gives null where a cast fails.")


def _day_column(template: TableTemplate, table: Table) -> str:
    """The column that says the day, which the live table has, too."""
    column = template.event_time
    field = next((field for field in table.schema().fields if column is not None and field.name == column.name), None)
    if field is None or not isinstance(field.field_type, DateType):
        found = "no date column that says the day" if column is None else f"no date column {column.name}"
        raise TableMismatchError(f"{template.table_name} has {found}, by which its partitions are replaced. See: lakehouse lint")
    return field.name


def _days_filter(column: str, days: Sequence[date]) -> BooleanExpression:
    """The rows of these days: as a range, which any number of partitions is compared with fast, where they are one."""
    reference = Reference(column)
    if len(ranges := day_ranges(days)) > 1:
        return In(term=reference, literals={literal(day.isoformat()) for day in days})
    first, last = (literal(day.isoformat()) for day in ranges[0])
    return And(GreaterThanOrEqual(term=reference, value=first), LessThanOrEqual(term=reference, value=last))
