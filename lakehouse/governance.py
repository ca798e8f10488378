"""Which role sees which column, and what of the live grants is less or more than that. Terraform gives the same answer in its grants.

Knows the rules of Lake Formation and no client: ``lakeformation.py`` reads the grants, and takes away what is too much. On GCP the same
columns are visible, by policy tags: ``bigquery_governance.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from lakehouse.grants import ALL_TABLES, EVERYONE, FIX_REMEDY, TERRAFORM_REMEDY, Finding, Grant, Kind, Target
from lakehouse.template import TableTemplate

Role = Literal["reader", "writer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

_ON_TABLE = frozenset({"ALL", "SELECT", "INSERT", "DELETE", "DESCRIBE", "ALTER", "DROP"})
_ON_DATABASE = frozenset({"ALL", "CREATE_TABLE", "DESCRIBE", "ALTER", "DROP"})
# What Terraform grants, but for the reader's SELECT, which is one of columns.
_TABLE_GRANTS: dict[Role, frozenset[str]] = {
    "reader": frozenset(),
    "writer": frozenset({"SELECT", "INSERT", "DELETE", "DESCRIBE", "ALTER"}),
    "admin": frozenset({"ALL"}),
}
_DATABASE_GRANTS: dict[Role, frozenset[str]] = {
    "reader": frozenset({"DESCRIBE"}),
    "writer": frozenset({"DESCRIBE"}),
    "admin": frozenset({"ALL"}),
}
_LOCATION_GRANTS: dict[Role, frozenset[str]] = {
    "reader": frozenset(),
    "writer": frozenset({"DATA_LOCATION_ACCESS"}),
    "admin": frozenset({"DATA_LOCATION_ACCESS"}),
}


def visible_columns(template: TableTemplate, role: Role) -> list[str]:
    """The columns a role may read: the reader public and internal ones, writer and admin all.

    A former name of a restricted column is hidden from the reader as well: until the rename is applied, or where two columns
    swap their names, the live column under that name holds the restricted data.
    """
    former = {name for column in template.columns if column.access_level == "restricted" for name in column.renamed_from}
    return [
        column.name
        for column in template.columns
        if role != "reader" or (column.access_level != "restricted" and column.name not in former)
    ]


def granted_columns(template: TableTemplate, live_columns: Collection[str]) -> list[str]:
    """The columns that Terraform grants the reader on a live table: the visible ones that it has.

    Not where a column's former name is there, too: before the rename the live column of its own name is another, perhaps a
    restricted one.
    """
    renaming = {column.name for column in template.columns if set(column.renamed_from) & set(live_columns)}
    return [name for name in visible_columns(template, "reader") if name in live_columns and name not in renaming]


@dataclass(frozen=True)
class Live:
    """What there is.

    Attributes:
        roles: the roles by the ARN.
        administrators: the data lake administrators, who may grant themselves anything.
        columns: the live columns by table name, of every table that the catalog has and that could be looked at.
        databases: the databases that the catalog has.
        location: the warehouse's ARN.
        grants: every grant on the catalog.
    """

    roles: Mapping[str, Role]
    administrators: frozenset[str]
    columns: Mapping[str, frozenset[str]]
    databases: frozenset[str]
    location: str
    grants: Sequence[Grant]


def compare(templates: Iterable[TableTemplate], live: Live) -> list[Finding]:
    """What of the live grants is more or less than the templates say. ``templates`` have those of the quarantine tables among them."""
    tables = {template.table_name: template for template in templates}
    ours = [grant for grant in live.grants if _is_ours(grant, tables, live.location)]
    judged = (_judge(grant, tables, live) for grant in ours)
    return [*_role_administrators(live), *filter(None, judged), *_missing(ours, tables, live)]


def _is_ours(grant: Grant, tables: Mapping[str, TableTemplate], location: str) -> bool:
    target = grant.target
    if target.location:
        return _within(location, target.location) or _within(target.location, location)
    if target.table not in ("", ALL_TABLES):
        return f"{target.database}.{target.table}" in tables
    if target.database:
        return any(template.namespace == target.database for template in tables.values())
    return bool(grant.permissions & {"ALL", "SUPER_USER"})  # of the whole catalog


def _within(location: str, other: str) -> bool:
    return f"{location.rstrip('/*')}/".startswith(f"{other.rstrip('/*')}/")


def _role_administrators(live: Live) -> Iterator[Finding]:
    for arn, role in live.roles.items():
        if role != "admin" and arn in live.administrators:
            yield Finding(
                "excessive",
                f"The {role} role is a data lake administrator, who may grant everything to itself.",
                "Take it from the data lake administrators in Lake Formation's settings.",
                principal=arn,
            )


def _judge(grant: Grant, tables: Mapping[str, TableTemplate], live: Live) -> Finding | None:
    role, target = live.roles.get(grant.principal), grant.target
    if role == "admin" or grant.principal in live.administrators:
        return None  # who creates a table holds ALL with the grant option on it
    if grant.principal == EVERYONE:
        return _too_open("leftover", "Every IAM principal of the account may do it, whatever the other grants say.", grant)
    if role is None:
        return _too_open("foreign", "The principal is none of the roles and no data lake administrator.", grant)
    held = _all_of(grant.permissions, target)
    if role == "reader" and target.table and "SELECT" in held and not target.cells and not target.tags:
        return _judge_select(grant, tables, live)
    allowed = held & _allowed(role, target)
    excess = replace(grant, permissions=grant.permissions - allowed)
    if not excess.texts:
        return None
    kept = (replace(grant, permissions=allowed, grantable=frozenset()),) if allowed else ()
    # What Lake Formation leaves of ALL when a part of it is revoked is not documented.
    exact = None if "ALL" in grant.permissions else excess
    return _too_open("excessive", f"It is more than Terraform grants the {role} role.", excess, grant, exact, kept)


def _judge_select(grant: Grant, tables: Mapping[str, TableTemplate], live: Live) -> Finding | None:
    """Judges a grant that lets the reader read: only one of columns, each of them readable, is not too open."""
    target, covered, kept = grant.target, set[str](), list[Grant]()
    name = f"{target.database}.{target.table}"
    for template in tables.values() if target.table == ALL_TABLES else [tables[name]]:
        if template.namespace == target.database:
            there = live.columns.get(template.table_name)
            columns = _covered(target, there or frozenset())
            columns &= there or columns  # Lake Formation grants no column that is not there
            allowed = granted_columns(template, there or frozenset(visible_columns(template, "reader")))
            covered |= _covered(target, there or frozenset()) - set(allowed)
            if readable := tuple(name for name in allowed if name in columns):
                on = Target(target.database, template.name, columns=readable, catalog_id=target.catalog_id)
                kept.append(Grant(grant.principal, on, frozenset({"SELECT"})))
    if target.columns is None:
        why = "The reader may read every column, also one that is added later."
        return _too_open("excessive", why, grant, grant, None, tuple(kept), tuple(sorted(covered)))
    rest = replace(grant, permissions=grant.permissions - {"SELECT"})
    if covered:
        hidden = tuple(name for name in target.columns if name in covered)
        exact = None if rest.texts else replace(grant, target=replace(target, columns=hidden))
        why = "The template does not let the reader read these columns."
        return _too_open("excessive", why, grant, grant, exact, tuple(kept), hidden)
    why = "It is more than Terraform grants the reader role."
    return _too_open("excessive", why, rest, grant, rest, tuple(kept)) if rest.texts else None


def _too_open(
    kind: Kind,
    why: str,
    shown: Grant,
    grant: Grant | None = None,
    excess: Grant | None = None,
    kept: tuple[Grant, ...] = (),
    columns: tuple[str, ...] = (),
) -> Finding:
    target, remedy = shown.target, FIX_REMEDY
    if target.tags:  # the grant is on all that carries the tags, and others may need it
        remedy = f"Take the LF-tags {target.tags} from {target.name}, or revoke the grant on them."
    return Finding(
        kind,
        f"{why[:-1]}, through the data cells filter {target.cells}." if target.cells else why,
        remedy,
        target.database,
        target.table,
        shown.principal,
        shown.texts,
        columns or target.columns or (),
        None if target.tags else grant or shown,
        excess,
        kept,
    )


def _all_of(permissions: frozenset[str], target: Target) -> frozenset[str]:
    """The permissions with what ALL stands for, and with ALL where they are all there are."""
    every = _ON_TABLE if target.table else _ON_DATABASE if target.database else frozenset({"ALL"})
    return permissions | every if "ALL" in permissions or permissions >= every - {"ALL"} else permissions


def _allowed(role: Role, target: Target) -> frozenset[str]:
    if target.location:
        return _LOCATION_GRANTS[role]
    return _TABLE_GRANTS[role] if target.table else _DATABASE_GRANTS[role] if target.database else frozenset()


def _covered(target: Target, live_columns: frozenset[str]) -> set[str]:
    return set(live_columns) - set(target.excluded) if target.columns is None else set(target.columns)


def selected_columns(grants: Iterable[Grant], principal: str, table_name: str, live_columns: frozenset[str]) -> set[str]:
    """The columns of a table that a principal's own grants let it read, whatever they are granted on."""
    database, _, table = table_name.partition(".")
    return {
        column
        for grant in grants
        if grant.principal == principal
        and grant.target.database == database
        and grant.target.table in (ALL_TABLES, table)
        and "SELECT" in _all_of(grant.permissions, grant.target)
        for column in _covered(grant.target, live_columns)
    }


def _missing(grants: Sequence[Grant], tables: Mapping[str, TableTemplate], live: Live) -> Iterator[Finding]:
    held: dict[tuple[str, str, str], frozenset[str]] = {}
    by_table: dict[tuple[str, str, str], list[Grant]] = {}
    for grant in grants:
        target = grant.target
        by_table.setdefault((grant.principal, target.database, target.table), []).append(grant)
        whole = target.columns is None and not (target.excluded or target.cells or target.tags)
        if whole and (not target.location or _within(live.location, target.location)):
            key = (grant.principal, target.database, target.table)
            held[key] = held.get(key, frozenset()) | grant.permissions

    def lacks(arn: str, wanted: frozenset[str], target: Target, *more: str) -> Iterator[Finding]:
        has = frozenset[str]().union(*(held.get((arn, target.database, table), frozenset()) for table in (target.table, *more)))
        if lacking := wanted - _all_of(has, target):
            yield _lacking(live.roles[arn], arn, target, tuple(sorted(lacking)))

    for arn, role in live.roles.items():
        yield from lacks(arn, _LOCATION_GRANTS[role], Target(location=live.location))
        for database in sorted({template.namespace for template in tables.values()} & live.databases):
            yield from lacks(arn, _DATABASE_GRANTS[role], Target(database))
        for name, template in tables.items():
            if name not in live.columns:
                continue
            target = Target(template.namespace, template.name)
            yield from lacks(arn, _TABLE_GRANTS[role], target, ALL_TABLES)
            if role == "reader":
                readable = set(granted_columns(template, live.columns[name]))
                own = [grant for on in (template.name, ALL_TABLES) for grant in by_table.get((arn, template.namespace, on), ())]
                if columns := readable - selected_columns(own, arn, name, live.columns[name]):
                    yield _lacking(role, arn, target, ("SELECT",), tuple(sorted(columns)))


def _lacking(role: Role, arn: str, target: Target, permissions: tuple[str, ...], columns: tuple[str, ...] = ()) -> Finding:
    where = f" on {target.location}" if target.location else ""
    message = f"The {role} role does not hold it{where}."
    return Finding("missing", message, TERRAFORM_REMEDY, target.database, target.table, arn, permissions, columns)
