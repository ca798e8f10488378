"""Where Spark writes: a branch of the table that lives for one write, so that Iceberg's own writer for Spark makes the files.

What counts are the data files. ``lakehouse.commit`` commits them, as those of the embedded engine: with the progress, exactly
once, to main or to an audit. The branch goes at once, with its snapshot. A run that is killed leaves one, which a later run
drops when it is older than any run, and data files that maintenance finds as orphans.

On Nessie, which keeps no branches of tables, it is a branch of Nessie's own.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING, cast

from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile, ManifestEntryStatus
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AssertRefSnapshotId, RemoveSnapshotRefUpdate, RemoveSnapshotsUpdate
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from lakehouse.attempts import commit_until_known
from lakehouse.catalog import load_table
from lakehouse.engines.spark.conf import spark_properties
from lakehouse.errors import LakehouseError, TableMismatchError
from lakehouse.history import AUDIT
from lakehouse.settings import LakehouseSettings
from lakehouse.template import NO_BOUNDS
from lakehouse.write import delete_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakehouse.nessie import NessieCatalog

# The name says when it was made, in seconds since 1970.
_BRANCH = re.compile(r"spark-(\d+)-[0-9a-f]{8}")

# What Spark writes to, and the files that it wrote there.
_Stage = tuple[str, Callable[[], list[DataFile]]]


def identifier(*parts: str) -> str:
    """Names as Spark's SQL has them, joined."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def table_in_spark(settings: LakehouseSettings, table: Table | str) -> str:
    """A table as Spark's SQL names it."""
    return identifier(settings.catalog_name, *(table.split(".") if isinstance(table, str) else table.name()))


def write_files(
    settings: LakehouseSettings, catalog: Catalog, session: SparkSession, table: Table, rows: DataFrame, hidden: Collection[str] = ()
) -> list[DataFile]:
    """Has Spark write rows as data files of a table, which no snapshot that readers see names yet.

    Files are partitioned, sorted and sized by the table's own spec, sort order and properties.

    Args:
        rows: with the table's columns, by name, in Spark's types of them.
        hidden: columns without bounds in the metadata, besides those that the table's properties name.

    Raises:
        TableMismatchError: the table is not one that Spark can write. What the write itself raises is Spark's.
    """
    check_types(table)
    _hide(table, hidden, settings)
    columns = [field.name for field in table.schema().fields]
    rows = rows.select(*(identifier(name) for name in columns))
    stage = _nessie_stage if settings.backend == "aws-nessie" else _table_stage
    # Tables say that commits are not to be tried again, which Spark's are then not either. Nothing is kept of one that met another.
    for attempt in Retrying(
        retry=retry_if_exception(_met_another), wait=wait_random(0, 2), stop=stop_after_delay(settings.commit_timeout), reraise=True
    ):
        with attempt, stage(settings, catalog, session, table) as (target, written):
            # Else Spark refuses columns that may be null by their type for required ones; what is null is found before.
            rows.writeTo(target).option("check-nullability", "false").option(f"snapshot-property.{AUDIT}", "{}").append()
            files = written()
    return [_recommitted(file, table.metadata.default_spec_id) for file in files]


def _met_another(error: BaseException) -> bool:
    """Whether a commit of Spark's was refused because another came first."""
    return "org.apache.iceberg.exceptions.CommitFailedException" in str(error)


def check_types(table: Table) -> None:
    """Raises TableMismatchError where a column is of a type that Iceberg has, and Spark does not."""
    if found := [field.name for field in table.schema().fields if re.search(r"\btime\b", str(field.field_type))]:
        raise TableMismatchError(
            f"{'.'.join(table.name())} has {', '.join(found)} of type time, which Spark's tables cannot have. "
            "Use LAKEHOUSE_ENGINE=embedded for it, or another type in its template."
        )


def _hide(table: Table, hidden: Collection[str], settings: LakehouseSettings) -> None:
    """Sets the properties by which Iceberg's writer keeps the bounds of hidden columns to itself, where `lakehouse apply` did not yet."""
    leaves = [name for name in table.schema().column_names if name.split(".")[0] in hidden]
    wanted = {f"{prefix}{name}": off for name in leaves for prefix, off in NO_BOUNDS.items()}

    def missing(fresh: Table) -> dict[str, str]:
        return {key: value for key, value in wanted.items() if fresh.properties.get(key) != value}

    def attempt(fresh: Table) -> None:
        with fresh.transaction() as transaction:
            transaction.set_properties(missing(fresh))

    what = f"the hiding of bounds of {'.'.join(table.name())}"
    commit_until_known(
        table, attempt, lambda fresh: None if missing(fresh) else True, settings.commit_timeout, what, "Do it again: it finds out."
    )


def _recommitted(file: DataFile, spec_id: int) -> DataFile:
    """A data file as it is to be committed: its path as PyIceberg writes it."""
    return DataFile.from_args(
        content=file.content,
        # Spark's local paths have one slash.
        file_path=re.sub(r"^file:/(?!/)", "file:///", file.file_path),
        file_format=file.file_format,
        partition=file.partition,
        record_count=file.record_count,
        file_size_in_bytes=file.file_size_in_bytes,
        column_sizes=file.column_sizes,
        value_counts=file.value_counts,
        null_value_counts=file.null_value_counts,
        nan_value_counts=file.nan_value_counts,
        lower_bounds=file.lower_bounds,
        upper_bounds=file.upper_bounds,
        key_metadata=file.key_metadata,
        split_offsets=file.split_offsets,
        equality_ids=None,
        sort_order_id=file.sort_order_id,
        spec_id=spec_id,
    )


def _new_name() -> str:
    return f"spark-{int(time.time())}-{uuid.uuid4().hex[:8]}"


def _is_left_over(name: str, settings: LakehouseSettings) -> bool:
    """Whether a branch is one of a run that cannot be running any more."""
    match = _BRANCH.fullmatch(name)
    return match is not None and int(match[1]) < time.time() - settings.orphan_age_hours * 3600


@contextmanager
def _table_stage(settings: LakehouseSettings, catalog: Catalog, session: SparkSession, table: Table) -> Iterator[_Stage]:
    full, branch = table_in_spark(settings, table), _new_name()
    for left_over in [name for name in table.metadata.refs if _is_left_over(name, settings)]:
        _drop(table, left_over, settings)

    def written() -> list[DataFile]:
        fresh = load_table(catalog, ".".join(table.name()))
        snapshot = fresh.snapshot_by_id(fresh.metadata.refs[branch].snapshot_id)
        assert snapshot is not None
        return added_files(fresh, snapshot)

    try:
        # Spark makes it, as it can do so for a table without a snapshot, too.
        session.sql(f"alter table {full} create branch {identifier(branch)}")
        yield f"{full}.{identifier(f'branch_{branch}')}", written
    finally:
        with suppress(LakehouseError):  # it is left over, then
            _drop(load_table(catalog, ".".join(table.name())), branch, settings)


@contextmanager
def _nessie_stage(settings: LakehouseSettings, catalog: Catalog, session: SparkSession, table: Table) -> Iterator[_Stage]:
    from lakehouse.branches import open_client

    nessie, client = cast("NessieCatalog", catalog), open_client(settings)
    for branch in client.branches():
        if _is_left_over(branch.name, settings):
            with suppress(LakehouseError):
                client.drop(branch)
    branch = client.create(_new_name(), settings.branch)
    name = f"{settings.catalog_name}_{branch.name.replace('-', '_')}"
    own = f"spark.sql.catalog.{settings.catalog_name}"
    there = spark_properties(settings.model_copy(update={"branch": branch.name}))
    properties = {f"spark.sql.catalog.{name}{key.removeprefix(own)}": value for key, value in there.items() if key.startswith(own)}
    for key, value in properties.items():
        session.conf.set(key, value)

    def written() -> list[DataFile]:
        there = nessie.load_at(client.branch(branch.name), table.name())
        snapshot = there.current_snapshot() if there is not None else None
        if there is None or snapshot is None or snapshot.snapshot_id == getattr(table.current_snapshot(), "snapshot_id", None):
            return []
        return added_files(there, snapshot)

    try:
        yield identifier(name, *table.name()), written
    finally:
        for key in properties:
            with suppress(Exception):
                session.conf.unset(key)
        with suppress(LakehouseError):
            client.drop(client.branch(branch.name))


def added_files(table: Table, snapshot: Snapshot) -> list[DataFile]:
    """The data files that a snapshot added."""
    return [
        entry.data_file
        for manifest in snapshot.manifests(table.io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in manifest.fetch_manifest_entry(table.io)
        if entry.status == ManifestEntryStatus.ADDED and entry.snapshot_id in (None, snapshot.snapshot_id)
    ]


def _lineage(by_id: Mapping[int, Snapshot], snapshot_id: int | None) -> Iterator[Snapshot]:
    """A snapshot, and those that led to it, as far as they are still there."""
    while snapshot_id is not None and (snapshot := by_id.get(snapshot_id)) is not None:
        yield snapshot
        snapshot_id = snapshot.parent_snapshot_id


def _drop(table: Table, branch: str, settings: LakehouseSettings) -> None:
    """Takes a branch out of a table's metadata with the snapshots that it alone has, and deletes what these alone consist of."""
    ref = table.metadata.refs.get(branch)
    if ref is None:
        return

    def own(fresh: Table) -> list[Snapshot]:
        by_id, kept = {found.snapshot_id: found for found in fresh.metadata.snapshots}, set[int]()

        def until_kept(snapshot_id: int) -> list[Snapshot]:
            return list(takewhile(lambda found: found.snapshot_id not in kept, _lineage(by_id, snapshot_id)))

        others = [found.snapshot_id for name, found in fresh.metadata.refs.items() if name != branch]
        for snapshot_id in [*others, *(entry.snapshot_id for entry in fresh.metadata.snapshot_log)]:
            kept.update(found.snapshot_id for found in until_kept(snapshot_id))
        return until_kept(ref.snapshot_id)

    def attempt(fresh: Table) -> None:
        with fresh.transaction() as transaction:
            transaction._updates += (
                RemoveSnapshotRefUpdate(ref_name=branch),
                RemoveSnapshotsUpdate(snapshot_ids=[snapshot.snapshot_id for snapshot in own(fresh)]),
            )
            transaction._requirements += (AssertRefSnapshotId(ref=branch, snapshot_id=ref.snapshot_id),)

    gone = own(table)
    lists = [
        path
        for snapshot in gone
        for path in (
            snapshot.manifest_list,
            *(found.manifest_path for found in snapshot.manifests(table.io) if found.added_snapshot_id == snapshot.snapshot_id),
        )
        if path
    ]
    what = f"the drop of the branch {branch} of {'.'.join(table.name())}"
    commit_until_known(
        table,
        attempt,
        lambda fresh: True if branch not in fresh.metadata.refs else None,
        settings.commit_timeout,
        what,
        "A later run drops it.",
    )
    delete_files(table, lists)
