"""The SCD2 merge: change records become versions with the time in which they held, whatever the order in which they come.

What a table says of a key is a timeline: versions, and the deletes that end them. A record that changes nothing opens no
version, but matters if another comes in between later, so its moment is kept in a log beside the table. Its content is
not: the table says what held at that moment. To merge is to join the timelines of the keys that have new records with
those records, to find anew what opens a version, and to rewrite the files that hold a version which is another now.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from itertools import islice
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table

from lakehouse import merge_sql
from lakehouse.changes import ChangeRecords
from lakehouse.duck import connect, quoted
from lakehouse.errors import MemoryLimitError, TableMismatchError
from lakehouse.merge_rows import BATCH_ROWS, at_positions, numbers, plain, plain_rows, with_values
from lakehouse.read import CachedRows, batch_rows
from lakehouse.segments import SegmentLog
from lakehouse.values import without_uuids
from lakehouse.write import DataFileWriter, arrow_schema, delete_files

MOMENTS = "lakehouse.moments"
# Of so many keys it costs less to look each row up in Arrow first than to join all rows.
_FEW_KEYS = 50_000
# A file is small if it has at most this many times the rows that are written anyway.
_SMALL = 4
# From so many small files of a partition on, they become one.
_MANY_FILES = 8
# From so many rows on, a table's only large file is worth two.
_LARGE = 500_000
_NEW = "from outcome where not _same"
# A data file, and the numbers of the rows that it loses.
_Loss = tuple[FileScanTask, pa.Int64Array]


@dataclass(frozen=True)
class Merged:
    """What a merge comes to: written, not yet committed.

    Attributes:
        planned: the table's files on which it rests; they must still be the table's when it is committed.
        removed, added: data files to take out and to put in.
        segment: the new segment of the log of moments; None where the log stays as it is.
        days: the UTC days from which on the table says something else.
        opened: versions that are new; changed: those that end otherwise, hold something else, or are no more.
    """

    planned: list[FileScanTask]
    removed: list[DataFile]
    added: list[DataFile]
    segment: str | None
    days: set[date]
    opened: int
    changed: int


class Merge:
    """Merges change records into one state of a table. Use it as a context manager: ``write`` all, then ``finish``.

    Args:
        moments: the log of ``moments_log``.
        memory: bytes to hold at most, in DuckDB and in the writer of files together.
        hidden: columns without bounds in the metadata.
    """

    def __init__(
        self,
        table: Table,
        records: ChangeRecords,
        moments: SegmentLog,
        memory: int,
        hidden: Collection[str],
        progress: Callable[[str], None],
    ) -> None:
        self._table, self._records, self._moments = table, records, moments
        self._memory, self._hidden, self._progress = memory, hidden, progress
        # Three eighths are DuckDB's, an eighth is for rows that were read, half is the writer's.
        self._duckdb_memory = memory * 3 // 8
        self._rows = CachedRows(table, memory // 8)
        self._names = [*records.key, *records.attributes]
        self._sql = merge_sql.MergeSql(records.key, pa.schema([records.schema.field(name) for name in records.attributes]))
        self._written = self._bytes = 0
        self._stack = ExitStack()

    def __enter__(self) -> Merge:
        self._db = self._stack.enter_context(connect(self._duckdb_memory))
        schema = self._records.schema
        moment = schema.field(self._records.effective_at).type
        content = [(name, without_uuids(schema.field(name).type)) for name in self._names]
        place = [("_file", pa.int64()), ("_position", pa.int64())]
        self._create("changes", [*content, ("_at", moment), ("_delete", pa.bool_()), ("_order", pa.int64())])
        self._create("found", [*content, ("_from", moment), ("_to", moment), ("_current", pa.bool_()), *place])
        self._create("places", place)
        self._create("moments", [*content[: len(self._records.key)], ("_at", moment)])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()
        # DuckDB's own error, or Arrow's where its rows are streamed.
        if isinstance(error, duckdb.Error | pa.ArrowException | OSError) and "Out of Memory" in str(error):
            if "temp" in str(error):
                raise MemoryLimitError(
                    f"The local disk has no room for the rows of a merge: {tempfile.gettempdir()}. Set TMPDIR."
                ) from None
            part = f"{self._duckdb_memory / 2**20:.0f} MiB, three eighths of LAKEHOUSE_WRITE_MEMORY"
            raise MemoryLimitError(f"Merging into {'.'.join(self._table.name())} needs more than {part}. Raise it.") from None

    def write(self, batch: pa.RecordBatch) -> None:
        """Takes change records in, in their order."""
        derived = [batch.column(self._records.effective_at), self._records.deletes(batch), numbers(self._written, batch.num_rows)]
        self._written += batch.num_rows
        self._bytes += batch.nbytes
        self._insert("changes", [plain_rows([*map(batch.column, self._names), *derived], [*self._names, "_at", "_delete", "_order"])])

    def finish(self) -> Merged:
        """Finds what becomes of the versions, and writes the files that say it."""
        self._execute(merge_sql.LATEST)
        self._execute("drop table changes")
        self._execute("create temp table keys as select distinct {key} from latest")
        planned = list(self._table.scan().plan_files())
        values = self._values_of_keys()
        self._find_versions(planned, values)
        self._insert("moments", self._known_moments(values), "distinct incoming.*", "semi join keys using ({key})")
        for statement in (merge_sql.OLD, merge_sql.RECORDS, merge_sql.TIMELINE, merge_sql.OUTCOME, merge_sql.REMOVED):
            self._execute(statement)
        opened, changed = self._number("from outcome where _file is null"), self._number("from removed")
        self._progress(f"{self._number('from latest'):,} changes: {opened:,} versions are new, {changed:,} become others")
        days = {day for (day,) in self._execute(merge_sql.DAYS).fetchall()}
        segment = self._write_moments()
        try:
            removed, added = self._write_files(planned)
        except BaseException:
            delete_files(self._table, [segment] if segment else [])
            raise
        return Merged(planned, removed, added, segment, days, opened, changed)

    def _values_of_keys(self) -> dict[str, pa.Array]:
        """Of few keys the values of each of their columns; of many none."""
        if self._number("from keys") > _FEW_KEYS:
            return {}
        return {
            name: self._db.execute(f"select distinct {quoted(name)} from keys").to_arrow_table().column(0) for name in self._records.key
        }

    def _find_versions(self, planned: list[FileScanTask], values: dict[str, pa.Array]) -> None:
        """Puts all versions of the keys into ``found``. First the keys alone are read, then the files that have any of them."""
        self._insert("places", self._candidates(planned, values), "_file, _position", "semi join keys using ({key})")
        for index, task in enumerate(planned):
            if len(wanted := self._positions("places", index)):
                self._insert("found", self._versions_at(index, task, wanted))
        if self._number("from found where _from is null"):
            name = ".".join(self._table.name())
            raise TableMismatchError(f"{name} has versions whose valid_from is null, written by something else. Correct them.")

    def _candidates(self, planned: list[FileScanTask], values: dict[str, pa.Array]) -> Iterator[pa.RecordBatch]:
        """The key and the place of each row whose key may be one of those that are merged."""
        key = self._records.key
        for index, task in enumerate(planned):
            self._rows.keep(task)
            start = 0
            for batch in self._rows.of(task, key):
                rows = plain_rows([*map(batch.column, key), numbers(start, batch.num_rows)], [*key, "_position"])
                start += batch.num_rows
                rows = with_values(rows, values)
                yield rows.append_column("_file", pa.repeat(index, rows.num_rows))

    def _versions_at(self, index: int, task: FileScanTask, wanted: pa.Int64Array) -> Iterator[pa.RecordBatch]:
        columns = [*self._names, "valid_from", "valid_to", "is_current"]
        for batch, start, here in at_positions(self._rows.of(task, columns), wanted):
            if len(here):
                found = batch.take(here)
                values = [*map(found.column, columns), pa.repeat(index, len(here)), pc.add(here, start)]
                yield plain_rows(values, [*self._names, "_from", "_to", "_current", "_file", "_position"])

    def _known_moments(self, values: dict[str, pa.Array]) -> Iterator[pa.RecordBatch]:
        for batch in self._moments.batches():
            yield with_values(plain_rows(batch.columns, [*self._records.key, "_at"]), values)

    def _write_moments(self) -> str | None:
        """Adds to the log the moments of records that open no version, or none any more."""
        if not (count := self._number(merge_sql.NEW_MOMENTS)):
            return None
        batches = self._execute("select {key}, _at " + merge_sql.NEW_MOMENTS).to_arrow_reader(BATCH_ROWS)
        return self._moments.extend((batch.rename_columns(self._moments.schema.names) for batch in batches), count)

    def _write_files(self, planned: list[FileScanTask]) -> tuple[list[DataFile], list[DataFile]]:
        """Writes the rows that stay of the files in which some do not, and those that are new."""
        schema = arrow_schema(self._table)
        joined, rewritten = self._choose(planned)
        with DataFileWriter(self._table, self._memory // 2, self._hidden) as writer:
            for task, gone in joined:
                for batch in self._without(task, gone, schema):
                    writer.write(batch)
            # A large file keeps its order, and need not be sorted again.
            for task, gone in rewritten:
                for start, end in self._parts(task, planned):
                    writer.rewrite(task.file, islice(self._without(task, gone, schema), start, end))
            rows = batch_rows(self._bytes, self._written)
            for batch in self._execute(f"select {self._select_list()} {_NEW}").to_arrow_reader(rows):
                writer.write(batch.cast(plain(schema)).cast(schema))
            return [task.file for task, _ in (*joined, *rewritten)], writer.finish()

    def _parts(self, task: FileScanTask, planned: list[FileScanTask]) -> list[tuple[int, int | None]]:
        """A table's only large file becomes two, once: two encoders write them at the same time, at this merge and all later ones."""
        half = self._rows.batches_of(task) // 2
        largest = max((other.file.record_count for other in planned if other is not task), default=0)
        if task.file.record_count < _LARGE or largest * _SMALL > task.file.record_count or not half:
            return [(0, None)]
        return [(0, half), (half, None)]

    def _choose(self, planned: list[FileScanTask]) -> tuple[list[_Loss], list[_Loss]]:
        """The files to be joined with the new rows, so that files stay few, and the large ones that are written again by themselves.

        Small files are joined where they lose rows, and where there are many of a partition.
        """
        lost = [(task, self._positions("removed", index)) for index, task in enumerate(planned)]
        together = self._number(_NEW)
        small: dict[tuple[int, str], list[_Loss]] = defaultdict(list)
        rewritten: list[_Loss] = []
        for task, gone in sorted(lost, key=lambda found: found[0].file.record_count):
            if (together or len(gone)) and task.file.record_count <= _SMALL * together:
                small[task.file.spec_id, str(task.file.partition)].append((task, gone))
                together += task.file.record_count
            elif len(gone):
                rewritten.append((task, gone))
        joined = [loss for losses in small.values() for loss in losses if len(loss[1]) or len(losses) >= _MANY_FILES]
        return joined, rewritten

    def _without(self, task: FileScanTask, gone: pa.Int64Array, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of a data file but for some."""
        for batch, _, here in at_positions(self._rows.of(task), gone):
            stays = pc.invert(pc.is_in(numbers(0, batch.num_rows), value_set=here))
            yield (batch.filter(stays) if len(here) else batch).cast(schema)

    def _select_list(self) -> str:
        """The table's columns, in terms of ``outcome``."""
        derived = {"valid_from": "_from", "valid_to": "_to", "is_current": "_to is null", self._records.effective_at: "_from"}
        return ", ".join(f"{derived.get(name, quoted(name))} as {quoted(name)}" for name in arrow_schema(self._table).names)

    def _positions(self, table: str, index: int) -> pa.Int64Array:
        """The rows of a data file that a table of places names."""
        found = self._db.execute(f"select _position from {table} where _file = ? order by _position", [index]).to_arrow_table()
        return found.column(0).combine_chunks()

    def _create(self, name: str, columns: Sequence[tuple[str, pa.DataType]]) -> None:
        self._db.register("incoming", pa.schema(columns).empty_table())
        self._db.execute(f"create temp table {name} as from incoming")

    def _insert(self, name: str, batches: Iterable[pa.RecordBatch], columns: str = "*", condition: str = "") -> None:
        """Streams Arrow batches into a table."""
        batches = iter(batches)
        if (first := next(batches, None)) is None:
            return
        errors: list[BaseException] = []

        def stream() -> Iterator[pa.RecordBatch]:
            yield first
            try:
                yield from batches
            except BaseException as error:  # DuckDB would tell of it in words of its own
                errors.append(error)
                raise

        self._db.register("incoming", pa.RecordBatchReader.from_batches(first.schema, stream()))
        try:
            self._execute(f"insert into {name} select {columns} from incoming {condition}")
        except Exception:
            if errors:
                raise errors[0] from None
            raise

    def _number(self, source: str) -> int:
        [(number,)] = self._execute(f"select count(*) {source}").fetchall()
        return int(number)

    def _execute(self, statement: str) -> Any:
        """Runs a statement of ``merge_sql``."""
        return self._db.execute(self._sql(statement))


def moments_log(table: Table, records: ChangeRecords, folder: str) -> SegmentLog:
    """The log of the moments at which a record opened no version. It names the key by field ids, which outlive a rename."""
    fields = [(str(table.schema().find_field(name).field_id), records.schema.field(name).type) for name in records.key]
    moment = ("moment", records.schema.field(records.effective_at).type)
    return SegmentLog(table, MOMENTS, folder, plain(pa.schema([*fields, moment])))
