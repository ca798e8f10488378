"""Compaction by Spark: it reads small files, without the rows that are deleted, and writes them as few."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table

from lakehouse.engines.spark.pruning import within_files
from lakehouse.engines.spark.snapshots import rows_sql
from lakehouse.engines.spark.stage import check_types, write_files
from lakehouse.errors import CommitConflictError, TableMismatchError
from lakehouse.maintenance.compact import Bin, check_rows
from lakehouse.maintenance.deletes import plan_files
from lakehouse.maintenance.replace import Replacement, is_as_planned
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def rewrite_bins(
    settings: LakehouseSettings, catalog: Catalog, session: SparkSession, table: Table, bins: Sequence[Bin], hidden: Collection[str]
) -> list[Replacement]:
    """Rewrites bins of a table together, see ``lakehouse.maintenance.compact.Rewrite``.

    Spark reads files as rows of the table's newest snapshot: which file a row is of, it sees of each row. Bounds keep it from
    reading the others.

    Raises:
        CommitConflictError: others changed the files meanwhile; TableMismatchError: Spark cannot write the table, or its rows are
            not as many as the metadata says. Nothing is left.
    """
    from pyspark.sql import functions

    check_types(table)
    tasks = [task for found in bins for task in found.tasks]
    names = [field.name for field in table.schema().fields]
    rows = session.sql(rows_sql(settings, table, names, ["_file"]))
    rows = rows.where(within_files(table, [task.file for task in tasks])).where(
        functions.col("_file").isin([task.file.file_path for task in tasks])
    )
    if not table.spec().fields and not table.sort_order().fields:
        # Else Iceberg has Spark bring together what belongs into a file.
        rows = rows.coalesce(len(bins))
    added = write_files(settings, catalog, session, table, rows, hidden)
    try:
        check_rows(table, tasks, added)
    except TableMismatchError:
        now = {task.file.file_path: task for task in plan_files(table)}
        if all(is_as_planned(task, now.get(task.file.file_path)) for task in tasks):
            raise
        raise CommitConflictError(f"others changed these files of {'.'.join(table.name())} meanwhile. Do this again.") from None
    return _by_partition(table, tasks, added)


def _by_partition(table: Table, tasks: Sequence[FileScanTask], added: Sequence[DataFile]) -> list[Replacement]:
    """What takes the place of what: partition by partition, so that no conflict about one keeps the others."""
    if any(task.file.spec_id != table.metadata.default_spec_id for task in tasks):
        return [Replacement(tasks, added)]
    before, after = defaultdict[str, list[FileScanTask]](list), defaultdict[str, list[DataFile]](list)
    for task in tasks:
        before[str(task.file.partition)].append(task)
    for file in added:
        after[str(file.partition)].append(file)
    if not after.keys() <= before.keys():
        return [Replacement(tasks, added)]
    return [Replacement(found, after[partition]) for partition, found in before.items()]
