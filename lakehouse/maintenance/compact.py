"""Compaction: small files of a partition become one, sorted by the table's sort order, and what deletes of their rows is applied.

Which files are rewritten is decided as Iceberg's own rewrite does. A file is written as its rows come, or as they come
sorted from local disk: so it reaches the table's target size in any memory, and no file is rewritten again and again.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table, TableProperties
from pyiceberg.table.snapshots import Operation
from pyiceberg.utils.properties import property_as_int

from lakehouse.errors import TableMismatchError
from lakehouse.maintenance.deletes import remaining_rows
from lakehouse.maintenance.replace import Labels, Replacement, replace_files
from lakehouse.sorting import sorted_on_disk
from lakehouse.write import DataFileWriter, arrow_schema, delete_files

# A file is small below this part of the target size; so many small files are worth a rewrite, also where they fill no file.
# Source: the defaults of https://iceberg.apache.org/docs/latest/spark-procedures/#rewrite_data_files
_SMALL, _MIN_FILES = 0.75, 5
# The files that one commit takes out, but for those of one bin.
_FILES_OF_A_COMMIT = 1000


@dataclass(frozen=True)
class Bin:
    """Files of one partition that become one file."""

    tasks: Sequence[FileScanTask]

    @property
    def bytes(self) -> int:
        """Of the files as they are."""
        return sum(task.file.file_size_in_bytes for task in self.tasks)


# Writes the rows of bins of a table anew, hidden columns without bounds, and says what takes the place of what. No snapshot names it yet.
Rewrite = Callable[[Table, Sequence[Bin], Collection[str]], list[Replacement]]


def target_size(table: Table) -> int:
    """The bytes of a file that a table's properties ask for."""
    name, default = TableProperties.WRITE_TARGET_FILE_SIZE_BYTES, TableProperties.WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT
    return property_as_int(table.properties, name, default) or default


def bins_of(table: Table, tasks: Iterable[FileScanTask]) -> list[Bin]:
    """What is to be rewritten of some files, partition by partition, the smallest files of each first."""
    target = target_size(table)
    partitions: dict[tuple[int, str], list[FileScanTask]] = defaultdict(list)
    for task in tasks:
        if task.file.file_size_in_bytes < _SMALL * target or task.delete_files:
            partitions[task.file.spec_id, str(task.file.partition)].append(task)
    return [found for _, small in sorted(partitions.items()) for found in _bins(small, target)]


def _bins(tasks: list[FileScanTask], target: int) -> Iterator[Bin]:
    waiting, size = list[FileScanTask](), 0
    for task in sorted(tasks, key=lambda task: task.file.file_size_in_bytes):
        if waiting and size + task.file.file_size_in_bytes > target:
            yield from _worth_it(waiting, is_full=True)
            waiting, size = [], 0
        waiting.append(task)
        size += task.file.file_size_in_bytes
    yield from _worth_it(waiting, is_full=False)


def _worth_it(tasks: list[FileScanTask], is_full: bool) -> Iterator[Bin]:
    if len(tasks) >= (2 if is_full else _MIN_FILES) or any(task.delete_files for task in tasks):
        yield Bin(tasks)


def commits_of(bins: Sequence[Bin], target: int) -> Iterator[list[Bin]]:
    """The bins that are committed together: about as many bytes as one large file, so that little is lost to a conflict."""
    group, size, files = list[Bin](), 0, 0
    for found in bins:
        if group and (size + found.bytes > target or files + len(found.tasks) > _FILES_OF_A_COMMIT):
            yield group
            group, size, files = [], 0, 0
        group.append(found)
        size, files = size + found.bytes, files + len(found.tasks)
    if group:
        yield group


def compact(table: Table, bins: Sequence[Bin], hidden: Collection[str], labels: Labels, rewrite: Rewrite) -> list[Replacement]:
    """Rewrites bins of a table, and commits them together. Returns those that were committed: not what others changed meanwhile.

    Args:
        hidden: columns without bounds in the metadata.

    Raises:
        CommitConflictError: others changed all of them; their files are deleted. CommitUnknownError: they are kept.
    """
    return replace_files(table, rewrite(table, bins, hidden), Operation.REPLACE, labels)


def rewrite_here(table: Table, bins: Sequence[Bin], hidden: Collection[str], memory: int) -> list[Replacement]:
    """Rewrites bins in this process, one after the other: with ``partial``, the embedded engine's ``Rewrite``.

    Args:
        memory: bytes of rows to hold at most.

    Raises:
        TableMismatchError: rows that cannot be read, or are not as many as the metadata says; nothing is left.
    """
    replacements: list[Replacement] = []
    try:
        for found in bins:
            replacements.append(Replacement(found.tasks, _rewrite(table, found, memory, hidden)))
    except BaseException:
        delete_files(table, [file.file_path for made in replacements for file in made.added])
        raise
    return replacements


def check_rows(table: Table, tasks: Sequence[FileScanTask], files: Sequence[DataFile]) -> None:
    """Raises TableMismatchError, and deletes the files, where they do not have the rows of what they are to replace."""
    rows, written = sum(task.file.record_count for task in tasks), sum(file.record_count for file in files)
    if written != rows and (written > rows or not any(task.delete_files for task in tasks)):
        delete_files(table, [file.file_path for file in files])
        name = ".".join(table.name())
        raise TableMismatchError(
            f"{len(tasks)} files of {name} have {written:,} rows, and {rows:,} by its metadata. Find out which is right."
        )


def _rewrite(table: Table, found: Bin, memory: int, hidden: Collection[str]) -> list[DataFile]:
    """Writes the rows of a bin. Those of another partition spec than the table's become files of its own."""
    first = found.tasks[0].file
    batches: Iterator[pa.RecordBatch] = (batch.cast(arrow_schema(table)) for batch in remaining_rows(table, found.tasks))
    with ExitStack() as stack:
        writer = stack.enter_context(DataFileWriter(table, memory // 2, hidden))
        if first.spec_id != table.metadata.default_spec_id:
            for batch in batches:
                writer.write(batch)
        else:
            if table.sort_order().fields:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lakehouse-sort-")))
                batches = sorted_on_disk(table, batches, memory, folder)
            writer.write_sorted(first.partition, batches)
        files = writer.finish()
    check_rows(table, found.tasks, files)
    return files
