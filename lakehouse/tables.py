"""How each backend holds tables, as far as `plan` and `apply` are concerned. A new backend with ways of its own is one more class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, cast

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from sqlalchemy.exc import IntegrityError

from lakehouse.catalog import table_location
from lakehouse.schema_plan import former_names_property
from lakehouse.settings import LakehouseSettings
from lakehouse.table_plan import TablePlan
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from lakehouse.nessie import NessieCatalog


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
    """Tables in Nessie, which are looked at without their history."""

    def load(self, template: TableTemplate) -> Table | None:
        try:
            return cast("NessieCatalog", self._catalog).load_without_history(template.table_name)
        except NoSuchTableError:
            return None

    def _numbered(self, schema: Schema) -> Schema:
        from lakehouse.nessie import numbered_by_nessie

        return numbered_by_nessie(schema)


def _glue_tables(settings: LakehouseSettings, catalog: Catalog) -> Tables:
    from lakehouse.glue import GlueTables  # with Lake Formation and IAM, which no other backend waits for

    return GlueTables(settings, catalog)


_BACKENDS: dict[str, Callable[[LakehouseSettings, Catalog], Tables]] = {"aws-glue": _glue_tables, "aws-nessie": NessieTables}
