"""How each backend holds tables, as far as `plan` and `apply` are concerned. A new backend with ways of its own is one more class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from sqlalchemy.exc import IntegrityError

from lakehouse.catalog import load_newest, table_location
from lakehouse.errors import TableMismatchError
from lakehouse.renames import former_names_property
from lakehouse.schema_plan import Change
from lakehouse.settings import LakehouseSettings
from lakehouse.table_plan import TablePlan
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from lakehouse.glue_pointers import GluePointers


class Tables(Protocol):
    """How one backend holds tables, as far as `apply` is concerned."""

    def load(self, template: TableTemplate) -> Table | None:
        """The live Iceberg table; None where there is none yet."""
        ...

    def check_create(self, template: TableTemplate) -> None:
        """Raises LakehouseError where `create` would."""
        ...

    def create(self, template: TableTemplate) -> None:
        """Makes the table. Raises TableAlreadyExistsError where another was faster."""
        ...

    def properties(self, template: TableTemplate) -> Mapping[str, str]:
        """What the backend adds to the template's table properties."""
        ...

    def check(self, plan: TablePlan) -> None:
        """Raises LakehouseError where the backend's permissions forbid the change."""
        ...

    def entry_changes(self, template: TableTemplate, table: Table) -> Sequence[Change]:
        """What `apply` would change of what readers query in the table's place, but for what follows each commit by itself."""
        ...

    def finish(self, plan: TablePlan) -> None:
        """Makes these changes, once the table itself is changed; breaking ones if the plan allows them."""
        ...


def open_tables(settings: LakehouseSettings, catalog: Catalog) -> Tables:
    """The tables of the settings' backend."""
    return _BACKENDS.get(settings.backend, CatalogTables)(settings, catalog)


class CatalogTables:
    """Tables that the catalog creates itself, with their namespaces."""

    def __init__(self, settings: LakehouseSettings, catalog: Catalog) -> None:
        self._settings, self._catalog = settings, catalog

    def load(self, template: TableTemplate) -> Table | None:
        try:
            return self._catalog.load_table(template.table_name)
        except NoSuchTableError:
            return None

    def check_create(self, template: TableTemplate) -> None:
        """Nothing stands in the way of a table that is not there."""

    def create(self, template: TableTemplate) -> None:
        self._ensure_namespace(template.namespace)
        schema = template.iceberg_schema
        self._catalog.create_table(
            template.table_name,
            schema,
            location=table_location(self._settings, template.namespace, template.name),
            partition_spec=template.iceberg_partition_spec(schema),
            sort_order=template.iceberg_sort_order(schema),
            properties={"format-version": "2", **template.table_properties, **former_names_property(template, self._numbered(schema))},
        )

    def properties(self, template: TableTemplate) -> Mapping[str, str]:
        return {}

    def check(self, plan: TablePlan) -> None:
        """The catalog has no grants on columns."""

    def entry_changes(self, template: TableTemplate, table: Table) -> Sequence[Change]:
        """Readers query the table itself, or what follows it by itself."""
        return ()

    def finish(self, plan: TablePlan) -> None:
        """Nothing is left to be done."""

    def _numbered(self, schema: Schema) -> Schema:
        """The top fields with the ids that they get in the catalog."""
        return schema

    def _ensure_namespace(self, namespace: str) -> None:
        try:
            if not self._catalog.namespace_exists(namespace):
                self._catalog.create_namespace(namespace)
        except (NamespaceAlreadyExistsError, IntegrityError):
            return


class NessieTables(CatalogTables):
    """Tables in Nessie, which are looked at without their history. Glue's entries of main's tables are theirs to follow."""

    @cached_property
    def _entries(self) -> GluePointers | None:
        if not self._settings.has_glue_entries:
            return None
        from lakehouse.glue_pointers import GluePointers

        return GluePointers(self._settings)

    def load(self, template: TableTemplate) -> Table | None:
        try:
            return load_newest(self._catalog, template.table_name)
        except NoSuchTableError:
            return None

    def check_create(self, template: TableTemplate) -> None:
        """Whether readers could be shown the table, and nothing that they may not see. Raises what ``GluePointers.check_create`` does."""
        if self._entries is not None:
            self._entries.check_create(template)

    def create(self, template: TableTemplate) -> None:
        try:
            self.check_create(template)
        except TableMismatchError:
            if self.load(template) is None:
                raise
            raise TableAlreadyExistsError(f"Table {template.table_name} already exists") from None  # the entry is that of another's apply
        super().create(template)

    def check(self, plan: TablePlan) -> None:
        """Narrow before, widen after. Raises PermissionOrderError."""
        if self._entries is not None:
            self._entries.check_plan(plan)

    def _numbered(self, schema: Schema) -> Schema:
        from lakehouse.nessie_ids import numbered_by_nessie

        return numbered_by_nessie(schema)


def _glue_tables(settings: LakehouseSettings, catalog: Catalog) -> Tables:
    from lakehouse.glue import GlueTables  # with Lake Formation and IAM, which no other backend waits for

    return GlueTables(settings, catalog)


def _gcp_tables(settings: LakehouseSettings, catalog: Catalog) -> Tables:
    from lakehouse.bigquery_tables import GcpTables

    return GcpTables(settings, catalog)


_BACKENDS: dict[str, Callable[[LakehouseSettings, Catalog], Tables]] = {
    "aws-glue": _glue_tables,
    "aws-nessie": NessieTables,
    "gcp": _gcp_tables,
}
