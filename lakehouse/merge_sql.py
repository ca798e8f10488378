"""The merge in SQL: from change records and a table's versions to what becomes of the versions.

Tables, in the order in which they are made: ``changes`` (records as they came), ``latest``, ``keys``, ``places`` (where the
table has rows of the keys), ``found`` (these rows), ``old`` (versions), ``moments`` (of records that opened no version),
``records``, ``timeline``, ``outcome``, ``removed``. What starts with ``_`` is no column of the table: ``_at`` a record's
moment, ``_from`` and ``_to`` a version's validity, ``_file`` and ``_position`` where a row stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from lakehouse.duck import quoted

# Of several records with one key and one moment, the last that came counts.
LATEST = """
create temp table latest as
select * exclude (_order) from changes
semi join (select max(_order) as _order from changes group by {key}, _at) using (_order)
"""
# A version that something else wrote twice is one version; the other row goes.
OLD = """
create temp table old as
select * from found qualify row_number() over (partition by {key}, _from order by _file, _position) = 1
"""
# Everything that is known of the keys: the new records, what the table says (versions begin; one that ends where none
# begins was deleted), and the moments of records that opened no version, which say what the table says of them.
RECORDS = """
create temp view records as
with
begun as (select {content}, _from as _at, false as _delete, _to from old),
ended as (select {key}, _to as _at, true as _delete from old where _to is not null),
said as (
    select * exclude (_to) from begun
    union all by name
    select * from ended anti join begun using ({key}, _at)
),
silent as (
    select {content}, _at, coalesce(begun._to <= _at, begun._delete is null) as _delete
    from moments asof left join begun using ({key}, _at)
)
select *, false as _silent from latest
union all by name
select *, false as _silent from said anti join latest using ({key}, _at)
union all by name
select *, true as _silent from silent anti join latest using ({key}, _at) anti join said using ({key}, _at)
"""
TIMELINE = """
create temp table timeline as
select * exclude (_was_deleted, _was),
    case
        when _was_deleted is null then not _delete
        when _delete or _was_deleted then _delete <> _was_deleted
        else {attributes} is distinct from _was
    end as _counts
from (
    select *, lag(_delete) over timeline as _was_deleted, lag({attributes}) over timeline as _was
    from records window timeline as (partition by {key} order by _at)
)
"""
NEW_MOMENTS = "from timeline anti join moments using ({key}, _at) where not _counts and not _silent"
OUTCOME = """
create temp table outcome as
select new.*, old._to as _old_to, old._file, old._position,
    old._file is not null and {new_attributes} is not distinct from {old_attributes} as _holds_same,
    _holds_same and new._to is not distinct from old._to and old._current is not distinct from (new._to is null) as _same
from (
    select {content}, _at as _from, lead(_at) over (partition by {key} order by _at) as _to, _delete
    from timeline where _counts
) as new left join old using ({key}, _from)
where not new._delete
"""
REMOVED = """
create temp table removed as
select _file, _position from found anti join (from outcome where _same) using (_file, _position)
"""
# From when on the table says something else: where a version begins that was not there or held something else, where one
# ends earlier or later, where one began that is no more.
DAYS = """
select distinct cast(_moment as date) from (
    select case when _holds_same then least(_to, _old_to) else _from end as _moment from outcome where not _same
    union all
    select _from from old anti join outcome using ({key}, _from)
) where _moment is not null
"""


class MergeSql:
    """Fills in a table's columns: ``{key}``, ``{content}`` (key and attributes), ``{attributes}`` as one value."""

    def __init__(self, key: Sequence[str], attributes: pa.Schema) -> None:
        self._parts = {
            "key": ", ".join(map(quoted, key)),
            "content": ", ".join(map(quoted, [*key, *attributes.names])),
            "attributes": _row("", attributes),
            "new_attributes": _row("new.", attributes),
            "old_attributes": _row("old.", attributes),
        }

    def __call__(self, statement: str) -> str:
        """The statement with the columns of this table."""
        return statement.format(**self._parts)


def _row(prefix: str, attributes: pa.Schema) -> str:
    """Columns as one value. A table may have no attributes, a row of SQL must have a field."""
    return f"row({', '.join(['0', *(_compared(prefix + quoted(field.name), field.type) for field in attributes)])})"


def _compared(column: str, type_: pa.DataType) -> str:
    """What two values are compared by: of a map its entries, whose order means nothing."""
    return f"list_sort(map_entries({column}))" if pa.types.is_map(type_) else column
