"""What would change between one live table and its template, and the updates that change it. ``apply.py`` makes it so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortField, SortOrder
from pyiceberg.table.update import (
    AddPartitionSpecUpdate,
    AddSchemaUpdate,
    AddSortOrderUpdate,
    AssertCurrentSchemaId,
    AssertDefaultSortOrderId,
    AssertDefaultSpecId,
    AssertLastAssignedFieldId,
    AssertLastAssignedPartitionId,
    AssertRefSnapshotId,
    SetCurrentSchemaUpdate,
    SetDefaultSortOrderUpdate,
    SetDefaultSpecUpdate,
    SetPropertiesUpdate,
    TableRequirement,
    TableUpdate,
)

from lakehouse.inspect import partition_texts, sort_texts
from lakehouse.renames import FORMER_NAMES
from lakehouse.schema_plan import Change, SchemaPlan
from lakehouse.template import METRICS_DEFAULT, METRICS_PREFIX, TableTemplate

# How often PyIceberg itself tries a commit again: set by the project on every table, see TableTemplate.table_properties.
RETRIES = "commit.retry.num-retries"
_WAITING = "it waits for a column that is not there yet"


@dataclass(frozen=True)
class TablePlan:
    """How a live table differs from its template.

    Attributes:
        properties: what the backend adds to the template's table properties.
        allow_breaking: whether the updates make breaking changes, too.
        entry_changes: what differs in what readers query in the table's place; see ``Tables.entry_changes``.
    """

    table: Table
    template: TableTemplate
    properties: Mapping[str, str]
    allow_breaking: bool = False
    entry_changes: Sequence[Change] = ()

    @cached_property
    def _schema_plan(self) -> SchemaPlan:
        return SchemaPlan(self.table, self.template, self.allow_breaking)

    @cached_property
    def schema(self) -> Schema:
        """The schema the table is to have."""
        return self._schema_plan.schema

    @cached_property
    def changes(self) -> list[Change]:
        """Every difference; breaking ones that are not allowed are among them."""
        return [*self._schema_plan.changes, *self._layout_changes(), *self._property_changes(), *self.entry_changes]

    @property
    def refused(self) -> list[Change]:
        """The differences that the updates do not make."""
        waiting = [] if self._columns and self._spec_may_change else [*self._layout_changes()]
        wider = [] if self.allow_breaking else [change for change in self.entry_changes if change.level == "breaking"]
        return [*self._schema_plan.refused, *waiting, *wider]

    @property
    def renamed_onto(self) -> list[str]:
        """Names under which the table is to have another column than it has now, or its first."""
        live = {field.name: field.field_id for field in self.table.schema().fields}
        return [field.name for field in self.schema.fields if live.get(field.name) != field.field_id]

    def updates(self) -> tuple[tuple[TableUpdate, ...], tuple[TableRequirement, ...]]:
        """Iceberg's updates of one transaction, and what must still hold of the table when they are made."""
        metadata = self.table.metadata
        # Where rows decided what is safe, there must be no others by now.
        on_rows = (
            (AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=metadata.current_snapshot_id),) if self._schema_plan.rests_on_rows else ()
        )
        requirements: tuple[TableRequirement, ...] = (
            *on_rows,
            AssertCurrentSchemaId(current_schema_id=metadata.current_schema_id),
            AssertLastAssignedFieldId(last_assigned_field_id=metadata.last_column_id),
            AssertDefaultSpecId(default_spec_id=metadata.default_spec_id),
            AssertLastAssignedPartitionId(last_assigned_partition_id=metadata.last_partition_id),
            AssertDefaultSortOrderId(default_sort_order_id=metadata.default_sort_order_id),
        )
        return (*self._schema_updates(), *self._spec_updates(), *self._order_updates(), *self._property_updates()), requirements

    def _layout_changes(self) -> Iterator[Change]:
        live, schema = self.table.schema(), self.template.iceberg_schema
        before, after = partition_texts(live, self.table.spec()), partition_texts(schema, self.template.iceberg_partition_spec(schema))
        if not _same_fields(self._spec, self.table.spec()) if self._columns else before != after:
            note = "files that are there keep their partitions; the next ones get the new"
            if not self._columns:
                note = _WAITING
            elif not self._spec_may_change:
                note = "a table of format version 1 keeps its partition fields: upgrade it to version 2 first"
            yield Change("partition", "", ", ".join(before) or "none", ", ".join(after) or "none", "care", note)
        before, after = sort_texts(live, self.table.sort_order()), sort_texts(schema, self.template.iceberg_sort_order(schema))
        if self._order.fields != self.table.sort_order().fields if self._columns else before != after:
            yield Change(
                "sort-order", "", ", ".join(before) or "none", ", ".join(after) or "none", "safe", "" if self._columns else _WAITING
            )

    @cached_property
    def _columns(self) -> bool:
        """Whether every column that the layout names is there: a required one that is not added is not."""
        names = {field.name for field in self.schema.fields}
        used = [part.column for part in self.template.partition_spec] + [sort.column for sort in self.template.sort_order]
        return names.issuperset(used)

    @cached_property
    def _spec(self) -> PartitionSpec:
        """The partition spec the table is to have. A field that any spec of it had keeps its id, as format version 2 wants."""
        if not self._columns:
            return self.table.spec()
        known = {
            (field.source_id, str(field.transform)): field.field_id for spec in self.table.metadata.partition_specs for field in spec.fields
        }
        next_id = (self.table.metadata.last_partition_id or PARTITION_FIELD_ID_START - 1) + 1
        fields = []
        for field in self.template.iceberg_partition_spec(self.schema).fields:
            field_id = known.get((field.source_id, str(field.transform)))
            if field_id is None:
                field_id, next_id = next_id, next_id + 1
            fields.append(PartitionField(field.source_id, field_id, field.transform, field.name))
        return PartitionSpec(*fields)

    @cached_property
    def _order(self) -> SortOrder:
        return self.template.iceberg_sort_order(self.schema) if self._columns else self.table.sort_order()

    @cached_property
    def _properties(self) -> dict[str, str]:
        wanted = {**self.template.table_properties, **self.properties, **self._schema_plan.former_names}
        live = self.table.properties
        # Bounds that are off for all columns are off for each. The statistics in footers have no such default.
        defaults = {key: live.get(METRICS_DEFAULT) for key in wanted if key.startswith(METRICS_PREFIX)}
        return {key: value for key, value in wanted.items() if live.get(key, defaults.get(key)) != value}

    def _property_changes(self) -> Iterator[Change]:
        for key, value in sorted(self._properties.items()):
            if not self._is_bookkeeping(key):
                yield Change("property", key, self.table.properties.get(key, "not set"), value)

    def _is_bookkeeping(self, key: str) -> bool:
        """Whether a property that is to be set is no change by itself.

        Renames are changes themselves. And a table that something else made is in step without what only the project needs.
        """
        return key == FORMER_NAMES or (key not in self.table.properties and key in {RETRIES, *self.properties})

    def _schema_updates(self) -> Iterator[TableUpdate]:
        live = self.table.schema()
        if self.schema.fields == live.fields and set(self.schema.identifier_field_ids) == set(live.identifier_field_ids):
            return
        same = [
            known.schema_id
            for known in self.table.metadata.schemas
            if known.fields == self.schema.fields and set(known.identifier_field_ids) == set(self.schema.identifier_field_ids)
        ]
        if same:
            yield SetCurrentSchemaUpdate(schema_id=same[0])
            return
        schema_id = max(known.schema_id for known in self.table.metadata.schemas) + 1
        yield AddSchemaUpdate(schema_=self.schema.model_copy(update={"schema_id": schema_id}))
        yield SetCurrentSchemaUpdate(schema_id=-1)

    @property
    def _spec_may_change(self) -> bool:
        """In format version 1 the fields of a spec keep their places: one that goes would have to become `void`."""
        return self.table.metadata.format_version > 1 or not self.table.spec().fields

    def _spec_updates(self) -> Iterator[TableUpdate]:
        if _same_fields(self._spec, self.table.spec()) or not self._spec_may_change:
            return
        for known in self.table.metadata.partition_specs:
            if _same_fields(known, self._spec):
                yield SetDefaultSpecUpdate(spec_id=known.spec_id)
                return
        spec_id = max(known.spec_id for known in self.table.metadata.partition_specs) + 1
        yield AddPartitionSpecUpdate(spec=PartitionSpec(*self._spec.fields, spec_id=spec_id))
        yield SetDefaultSpecUpdate(spec_id=-1)

    def _order_updates(self) -> Iterator[TableUpdate]:
        if self._order.fields == self.table.sort_order().fields:
            return
        # https://iceberg.apache.org/spec/#sorting: order id 0 is the unsorted order, and no other has no fields.
        if not self._order.fields:
            if not any(known.order_id == 0 for known in self.table.metadata.sort_orders):
                yield AddSortOrderUpdate(sort_order=UNSORTED_SORT_ORDER)
            yield SetDefaultSortOrderUpdate(sort_order_id=0)
            return
        for known in self.table.metadata.sort_orders:
            if known.fields == self._order.fields:
                yield SetDefaultSortOrderUpdate(sort_order_id=known.order_id)
                return
        order_id = max(known.order_id for known in self.table.metadata.sort_orders) + 1
        fields = [SortField(field.source_id, field.transform, field.direction, field.null_order) for field in self._order.fields]
        yield AddSortOrderUpdate(sort_order=SortOrder(*fields, order_id=order_id))
        yield SetDefaultSortOrderUpdate(sort_order_id=-1)

    def _property_updates(self) -> Iterator[TableUpdate]:
        if self._properties:
            yield SetPropertiesUpdate(updates=self._properties)


def _same_fields(one: PartitionSpec, other: PartitionSpec) -> bool:
    """Whether two specs divide rows in the same way, under the same names."""
    keys = [[(field.source_id, str(field.transform), field.name) for field in spec.fields] for spec in (one, other)]
    return keys[0] == keys[1]
