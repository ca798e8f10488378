"""Change records: what the source files of an scd_type2 pipeline hold, and what they mean for one live table."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from lakehouse.errors import TableMismatchError
from lakehouse.pipelines import VALIDITY, ScdType2Pipeline
from lakehouse.write import arrow_schema

DELETES = ("delete", "d")
UPSERTS = ("insert", "update", "upsert", "i", "c", "r", "u")  # also as Debezium and AWS DMS write them


class ChangeRecords:
    """The change records of a pipeline.

    Attributes:
        key: the columns of the business key.
        attributes: the columns whose change opens a version.
        effective_at: the column that says from when a record holds.
        operation: the column that says what happened; None where every record is an upsert.
        required: attributes that may be null only in a delete.
        schema: of the records. Where there are deletes, a required attribute may be null: see ``judge``.

    Raises:
        TableMismatchError: the table lacks a column that the pipeline needs.
    """

    def __init__(self, table: Table, pipeline: ScdType2Pipeline) -> None:
        columns = arrow_schema(table)
        if missing := [name for name in (*pipeline.key, *VALIDITY) if name not in columns.names]:
            raise TableMismatchError(
                f"{'.'.join(table.name())} has no column {', '.join(missing)}, which its pipeline needs. See: lakehouse apply"
            )
        if twice := [name for name in columns.names if [other.lower() for other in columns.names].count(name.lower()) > 1]:
            # SQL would take one for the other.
            raise TableMismatchError(f"{'.'.join(table.name())} has {' and '.join(twice)}, the same but for case. Rename one of them.")
        self.key, self.effective_at, self.operation = list(pipeline.key), pipeline.effective_at, pipeline.operation
        own = {*self.key, *VALIDITY, self.effective_at}
        self.attributes = [name for name in columns.names if name not in own]
        self.required = [name for name in self.attributes if not columns.field(name).nullable]
        fields = [columns.field(name).with_nullable(False) for name in self.key]
        fields += [columns.field(name).with_nullable(columns.field(name).nullable or bool(self.operation)) for name in self.attributes]
        fields.append(pa.field(self.effective_at, columns.field("valid_from").type, nullable=False))
        if self.operation:
            fields.append(pa.field(self.operation, pa.string(), nullable=False))
        self.schema = pa.schema(fields)

    def judge(self, batch: pa.RecordBatch) -> dict[int, tuple[str, str]]:
        """Which records are not fit to be merged: the index of each, with the column and the reason."""
        if self.operation is None:
            return {}
        operations = batch.column(self.operation)
        unknown = pc.invert(_is_one_of(operations, (*DELETES, *UPSERTS)))
        bad = dict.fromkeys(pc.indices_nonzero(unknown).to_pylist(), (self.operation, "not insert, update, upsert or delete"))
        deletes = self.deletes(batch)
        for name in self.required:
            missing = pc.and_not(batch.column(name).is_null(), deletes)
            bad = {**dict.fromkeys(pc.indices_nonzero(missing).to_pylist(), (name, "null in a required column")), **bad}
        return bad

    def deletes(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Which records say that their key is no more."""
        if self.operation is None:
            return pa.repeat(False, batch.num_rows)
        return _is_one_of(batch.column(self.operation), DELETES)


def _is_one_of(operations: pa.StringArray, names: tuple[str, ...]) -> pa.BooleanArray:
    return pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(operations)), value_set=pa.array(names))
