"""Who may read what, what of the grants is more or less than that, and what closing leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.errors import CatalogError
from lakehouse.governance import Live, Role, compare, granted_columns, visible_columns
from lakehouse.grants import ALL_TABLES, EVERYONE, Finding, Grant, Target, close_findings
from lakehouse.template import Column, TableTemplate

ROLES: dict[str, Role] = {f"arn:aws:iam::1:role/{name}": name for name in ("reader", "writer", "admin")}
READER, WRITER, ADMIN = ROLES
STEWARD, STRANGER = "arn:aws:iam::1:role/steward", "arn:aws:iam::1:role/stranger"
LOCATION = "arn:aws:s3:::lake/warehouse"
SECRETS = {"salary", "pin"}


def template(name: str = "users", columns: tuple[str, ...] = ("id", "team", "salary")) -> TableTemplate:
    described = [Column(name=column, type="long", access_level="restricted" if column in SECRETS else "internal") for column in columns]
    return TableTemplate(name=name, namespace="lake", columns=described)


def grant(principal: str, permissions: str, target: Target | None = None, grantable: str = "", **on: tuple[str, ...]) -> Grant:
    return Grant(principal, target or replace(Target("lake", "users"), **on), frozenset(permissions.split()), frozenset(grantable.split()))


def terraform(tables: list[TableTemplate]) -> list[Grant]:
    """What Terraform grants."""
    grants = [
        *(grant(arn, "DESCRIBE", Target("lake")) for arn in (READER, WRITER)),
        grant(ADMIN, "ALL", Target("lake")),
        *(grant(arn, "DATA_LOCATION_ACCESS", Target(location=LOCATION)) for arn in (WRITER, ADMIN)),
    ]
    for table in tables:
        on = Target("lake", table.name)
        grants += [grant(WRITER, "SELECT INSERT DELETE DESCRIBE ALTER", on), grant(ADMIN, "ALL", on)]
        if columns := tuple(visible_columns(table, "reader")):
            grants.append(grant(READER, "SELECT", replace(on, columns=columns)))
    return grants


def live(tables: list[TableTemplate], grants: list[Grant], administrators: frozenset[str] = frozenset({STEWARD})) -> Live:
    columns = {table.table_name: frozenset(column.name for column in table.columns) for table in tables}
    return Live(ROLES, administrators, columns, frozenset({"lake"}), LOCATION, grants)


def findings(*more: Grant, without: tuple[Grant, ...] = ()) -> list[Finding]:
    tables = [template()]
    grants = [found for found in terraform(tables) if found not in without]
    return compare(tables, live(tables, [*grants, *more]))


def test_the_reader_sees_what_is_not_restricted_and_the_others_see_all() -> None:
    columns = [
        Column(name="id", type="long"),
        Column(name="email", type="string", pii=True, access_level="internal"),
        Column(name="salary", type="long", access_level="restricted"),
    ]
    table = TableTemplate(name="users", namespace="lake", columns=columns)
    assert visible_columns(table, "reader") == ["id", "email"]
    for role in ("writer", "admin"):
        assert visible_columns(table, role) == ["id", "email", "salary"]


def test_a_column_is_not_granted_while_the_live_table_has_its_former_name_too() -> None:
    columns = [Column(name="secret", type="string", renamed_from=["price"]), Column(name="id", type="long")]
    table = TableTemplate(name="t", namespace="lake", columns=columns)
    # Before the rename the live `secret` is another column: who knows which.
    assert granted_columns(table, ["id", "price", "secret"]) == ["id"]
    assert granted_columns(table, ["id", "price"]) == ["id"]
    assert granted_columns(table, ["id", "secret"]) == ["secret", "id"]


def test_a_former_name_of_a_restricted_column_is_hidden_from_the_reader() -> None:
    columns = [
        Column(name="note", type="string", renamed_from=["diagnosis"]),
        Column(name="diagnosis", type="string", access_level="restricted", renamed_from=["old", "note"]),
        Column(name="old", type="string"),
        Column(name="other", type="string", renamed_from=["older"]),
    ]
    table = TableTemplate(name="patients", namespace="lake", columns=columns)
    assert visible_columns(table, "reader") == ["other"]
    assert visible_columns(table, "writer") == ["note", "diagnosis", "old", "other"]


def test_what_terraform_grants_is_neither_more_nor_less() -> None:
    assert findings() == []


def test_grants_on_other_databases_and_tables_are_none_of_our_business() -> None:
    assert findings(
        grant(STRANGER, "ALL", Target("sales")),
        grant(STRANGER, "SELECT", Target("sales", ALL_TABLES)),
        grant(READER, "SELECT", Target("lake", "unmanaged")),
        grant(STRANGER, "DATA_LOCATION_ACCESS", Target(location="arn:aws:s3:::lake/warehouse2")),
        grant(EVERYONE, "CREATE_DATABASE", Target()),
    ) == []  # fmt: skip


@pytest.mark.parametrize("target", [Target("lake", "users"), Target("lake"), Target("lake", ALL_TABLES), Target(location=LOCATION)])
@pytest.mark.parametrize(("principal", "kind"), [(EVERYONE, "leftover"), (STRANGER, "foreign"), ("111122223333", "foreign")])
def test_everyone_and_strangers_are_too_open_wherever_they_hold_anything(target: Target, principal: str, kind: str) -> None:
    [found] = findings(grant(principal, "DESCRIBE", target))
    assert (found.kind, found.database, found.table, found.principal) == (kind, target.database, target.table, principal)
    assert found.permissions == ("DESCRIBE",)
    assert found.too_open


def test_a_data_lake_administrator_may_hold_anything() -> None:
    assert findings(grant(STEWARD, "ALL", grantable="ALL"), grant(STEWARD, "ALL", Target("lake"))) == []
    assert findings(grant(ADMIN, "ALL", grantable="ALL")) == []


def test_a_reader_that_is_a_data_lake_administrator_is_too_open_and_is_not_touched() -> None:
    tables = [template()]
    [found] = compare(tables, live(tables, [*terraform(tables), grant(READER, "ALL")], frozenset({READER})))
    assert (found.kind, found.principal, found.grant) == ("excessive", READER, None)
    [outcome] = close_findings([found], Memory([]))
    assert not outcome.closed


@pytest.mark.parametrize(
    ("extra", "permissions", "columns"),
    [
        (grant(READER, "SELECT", columns=("id", "salary")), ("SELECT",), ("salary",)),
        (grant(READER, "SELECT", columns=("unknown",)), ("SELECT",), ("unknown",)),
        (grant(READER, "SELECT"), ("SELECT",), ("salary",)),
        (grant(READER, "SELECT", excluded=("salary",)), ("SELECT",), ()),
        (grant(READER, "ALL"), ("ALL",), ("salary",)),
        (grant(READER, "SELECT", Target("lake", ALL_TABLES)), ("SELECT",), ("salary",)),
        (grant(READER, "SELECT", Target("lake", "users", cells="mine")), ("SELECT",), ()),
        (grant(READER, "SELECT", Target("lake", "users", tags="domain=web")), ("SELECT",), ()),
        (grant(READER, "SELECT", grantable="SELECT", columns=("id",)), ("SELECT WITH GRANT OPTION",), ("id",)),
        (grant(READER, "ALTER DESCRIBE"), ("ALTER", "DESCRIBE"), ()),
        (grant(READER, "CREATE_TABLE DESCRIBE", Target("lake")), ("CREATE_TABLE",), ()),
        (grant(READER, "DATA_LOCATION_ACCESS", Target(location="arn:aws:s3:::lake")), ("DATA_LOCATION_ACCESS",), ()),
        (grant(READER, "DATA_LOCATION_ACCESS", Target(location=f"{LOCATION}/lake")), ("DATA_LOCATION_ACCESS",), ()),
        (grant(WRITER, "SELECT DROP", grantable="SELECT"), ("DROP", "SELECT WITH GRANT OPTION"), ()),
        (grant(WRITER, "ALL"), ("ALL",), ()),
        (grant(WRITER, "DROP", Target("lake", ALL_TABLES)), ("DROP",), ()),
        (grant(WRITER, "ALL", Target("lake")), ("ALL",), ()),
        (grant(WRITER, "ALL", Target()), ("ALL",), ()),
    ],
)
def test_more_than_terraform_grants_is_excessive(extra: Grant, permissions: tuple[str, ...], columns: tuple[str, ...]) -> None:
    [found] = findings(extra)
    assert (found.kind, found.principal, found.permissions, found.columns) == ("excessive", extra.principal, permissions, columns)


def test_what_is_missing_is_named_and_is_not_too_open() -> None:
    every = terraform([template()])
    found = findings(grant(READER, "SELECT", columns=("team",)), grant(WRITER, "SELECT DESCRIBE"), without=tuple(every))
    assert not any(finding.too_open for finding in found)
    assert {(finding.kind, finding.table, finding.principal, finding.permissions, finding.columns) for finding in found} == {
        ("missing", "", READER, ("DESCRIBE",), ()),
        ("missing", "", WRITER, ("DESCRIBE",), ()),
        ("missing", "", ADMIN, ("ALL",), ()),
        ("missing", "", WRITER, ("DATA_LOCATION_ACCESS",), ()),
        ("missing", "", ADMIN, ("DATA_LOCATION_ACCESS",), ()),
        ("missing", "users", READER, ("SELECT",), ("id",)),
        ("missing", "users", WRITER, ("ALTER", "DELETE", "INSERT"), ()),
        ("missing", "users", ADMIN, ("ALL",), ()),
    }


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        # A place within the warehouse is not the warehouse, and what it is in has it.
        ([grant(WRITER, "DATA_LOCATION_ACCESS", Target(location=f"{LOCATION}/lake"))], ["DATA_LOCATION_ACCESS"]),
        ([grant(WRITER, "DATA_LOCATION_ACCESS", Target(location="arn:aws:s3:::lake"))], []),
    ],
)
def test_a_location_counts_where_it_holds_the_whole_warehouse(held: list[Grant], missing: list[str]) -> None:
    found = findings(*held, without=(grant(WRITER, "DATA_LOCATION_ACCESS", Target(location=LOCATION)),))
    assert [permission for finding in found for permission in finding.permissions] == missing


def test_the_writer_needs_every_column_and_may_hold_it_on_all_tables() -> None:
    rest, own = "INSERT DELETE DESCRIBE ALTER", grant(WRITER, "SELECT INSERT DELETE DESCRIBE ALTER")
    for target in (Target("lake", "users", ("id",)), Target("lake", "users", excluded=("id",)), Target("lake", "users", cells="mine")):
        [found] = findings(grant(WRITER, rest), grant(WRITER, "SELECT", target), without=(own,))
        assert (found.kind, found.permissions) == ("missing", ("SELECT",))
    assert findings(grant(WRITER, rest), grant(WRITER, "SELECT", Target("lake", ALL_TABLES)), without=(own,)) == []


def test_a_readable_column_that_is_not_live_yet_is_not_missing_and_one_that_is_live_is() -> None:
    table = template(columns=("id", "team"))
    grants = [found for found in terraform([table]) if found.target.columns is None]
    grants.append(grant(READER, "SELECT", columns=("id",)))
    before = Live(ROLES, frozenset(), {"lake.users": frozenset({"id"})}, frozenset({"lake"}), LOCATION, grants)
    assert compare([table], before) == []
    [found] = compare([table], replace(before, columns={"lake.users": frozenset({"id", "team"})}))
    assert (found.kind, found.columns) == ("missing", ("team",))


def test_of_a_table_that_is_not_there_nothing_is_missing_and_its_grants_are_still_judged() -> None:
    table = template()
    there = Live(ROLES, frozenset(), {}, frozenset({"lake"}), LOCATION, [*terraform([table]), grant(READER, "SELECT", columns=("salary",))])
    [found] = compare([table], there)
    assert (found.kind, found.columns) == ("excessive", ("salary",))


def test_the_listing_may_split_and_expand_what_terraform_granted() -> None:
    """AWS lists ALL with all that it stands for, and SELECT on a table as SELECT on all its columns."""
    every = terraform([template()])
    on_table = tuple(found for found in every if found.target == Target("lake", "users"))
    rest = "ALTER DELETE DESCRIBE INSERT"
    everything = Target("lake", "users", excluded=())
    listed = (
        grant(WRITER, rest), grant(WRITER, "SELECT", everything),
        grant(ADMIN, f"ALL DROP {rest}"), grant(ADMIN, "SELECT", everything),
    )  # fmt: skip
    assert findings(*listed, without=on_table) == []


def test_a_table_of_which_the_reader_may_see_nothing_needs_no_grant() -> None:
    table = template(columns=("salary", "pin"))
    assert compare([table], live([table], terraform([table]))) == []
    [found] = compare([table], live([table], [*terraform([table]), grant(READER, "SELECT", columns=("pin",))]))
    assert (found.kind, found.columns) == ("excessive", ("pin",))


def test_a_finding_concerns_the_table_its_database_and_everything() -> None:
    def at(database: str, table: str) -> Finding:
        return Finding("foreign", "", "", database, table)

    assert all(found.concerns("lake.users") for found in (at("lake", "users"), at("lake", ""), at("lake", ALL_TABLES), at("", "")))
    assert not any(found.concerns("lake.users") for found in (at("lake", "orders"), at("sales", ""), at("sales", "users")))


# --- Closing


class Memory:
    """Lake Formation in memory: columns add up, and what is open in its documentation is as one says.

    Attributes:
        parts: whether some of several columns, or a grant option alone, can be revoked.
        all_is_more: whether revoking ALL takes along what ALL stands for.
        fails: whether granting fails.
    """

    def __init__(self, grants: list[Grant], parts: bool = True, all_is_more: bool = True, fails: bool = False) -> None:
        self.parts, self.all_is_more, self.fails = parts, all_is_more, False
        self.held: dict[tuple[str, Target], tuple[frozenset[str], frozenset[str]]] = {}
        for grant in grants:
            self.grant(grant)
        self.fails = fails

    @staticmethod
    def _keys(grant: Grant) -> list[tuple[str, Target]]:
        columns = grant.target.columns
        targets = [grant.target] if columns is None else [replace(grant.target, columns=(column,)) for column in columns]
        return [(grant.principal, target) for target in targets]

    @property
    def grants(self) -> list[Grant]:
        """As they are listed: one of all columns on which the same is held."""
        grouped: dict[Grant, list[str]] = {}
        for (principal, target), (permissions, grantable) in self.held.items():
            whole = replace(target, columns=None if target.columns is None else ())
            grouped.setdefault(Grant(principal, whole, permissions, grantable), []).extend(target.columns or ())
        return [
            held if held.target.columns is None else replace(held, target=replace(held.target, columns=tuple(columns)))
            for held, columns in grouped.items()
        ]

    def revoke(self, grant: Grant) -> bool:
        keys = self._keys(grant)
        if not all(key in self.held and grant.permissions <= self.held[key][0] for key in keys):
            return False
        listed = [held.target.columns for held in self.grants if held.principal == grant.principal]
        if not self.parts and (grant.target.columns not in listed or not grant.permissions):
            return False
        for key in keys:
            permissions, grantable = self.held.pop(key)
            more = permissions if "ALL" in grant.permissions and self.all_is_more else grant.permissions
            if left := permissions - more:
                self.held[key] = left, grantable - grant.grantable - more
        return True

    def grant(self, grant: Grant) -> None:
        if self.fails:
            raise CatalogError("Granting failed: no.")
        for key in self._keys(grant):
            permissions, grantable = self.held.get(key, (frozenset[str](), frozenset[str]()))
            self.held[key] = permissions | grant.permissions, grantable | grant.grantable


def test_only_the_restricted_column_is_revoked_where_that_is_possible() -> None:
    store = Memory([grant(READER, "SELECT", columns=("id", "salary"))])
    [found] = [finding for finding in compare([template()], live([template()], store.grants)) if finding.too_open]
    [outcome] = close_findings([found], store)
    assert outcome.text == f"revoked SELECT of salary on lake.users from {READER}"
    assert store.grants == [grant(READER, "SELECT", columns=("id",))]


def test_else_all_is_revoked_and_what_the_template_allows_granted_again() -> None:
    store = Memory([grant(READER, "SELECT", columns=("id", "salary"))], parts=False)
    [found] = [finding for finding in compare([template()], live([template()], store.grants)) if finding.too_open]
    [outcome] = close_findings([found], store)
    assert outcome.closed
    assert outcome.text == f"revoked SELECT of id, salary on lake.users from {READER}, granted SELECT of id on lake.users to {READER}"
    assert store.grants == [grant(READER, "SELECT", columns=("id",))]


@pytest.mark.parametrize("parts", [True, False])
def test_the_grant_option_on_readable_columns_goes_with_the_restricted_column(parts: bool) -> None:
    store = Memory([grant(READER, "SELECT", grantable="SELECT", columns=("id", "salary"))], parts)
    [outcome] = close_findings(compare([template()], live([template()], store.grants)), store)
    assert outcome.closed
    assert store.grants == [grant(READER, "SELECT", columns=("id",))]


def test_a_column_that_is_not_there_is_not_granted_again() -> None:
    store = Memory([grant(READER, "SELECT", columns=("id", "team", "salary"))], parts=False)
    there = replace(live([template()], store.grants), columns={"lake.users": frozenset({"id", "salary"})})
    [outcome] = close_findings(compare([template()], there), store)
    assert outcome.closed
    assert store.grants == [grant(READER, "SELECT", columns=("id",))]


def test_a_second_step_that_fails_is_said_and_leaves_less() -> None:
    store = Memory([grant(READER, "SELECT")], fails=True)
    [found] = [finding for finding in compare([template()], live([template()], store.grants)) if finding.too_open]
    [outcome] = close_findings([found], store)
    assert not outcome.closed
    assert "revoked SELECT on lake.users" in outcome.text and "was not granted again: Granting failed: no." in outcome.text
    assert "terraform apply" in outcome.text
    assert store.grants == []


def test_what_is_gone_already_is_closed() -> None:
    [found] = findings(grant(STRANGER, "SELECT"))
    [outcome] = close_findings([found], Memory([]))
    assert outcome.closed


COLUMNS = st.lists(st.sampled_from(["id", "team", "city", "salary", "pin"]), min_size=1, max_size=4, unique=True).map(tuple)
TABLES = st.builds(lambda one, two: [template("users", one), template("orders", two)], COLUMNS, COLUMNS)
PERMISSIONS = st.frozensets(st.sampled_from(["ALL", "SELECT", "INSERT", "DELETE", "DESCRIBE", "ALTER", "DROP"]), min_size=1)
TARGETS = st.one_of(
    st.builds(Target, st.just("lake"), st.sampled_from(["users", "orders", ALL_TABLES, ""])),
    st.builds(Target, st.just("lake"), st.sampled_from(["users", "orders"]), COLUMNS),
    st.builds(Target, st.just("lake"), st.sampled_from(["users", "orders"]), st.none(), COLUMNS),
    st.builds(Target, location=st.sampled_from([LOCATION, "arn:aws:s3:::lake"])),
)


@st.composite
def some_grant(draw: st.DrawFn) -> Grant:
    target = draw(TARGETS)
    permissions = draw(PERMISSIONS)
    if target.columns is not None or target.excluded:
        permissions = frozenset({"SELECT"})
    elif target.location:
        permissions = frozenset({"DATA_LOCATION_ACCESS"})
    elif not target.table:
        permissions = frozenset({name for name in permissions if name in ("ALL", "DESCRIBE", "ALTER", "DROP")} or {"CREATE_TABLE"})
    principal = draw(st.sampled_from([*ROLES, STEWARD, STRANGER, EVERYONE]))
    return Grant(principal, target, permissions, draw(st.sampled_from([frozenset(), permissions])))


def may(grants: list[Grant], tables: list[TableTemplate]) -> set[tuple[str, ...]]:
    """Everything that somebody may do: principal, place, permission and, for SELECT, column."""
    found: set[tuple[str, ...]] = set()
    for held in grants:
        target = held.target
        for text in held.texts:
            name, _, option = text.partition(" ")
            if not target.table:
                stands_for = ["CREATE_TABLE", "DESCRIBE", "ALTER", "DROP"] if name == "ALL" else []
                found |= {(held.principal, target.name, one, option) for one in [name, *stands_for]}
                continue
            stands_for = ["SELECT", "INSERT", "DELETE", "DESCRIBE", "ALTER", "DROP"] if name == "ALL" else []
            for table in [table for table in tables if target.table in (ALL_TABLES, table.name)]:
                live_columns = [column.name for column in table.columns if column.name not in target.excluded]
                for one in [name, *stands_for]:
                    columns = (target.columns or [*live_columns, "a later one"]) if one == "SELECT" else [""]
                    found |= {(held.principal, table.name, one, option, column) for column in columns}
    return found


@settings(max_examples=200)
@given(TABLES, st.lists(some_grant(), max_size=6), st.booleans(), st.booleans())
def test_after_closing_nothing_is_too_open_and_nothing_allowed_is_lost(
    tables: list[TableTemplate], grants: list[Grant], parts: bool, all_is_more: bool
) -> None:
    store = Memory(list(grants), parts, all_is_more)
    before = may(store.grants, tables)
    allowed = may(terraform(tables), tables) | {(WRITER, "arn:aws:s3:::lake", "DATA_LOCATION_ACCESS", "")}
    allowed |= {act for act in before if act[0] in (STEWARD, ADMIN)}
    allowed |= {act for act in before if act[0] == WRITER and act[2:4] == ("SELECT", "")}  # of any column, known or not
    assert all(outcome.closed for outcome in close_findings(compare(tables, live(tables, store.grants)), store))
    assert may(store.grants, tables) == before & allowed
    assert not [found for found in compare(tables, live(tables, store.grants)) if found.too_open]
