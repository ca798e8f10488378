"""Permissions on the catalog as values: grants, what is found wrong with them, and the closing of what is too open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal, Protocol

from lakehouse.errors import CatalogError

Kind = Literal["missing", "excessive", "leftover", "foreign", "s3", "absent", "unreachable"]
TOO_OPEN: frozenset[Kind] = frozenset({"excessive", "leftover", "foreign", "s3"})
EVERYONE = "IAM_ALLOWED_PRINCIPALS"
ALL_TABLES = "ALL_TABLES"

TERRAFORM_REMEDY = "Run terraform apply in terraform/aws."
FIX_REMEDY = "Take it away: lakehouse governance --fix"


@dataclass(frozen=True)
class Target:
    """What a grant is on: a data location, a database, a table, columns of one, or all tables of a database.

    Attributes:
        database: its name; empty for a data location and for the whole catalog.
        table: its name, ALL_TABLES, or empty where the database itself is meant.
        columns: only these, in the order of the listing; None for the whole table.
        excluded: all columns but these.
        location: the ARN of a data location.
        cells: the data cells filter through which rows and columns are seen.
        tags: the LF-tag expression that the table or database fits.
        catalog_id: the account of the catalog, where the listing says it.
    """

    database: str = ""
    table: str = ""
    columns: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()
    location: str = ""
    cells: str = ""
    tags: str = ""
    catalog_id: str = ""

    @property
    def name(self) -> str:
        """As people read it."""
        return self.location or ".".join(filter(None, (self.database, self.table))) or "the catalog"


@dataclass(frozen=True)
class Grant:
    """What one principal may do on one target, and of that, what it may grant to others."""

    principal: str
    target: Target
    permissions: frozenset[str]
    grantable: frozenset[str] = frozenset()

    @property
    def texts(self) -> tuple[str, ...]:
        """The permissions as people read them."""
        return (*sorted(self.permissions), *(f"{name} WITH GRANT OPTION" for name in sorted(self.grantable)))


@dataclass(frozen=True)
class Finding:
    """One thing that is less or more open than the templates say, or could not be looked at.

    Attributes:
        database, table: where; empty where the whole database, or the whole lakehouse, is meant.
        principal: the ARN or name of who holds the grant, or lacks it.
        permissions, columns: what is too much, or missing.
        message, remedy: a sentence each.
        grant: the live grant that is too open; None where there is none, or none that can be revoked.
        excess: exactly what of it is too much, where that can be said as one grant.
        kept: what the template allows of it, as grants of its own.
    """

    kind: Kind
    message: str
    remedy: str
    database: str = ""
    table: str = ""
    principal: str = ""
    permissions: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    grant: Grant | None = field(default=None, repr=False)
    excess: Grant | None = field(default=None, repr=False)
    kept: tuple[Grant, ...] = field(default=(), repr=False)

    @property
    def too_open(self) -> bool:
        """Whether somebody may do more than the templates say."""
        return self.kind in TOO_OPEN

    def concerns(self, table_name: str) -> bool:
        """Whether it is about ``namespace.name``, or about what that is in."""
        database, _, table = table_name.partition(".")
        return self.database in ("", database) and self.table in ("", ALL_TABLES, table)


class GrantStore(Protocol):
    """What revokes and grants; ``lakeformation.py`` has the real one."""

    def revoke(self, grant: Grant) -> bool:
        """Takes a grant away. False where there is nothing like it to take away; raises CatalogError where it fails."""

    def grant(self, grant: Grant) -> None:
        """Grants. Raises CatalogError where it fails."""


@dataclass(frozen=True)
class Outcome:
    """What was done about a finding that was too open; ``closed`` is False where something of it failed."""

    finding: Finding
    closed: bool
    text: str


def close_findings(findings: Iterable[Finding], store: GrantStore) -> Iterator[Outcome]:
    """Takes away what is too open, and no more; never leaves more than before, also where it fails half-way.

    Where Lake Formation does not revoke a part of a grant, all of it is revoked, and then what the template allows of it granted.
    """

    def place(finding: Finding) -> tuple[str, str]:
        return finding.principal, finding.database

    for _, some in groupby(sorted((finding for finding in findings if finding.too_open), key=place), place):
        # What is granted again adds up with the principal's other grants, which could then not be revoked as they were listed.
        revoked = [_revoke(finding, store) for finding in some]
        yield from (_grant_again(outcome, store) if grants else outcome for outcome, grants in revoked)


def _revoke(finding: Finding, store: GrantStore) -> tuple[Outcome, bool]:
    """What was done, and whether more than the excess was revoked."""
    grant = finding.grant
    if grant is None:
        return Outcome(finding, False, f"not closed: {finding.remedy}"), False
    if finding.excess is not None:
        with suppress(CatalogError):  # it would meet the other way, too, which reports it
            if store.revoke(finding.excess):
                return Outcome(finding, True, f"revoked {_text(finding.excess)} from {grant.principal}"), False
    try:
        was_there = store.revoke(grant)
    except CatalogError as error:
        return Outcome(finding, False, f"not revoked: {error}"), False
    text = f"revoked {_text(grant)} from {grant.principal}" if was_there else f"{_text(grant)} was gone from {grant.principal} already"
    return Outcome(finding, True, text), True


def _grant_again(outcome: Outcome, store: GrantStore) -> Outcome:
    for kept in outcome.finding.kept:
        again = f"{_text(kept)} to {kept.principal}"
        try:
            store.grant(kept)
        except CatalogError as error:  # the others are tried all the same
            failed = f"{outcome.text}, but {again} was not granted again: {error}\n{TERRAFORM_REMEDY}\n"
            outcome = replace(outcome, closed=False, text=failed)
        else:
            outcome = replace(outcome, text=f"{outcome.text}, granted {again}")
    return replace(outcome, text=outcome.text.rstrip())


def _text(grant: Grant) -> str:
    columns = f" of {', '.join(grant.target.columns)}" if grant.target.columns is not None else ""
    return f"{', '.join(grant.texts)}{columns} on {grant.target.name}"
