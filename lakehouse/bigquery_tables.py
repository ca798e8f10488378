"""Tables in Google's Iceberg catalog, which readers query through an external table of BigQuery where a connection is set."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from pyiceberg.table import Table
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from lakehouse.bigquery import Entry
from lakehouse.bigquery_pointers import BigQueryPointers
from lakehouse.bigquery_schema import bigquery_fields
from lakehouse.catalog import load_newest
from lakehouse.errors import PermissionOrderError
from lakehouse.pointers import PointerConflictError
from lakehouse.policy_tags import PolicyTags, opened_names, tag_changes
from lakehouse.renames import FORMER_NAMES, former_names_property
from lakehouse.schema_plan import Change
from lakehouse.table_plan import TablePlan
from lakehouse.tables import CatalogTables
from lakehouse.template import TableTemplate


class GcpTables(CatalogTables):
    """What `plan` and `apply` do on GCP beside the catalog: that a column has a tag that BigQuery can be shown it with."""

    def check_create(self, template: TableTemplate) -> None:
        """Raises SettingsError where a column's policy tag is not known, TableMismatchError where BigQuery lacks its type."""
        if self._settings.bigquery_connection:
            PolicyTags.of(self._settings).check(template)
            bigquery_fields(template.iceberg_schema)

    def create(self, template: TableTemplate) -> None:
        self.check_create(template)
        super().create(template)
        if any(column.renamed_from for column in template.columns):
            # The property names columns by their ids, and the server may number them in its own way.
            table = load_newest(self._catalog, template.table_name)
            wanted = former_names_property(template, table.schema())
            if table.properties.get(FORMER_NAMES) != wanted[FORMER_NAMES]:
                table.transaction().set_properties(wanted).commit_transaction()

    def check(self, plan: TablePlan) -> None:
        """Before the table is changed: narrow before, widen after.

        Raises:
            PermissionOrderError: a column is to get a name that BigQuery shows to more people; else as ``check_create``.
        """
        if not self._settings.bigquery_connection:
            return
        tags, name = PolicyTags.of(self._settings), plan.template.table_name
        tags.check(plan.template)
        bigquery_fields(plan.schema)
        if not (onto := plan.renamed_onto) or (pointer := self._pointers.read(name)) is None:
            return
        ids = {field.name: field.field_id for field in plan.schema.fields if field.name in onto}
        shown = self._pointers.shown(plan.table, pointer.entry)
        if opened := opened_names(plan.table, plan.template, tags, pointer.entry.fields, shown, ids):
            raise PermissionOrderError(
                f"{name}: {', '.join(opened)} would be another column, and BigQuery still shows this name to more than may read that "
                "one: a pipeline with the older template could show it to them. Give the column that has the name now the narrower "
                "access_level first, lakehouse apply, and have the pipelines use that template; then rename."
            )

    def entry_changes(self, template: TableTemplate, table: Table) -> list[Change]:
        """What differs in BigQuery, but for what follows every commit by itself. Raises PointerError."""
        return list(self._entry_changes(template, table)) if self._settings.bigquery_connection else []

    def _entry_changes(self, template: TableTemplate, table: Table) -> Iterator[Change]:
        if (pointer := self._pointers.read(template.table_name)) is None:
            yield Change("register-table", "", "", "in BigQuery")
            return
        entry: Entry = pointer.entry
        yield from tag_changes(table, template, PolicyTags.of(self._settings), entry.fields, self._pointers.shown(table, entry))
        if (template.description or "").strip() not in ("", entry.description.strip()):
            yield Change("describe-table", "", entry.description or "no description", template.description)

    # Another came between reading and changing the entry: read again.
    @retry(
        retry=retry_if_exception_type(PointerConflictError),
        stop=stop_after_attempt(8),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        reraise=True,
    )
    def finish(self, plan: TablePlan) -> None:
        """Makes those changes of the entry that are no pointer's: a wider tag, where that is allowed, and its description."""
        kinds = {(change.kind, change.level) for change in plan.entry_changes}
        wider, describe = plan.allow_breaking and any(level == "breaking" for _, level in kinds), ("describe-table", "safe") in kinds
        if not (wider or describe) or (pointer := self._pointers.read(plan.template.table_name)) is None:
            return
        if wider:
            self._pointers.set_tags(plan.template, load_newest(self._catalog, plan.template.table_name), pointer)
            if (pointer := self._pointers.read(plan.template.table_name)) is None:
                return
        if describe:
            self._pointers.describe(plan.template, pointer)

    @cached_property
    def _pointers(self) -> BigQueryPointers:
        return BigQueryPointers(self._settings)
