"""PyIceberg's overwrite, with manifests that stay few."""

from __future__ import annotations

from pyiceberg.manifest import ManifestContent, ManifestFile
from pyiceberg.table import TableProperties, Transaction
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _ManifestMergeManager, _OverwriteFiles
from pyiceberg.utils.properties import property_as_bool, property_as_int


class OverwriteFiles(_OverwriteFiles):
    """Takes data files out and puts others in, in one snapshot. Use it as a context manager.

    PyIceberg's own keeps manifests whose files are all deleted for ever, reads them at every commit, and merges none:
    each merge into a dimension would take longer than the last.
    """

    def __init__(self, transaction: Transaction, snapshot_properties: dict[str, str]) -> None:
        is_first = transaction.table_metadata.current_snapshot() is None
        operation = Operation.APPEND if is_first else Operation.OVERWRITE
        super().__init__(operation, transaction, transaction._table.io, snapshot_properties=snapshot_properties)

    def _existing_manifests(self) -> list[ManifestFile]:
        return [manifest for manifest in super()._existing_manifests() if _is_live(manifest)]

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Merges data manifests as PyIceberg's appends do, by the table's ``commit.manifest*`` properties."""
        properties = self._transaction.table_metadata.properties
        size, count = (
            property_as_int(properties, name, default) or default
            for name, default in (
                (TableProperties.MANIFEST_TARGET_SIZE_BYTES, TableProperties.MANIFEST_TARGET_SIZE_BYTES_DEFAULT),
                (TableProperties.MANIFEST_MIN_MERGE_COUNT, TableProperties.MANIFEST_MIN_MERGE_COUNT_DEFAULT),
            )
        )
        enabled = property_as_bool(properties, TableProperties.MANIFEST_MERGE_ENABLED, TableProperties.MANIFEST_MERGE_ENABLED_DEFAULT)
        data = [manifest for manifest in manifests if manifest.content == ManifestContent.DATA]
        deletes = [manifest for manifest in manifests if manifest.content == ManifestContent.DELETES]
        manager = _ManifestMergeManager(target_size_bytes=size, min_count_to_merge=count, merge_enabled=enabled, snapshot_producer=self)
        return manager.merge_manifests(data) + deletes


def _is_live(manifest: ManifestFile) -> bool:
    """Whether it names files of the table; where it does not say, it may."""
    counts = (manifest.added_files_count, manifest.existing_files_count)
    return any(count is None or count > 0 for count in counts)
