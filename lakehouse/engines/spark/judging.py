"""Which rows of source files fit a table, in Spark's SQL: what is wrong with each that does not, as ``lakehouse.conform`` finds it.

Spark would compute an expression anew wherever a later step names it, and every filter above for each of its conditions: a row would
be parsed a hundred times. What is not deterministic it computes once, so every step's expressions are made to look like that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.changes import DELETES, UPSERTS, ChangeRecords
from lakehouse.engines.spark.stage import identifier
from lakehouse.engines.spark.values import Converted, literal, outside_years, sql_type
from lakehouse.engines.targets import RowRules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Beside the table's columns a row has these: its file and the block of it that Spark read, its number among the rows of the task,
# whether a rule leaves it out, why it is not fit (null where it is), the value that is not and the whole row as text.
PATH, BLOCK, NUMBER, SKIPPED, PROBLEM, VALUE, RECORD = "_path", "_block", "_number", "_skipped", "_problem", "_shown", "_record"
NOT_UTF8_FILE = "not UTF-8"
_VALUES = "_values"


def once(column: str, values: Mapping[str, str]) -> str:
    """A column with values, each by its SQL, that are computed once a row."""
    struct = ", ".join(f"{literal(name)}, {sql}" for name, sql in values.items())
    # Always true, which Spark does not know: of rand() it does.
    return f"case when monotonically_increasing_id() >= 0 then named_struct({struct}) end as {column}"


def part(column: str, name: str) -> str:
    """One of the values of such a column."""
    return f"{column}.{identifier(name)}"


def value_of(name: str) -> str:
    """The value that a column of the table will have."""
    return part(_VALUES, name)


@dataclass(frozen=True)
class Judging:
    """Judges rows by what a table takes.

    Attributes:
        hidden: columns whose values are not shown.
        records: of an scd_type2 pipeline.
    """

    rules: RowRules
    hidden: Collection[str]
    records: ChangeRecords | None = None

    def __call__(
        self,
        raw: DataFrame,
        columns: Mapping[str, Converted],
        nulls: Mapping[str, str],
        problems: Sequence[tuple[str, str]],
        shown: Mapping[str, str],
        record: str,
    ) -> DataFrame:
        """Rows with the table's columns and what is wrong with each.

        Args:
            columns: what the file has of the table's columns.
            nulls: whether each of them is null; problems: what may be wrong with the row as a whole, first.
            shown, record: their values, and the row, as text.
        """
        schema, skip = self.rules.schema, self.rules.skip_null
        skipped = "false" if skip is None else nulls.get(skip, "true")
        values = {
            field.name: columns[field.name].value if field.name in columns else f"cast(null as {sql_type(field.type)})" for field in schema
        }
        texts = " ".join(f"when {literal(name)} then {text}" for name, text in shown.items() if name not in self.hidden)
        return (
            raw.selectExpr("*", once(_VALUES, values))
            .selectExpr("*", once("_judged", {"skipped": skipped, "problem": f"case {' '.join(self._cases(columns, problems))} end"}))
            .selectExpr(
                PATH,
                BLOCK,
                NUMBER,
                f"_judged.skipped as {SKIPPED}",
                f"_judged.problem as {PROBLEM}",
                f"{f'case _judged.problem.column {texts} end' if texts else 'cast(null as string)'} as {VALUE}",
                f"{record} as {RECORD}",
                *(f"{value_of(name)} as {identifier(name)}" for name in schema.names),
            )
        )

    def _cases(self, columns: Mapping[str, Converted], problems: Sequence[tuple[str, str]]) -> Iterator[str]:
        """What may be wrong, the first that is counts."""
        for condition, reason in problems:
            yield _case(condition, "", reason)
        for field in self.rules.schema:
            for condition, reason in columns.get(field.name, Converted("")).bad:
                yield _case(condition, field.name, reason)
            if (outside := outside_years(value_of(field.name), field.type)) is not None:
                yield _case(outside, field.name, "a date outside the years 1 to 9999")
            if not field.nullable:
                yield _case(f"{value_of(field.name)} is null", field.name, "null in a required column")
        if self.records is not None and self.records.operation is not None:
            yield from self._operations(self.records.operation, self.records.required)
        yield _case("false", "", "")

    def _operations(self, column: str, required: Sequence[str]) -> Iterator[str]:
        """As ``ChangeRecords.judge``."""
        operation = f"lower(trim({value_of(column)}))"
        known, deletes = (", ".join(map(literal, names)) for names in ((*DELETES, *UPSERTS), DELETES))
        for name in required:
            yield _case(f"{value_of(name)} is null and not {operation} in ({deletes})", name, "null in a required column")
        yield _case(f"not {operation} in ({known})", column, "not insert, update, upsert or delete")


def _case(condition: str, column: str, reason: str) -> str:
    return f"when {condition} then named_struct('column', {literal(column)}, 'reason', {literal(reason)})"
