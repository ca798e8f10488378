"""The SCD2 merge by Spark: it joins, decides and writes as ``lakehouse.merge`` does, and what comes of it is committed the same way.

The table is read at the snapshot on which the merge rests. Rows of keys without new records go through Spark only where their
file is written again. Few keys are sent to the executors that read the table; the table's rows move for many only.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table

from lakehouse.catalog import load_table
from lakehouse.changes import ChangeRecords
from lakehouse.commit import PlanOutdatedError
from lakehouse.engines.spark import merge_sql
from lakehouse.engines.spark.merge_sql import SparkMergeSql
from lakehouse.engines.spark.moments import known_moments, write_moments
from lakehouse.engines.spark.pruning import within_files, within_keys
from lakehouse.engines.spark.session import is_lost
from lakehouse.engines.spark.stage import check_types, identifier, table_in_spark, write_files
from lakehouse.errors import LakehouseError, TableMismatchError
from lakehouse.history import main_snapshot_id, winner
from lakehouse.merge import Merged
from lakehouse.segments import SegmentLog
from lakehouse.settings import LakehouseSettings
from lakehouse.write import delete_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# So many keys, or places of rows, each executor may hold: some ten megabytes. For more, Spark moves the table's rows.
_FEW = 200_000
# As lakehouse.merge has them: what a small file is, and from how many of a partition on they become one.
_SMALL, _MANY_FILES = 4, 8


class SparkMerge:
    """Merges change records that Spark holds into one state of a table. Use it as a context manager: ``write``, then ``finish``.

    Args:
        moments: the log of ``lakehouse.merge.moments_log``.
        hidden: columns without bounds in the metadata.
    """

    def __init__(
        self,
        settings: LakehouseSettings,
        catalog: Catalog,
        session: SparkSession,
        table: Table,
        records: ChangeRecords,
        moments: SegmentLog,
        hidden: Collection[str],
        progress: Callable[[str], None],
    ) -> None:
        self._settings, self._catalog, self._session, self._table = settings, catalog, session, table
        self._records, self._moments, self._hidden, self._progress = records, moments, hidden, progress
        self._name = ".".join(table.name())
        attributes = pa.schema([records.schema.field(name) for name in records.attributes])
        self._sql = SparkMergeSql(records.key, attributes, records.effective_at, [field.name for field in table.schema().fields])
        self._stack = ExitStack()

    def __enter__(self) -> SparkMerge:
        # Else rows that are kept are in as many parts as Spark shuffles into, by default 200, however few they are.
        self._session.conf.set("spark.sql.optimizer.canChangeCachedPlanOutputPartitioning", "true")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def write(self, rows: DataFrame) -> None:
        """Takes the change records in, once.

        Args:
            rows: with the columns of ``ChangeRecords.schema``, by name, in Spark's types of them (uuids in lower case), and
                ``_order``, which rises in the order in which the records came.

        Raises:
            TableMismatchError: the table has a type that Spark has not.
        """
        from pyspark.sql import functions

        check_types(self._table)
        records = self._records
        operation = functions.lit("") if records.operation is None else functions.col(identifier(records.operation))
        derived = {
            # A struct must have a field.
            "_row": functions.struct(*map(identifier, records.attributes)) if records.attributes else functions.expr(merge_sql.NO_ROW),
            "_at": functions.col(identifier(records.effective_at)),
            "_delete": functions.lower(operation).rlike(merge_sql.DELETES),
            "_kind": functions.lit(merge_sql.RECORD),
            "_order": functions.col("_order"),
        }
        key = [functions.col(identifier(name)) for name in records.key]
        self._changes = self._keep(rows.select(*key, *(value.alias(name) for name, value in derived.items())))

    def finish(self) -> Merged:
        """Finds what becomes of the versions, and has the files written that say it.

        Raises:
            TableMismatchError: the table has versions without a begin; PlanOutdatedError: another commit came between.
        """
        try:
            return self._merged()
        except LakehouseError:
            raise
        except Exception as error:
            # What Spark was to read or to write may be no more: a snapshot that the catalog does not keep, or the schema.
            fresh = load_table(self._catalog, self._name) if not is_lost(error) else self._table
            if _state(fresh) == _state(self._table):
                raise
            raise PlanOutdatedError(f"{self._name} was changed by {winner(fresh, self._table)}") from None

    def _merged(self) -> Merged:
        planned = list(self._table.scan().plan_files())
        fate = self._keep(self._fate(planned))
        [found] = self._run(merge_sql.SUMMARY, fate=fate).collect()
        if found["without_begin"]:
            raise TableMismatchError(f"{self._name} has versions whose valid_from is null, written by something else. Correct them.")
        if found["elsewhere"]:
            raise PlanOutdatedError(f"rows of {self._name} were moved by {winner(load_table(self._catalog, self._name), self._table)}")
        opened, changed = found["opened"], found["removed"]
        self._progress(f"{found['records']:,} changes: {opened:,} versions are new, {changed:,} become others")
        segment = write_moments(self._moments, self._records, self._run(merge_sql.NEW_MOMENTS, fate=fate), found["silent"])
        try:
            removed, added = self._write_files(planned, fate, set(found["files"]), changed, found["new"])
        except BaseException:
            delete_files(self._table, [segment] if segment else [])
            raise
        return Merged(planned, removed, added, segment, set(found["days"]), opened, changed)

    def _fate(self, planned: Sequence[FileScanTask]) -> DataFrame:
        """What becomes of each moment of the keys that have new records."""
        key = self._records.key
        keys = self._changes.select(*map(identifier, key)).distinct()
        few, condition = within_keys(keys, [self._records.schema.field(name) for name in key if name not in self._hidden])
        if few <= _FEW:
            keys = keys.hint("broadcast")
        rows = self._rows(planned, range(len(planned)), "left").where(condition).join(keys, key, "left_semi")
        # They are read twice: versions begin, and some end.
        versions = self._keep(self._run(merge_sql.VERSIONS, rows=rows))
        ends = self._run(merge_sql.ENDS, versions=versions)
        silent = known_moments(self._session, self._moments, self._records, self._changes, keys, few)
        events = self._changes
        for part in (versions, ends, *silent):
            events = events.unionByName(part, allowMissingColumns=True)
        moments = self._run(merge_sql.MOMENTS, events=events)
        timeline = self._run(merge_sql.TIMELINE, records=self._run(merge_sql.RECORDS, moments=moments))
        return self._run(merge_sql.FATE, outcome=self._run(merge_sql.OUTCOME, timeline=timeline))

    def _write_files(
        self, planned: Sequence[FileScanTask], fate: DataFrame, lost: Collection[int], changed: int, new: int
    ) -> tuple[list[DataFile], list[DataFile]]:
        """Writes the rows that stay of the files in which some do not, and those that are new."""
        chosen = _choose(planned, lost, new)
        if not chosen and not new:
            return [], []
        rows = self._run(merge_sql.NEW, fate=fate)
        if chosen:
            files = [planned[index].file for index in chosen]
            gone = self._run(merge_sql.REMOVED, fate=fate)
            gone = gone.hint("broadcast") if changed <= _FEW else gone
            before = self._rows(planned, chosen, "inner").where(within_files(self._table, files))
            stays = before.join(gone, ["_file", "_pos"], "left_anti")
            rows = rows.unionByName(stays.select(*(identifier(field.name) for field in self._table.schema().fields)))
        added = write_files(self._settings, self._catalog, self._session, self._table, rows, self._hidden)
        return [planned[index].file for index in chosen], added

    def _rows(self, planned: Sequence[FileScanTask], wanted: Sequence[int], how: str) -> DataFrame:
        """The table's rows, with the numbers of their files among the planned ones: of the wanted files, or null for others."""
        snapshot = self._table.current_snapshot()
        # Iceberg reads a snapshot in the schema of its time, and fails where a filter names a column that has another name now.
        # After a change of the schema the table is read as it is; the commit finds out whether its files are still the planned ones.
        pinned = snapshot is not None and snapshot.schema_id == self._table.metadata.current_schema_id
        version = f" version as of {snapshot.snapshot_id}" if snapshot is not None and pinned else ""
        rows = self._session.sql(f"select *, _file as _path, _pos from {table_in_spark(self._settings, self._table)}{version}")
        numbers = [(planned[index].file.file_path, index) for index in wanted]
        files = self._session.createDataFrame(numbers, "_path string, _file int")
        return rows.join(files.hint("broadcast"), "_path", how)

    def _run(self, statement: str, **relations: DataFrame) -> DataFrame:
        return self._session.sql(self._sql(statement, **{name: self._view(rows) for name, rows in relations.items()}))

    def _view(self, rows: DataFrame) -> str:
        """A name for rows in SQL. It stays until the merge is done: with a view Spark also forgets the rows that were kept."""
        name = f"merge_{uuid.uuid4().hex}"
        rows.createTempView(name)
        self._stack.callback(_quietly, self._session.catalog.dropTempView, name)
        return name

    def _keep(self, rows: DataFrame) -> DataFrame:
        """The same rows, which are worked out once and wait in Spark's memory, or on its disks, until the merge is done."""
        kept = rows.persist()
        self._stack.callback(_quietly, kept.unpersist)
        return kept


def _state(table: Table) -> tuple[int | None, int, int]:
    return main_snapshot_id(table), table.metadata.current_schema_id, table.metadata.default_spec_id


def _quietly(work: Callable[..., object], *arguments: str) -> None:
    with suppress(Exception):  # a session that is lost keeps nothing
        work(*arguments)


def _choose(planned: Sequence[FileScanTask], lost: Collection[int], new: int) -> list[int]:
    """The files that are written again, together: those that lose rows, and small ones where there are many of a partition."""
    together, chosen, small = new, list[int](), defaultdict[tuple[int, str], list[int]](list)
    for index in sorted(range(len(planned)), key=lambda index: planned[index].file.record_count):
        file = planned[index].file
        if (together or index in lost) and file.record_count <= _SMALL * together:
            small[file.spec_id, str(file.partition)].append(index)
            together += file.record_count
        elif index in lost:
            chosen.append(index)
    return chosen + [index for group in small.values() for index in group if index in lost or len(group) >= _MANY_FILES]
