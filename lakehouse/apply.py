"""Makes the catalog hold what the templates describe: creates what is missing, changes what differs, recreates nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.table import Table
from sqlalchemy.exc import IntegrityError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from lakehouse.catalog import table_location
from lakehouse.errors import LakehouseError
from lakehouse.glue import GlueTables
from lakehouse.plan import TablePlan
from lakehouse.schema_plan import former_names_property
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

_ATTEMPTS = 8


@dataclass(frozen=True)
class Applied:
    """What was done about one table. ``detail`` says what changed, or why it failed or was refused.

    ``refused``: it has breaking changes, which were not made; the safe ones were.
    """

    table: str
    action: Literal["created", "changed", "exists", "refused", "failed"]
    detail: str = ""


class Tables(Protocol):
    """How one backend holds tables, as far as `apply` is concerned."""

    def load(self, template: TableTemplate) -> Table | None:
        """The live Iceberg table; None where there is none yet."""
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


def apply(settings: LakehouseSettings, catalog: Catalog, templates: Iterable[TableTemplate]) -> Iterator[Applied]:
    """Creates or changes each table, and its quarantine table. One that fails does not keep the others from being made.

    What differs is changed in one transaction per table. Breaking changes are refused, the others made.
    """
    tables = open_tables(settings, catalog)
    for template in templates:
        for wanted in filter(None, (template, template.quarantine)):
            try:
                yield _apply_one(tables, wanted)
            except LakehouseError as error:
                yield Applied(wanted.table_name, "failed", str(error))
            except Exception as error:
                yield Applied(wanted.table_name, "failed", f"{type(error).__name__}: {error}")


# Another apply, or a pipeline's commit, came between reading and committing: read again, and plan again.
@retry(
    retry=retry_if_exception_type(CommitFailedException),
    stop=stop_after_attempt(_ATTEMPTS),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    reraise=True,
)
def _apply_one(tables: Tables, template: TableTemplate) -> Applied:
    if (table := tables.load(template)) is None:
        try:
            tables.create(template)
        except TableAlreadyExistsError:  # another apply was faster, and made the same
            return Applied(template.table_name, "exists")
        return Applied(template.table_name, "created")
    plan = TablePlan(table, template, tables.properties(template))
    tables.check(plan)
    updates, requirements = plan.updates()
    refused = plan.refused
    made = [str(change) for change in plan.changes if change not in refused]
    if updates:
        with table.transaction() as transaction:
            transaction._apply(updates, requirements)
    if refused:
        reasons = [f"{change} ({change.note})" if change.note else str(change) for change in refused]
        done = f"; done: {'; '.join(made)}" if made else ""
        return Applied(template.table_name, "refused", f"{'; '.join(reasons)}{done}")
    return Applied(template.table_name, "changed" if updates else "exists", "; ".join(made))


class CatalogTables:
    """Tables that the catalog creates itself, with their namespaces."""

    def __init__(self, settings: LakehouseSettings, catalog: Catalog) -> None:
        self._settings, self._catalog = settings, catalog

    def load(self, template: TableTemplate) -> Table | None:
        try:
            return self._catalog.load_table(template.table_name)
        except NoSuchTableError:
            return None

    def create(self, template: TableTemplate) -> None:
        self._ensure_namespace(template.namespace)
        schema = template.iceberg_schema
        self._catalog.create_table(
            template.table_name,
            schema,
            location=table_location(self._settings, template.namespace, template.name),
            partition_spec=template.iceberg_partition_spec(schema),
            sort_order=template.iceberg_sort_order(schema),
            properties={"format-version": "2", **template.table_properties, **former_names_property(template, schema)},
        )

    def properties(self, template: TableTemplate) -> Mapping[str, str]:
        return {}

    def check(self, plan: TablePlan) -> None:
        """The catalog has no grants on columns."""

    def _ensure_namespace(self, namespace: str) -> None:
        try:
            if not self._catalog.namespace_exists(namespace):
                self._catalog.create_namespace(namespace)
        except (NamespaceAlreadyExistsError, IntegrityError):
            return


_BACKENDS: dict[str, Callable[[LakehouseSettings, Catalog], Tables]] = {"aws-glue": GlueTables}
