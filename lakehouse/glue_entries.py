"""Tables' entries in Glue: what may be made of them, and what they then say.

Terraform makes each as a shell, with columns and location. Afterwards it is changed in place, never deleted and made again: its
Lake Formation grants would go with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from pyiceberg.catalog import TABLE_TYPE

from lakehouse.catalog import table_location
from lakehouse.errors import PermissionOrderError, TableMismatchError
from lakehouse.lakeformation import ReaderGrants
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

TERRAFORM = "terraform -chdir=terraform/aws apply"


class PermissionOrder:
    """Narrow before, widen after: no restricted column gets a name that the reader's live grant holds."""

    def __init__(self, settings: LakehouseSettings) -> None:
        self._settings = settings

    @cached_property
    def _reader_grants(self) -> ReaderGrants:
        return ReaderGrants(self._settings)

    def check(self, template: TableTemplate, names: Collection[str]) -> None:
        """Whether columns may get these names. Raises PermissionOrderError."""
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
                f"{'these names' if len(opened) > 1 else 'this name'}. Narrow it first: {TERRAFORM}; what Terraform did not grant: "
                "lakehouse governance --fix"
            )

    def check_unknown(self, template: TableTemplate, names: Collection[str]) -> None:
        """Whether columns may get these names of which the template does not say what is in them. Raises PermissionOrderError."""
        if not names:
            return
        granted = self._reader_grants.columns(template.table_name)
        if opened := sorted(set(names) if granted is None else granted.intersection(names)):
            raise PermissionOrderError(
                f"{template.table_name}: {', '.join(opened)} would be shown to the reader, and the template does not say what is in it: "
                "another column was there, or none. Use the template by which the table was changed (LAKEHOUSE_TEMPLATES), with the "
                "column's renamed_from."
            )


def no_entry(table_name: str) -> TableMismatchError:
    """What is wrong where there is no entry of a table."""
    return TableMismatchError(f"Glue has no entry of {table_name}. Terraform makes it, so that grants can name its columns: {TERRAFORM}")


def check_kind(entry: Any, table_name: str) -> None:
    """Raises TableMismatchError where an entry is neither an Iceberg table's nor the shell of one."""
    storage = entry.get("StorageDescriptor", {})
    if storage.get("InputFormat") or entry.get("PartitionKeys") or entry.get("Parameters", {}).get(TABLE_TYPE, "ICEBERG") != "ICEBERG":
        raise TableMismatchError(
            f"The entry of {table_name} in Glue is a table of another kind, not Terraform's shell of an Iceberg table. "
            "Give the template another name, or remove that table."
        )


def check_shell(settings: LakehouseSettings, entry: Any, template: TableTemplate) -> None:
    """Raises TableMismatchError where an entry is not the shell that Terraform makes of a template."""
    check_kind(entry, template.table_name)
    location = table_location(settings, template.namespace, template.name)
    if (found := entry.get("StorageDescriptor", {}).get("Location", "")).rstrip("/") != location:
        raise TableMismatchError(
            f"The entry of {template.table_name} in Glue is at {found}, and LAKEHOUSE_WAREHOUSE makes it {location}. "
            "Take the settings from Terraform: lakehouse env --terraform terraform/aws"
        )


def table_input(
    name: str, metadata_location: str, properties: Mapping[str, str], metadata: Any, entry: Any, previous: str | None = None
) -> Any:
    """The entry as PyIceberg's commits write it, with what else Terraform set.

    Args:
        properties: parameters of the entry; ``Description`` is its description, too.
        previous: the metadata file that it named before.
    """
    from pyiceberg.catalog.glue import _construct_table_input

    # A copy: PyIceberg changes the parameters of the entry that it is given.
    given = {**entry, "Parameters": dict(entry.get("Parameters", {}))}
    made = _construct_table_input(name, metadata_location, dict(properties), metadata, given, previous)
    kept = {key: entry[key] for key in ("Description", "Owner", "Retention") if key in entry}
    return {**kept, **made}
