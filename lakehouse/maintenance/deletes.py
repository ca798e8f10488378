"""Deletes by value, which PyIceberg does not read (equality deletes, as Flink writes them): of which files, and the rows without them.

Source: https://iceberg.apache.org/spec/#scan-planning
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestEntry
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.delete_file_index import DeleteFileIndex

from lakehouse.errors import TableMismatchError
from lakehouse.read import rows_of

_EVERYWHERE = ""


def plan_files(table: Table) -> list[FileScanTask]:
    """The data files of a table's newest snapshot, each with the files that delete rows of it, whatever their kind."""
    try:
        return list(table.scan().plan_files())
    except ValueError as error:
        if "equality deletes" not in str(error):
            raise
    return _planned(table)


def remaining_rows(table: Table, tasks: Iterable[FileScanTask]) -> Iterator[pa.RecordBatch]:
    """All rows of some of a table's files, as ``rows_of`` gives them, without those that are deleted by value.

    Raises:
        TableMismatchError: deletes that cannot be applied.
    """
    for task in tasks:
        by_value = [found for found in task.delete_files if found.content == DataFileContent.EQUALITY_DELETES]
        if not by_value:
            yield from rows_of(table, [task])
            continue
        deleted = [_deleted(table, found) for found in by_value]
        for batch in rows_of(table, [FileScanTask(task.file, task.delete_files - set(by_value))]):
            stays = [True] * batch.num_rows
            for names, values in deleted:
                stays = [stay and row not in values for stay, row in zip(stays, _rows(batch, names), strict=True)]
            yield batch.filter(pa.array(stays, pa.bool_()))


def _planned(table: Table) -> list[FileScanTask]:
    data, positions, values = list[ManifestEntry](), DeleteFileIndex(), defaultdict[str, list[ManifestEntry]](list)
    snapshot = table.current_snapshot()
    for manifest in snapshot.manifests(table.io) if snapshot else ():
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            match entry.data_file.content:
                case DataFileContent.DATA:
                    data.append(entry)
                case DataFileContent.POSITION_DELETES:
                    positions.add_delete_file(entry, partition_key=entry.data_file.partition)
                case DataFileContent.EQUALITY_DELETES:
                    values[_scope(table, entry.data_file)].append(entry)
    return [
        FileScanTask(
            entry.data_file,
            positions.for_data_file(entry.sequence_number or 0, entry.data_file, partition_key=entry.data_file.partition)
            | {
                found.data_file
                for scope in {_EVERYWHERE, _scope(table, entry.data_file)}
                for found in values[scope]
                # What came with the rows, or after them, is not meant: deletes of a commit are of the rows before it.
                if (found.sequence_number or 0) > (entry.sequence_number or 0)
            },
        )
        for entry in data
    ]


def _scope(table: Table, file: DataFile) -> str:
    """The partition of a file. Deletes by value without a partition are of all."""
    is_partitioned = bool(table.specs()[file.spec_id].fields)
    return f"{file.spec_id} {file.partition}" if is_partitioned else _EVERYWHERE


def _deleted(table: Table, file: DataFile) -> tuple[list[str], set[tuple[Any, ...]]]:
    """The columns by which rows are deleted, and the values of those that are."""
    known = {field.field_id: field.name for field in table.schema().fields}
    ids = file.equality_ids or []
    if file.file_format != FileFormat.PARQUET or not ids or not set(ids) <= known.keys():
        name = ".".join(table.name())
        raise TableMismatchError(f"{name} has equality deletes that are not in Parquet, or by columns that it lacks. Compact it by Spark.")
    names = [field.name for field in table.schema().fields if field.field_id in ids]
    # Its columns have the table's field ids, as those of a data file.
    return names, {row for batch in rows_of(table, [FileScanTask(file)], names) for row in _rows(batch, names)}


def _rows(batch: pa.RecordBatch, names: list[str]) -> Iterator[tuple[Any, ...]]:
    """The values of columns, row by row; all NaNs are the same, and so are all nulls."""
    return zip(*([("NaN" if value != value else value) for value in batch.column(name).to_pylist()] for name in names), strict=True)
