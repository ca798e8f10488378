"""How healthy tables are: their files, snapshots and metadata, with what to do about it. Reads metadata alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFileContent
from pyiceberg.table import Table

from lakehouse.catalog import load_newest, load_table
from lakehouse.errors import CatalogError
from lakehouse.history import committed_at
from lakehouse.maintenance.compact import bins_of, target_size
from lakehouse.maintenance.deletes import plan_files
from lakehouse.maintenance.expire import expirable
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate, with_quarantine

# Below this part of the target size a file costs a reader more to find and open than to read.
_SMALL = 0.25
# From here on each commit, and each look at the table, is slow: the whole file is read and written.
_LARGE_METADATA = 8 * 1024 * 1024
_MANY_MANIFESTS = 1000


@dataclass(frozen=True)
class Health:
    """The figures of one table. Sizes are in bytes.

    Attributes:
        files, bytes, rows: data files of the newest snapshot; average_bytes: of a file.
        target_bytes: the size that files are to have; small_files: those that are smaller than a quarter of it; small_share: of all files.
        position_deletes, equality_deletes: files of deletes, by kind.
        snapshots: kept, by whatever branch or tag; oldest_snapshot_at: in UTC.
        manifests, manifest_bytes: of the newest snapshot; metadata_bytes: of the newest metadata file.
        advice: what to do, a sentence each; none for a table that is well.
    """

    table: str
    files: int = 0
    bytes: int = 0
    rows: int = 0
    average_bytes: int = 0
    target_bytes: int = 0
    small_files: int = 0
    small_share: float = 0.0
    position_deletes: int = 0
    equality_deletes: int = 0
    snapshots: int = 0
    oldest_snapshot_at: datetime | None = None
    branches: int = 0
    tags: int = 0
    manifests: int = 0
    manifest_bytes: int = 0
    metadata_bytes: int = 0
    advice: list[str] = field(default_factory=list[str])

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the attributes, the time in ISO 8601."""
        oldest = self.oldest_snapshot_at.isoformat(timespec="milliseconds") if self.oldest_snapshot_at else None
        return {**asdict(self), "oldest_snapshot_at": oldest}

    def figures(self) -> dict[str, int | float]:
        """The numbers, which Dagster plots over time."""
        return {key: value for key, value in asdict(self).items() if isinstance(value, int | float)}


def check_health(settings: LakehouseSettings, catalog: Catalog, templates: Iterable[TableTemplate]) -> Iterator[Health | CatalogError]:
    """The health of tables and their quarantine tables; for one that cannot be read, the error."""
    for template in with_quarantine(templates):
        try:
            yield read_health(settings, catalog, load_table(catalog, template.table_name), template)
        except CatalogError as error:
            yield error
        except Exception as error:
            yield CatalogError(f"{template.table_name} cannot be read: {type(error).__name__}: {error}. See whether its files are there.")


def read_health(settings: LakehouseSettings, catalog: Catalog, table: Table, template: TableTemplate) -> Health:
    """The health of a table that was loaded."""
    newest = load_newest(catalog, template.table_name)  # where Nessie shows a table without its history, it has its file
    size = len(newest.io.new_input(newest.metadata_location))
    return health_of(table, template, size, expires=settings.backend != "aws-nessie")


def health_of(table: Table, template: TableTemplate, metadata_bytes: int, expires: bool) -> Health:
    """The health of a table as it was read. ``expires``: whether its snapshots are this project's to expire."""
    metadata, target = table.metadata, target_size(table)
    snapshot = table.current_snapshot()
    manifests = snapshot.manifests(table.io) if snapshot else []
    sizes, deletes, rows = list[int](), {DataFileContent.POSITION_DELETES: 0, DataFileContent.EQUALITY_DELETES: 0}, 0
    for manifest in manifests:
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            if entry.data_file.content == DataFileContent.DATA:
                sizes.append(entry.data_file.file_size_in_bytes)
                rows += entry.data_file.record_count
            else:
                deletes[entry.data_file.content] += 1
    small = sum(size < _SMALL * target for size in sizes)
    kinds = [ref.snapshot_ref_type.value for ref in metadata.refs.values()]
    found = Health(
        table=".".join(table.name()),
        files=len(sizes),
        bytes=sum(sizes),
        rows=rows,
        average_bytes=sum(sizes) // len(sizes) if sizes else 0,
        target_bytes=target,
        small_files=small,
        small_share=round(small / len(sizes), 3) if sizes else 0.0,
        position_deletes=deletes[DataFileContent.POSITION_DELETES],
        equality_deletes=deletes[DataFileContent.EQUALITY_DELETES],
        snapshots=len(metadata.snapshots),
        oldest_snapshot_at=min(map(committed_at, metadata.snapshots), default=None),
        branches=kinds.count("branch"),
        tags=kinds.count("tag"),
        manifests=len(manifests),
        manifest_bytes=sum(manifest.manifest_length for manifest in manifests),
        metadata_bytes=metadata_bytes,
    )
    found.advice.extend(_advice_on_files(table, found))
    found.advice.extend(_advice_on_snapshots(table, found, template) if expires else ())
    return found


def _advice_on_files(table: Table, found: Health) -> Iterator[str]:
    if found.equality_deletes:
        yield f"{found.equality_deletes:,} files of equality deletes, which PyIceberg does not read: compact."
    if bins := bins_of(table, plan_files(table)):
        files = sum(len(bin_.tasks) for bin_ in bins)
        yield f"{files:,} files can become {len(bins):,}: lakehouse maintain {found.table} --only compact"
    if found.metadata_bytes > _LARGE_METADATA:
        yield "The metadata file is large, and each commit writes it anew: keep fewer snapshots, or commit less often."
    if found.manifests > _MANY_MANIFESTS:
        yield "There are many manifests, which queries read: rewrite them with Spark (rewrite_manifests)."


def _advice_on_snapshots(table: Table, found: Health, template: TableTemplate) -> Iterator[str]:
    maintenance = template.maintenance
    if old := len(expirable(table.metadata, maintenance, datetime.now(UTC))):
        yield f"{old:,} snapshots are older than {maintenance.keep_snapshots}: lakehouse maintain {found.table} --only expire,orphans"
        if not template.is_maintained:
            yield "Nothing maintains the table by itself: add `maintenance: {keep_snapshots: 7d}` to its template."
