"""Makes rows fit a table, by casts that lose nothing, and tells which rows do not fit and why."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import TableMismatchError
from lakehouse.values import KEY_TWICE, NOT_UTF8, described, is_lossless, outside_years, parse_text, part_of, readable, unsound

_NOT_SHOWN = (NOT_UTF8, KEY_TWICE)


@dataclass(frozen=True)
class BadRow:
    """A row that does not fit.

    Attributes:
        row: its number in its file, from 1.
        column: empty where the row as a whole cannot be read.
        reason: why, without any value.
        value: the value that does not fit, as text; None where it must not be shown or is null.
        record: the whole row as JSON or text, for the quarantine only.
    """

    row: int
    column: str
    reason: str
    value: str | None
    record: str

    def __str__(self) -> str:
        place = f"row {self.row}" + (f", column {self.column}" if self.column else "")
        return f"{place}: {self.reason}" + (f" (value: {self.value[:80]!r})" if self.value is not None else "")


@dataclass
class Rows:
    """Rows on their way from a file to a table.

    Attributes:
        batch: the rows.
        numbers: each row's number in its file.
        bad: rows that do not fit, and were left out.
        skipped: how many others a rule of the template left out.
    """

    batch: pa.RecordBatch
    numbers: Sequence[int]
    bad: list[BadRow] = field(default_factory=list)
    skipped: int = 0


# Finds further rows that do not fit: the row's index to the column's name and the reason.
Judge = Callable[[pa.RecordBatch], Mapping[int, tuple[str, str]]]


class Conformer:
    """Brings batches to a table's Arrow schema.

    Args:
        schema: the table's; a field that is not nullable is required.
        hidden: columns whose values must not be shown.
        text: whether values came as text (CSV, and JSON's strings), which is parsed; else only lossless casts are made.
        shown: of how many bad rows the value and the record are given.
        skip_null: a column; rows in which it is null are left out, and counted.
        judge: what else rows must observe.
    """

    def __init__(
        self,
        schema: pa.Schema,
        hidden: Collection[str],
        text: bool = False,
        shown: int = sys.maxsize,
        skip_null: str | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.schema = schema
        self._skip_null, self._judge = skip_null, judge
        self._shown = shown
        self._hidden = hidden
        self._text = text

    def check_columns(self, names: Collection[str], what: str, hint: str = "") -> list[str]:
        """The names that the table does not have. ``hint`` is said where all are such.

        Raises:
            TableMismatchError: ``what`` lacks a required column, has one twice, or has none of the table's.
        """
        # What a file without a header takes for names are values: only the table's own are shown.
        known = [name for name in names if name in self.schema.names]
        if len(set(known)) < len(known):
            twice = sorted({name for name in known if known.count(name) > 1})
            raise TableMismatchError(f"{what} has the column {', '.join(twice)} twice. Correct the source.")
        needed = [column.name for column in self.schema if not column.nullable or column.name == self._skip_null]
        missing = [name for name in needed if name not in known]
        if missing or not known:
            lacks = f"no column {', '.join(missing)}, which is required" if missing else "none of the table's columns"
            raise TableMismatchError(
                f"{what} has {lacks}. Of the table's columns it has: {', '.join(known) or f'none. {hint}'.strip(' .')}."
            )
        return [name for name in names if name not in self.schema.names]

    def check_types(self, schema: pa.Schema, what: str) -> None:
        """Raises TableMismatchError where a column's type has no lossless way to the table's."""
        for column in self.schema:
            if column.name in schema.names and not is_lossless(schema.field(column.name).type, column.type):
                found = schema.field(column.name).type
                raise TableMismatchError(
                    f"{what} has {column.name} as {found}, the table as {column.type}: there is no cast that loses nothing. "
                    "Correct the source, or the column's type in the template."
                )

    def conform(self, rows: Rows) -> Rows:
        """The rows that fit, in the table's schema; the others join ``bad``."""
        rows = self._without_skipped(rows)
        batch, bad = rows.batch, dict[int, tuple[str, str]]()
        columns: list[pa.Array] = []
        for column in self.schema:
            if column.name not in batch.schema.names:
                columns.append(pa.nulls(batch.num_rows, column.type))
                continue
            values = batch.column(column.name)
            converted, failed = self._convert(values, column.type)
            columns.append(converted)
            for index, reason in failed.items():
                bad.setdefault(index, (column.name, reason))
            for index in outside_years(converted):
                bad.setdefault(index, (column.name, "a date outside the years 1 to 9999"))
            if not column.nullable and converted.null_count:
                for index in pc.indices_nonzero(converted.is_null()).to_pylist():
                    bad.setdefault(index, (column.name, "null in a required column"))
        # Fields are compared without nullability until the rows that violate it are gone.
        loose = pa.schema([column.with_nullable(True) for column in self.schema])
        good = pa.RecordBatch.from_arrays(columns, schema=loose)
        if self._judge is not None:
            bad = {**self._judge(good), **bad}
        numbers = rows.numbers
        found = [self._bad_row(batch, index, numbers[index], *bad[index]) for index in sorted(bad)]
        if bad:
            mask = pa.array([index not in bad for index in range(batch.num_rows)], pa.bool_())
            good, numbers = good.filter(mask), [number for index, number in enumerate(numbers) if index not in bad]
        return Rows(pa.RecordBatch.from_arrays(good.columns, schema=self.schema), numbers, [*rows.bad, *found], rows.skipped)

    def _without_skipped(self, rows: Rows) -> Rows:
        if self._skip_null is None or not rows.batch.num_rows:
            return rows
        known = self._skip_null in rows.batch.schema.names
        kept = rows.batch.column(self._skip_null).is_valid() if known else pa.repeat(False, rows.batch.num_rows)
        skipped = rows.batch.num_rows - kept.true_count
        if not skipped:
            return rows
        numbers = list(itertools.compress(rows.numbers, kept.to_pylist()))
        return Rows(rows.batch.filter(kept), numbers, rows.bad, rows.skipped + skipped)

    def _convert(self, values: pa.Array, target: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
        """The values as a type, and why some are none of it; these are null."""
        converted, failed = self._cast(values, target)
        # The readers of text look at this themselves; in what comes as Arrow or Parquet is whatever was written.
        broken = {} if self._text else unsound(converted)
        if broken:
            # Who judges the rows next must not stumble over them.
            converted = converted.take(pa.array([None if index in broken else index for index in range(len(converted))], pa.int64()))
        return converted, {**dict.fromkeys(failed, f"not {described(target)}"), **broken}

    def _cast(self, values: pa.Array, target: pa.DataType) -> tuple[pa.Array, list[int]]:
        if values.type == target:
            return values, []
        if self._text and pa.types.is_string(values.type):
            return _cast_or_find(values, target, lambda part: parse_text(part, target))
        return _cast_or_find(values, target, lambda part: part.cast(target))

    def _bad_row(self, batch: pa.RecordBatch, index: int, number: int, column: str, reason: str) -> BadRow:
        if not self._shown:
            return BadRow(number, column, reason, None, "")
        self._shown -= 1
        value = None
        if column not in self._hidden and column in batch.schema.names and reason not in _NOT_SHOWN:
            found = readable(batch.column(column), index)
            value = None if found is None else str(found)
        row = {name: readable(batch.column(name), index) for name in batch.schema.names}
        record = json.dumps(row, default=str, ensure_ascii=False)
        return BadRow(number, column, reason, value, record)


def _cast_or_find(values: pa.Array, target: pa.DataType, cast: Callable[[pa.Array], pa.Array]) -> tuple[pa.Array, list[int]]:
    """Casts all values; where that fails halves them until the failing ones are alone, which become null."""
    try:
        return cast(values), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, OverflowError, RecursionError):
        if len(values) == 1:
            return pa.nulls(1, target), [0]
    half = len(values) // 2
    left, left_failed = _cast_or_find(part_of(values, 0, half), target, cast)
    right, right_failed = _cast_or_find(part_of(values, half, len(values)), target, cast)
    return pa.concat_arrays([left, right]), [*left_failed, *(half + index for index in right_failed)]
