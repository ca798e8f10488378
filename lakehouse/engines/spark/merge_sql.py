"""The merge in Spark's SQL: what ``lakehouse.merge_sql`` says in DuckDB's, with the same rows as its outcome.

Everything that is known of a key is one relation, ``events``: a row for each change record, for each version in the table, for
the end of each version that ends, and for each moment in the log. Each later step is a window over the rows of a key in the
order of time, so that Spark moves the rows between its executors, and sorts them, once.

What starts with ``_`` is no column of the table. ``_kind`` says what a row is; ``_row`` holds the attributes, ``_old`` the version
that the table has at this moment, ``_place`` where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from lakehouse.engines.spark.stage import identifier

# The operations that delete, whatever space is around them: Arrow takes more for space than Java.
DELETES = r"(?U)^[\s\x1c-\x1f]*(delete|d)[\s\x1c-\x1f]*\z"
# Of a moment at which there is more than one row of a key, the least kind says what held.
RECORD, BEGUN, ENDED, SILENT = range(4)

# What a table without attributes has for them.
NO_ROW = "struct(0 as _none)"
VERSIONS = f"""
select {{key}}, valid_from as _at, {BEGUN} as _kind, false as _delete,
    struct({{row}} as row, valid_to as to, is_current as current) as _old,
    struct(_file as file, _pos as pos) as _place
from {{rows}}
"""
ENDS = f"select {{key}}, _old.to as _at, {ENDED} as _kind, true as _delete from {{versions}} where _old.to is not null"
# One row for each moment of a key. Of records that came for the same moment the last one counts; of versions that something
# else wrote twice, the first.
MOMENTS = f"""
select * except (_number) from (
    select {{key}}, _at, _kind, _delete, _row,
        row_number() over (partition by {{key}}, _at order by {{order}}) as _number,
        first_value(_old) ignore nulls over (partition by {{key}}, _at order by {{order}} {{whole}}) as _old,
        collect_list(_place) over (partition by {{key}}, _at order by {{order}} {{whole}}) as _places,
        max(_kind) over (partition by {{key}}, _at order by {{order}} {{whole}}) = {SILENT} as _is_known
    from (select * from {{events}} distribute by {{key}})
) where _number = 1
"""
# A record that opened no version says what the table says of its moment.
RECORDS = f"""
select * except (_was, _delete, _row),
    case when _kind = {SILENT} then coalesce(_was.to <= _at, _was is null) else _delete end as _delete,
    case when _kind = {RECORD} then _row when _kind <> {ENDED} then _was.row end as _row
from (
    select *, last_value(_old) ignore nulls over (
        partition by {{key}} order by _at rows between unbounded preceding and current row
    ) as _was
    from {{moments}}
)
"""
TIMELINE = """
select * except (_was_deleted, _was),
    case
        when _was_deleted is null then not _delete
        when _delete or _was_deleted then _delete <> _was_deleted
        else not ({compared_row} <=> {compared_was})
    end as _counts
from (
    select *, lag(_delete) over (partition by {key} order by _at) as _was_deleted, lag(_row) over (partition by {key} order by _at) as _was
    from {records}
)
"""
OUTCOME = f"""
select *, _opens and not _same as _is_new, not _counts and _kind <> {SILENT} and not _is_known as _is_silent,
    if(_same, slice(_places, 2, size(_places)), _places) as _removed
from (
    select *, _opens and _holds_same and _to <=> _old.to and _old.current <=> (_to is null) as _same
    from (
        select *, _counts and not _delete as _opens, _old is not null and {{compared_row}} <=> {{compared_old}} as _holds_same,
            lead(if(_counts, _at, null)) ignore nulls over (partition by {{key}} order by _at) as _to
        from {{timeline}}
    )
)
"""
# Only what is to be written keeps its attributes.
FATE = """
select {key}, _at, _kind, if(_is_new, _row, null) as _row, _to, _places, _removed, _opens, _is_new, _is_silent,
    case when _is_new then if(_holds_same, least(_to, _old.to), _at) when _old is not null and not _opens then _at end as _since
from {outcome}
"""
# Days and files are as many as there are in the table at most.
SUMMARY = f"""
select count_if(_kind = {RECORD}) as records, count_if(_opens and size(_places) = 0) as opened, coalesce(sum(size(_removed)), 0) as removed,
    count_if(_is_new) as new, count_if(_is_silent) as silent, collect_set(cast(_since as date)) as days,
    flatten(collect_set(transform(_removed, place -> place.file))) as files,
    count_if(_at is null) as without_begin, count_if(exists(_places, place -> place.file is null)) as elsewhere
from {{fate}}
"""
REMOVED = "select inline(_removed) as (_file, _pos) from {fate}"
NEW = "select {columns} from {fate} where _is_new"
NEW_MOMENTS = "select {key}, _at from {fate} where _is_silent"


class SparkMergeSql:
    """Fills in a table's columns.

    Args:
        attributes: the columns whose change opens a version.
        effective_at: the column of the records that says from when one holds; the table may have it, too.
        columns: the table's.
    """

    def __init__(self, key: Sequence[str], attributes: pa.Schema, effective_at: str, columns: Sequence[str]) -> None:
        derived = {"valid_from": "_at", "valid_to": "_to", "is_current": "_to is null", effective_at: "_at"}
        derived |= {name: f"_row.{identifier(name)}" for name in attributes.names}
        self._parts = {
            "key": _names(key),
            "row": f"struct({_names(attributes.names)})" if attributes.names else NO_ROW,
            "columns": ", ".join(f"{derived.get(name, identifier(name))} as {identifier(name)}" for name in columns),
            "order": "_kind, _order desc, _place.file, _place.pos",
            "whole": "rows between unbounded preceding and unbounded following",
            **{f"compared_{name}": _compared(row, attributes) for name, row in (("row", "_row"), ("was", "_was"), ("old", "_old.row"))},
        }

    def __call__(self, statement: str, **relations: str) -> str:
        """The statement with the columns of this table, and the names of relations."""
        return statement.format(**self._parts, **relations)


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(identifier, columns))


def _compared(row: str, attributes: pa.Schema) -> str:
    """What rows of attributes are compared by: of a map, which Spark does not compare, its entries."""
    if not any(_has_map(field.type) for field in attributes):
        return row
    values = ((f"{row}.{identifier(field.name)}", field.type) for field in attributes)
    # The order of entries means nothing. Below another type it does, as DuckDB, too, compares such maps as they are.
    compared = (f"array_sort({_entries(value, type_)})" if pa.types.is_map(type_) else _entries(value, type_) for value, type_ in values)
    return f"struct({', '.join(compared)})"


def _entries(value: str, type_: pa.DataType, depth: int = 0) -> str:
    """A value with the entries of maps in place of the maps. ``depth`` is how many lists and maps it is in."""
    if not _has_map(type_):
        return value
    item = f"_x{depth}"
    if pa.types.is_map(type_):
        key, held = _entries(f"{item}.key", type_.key_type, depth + 1), _entries(f"{item}.value", type_.item_type, depth + 1)
        return f"transform(map_entries({value}), {item} -> struct({key}, {held}))"
    if pa.types.is_list(type_):
        return f"transform({value}, {item} -> {_entries(item, type_.value_type, depth + 1)})"
    fields = (_entries(f"{value}.{identifier(child.name)}", child.type, depth) for child in type_)
    return f"if({value} is null, null, struct({', '.join(fields)}))"


def _has_map(type_: pa.DataType) -> bool:
    if pa.types.is_map(type_):
        return True
    return any(_has_map(type_.field(index).type) for index in range(type_.num_fields))
