"""Lake Formation's live grants: what of them the templates do not say, and taking away what is too open. They are on Glue's entries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from lakehouse.catalog import CATALOG_REMEDY, catalog_errors
from lakehouse.errors import SettingsError
from lakehouse.governance import Live, Role, compare, selected_columns
from lakehouse.grants import EVERYONE, Finding, Grant, Outcome, Target, close_findings
from lakehouse.lakeformation_client import LakeFormation, target_of
from lakehouse.s3_access import s3_findings
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate, with_quarantine

_ENTRY_REMEDY = "Run terraform apply in terraform/aws, then lakehouse apply."
_CALLER_REMEDY = "Run it as a data lake administrator; the admin role should be one (Lake Formation, Administrative roles)."


def live_findings(settings: LakehouseSettings, templates: Iterable[TableTemplate]) -> list[Finding]:
    """How the live grants differ from what the templates say, quarantine tables and the reader's S3 access included.

    What cannot be looked at is a finding of its own, ``unreachable``, and hides no other.

    Raises:
        SettingsError: another backend, or a role's ARN is not set; MissingExtraError: boto3 is not installed.
    """
    roles = _roles(settings)
    aws = LakeFormation(settings)
    tables = with_quarantine(templates)
    location = _warehouse_arn(settings, next(iter(roles)))
    found: list[Finding] = []
    columns, databases = _live_columns(aws, tables, found)
    # Without the administrators their grants would be foreign, and the fix would revoke them.
    with _noting(found, "Lake Formation's grants cannot be listed"):
        administrators, readers = aws.administrators()
        with _noting(found, "Who asks cannot be learned"):
            if not (caller := aws.caller()).matches(administrators | readers):
                message = f"{caller.arn} is no data lake administrator: Lake Formation lists only the grants that it may see."
                found.append(Finding("unreachable", message, _CALLER_REMEDY))
        grants = _grants_on(aws, columns, _entries(aws), found)
        found += compare(tables, Live(roles, administrators, columns, databases, location, grants))
    with _noting(found, "The reader's access to S3 cannot be looked at"):
        reader = next(arn for arn, role in roles.items() if role == "reader")
        found += s3_findings(aws.client, reader, location, sorted({template.namespace for template in tables}))
    return sorted(found, key=lambda finding: (finding.database, finding.table, finding.kind, finding.principal))


def close(settings: LakehouseSettings, findings: Iterable[Finding]) -> Iterator[Outcome]:
    """Takes away what is too open, finding by finding. Grants nothing that the templates do not; administrators keep theirs.

    Look again afterwards: an outcome says what Lake Formation answered, not what there is now.
    """
    yield from close_findings(findings, LakeFormation(settings))


class ReaderGrants:
    """The columns that live grants let the reader role read, table by table, as of when the first was asked for.

    Its own, and those of all principals of the account, which it is one of.

    Raises:
        SettingsError: another backend; MissingExtraError: boto3 is not installed.
    """

    def __init__(self, settings: LakehouseSettings) -> None:
        _check_backend(settings)
        self._settings, self._aws = settings, LakeFormation(settings)

    @cached_property
    def _reader(self) -> str | None:
        """The reader role, if the caller is shown all its grants."""
        administrators, readers = self._aws.administrators()
        sees_all = self._aws.caller().matches(administrators | readers)
        return self._settings.reader_role if sees_all else None

    @cached_property
    def _grants(self) -> list[dict[str, Any]]:
        return _entries(self._aws)

    def columns(self, table: str) -> set[str] | None:
        """Those of ``namespace.table``; all live ones where the reader holds the whole table.

        Returns:
            None where it cannot be known: no reader role is set, or Lake Formation would not show the caller all grants.

        Raises:
            CatalogError: AWS does not answer.
        """
        database, _, name = table.partition(".")
        with catalog_errors(f"The reader's grants on {table} cannot be read"):
            if self._settings.reader_role is None or self._reader is None:
                return None
            live = self._aws.columns(database, name)
            if live is None:
                return set()
            grants = _grants_on(self._aws, [table], self._grants, unknown := list[Finding]())
        everyone = (self._reader, EVERYONE, f"{self._reader.split(':')[4]}:IAMPrincipals")
        return None if unknown else set[str]().union(*(selected_columns(grants, principal, table, live) for principal in everyone))


def _check_backend(settings: LakehouseSettings) -> None:
    if not settings.has_glue_entries:
        raise SettingsError(
            f"Lake Formation's grants are on the entries of aws-glue, and those that follow main on aws-nessie (GLUE_CATALOG_ID); "
            f"LAKEHOUSE_BACKEND is {settings.backend!r}, LAKEHOUSE_BRANCH {settings.branch!r}."
        )


def _roles(settings: LakehouseSettings) -> dict[str, Role]:
    _check_backend(settings)
    given: dict[Role, str | None] = {"reader": settings.reader_role, "writer": settings.writer_role, "admin": settings.admin_role}
    remedy = "Terraform's outputs have them: lakehouse env --terraform terraform/aws"
    if missing := [f"LAKEHOUSE_{role.upper()}_ROLE" for role, arn in given.items() if not arn]:
        raise SettingsError(f"Settings that are needed, and not set: {', '.join(missing)}. {remedy}")
    roles = {arn: role for role, arn in given.items() if arn}
    if wrong := [arn for arn in roles if arn.count(":") != 5 or ":role/" not in arn]:
        raise SettingsError(f"No ARN of a role: {', '.join(wrong)}. {remedy}")
    if len(roles) < len(given):
        raise SettingsError(f"The reader, writer and admin roles are three, and two of the settings are the same ARN. {remedy}")
    return roles


def _warehouse_arn(settings: LakehouseSettings, role: str) -> str:
    return f"arn:{role.split(':')[1]}:s3:::{settings.warehouse_uri.removeprefix('s3://')}"


@contextmanager
def _noting(found: list[Finding], what: str, database: str = "", table: str = "") -> Iterator[None]:
    """Whatever fails inside becomes a finding."""
    try:
        yield
    except Exception as error:
        found.append(Finding("unreachable", f"{what}: {type(error).__name__}: {error}", CATALOG_REMEDY, database, table))


def _live_columns(
    aws: LakeFormation, tables: Collection[TableTemplate], found: list[Finding]
) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """The columns of every table that could be looked at, and the databases that there are. The rest becomes findings."""
    columns: dict[str, frozenset[str]] = {}
    databases = set()
    for database in sorted({template.namespace for template in tables}):
        names = {template.name for template in tables if template.namespace == database}
        with _noting(found, "The database's tables cannot be listed", database):
            if (listed := aws.tables(database)) is not None:
                databases.add(database)
            listed = listed or {}
            for name in sorted(names):
                with _noting(found, "The table's entry cannot be read", database, name):
                    # A table that the caller may not see is left out of the list, and refused by its name.
                    if (live := listed[name] if name in listed else aws.columns(database, name)) is None:
                        found.append(Finding("absent", "The catalog has no entry of it.", _ENTRY_REMEDY, database, name))
                    else:
                        columns[f"{database}.{name}"] = live
    return columns, frozenset(databases)


def _grant(entry: dict[str, Any], target: Target) -> Grant:
    granted, grantable = (frozenset(entry.get(key) or ()) for key in ("Permissions", "PermissionsWithGrantOption"))
    return Grant(entry["Principal"]["DataLakePrincipalIdentifier"], target, granted, grantable)


def _entries(aws: LakeFormation) -> list[dict[str, Any]]:
    """Every grant that the caller may see, as Lake Formation lists it."""
    # One list for all: by table it would be a thousand calls for a thousand tables, and none would have a grant on all tables.
    return [*aws.permissions(), *aws.cell_permissions()]


def _grants_on(aws: LakeFormation, tables: Iterable[str], entries: Iterable[dict[str, Any]], found: list[Finding]) -> list[Grant]:
    """What the entries grant; those on LF-tags as grants on each of the tables that carries the tags."""
    entries = list(entries)
    grants = [_grant(entry, target) for entry in entries if (target := target_of(entry["Resource"])) is not None]
    policies = [(entry, policy, aws.tag_expression(policy)) for entry in entries if (policy := entry["Resource"].get("LFTagPolicy"))]
    for name in tables if policies else ():
        database, _, table = name.partition(".")
        with _noting(found, "The table's LF-tags cannot be read", database, table):
            of_database, of_table = aws.tags(database, table)
            for entry, policy, wanted in policies:
                on_table = policy["ResourceType"] == "TABLE"
                if any(
                    all(tags.get(key) in values for key, values in wanted.items()) for tags in (of_table if on_table else [of_database])
                ):
                    text = ", ".join(f"{key}={'|'.join(values)}" for key, values in wanted.items())
                    grants.append(_grant(entry, Target(database, table if on_table else "", tags=text)))
    return list(dict.fromkeys(grants))
