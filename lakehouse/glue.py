"""Tables whose catalog is AWS Glue: `apply` turns the shells that Terraform makes, see glue_entries.py, into Iceberg tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from pyarrow import fs
from pyiceberg.catalog import METADATA_LOCATION, Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchIcebergTableError,
    NoSuchPropertyException,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from lakehouse.catalog import table_location
from lakehouse.errors import TableMismatchError
from lakehouse.glue_entries import PermissionOrder, check_shell, no_entry, table_input
from lakehouse.renames import former_names_property
from lakehouse.schema_plan import Change
from lakehouse.settings import LakehouseSettings
from lakehouse.table_plan import TablePlan
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from pyiceberg.catalog.glue import GlueCatalog


class GlueTables:
    """What `apply` does with tables whose entries are Terraform's."""

    def __init__(self, settings: LakehouseSettings, catalog: Catalog) -> None:
        self._settings, self._catalog, self._order = settings, cast("GlueCatalog", catalog), PermissionOrder(settings)

    def load(self, template: TableTemplate) -> Table | None:
        """The live Iceberg table; None where the entry is a shell.

        Raises:
            TableMismatchError: there is no entry, or it is another kind of table.
        """
        name = template.table_name
        try:
            return self._catalog.load_table(name)
        except NoSuchPropertyException:  # table_type or metadata_location is missing
            return None
        except NoSuchIcebergTableError:
            raise TableMismatchError(
                f"The entry of {name} in Glue is no Iceberg table. Give the template another name, or remove that table."
            ) from None
        except NoSuchTableError:
            raise no_entry(name) from None

    def check_create(self, template: TableTemplate) -> None:
        """Whether `create` would make a table of the shell. Raises what `create` does."""
        self._check_adoption(self._catalog._get_glue_table(template.namespace, template.name), template)

    def create(self, template: TableTemplate) -> None:
        """Writes the first metadata of a shell's table, and names it in the entry.

        Raises:
            TableAlreadyExistsError: the entry has metadata by now.
            CommitFailedException: another changed the entry meanwhile.
            TableMismatchError: files of another table are in its location, or its location is not the settings'.
            PermissionOrderError: the reader's grants would open a restricted column.
        """
        database, name = template.namespace, template.name
        entry = self._catalog._get_glue_table(database, name)
        if METADATA_LOCATION in entry.get("Parameters", {}):
            raise TableAlreadyExistsError(template.table_name)
        self._check_adoption(entry, template)
        location = table_location(self._settings, database, name)
        schema = template.iceberg_schema
        properties = {**template.table_properties, **self.properties(template), **former_names_property(template, schema)}
        staged = self._catalog._create_staged_table(
            template.table_name,
            schema,
            location,
            template.iceberg_partition_spec(schema),
            template.iceberg_sort_order(schema),
            {"format-version": "2", **properties},
        )
        _check_location_is_new(staged.io, template.table_name, location)
        self._catalog._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        made = table_input(name, staged.metadata_location, properties, staged.metadata, entry)
        try:
            self._catalog._update_glue_table(database, name, made, entry["VersionId"])
        except CommitFailedException:
            # boto3 tries a lost call again, and then the version is stale because it was this very update that was made.
            now = self._catalog._get_glue_table(database, name).get("Parameters", {}).get(METADATA_LOCATION)
            if now == staged.metadata_location:
                return
            # Another's metadata is the table's. After any other error nobody knows, and the file stays.
            staged.io.delete(staged.metadata_location)
            raise

    def properties(self, template: TableTemplate) -> Mapping[str, str]:
        """With each commit PyIceberg writes the entry's description from this property, and takes it away without."""
        return {"Description": template.description} if template.description else {}

    def entry_changes(self, template: TableTemplate, table: Table) -> Sequence[Change]:
        """Readers query the table's own entry."""
        return ()

    def finish(self, plan: TablePlan) -> None:
        """Nothing is left to be done."""

    def check(self, plan: TablePlan) -> None:
        """Narrow before, widen after."""
        self._order.check(plan.template, plan.renamed_onto)

    def _check_adoption(self, entry: Any, template: TableTemplate) -> None:
        """Whether an entry is the shell of this table, and every column may get its name."""
        check_shell(self._settings, entry, template)
        self._order.check(template, {column.name for column in template.columns})


def _check_location_is_new(io: FileIO, table: str, location: str) -> None:
    """An entry that was lost is not made a new table over an old one's files: that would hide them."""
    scheme, netloc, path = PyArrowFileIO.parse_location(f"{location}/metadata")
    filesystem = cast("PyArrowFileIO", io).fs_by_scheme(scheme, netloc)
    names = sorted(
        info.base_name for info in filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)) if info.base_name.endswith(".json")
    )
    # A first metadata file without a snapshot is what an apply leaves that died, or lost against another.
    if committed := [name for name in names if not name.startswith("00000-") or _has_snapshot(io, f"{location}/metadata/{name}")]:
        raise TableMismatchError(
            f"{location}/metadata has the metadata of a table, and the entry of {table} in Glue names none. To have that table back, set "
            f"the entry's parameter metadata_location to the newest file, probably {committed[-1]}; for a new one, move the files away."
        )


def _has_snapshot(io: FileIO, metadata_location: str) -> bool:
    with io.new_input(metadata_location).open() as stream:
        return bool(json.loads(stream.read()).get("snapshots"))
