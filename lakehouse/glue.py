"""Tables in AWS Glue. Terraform makes a shell of each, an entry with columns and location; `apply` turns it into an Iceberg table.

The entry is changed in place, never deleted and made again: its Lake Formation grants would go with it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from pyarrow import fs
from pyiceberg.catalog import METADATA_LOCATION, TABLE_TYPE, Catalog
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
from lakehouse.errors import PermissionOrderError, TableMismatchError
from lakehouse.lakeformation import ReaderGrants
from lakehouse.schema_plan import former_names_property
from lakehouse.settings import LakehouseSettings
from lakehouse.table_plan import TablePlan
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from pyiceberg.catalog.glue import GlueCatalog

_TERRAFORM = "terraform -chdir=terraform/aws apply"


class GlueTables:
    """What `apply` does with tables whose entries are Terraform's."""

    def __init__(self, settings: LakehouseSettings, catalog: Catalog) -> None:
        self._settings, self._catalog = settings, cast("GlueCatalog", catalog)

    @cached_property
    def _reader_grants(self) -> ReaderGrants:
        return ReaderGrants(self._settings)

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
            raise TableMismatchError(
                f"Glue has no entry of {name}. Terraform makes it, so that grants can name its columns: {_TERRAFORM}"
            ) from None

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
        table_input = _table_input(name, staged.metadata_location, properties, staged.metadata, entry)
        try:
            self._catalog._update_glue_table(database, name, table_input, entry["VersionId"])
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

    def check(self, plan: TablePlan) -> None:
        """Narrow before, widen after: no restricted column gets a name that the reader's grant holds."""
        self._check_grants(plan.template, plan.renamed_onto)

    def _check_grants(self, template: TableTemplate, names: Collection[str]) -> None:
        restricted = {column.name for column in template.columns if column.access_level == "restricted"} & set(names)
        if not restricted:
            return
        granted = self._reader_grants.columns(template.table_name)
        if granted is None:
            raise PermissionOrderError(
                f"{template.table_name}: {', '.join(sorted(restricted))} would be restricted columns of the table, and whether the reader "
                "is granted these names cannot be known. Set LAKEHOUSE_READER_ROLE (lakehouse env --terraform terraform/aws), and run "
                "it as an administrator of Lake Formation, which the admin role should be."
            )
        if opened := sorted(restricted & granted):
            raise PermissionOrderError(
                f"{template.table_name}: {', '.join(opened)} would be restricted, and the reader's grant in Lake Formation still has "
                f"{'these names' if len(opened) > 1 else 'this name'}. Narrow it first: {_TERRAFORM}; what Terraform did not grant: "
                "lakehouse governance --fix"
            )

    def _check_adoption(self, entry: Any, template: TableTemplate) -> None:
        """Whether an entry is the shell of this table, and every column may get its name."""
        self._check_shell(entry, template, table_location(self._settings, template.namespace, template.name))
        self._check_grants(template, {column.name for column in template.columns})

    def _check_shell(self, entry: Any, template: TableTemplate, location: str) -> None:
        storage = entry.get("StorageDescriptor", {})
        if storage.get("InputFormat") or entry.get("PartitionKeys") or entry.get("Parameters", {}).get(TABLE_TYPE, "ICEBERG") != "ICEBERG":
            raise TableMismatchError(
                f"The entry of {template.table_name} in Glue is a table of another kind, not Terraform's shell of an Iceberg table. "
                "Give the template another name, or remove that table."
            )
        if storage.get("Location", "").rstrip("/") != location:
            raise TableMismatchError(
                f"The entry of {template.table_name} in Glue is at {storage.get('Location')}, and LAKEHOUSE_WAREHOUSE makes it {location}. "
                "Take the settings from Terraform: lakehouse env --terraform terraform/aws"
            )


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


def _table_input(name: str, metadata_location: str, properties: Mapping[str, str], metadata: Any, entry: Any) -> Any:
    """The entry as PyIceberg's commits write it, with what else Terraform set."""
    from pyiceberg.catalog.glue import _construct_table_input

    made = _construct_table_input(name, metadata_location, dict(properties), metadata, entry)
    kept = {key: entry[key] for key in ("Description", "Owner", "Retention") if key in entry}
    return {**kept, **made}
