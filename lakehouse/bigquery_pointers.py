"""BigQuery's external tables, by which readers see Iceberg tables: made after the first commit, and moved after each one.

Columns and policy tags go with the metadata file in one call, so that no restricted column is without its tag for a moment. A table
whose tags do not arrive is removed again: readers then miss a table, which is better than to see too much of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table

from lakehouse.bigquery import BigQuery, BigQueryError, Entry
from lakehouse.bigquery_schema import Field, comparable, leaves, tag_keys
from lakehouse.errors import GovernanceError
from lakehouse.pointers import Pointer, PointerConflictError, PointerError, PointerUnreachableError, remedy
from lakehouse.policy_tags import PolicyTags, Shown, tagged_fields
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

_CONFLICT, _STALE = 409, 412


class BigQueryPointers:
    """The external tables of one project. What each method is for says ``lakehouse.pointers.Pointers``."""

    def __init__(self, settings: LakehouseSettings) -> None:
        self._settings, self._tags = settings, PolicyTags.of(settings)
        # Of metadata files that entries named, none of which ever changes: the table's id, and its columns' names by their ids.
        self._columns: dict[str, tuple[Any, dict[int, str]]] = {}

    @cached_property
    def _bigquery(self) -> BigQuery:
        return BigQuery(self._settings)

    def read(self, table_name: str) -> Pointer | None:
        """The external table. Raises PointerError where a table of another kind has its name."""
        entry = self._asked(table_name, lambda: self._bigquery.get(table_name))
        if entry is not None and not entry.is_iceberg:
            raise PointerError(
                f"{table_name} is a table of another kind in BigQuery, no external table over Iceberg metadata. Give the template another "
                "name, or remove that table."
            )
        return None if entry is None else Pointer(entry.metadata_location, entry.etag, entry)

    def differences(self, template: TableTemplate | None, table: Table, pointer: Pointer) -> Sequence[str]:
        """Whether its columns are the table's, each with its tag. A tag narrower than the template's is left: see GcpTables."""
        entry: Entry = pointer.entry
        wanted = self._fields(template, table, entry)
        before = {path: tag_keys(field) for path, field in leaves(entry.fields)}
        untagged = [path for path, field in leaves(wanted) if path in before and before[path] != tag_keys(field)]
        found = [f"The policy tags of {', '.join(untagged)} are not the template's."] if untagged else []
        if _without_tags(wanted) != _without_tags(entry.fields):
            found.append("Its columns are not the table's.")
        if not (connection := entry.external.get("connectionId")):
            found.append("It has no connection, without which no tag counts.")
        elif _connection(connection) != _connection(self._settings.bigquery_connection or ""):
            found.append("Its connection is another than LAKEHOUSE_BIGQUERY_CONNECTION.")
        if entry.external.get("autodetect"):
            found.append("It takes its columns from the files (autodetect), where none has a tag.")
        return found

    def check(self, template: TableTemplate | None, table: Table, pointer: Pointer | None) -> None:
        """Raises SettingsError where a tag is needed and not known, TableMismatchError where BigQuery lacks a type."""
        self._fields(template, table, pointer.entry if pointer else None)

    def create(self, template: TableTemplate | None, table: Table) -> None:
        """Registers the table, and reads it back.

        Raises:
            GovernanceError: a column came without its tag; the entry is removed again.
        """
        name, fields = _name(table), self._fields(template, table, None)
        resource = {
            **({"description": template.description} if template and template.description else {}),
            **({"labels": labels} if template and (labels := labels_of(template.tags)) else {}),
            "schema": {"fields": fields},
            "externalDataConfiguration": self._external(table, {}),
        }
        try:
            self._asked(name, lambda: self._bigquery.insert(name, resource))
        except PointerConflictError:  # another was faster, or it was this very call, whose answer was lost: it is looked at next
            return
        entry = self._asked(name, lambda: self._bigquery.get(name))
        if entry is not None and entry.metadata_location == table.metadata_location:  # not yet moved on by another
            self._check_tags(name, fields, entry)

    def move(self, template: TableTemplate | None, table: Table, pointer: Pointer) -> None:
        """Names the table's metadata, with its columns where they differ. A tag is narrowed as the template says, and never widened."""
        self._change(template, table, pointer, lower=False)

    def set_tags(self, template: TableTemplate, table: Table, pointer: Pointer) -> None:
        """As ``move``, and with exactly the template's tags, also where they are wider than what there is."""
        self._change(template, table, pointer, lower=True)

    def describe(self, template: TableTemplate, pointer: Pointer) -> None:
        """Gives the entry the template's description."""
        name = template.table_name
        self._asked(name, lambda: self._bigquery.patch(name, pointer.version, {"description": template.description}))

    def _change(self, template: TableTemplate | None, table: Table, pointer: Pointer, lower: bool) -> None:
        name, entry = _name(table), pointer.entry
        fields = self._fields(template, table, entry, lower)
        change: dict[str, Any] = {"externalDataConfiguration": self._external(table, entry.external)}
        # Whoever only moves it needs no right to set tags: columns that are right are not sent.
        if comparable(fields) != comparable(entry.fields):
            change["schema"] = {"fields": fields}
        changed = self._asked(name, lambda: self._bigquery.patch(name, pointer.version, change))
        self._check_tags(name, fields, changed)
        if comparable(changed.fields) != comparable(fields):  # it would be moved again and again
            raise PointerError(f"BigQuery has other columns of {name} than it was sent. See: bq show --schema {name}")

    def _fields(self, template: TableTemplate | None, table: Table, entry: Entry | None, lower: bool = False) -> list[Field]:
        if template is not None:
            self._tags.check(template)
        held, shown = (entry.fields, self.shown(table, entry)) if entry else ((), {})
        return tagged_fields(table, template, self._tags, held, shown, lower)

    def shown(self, table: Table, entry: Entry) -> Shown | None:
        """Which column of the table is which of the entry's, by the Iceberg field ids in the metadata file that it names.

        Returns:
            None where that cannot be read any more, or is another table's.
        """
        if (location := entry.metadata_location) is None:
            return None
        if location == table.metadata_location:
            return {field.name: field.name for field in table.schema().fields}
        if location not in self._columns:
            try:
                then = FromInputFile.table_metadata(table.io.new_input(location))
            except Exception:  # expired, or somebody named a file that is none
                return None
            self._columns[location] = then.table_uuid, {field.field_id: field.name for field in then.schema().fields}
        uuid, names = self._columns[location]
        if uuid != table.metadata.table_uuid:
            return None
        return {field.name: names[field.field_id] for field in table.schema().fields if field.field_id in names}

    def _external(self, table: Table, before: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in before.items() if key != "schema"}
        return {
            **kept,
            "sourceFormat": "ICEBERG",
            "sourceUris": [table.metadata_location],
            "autodetect": False,  # it would put columns without tags in the place of these
            "connectionId": self._settings.bigquery_connection,
        }

    def _check_tags(self, name: str, fields: Sequence[Field], entry: Entry) -> None:
        """Whether every column arrived with its tag; else the entry is removed."""
        sent, arrived = ({path: tag_keys(field) for path, field in leaves(found)} for found in (fields, entry.fields))
        if not (wrong := sorted(path for path in sent.keys() | arrived.keys() if sent.get(path) != arrived.get(path))):
            return
        message = f"BigQuery did not take the policy tags of {name} as they were sent: {', '.join(wrong)}."
        try:
            self._bigquery.delete(name)
        except BigQueryError as error:
            raise GovernanceError(
                f"{message} Its entry could not be removed, and may show restricted columns: remove it now, bq rm -t {name}. {error}"
            ) from None
        raise GovernanceError(
            f"{message} Its entry is removed again, and readers do not see the table. See that the tags' taxonomy is in the dataset's "
            "location and enforces access control, then: lakehouse apply"
        )

    def _asked(self, name: str, call: Any) -> Any:
        """What a call of BigQuery returns, its errors as those of pointers."""
        try:
            return call()
        except BigQueryError as error:
            _raise_pointer_error(name, error)


def _raise_pointer_error(name: str, error: BigQueryError) -> NoReturn:
    if error.code in (_CONFLICT, _STALE):
        raise PointerConflictError(f"BigQuery's table {name} was changed by another meanwhile. {remedy(name)}") from error
    raise PointerUnreachableError(f"{error}\n{remedy(name)}") from error


def labels_of(tags: Mapping[str, str]) -> dict[str, str]:
    """A template's tags as labels, which are in lower case: https://cloud.google.com/bigquery/docs/labels-intro#requirements."""
    return {text: _label(value) for key, value in tags.items() if re.match(r"[a-z]", text := _label(key))}


def _label(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "_", text.lower())[:63]


def _connection(name: str) -> tuple[str, ...]:
    """Location and name: an answer may have the project's number, and dots for slashes."""
    parts = name.split("/")
    location, own = (parts[-3], parts[-1]) if len(parts) > 3 else (("", *name.split("."))[-2:])
    return location.lower(), own


def _name(table: Table) -> str:
    return ".".join(table.name())


def _without_tags(fields: Sequence[Field]) -> list[Any]:
    def stripped(field: Field) -> Field:
        nested = {"fields": [stripped(inner) for inner in field["fields"]]} if field.get("fields") else {}
        return {**field, **nested, "policyTags": None}

    return comparable([stripped(field) for field in fields])
