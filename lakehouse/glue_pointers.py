"""Glue's entries of tables whose catalog is Nessie. Readers ask Athena, which asks Glue; Lake Formation's grants are on the entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from pyiceberg.catalog import METADATA_LOCATION
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import Table

from lakehouse.catalog import open_catalog
from lakehouse.errors import LakehouseError, PermissionOrderError, TableMismatchError
from lakehouse.glue_entries import PermissionOrder, check_kind, check_shell, no_entry, table_input
from lakehouse.pointers import Pointer, PointerConflictError, PointerError, PointerUnreachableError, remedy
from lakehouse.settings import LakehouseSettings
from lakehouse.table_plan import TablePlan
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from pyiceberg.catalog.glue import GlueCatalog


class GluePointers:
    """The entries, by PyIceberg's own Glue catalog. See ``lakehouse.pointers.Pointers``."""

    def __init__(self, settings: LakehouseSettings) -> None:
        self._settings, self._order = settings, PermissionOrder(settings)
        self._glue = cast("GlueCatalog", open_catalog(settings.model_copy(update={"backend": "aws-glue"})))

    def read(self, table_name: str) -> Pointer | None:
        """See ``Pointers.read``."""
        database, _, name = table_name.partition(".")
        try:
            with _glue_errors(table_name, "read"):
                entry = self._glue._get_glue_table(database, name)
        except NoSuchTableError:
            return None
        try:
            check_kind(entry, table_name)
        except TableMismatchError as error:
            raise PointerError(str(error)) from None
        return Pointer(entry.get("Parameters", {}).get(METADATA_LOCATION), entry["VersionId"], entry)

    def differences(self, template: TableTemplate | None, table: Table, pointer: Pointer) -> Sequence[str]:
        """See ``Pointers.differences``: the columns."""
        _check_place(table, pointer)
        wanted = {column["Name"].lower(): _facts(column) for column in _columns(table)}
        live = {column["Name"].lower(): _facts(column) for column in _current(pointer.entry)}
        if different := sorted(name for name in wanted.keys() | live.keys() if wanted.get(name) != live.get(name)):
            return [f"Its columns are not the table's: {', '.join(different)}."]
        return []

    def check(self, template: TableTemplate | None, table: Table, pointer: Pointer | None) -> None:
        """See ``Pointers.check``. A column of which no template says whether it is restricted may not get a name."""
        if pointer is None:
            if template is not None:
                self.create(template, table)
            return
        _check_place(table, pointer)
        live = {column["Name"].lower(): _field_id(column) for column in _current(pointer.entry)}
        # Columns under a new name, or that of another, also of one of which the shell only has the name.
        named = {field.name: str(field.field_id) for field in table.schema().fields if live.get(field.name.lower()) != str(field.field_id)}
        if template is not None:
            former = {field_id: name for name, field_id in live.items() if field_id is not None}
            self._order.check(template, named)
            self._order.check_unknown(template, {name for name, id_ in named.items() if not _is_known(template, name, former.get(id_))})
        elif named:
            raise PermissionOrderError(
                f"{'.'.join(table.name())}: {', '.join(sorted(named))} would be shown to whoever is granted these names, and no template "
                "says whether they are restricted. Set LAKEHOUSE_TEMPLATES to the folder that has the table's template."
            )

    def create(self, template: TableTemplate | None, table: Table) -> None:
        """Terraform makes entries, so that grants come with them."""
        raise PointerError(f"{no_entry('.'.join(table.name()))}, then lakehouse sync")

    def move(self, template: TableTemplate | None, table: Table, pointer: Pointer) -> None:
        """See ``Pointers.move``."""
        self.check(template, table, pointer)
        database, name = table.name()
        made = table_input(name, table.metadata_location, {}, table.metadata, pointer.entry, pointer.metadata_location)
        if template is not None and template.description:
            made["Description"] = template.description
        try:
            with _glue_errors(f"{database}.{name}", "moved"):
                self._glue._update_glue_table(database, name, made, pointer.version)
        except NoSuchTableError:  # gone since it was read
            raise PointerConflictError(f"The entry of {database}.{name} in Glue was removed. {remedy(f'{database}.{name}')}") from None

    # --- Before a table is made or changed

    def check_create(self, template: TableTemplate) -> None:
        """Whether the entry may become that of a new table.

        Raises:
            TableMismatchError: there is none, it is no shell, or it names the metadata of a table that is not in the catalog.
            PermissionOrderError: the reader's grants would open a restricted column.
        """
        if (pointer := self.read(template.table_name)) is None:
            raise no_entry(template.table_name)
        if pointer.metadata_location is not None:
            raise TableMismatchError(
                f"The catalog has no table {template.table_name}, and its entry in Glue names {pointer.metadata_location}: readers would "
                "lose the rows of that table. If they are wanted, bring it back, e.g. from another branch; for a new table, move "
                "its files away, and take the parameter metadata_location from the entry."
            )
        check_shell(self._settings, pointer.entry, template)
        self._order.check(template, {column.name for column in template.columns})

    def check_plan(self, plan: TablePlan) -> None:
        """Whether a table may be changed so. Raises PermissionOrderError."""
        self._order.check(plan.template, plan.renamed_onto)


def _is_known(template: TableTemplate, name: str, former: str | None) -> bool:
    """Whether a template, perhaps an older one, says of a column under this name, formerly another, that it may be shown or not."""
    columns = {column.name: column for column in template.columns}
    if name not in columns or former is None or former in columns[name].renamed_from:
        return name in columns
    return former in columns and columns[former].access_level != "restricted"


def _columns(table: Table) -> list[Any]:
    from pyiceberg.catalog.glue import _to_columns

    return [column for column in _to_columns(table.metadata) if _is_current(column)]


def _current(entry: Any) -> list[Any]:
    """The columns of an entry without former ones, which are kept there and marked."""
    return [column for column in entry.get("StorageDescriptor", {}).get("Columns", []) if _is_current(column)]


def _is_current(column: Any) -> bool:
    return (column.get("Parameters") or {}).get("iceberg.field.current", "true") != "false"


def _field_id(column: Any) -> str | None:
    found: str | None = (column.get("Parameters") or {}).get("iceberg.field.id")
    return found


def _facts(column: Any) -> tuple[str, str | None]:
    return column.get("Type", ""), _field_id(column)


def _check_place(table: Table, pointer: Pointer) -> None:
    location = pointer.entry.get("StorageDescriptor", {}).get("Location", "").rstrip("/")
    if location != table.location().rstrip("/"):
        raise PointerError(
            f"The entry of {'.'.join(table.name())} in Glue is at {location}, and the table is at {table.location()}: Lake Formation lends "
            "readers the files of the one, not of the other. LAKEHOUSE_WAREHOUSE and Terraform's bucket must be the same."
        )


@contextmanager
def _glue_errors(table_name: str, done: str) -> Iterator[None]:
    """What Glue and its client raise, as errors of pointers. That there is no such entry stays NoSuchTableError."""
    try:
        yield
    except (LakehouseError, NoSuchTableError):
        raise
    except CommitFailedException:
        raise PointerConflictError(f"The entry of {table_name} in Glue was changed by others meanwhile. {remedy(table_name)}") from None
    except Exception as error:  # boto3 has tried again what is worth it
        raise PointerUnreachableError(
            f"The entry of {table_name} in Glue was not {done}: {type(error).__name__}: {error}. {remedy(table_name)}"
        ) from error
