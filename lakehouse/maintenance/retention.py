"""Retention: rows that are older than they may become are deleted. What is past it as a whole goes by metadata alone.

The rows are gone for readers of the newest snapshot at once; from storage when the snapshots before have expired, and their files
were deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, LessThan, Reference
from pyiceberg.expressions.literals import literal
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.types import DateType, NestedField, PrimitiveType, TimestamptzType

from lakehouse.days import DAY, event_time, format_days
from lakehouse.errors import TableMismatchError
from lakehouse.maintenance.expire import moment_before
from lakehouse.maintenance.replace import Labels, Replacement, replace_files
from lakehouse.pipelines import parse_duration
from lakehouse.read import rows_of
from lakehouse.write import DataFileWriter, arrow_schema, delete_files

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class PastRetention:
    """What of a table is past its retention.

    Attributes:
        column, before: rows whose value is less go; ``before`` is in UTC.
        whole: files that go; partly: those of which some rows go, with their number.
    """

    column: str
    before: datetime
    whole: Sequence[FileScanTask]
    partly: Sequence[tuple[FileScanTask, int]]

    @property
    def rows(self) -> int:
        """How many rows go."""
        return sum(task.file.record_count for task in self.whole) + sum(rows for _, rows in self.partly)

    @property
    def tasks(self) -> list[FileScanTask]:
        """The files that go or are written anew."""
        return [*self.whole, *(task for task, _ in self.partly)]

    def of(self, files: Collection[str]) -> PastRetention:
        """What of it is in some files."""
        whole = [task for task in self.whole if task.file.file_path in files]
        return PastRetention(self.column, self.before, whole, [found for found in self.partly if found[0].file.file_path in files])


def past_retention(table: Table, retention: str, now: datetime) -> PastRetention:
    """What is older than a retention such as ``400d on event_timestamp``.

    Days and weeks end at midnight UTC: a day goes as a whole, which of a table that is partitioned by it costs no reading.
    """
    duration, column = retention.split(" on ")
    before = moment_before(now.astimezone(UTC), parse_duration(duration))
    if duration[-1] in "dw":
        before = before.replace(hour=0, minute=0, second=0, microsecond=0)
    field = table.schema().find_field(column)
    bound = _bound(field, before)
    whole, partly = list[FileScanTask](), list[tuple[FileScanTask, int]]()
    for task in _tasks(table, LessThan(term=Reference(column), value=literal(_text(bound)))):
        if task.residual == AlwaysTrue():
            whole.append(task)
            continue
        # Bounds may be missing, or say too much: only the rows tell.
        old = total = 0
        for batch in rows_of(table, [task], [column]):
            total += batch.num_rows
            old += pc.sum(_is_old(batch, column, bound), min_count=0).as_py()
        if old and old == total:
            whole.append(task)
        elif old:
            partly.append((task, old))
    return PastRetention(column, before, whole, partly)


def _tasks(table: Table, row_filter: BooleanExpression) -> Iterable[FileScanTask]:
    try:
        return table.scan(row_filter).plan_files()
    except ValueError as error:
        if "equality deletes" not in str(error):
            raise
        name = ".".join(table.name())
        raise TableMismatchError(
            f"{name} has equality deletes, by which rows are gone already: lakehouse maintain {name} --only compact"
        ) from None


def delete_rows(table: Table, past: PastRetention, memory: int, hidden: Collection[str], labels: Labels) -> list[Replacement]:
    """Deletes what is past retention, in one commit. Returns what was committed: not files that others changed meanwhile.

    Raises:
        CommitConflictError: others changed all of them. CommitUnknownError: the outcome could not be learned.
    """
    field = table.schema().find_field(past.column)
    bound = _bound(field, past.before)
    replacements = [Replacement([task]) for task in past.whole]
    try:
        for task, _ in past.partly:
            with DataFileWriter(table, memory, hidden) as writer:
                writer.rewrite(task.file, _without_old(table, task, past.column, bound))
                replacements.append(Replacement([task], writer.finish()))
    except BaseException:
        delete_files(table, [file.file_path for made in replacements for file in made.added])
        raise
    days = None if past.column in hidden else _days(table, field, past)
    operation = Operation.OVERWRITE if past.partly else Operation.DELETE
    return replace_files(table, replacements, operation, Labels(labels.run_id, labels.step, days))


def _without_old(table: Table, task: FileScanTask, column: str, bound: Any) -> Iterator[pa.RecordBatch]:
    for batch in rows_of(table, [task]):
        yield batch.filter(pc.invert(_is_old(batch, column, bound))).cast(arrow_schema(table))


def _is_old(batch: pa.RecordBatch, column: str, bound: Any) -> pa.BooleanArray:
    """Which rows go. A row without a value stays."""
    values = batch.column(column)
    return pc.fill_null(pc.less(values, pa.scalar(bound, values.type)), False)


def _bound(field: NestedField, before: datetime) -> date | datetime:
    """The moment in the column's type: a wall clock is taken as UTC."""
    if isinstance(field.field_type, DateType):
        return before.date()
    return before if isinstance(field.field_type, TimestamptzType) else before.replace(tzinfo=None)


def _text(bound: date | datetime) -> str:
    return bound.isoformat(timespec="microseconds") if isinstance(bound, datetime) else bound.isoformat()


def _days(table: Table, field: NestedField, past: PastRetention) -> str | None:
    """The days that lose rows, as ranges; None where they are not known."""
    time = event_time(table.schema(), table.spec())
    if time is None or time.field_id != field.field_id:
        return None
    found = set[date]()
    for task in past.tasks:
        first, last = (_day(field, bounds) for bounds in (task.file.lower_bounds, task.file.upper_bounds))
        if first is None or last is None:
            return None
        last = min(last, (past.before - timedelta(microseconds=1)).date())
        found.update(first + DAY * index for index in range((last - first).days + 1))
    return format_days(found)


def _day(field: NestedField, bounds: dict[int, bytes] | None) -> date | None:
    if not bounds or field.field_id not in bounds:
        return None
    assert isinstance(field.field_type, PrimitiveType)
    value: Any = from_bytes(field.field_type, bounds[field.field_id])
    try:
        return _EPOCH + (timedelta(days=value) if isinstance(field.field_type, DateType) else timedelta(microseconds=value))
    except OverflowError:
        return None
