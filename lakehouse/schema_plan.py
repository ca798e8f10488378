"""The schema that a live table is to have: the template's, with the live table's field ids.

A column keeps its id, and so its data, when it is renamed, moved, widened or made optional. What would lose or break
something is told, and left as it is unless that is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import (
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    PrimitiveType,
    StructType,
)

from lakehouse.renames import consumed_names, former_names_property, match_columns
from lakehouse.template import TableTemplate
from lakehouse.types import type_string

Kind = Literal[
    "add-column", "rename-column", "move-columns", "widen-column", "retype-column", "relax-column", "require-column", "drop-column",
    "describe-column", "identifier", "partition", "sort-order", "property",
    # Of what readers query instead of the table, see bigquery_tables.py.
    "register-table", "describe-table", "tag-column", "untag-column",
    # Of templates only, see changelog.py.
    "drop-table", "access-level", "pii", "pipeline", "tags", "publish", "freshness", "checks", "maintenance",
]  # fmt: skip
Level = Literal["safe", "care", "breaking"]
LEVELS: tuple[Level, ...] = get_args(Level)
_PARTITIONED = "a partition spec of the table has it, also an old one: engines could not read the table without it. It stays"


@dataclass(frozen=True)
class Change:
    """One thing in which a live table differs from its template, or a template from what it was.

    Attributes:
        subject: the column (dotted where nested), the property, or empty.
        before, after: in words; empty where there is nothing.
        level: safe; care, where old files stay as they are; breaking, where rows or readers would lose something.
        note: what a user should know of it.
    """

    kind: Kind
    subject: str
    before: str
    after: str
    level: Level = "safe"
    note: str = ""

    def __str__(self) -> str:
        verb, noun = (*self.kind.split("-"), "")[:2]
        what = f"{verb} {noun} {self.subject}" if noun and noun != "order" else f"{self.kind.replace('-', ' ')} {self.subject}"
        values = " -> ".join(filter(None, (self.before, self.after)))
        return f"{what.strip()}{': ' if values else ''}{values}"


def worst_level(changes: Iterable[Change]) -> Level | None:
    """The worst of the changes' levels; None without any."""
    return max((change.level for change in changes), key=LEVELS.index, default=None)


class SchemaPlan:
    """The schema a live table is to have, and what changes on the way.

    Args:
        allow_breaking: whether breaking changes are made, too. A table without a snapshot has nothing to break.

    Attributes:
        schema: field ids are the live table's, new ones from its last id on; the schema id is 0.
        changes: every difference, also those that are not made.
        refused: those that are not made: breaking ones, unless they are allowed; what would make rows or the table unreadable,
            always; and all of them where a column that may not be dropped has the name that another is to get.
        former_names: the property that goes with the schema.
        rests_on_rows: whether what is safe, or allowed, depends on which rows the table has now.
    """

    def __init__(self, table: Table, template: TableTemplate, allow_breaking: bool = False) -> None:
        self.changes: list[Change] = []
        self.refused: list[Change] = []
        self._table = table
        self._empty = self.rests_on_rows = not table.metadata.snapshots
        # A spec that names a column which is gone: deletes fail in PyIceberg, and other engines do not load the table
        # (https://github.com/apache/iceberg/issues/10234).
        self._partitioned_by = {field.source_id for spec in table.metadata.partition_specs for field in spec.fields}
        self._allow = allow_breaking or self._empty
        self._last_id = table.metadata.last_column_id
        live = table.schema()
        matched = match_columns(template.columns, live, consumed_names(table))
        self._live_names = {name: field.name for name, field in matched.items()}
        wanted = {field.name: field for field in template.iceberg_schema.fields}
        fields = [self._column(wanted[column.name], matched.get(column.name)) for column in template.columns]
        kept = [field for field in fields if field is not None]
        dropped = [field for field in live.fields if field.field_id not in {match.field_id for match in matched.values()}]
        staying = [field for field in dropped if not self._may_go(field)]
        for field in dropped:
            note = "its data is in no later snapshot, and its name comes back as another column"
            if self._allow and field in staying:
                note = _PARTITIONED
            self._add("drop-column", field.name, type_string(field.field_type), "", "breaking", note, made=field not in staying)
        kept_ids = {field.field_id for field in kept}
        if [field.field_id for field in live.fields if field.field_id in kept_ids] != [
            field.field_id for field in kept if field.field_id in live.field_ids
        ]:
            self._add("move-columns", "", "", ", ".join(field.name for field in kept))
        if {field.name for field in staying} & {field.name for field in kept}:
            self.schema, self.refused, self.former_names = live, list(self.changes), dict[str, str]()
        else:
            self.schema = self._with_identifier(template, live, _with_staying(kept, staying, live))
            self.former_names = former_names_property(template, self.schema)

    def _add(self, kind: Kind, subject: str, before: str, after: str, level: Level = "safe", note: str = "", made: bool = True) -> None:
        # Where there are no rows, nothing is broken.
        if self._empty and made:
            note, level = ("" if level == "breaking" else note), "safe"
        change = Change(kind, subject, before, after, level, note)
        self.changes.append(change)
        if not made:
            self.refused.append(change)

    def _column(self, wanted: NestedField, live: NestedField | None) -> NestedField | None:
        if live is None:
            return self._new(wanted, wanted.name)
        if live.name != wanted.name:
            self._add("rename-column", wanted.name, live.name, wanted.name, "safe", "no data is rewritten")
        return self._field(wanted, live, wanted.name)

    def _new(self, wanted: NestedField, path: str) -> NestedField | None:
        required = " required" if wanted.required else ""
        level: Level = "breaking" if wanted.required else "safe"
        note = "rows that are there have no value for it: add it without `required`, fill it, then require it" if wanted.required else ""
        made = self._empty or not wanted.required  # a table with such rows could not be read any more
        self._add("add-column", path, "", type_string(wanted.field_type) + required, level, note, made)
        if not made:
            return None
        return wanted.model_copy(update={"field_id": self._next_id(), "field_type": self._renumbered(wanted.field_type)})

    def _field(self, wanted: NestedField, live: NestedField, path: str) -> NestedField:
        """The live field with what the template says of it, as far as that may be."""
        type_ = self._type(wanted.field_type, live.field_type, path)
        required = wanted.required
        if wanted.required and not live.required:
            required = self._allow and self._has_no_null(live.name)
            self._add("require-column", path, "may be null", "required", "breaking", "rows that hold null could not be read", required)
        elif live.required and not wanted.required:
            self._add("relax-column", path, "required", "may be null")
        doc = live.doc
        if (wanted.doc or "") != (live.doc or ""):
            doc = wanted.doc
            self._add("describe-column", path, live.doc or "no description", wanted.doc or "no description")
        if type_ is None:
            return wanted.model_copy(update={"field_id": self._next_id(), "field_type": self._renumbered(wanted.field_type)})
        return live.model_copy(update={"name": wanted.name, "field_type": type_, "required": required, "doc": doc})

    def _type(self, wanted: IcebergType, live: IcebergType, path: str) -> IcebergType | None:
        """The type to be; None where the column is to be replaced by a new one."""
        match wanted, live:
            case (StructType(), StructType()):
                return self._struct(wanted, live, path)
            case (ListType(), ListType()):
                element = self._type(wanted.element_type, live.element_type, f"{path}.element")
                return None if element is None else ListType(live.element_id, element, element_required=live.element_required)
            case (MapType(), MapType()):
                key = self._type(wanted.key_type, live.key_type, f"{path}.key")
                value = self._type(wanted.value_type, live.value_type, f"{path}.value")
                if key is None or value is None:
                    return None
                return MapType(live.key_id, key, live.value_id, value, value_required=live.value_required)
        if wanted == live:
            return live
        if isinstance(wanted, PrimitiveType) and isinstance(live, PrimitiveType) and _widens(live, wanted) and not path.endswith(".key"):
            self._add("widen-column", path, type_string(live), type_string(wanted))
            return wanted
        note, made = "its values cannot be read as the new type: a new, empty column takes its place", self._allow
        if made and self._in_a_spec(path):
            note, made = _PARTITIONED, False
        self._add("retype-column", path, type_string(live), type_string(wanted), "breaking", note, made)
        return None if made else live

    def _struct(self, wanted: StructType, live: StructType, path: str) -> StructType:
        by_name = {field.name: field for field in live.fields}
        names = {field.name for field in wanted.fields}
        fields = []
        for field in wanted.fields:
            nested = f"{path}.{field.name}"
            # Nested fields of a template are optional; one that is required stays so: nothing is lost by it.
            if (own := by_name.get(field.name)) is None:
                fields.append(self._new(field, nested))
            else:
                fields.append(self._field(field.model_copy(update={"required": own.required, "doc": own.doc}), own, nested))
        if [field.name for field in live.fields if field.name in names] != [field.name for field in wanted.fields if field.name in by_name]:
            self._add("move-columns", path, "", ", ".join(field.name for field in wanted.fields))
        for field in live.fields:
            if field.name not in names:
                goes = self._may_go(field)
                note = "its data is lost to readers" if goes or not self._allow else _PARTITIONED
                self._add("drop-column", f"{path}.{field.name}", type_string(field.field_type), "", "breaking", note, goes)
                if not goes:
                    fields.append(field)
        return StructType(*(field for field in fields if field is not None))

    def _with_identifier(self, template: TableTemplate, live: Schema, fields: list[NestedField]) -> Schema:
        ids = {field.name: field for field in fields}
        before = {live.find_column_name(field_id) or "": field_id for field_id in live.identifier_field_ids}
        now = Schema(*fields)
        # Under the names that they have now; a nested one is of another's making.
        held = sorted(now.find_column_name(field_id) or name for name, field_id in before.items())
        can = all(name in ids and ids[name].required for name in template.identifier)
        if held != sorted(template.identifier):
            note = "engines that write by it find rows by other columns" if can else "its columns are not all there, or may be null"
            self._add("identifier", "", ", ".join(held) or "none", ", ".join(sorted(template.identifier)) or "none", "care", note, can)
        kept = [field_id for field_id in before.values() if field_id in now.field_ids and now.find_field(field_id).required]
        return Schema(*fields, identifier_field_ids=[ids[name].field_id for name in template.identifier] if can else kept)

    def _may_go(self, field: NestedField) -> bool:
        """Whether a column is dropped: where that is allowed, and no partition spec ever named it, or a field in it."""
        return self._allow and not (Schema(field).field_ids & self._partitioned_by)

    def _in_a_spec(self, path: str) -> bool:
        """Whether the live column around a path, which would be replaced, or a field in it, is in a partition spec."""
        live = self._table.schema().find_field(self._live_names.get(path.split(".")[0], path.split(".")[0]))
        return bool(Schema(live).field_ids & self._partitioned_by)

    def _has_no_null(self, column: str) -> bool:
        self.rests_on_rows = True
        try:
            return self._empty or self._table.scan(row_filter=f"{column} is null").count() == 0
        except (NotImplementedError, TypeError, ValueError):  # PyIceberg filters primitive columns only
            return False

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _renumbered(self, type_: IcebergType) -> IcebergType:
        match type_:
            case StructType():
                ids = [self._next_id() for _ in type_.fields]
                return StructType(
                    *(
                        field.model_copy(update={"field_id": id_, "field_type": self._renumbered(field.field_type)})
                        for field, id_ in zip(type_.fields, ids, strict=True)
                    )
                )
            case ListType():
                id_ = self._next_id()
                return ListType(id_, self._renumbered(type_.element_type), element_required=type_.element_required)
            case MapType():
                key, value = self._next_id(), self._next_id()
                return MapType(
                    key, self._renumbered(type_.key_type), value, self._renumbered(type_.value_type), value_required=type_.value_required
                )
            case _:
                return type_


def _with_staying(kept: list[NestedField], staying: list[NestedField], live: Schema) -> list[NestedField]:
    """The columns, with those that stay behind the one that they follow in the live table."""
    fields = list(kept)
    order = [field.field_id for field in live.fields]
    for field in staying:
        before = order[: order.index(field.field_id)]
        places = [index for index, other in enumerate(fields) if other.field_id in before]
        fields.insert(places[-1] + 1 if places else 0, field)
    return fields


def _widens(live: PrimitiveType, wanted: PrimitiveType) -> bool:
    """Source: https://iceberg.apache.org/spec/#schema-evolution, what format version 2 allows."""
    match live, wanted:
        case (IntegerType(), LongType()) | (FloatType(), DoubleType()):
            return True
        case (DecimalType(), DecimalType()):
            return live.scale == wanted.scale and wanted.precision > live.precision
        case _:
            return False
