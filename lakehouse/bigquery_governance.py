"""What BigQuery shows to whom, and what of it the templates do not say: policy tags, who reads what they hide, access to datasets.

It looks where Terraform grants. What it cannot see: access from groups and folders, to the buckets, and to single namespaces and
tables of the catalog.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from lakehouse.bigquery import BigQuery, Entry
from lakehouse.bigquery_schema import leaves, tags_of
from lakehouse.catalog import CATALOG_REMEDY
from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.governance import Role
from lakehouse.grants import Finding, Kind
from lakehouse.policy_tags import ORDER, PolicyTags, access_levels
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate, with_quarantine

_WORKERS = 8
_TERRAFORM = "Run terraform apply in terraform/gcp."
_TAKE_AWAY = "Take it away in Google Cloud; what Terraform grants is in terraform/gcp/modules/iam."
_APPLY = "Make it so: lakehouse apply"
_FORCE = "Make it so: lakehouse apply --allow-breaking"
_READERS = "the dataset's readers"
_FINE_GRAINED_READER = "roles/datacatalog.categoryFineGrainedReader"
_READ: frozenset[str] = frozenset({"READER", "roles/bigquery.dataViewer"})
_OWN: frozenset[str] = frozenset({"OWNER", "roles/bigquery.dataOwner", "roles/bigquery.admin", "tables_admin"})
# What Terraform grants on a dataset: of each set a role needs one, and may hold no other. The admin may hold any.
_ON_DATASET: dict[Role, tuple[frozenset[str], ...]] = {"reader": (_READ,), "writer": (_READ, frozenset({"tables_mover"})), "admin": (_OWN,)}
_SEES_TAG: dict[Literal["restricted", "internal"], tuple[Role, ...]] = {
    "restricted": ("writer", "admin"),
    "internal": ("reader", "writer", "admin"),
}
# All that the reader needs in the project. By any other role, or one made by hand, it may get at files, or past the tags.
_READERS_IN_PROJECT = "roles/bigquery.jobUser"
_EVERYONE = {"allUsers", "allAuthenticatedUsers", "projectReaders", "projectWriters"}


def live_findings(settings: LakehouseSettings, templates: Iterable[TableTemplate]) -> list[Finding]:
    """How what BigQuery shows differs from what the templates say, quarantine tables included.

    What cannot be looked at is a finding of its own, ``unreachable``, and hides no other.

    Raises:
        SettingsError: a service account's e-mail, or a policy tag, is not set; MissingExtraError: the client is not installed.
    """
    roles, tags = _roles(settings), PolicyTags.of(settings)
    bigquery = BigQuery(settings)
    tables = with_quarantine(templates)
    looks = [
        *(
            _Look("The tags' bindings", lambda tag=tag, level=level: _of_tag(bigquery, tag, level, roles))
            for level, tag in _tags(tags).items()
        ),
        _Look("The connection's bindings", lambda: _of_connection(bigquery, settings.bigquery_connection or "", roles)),
        _Look("The catalog's bindings", lambda: _of_catalog(bigquery, settings.warehouse_uri.rpartition("/")[2], roles)),
        _Look("The project's bindings", lambda: _of_project(bigquery, roles)),
        *(_Look("The dataset's access", lambda name=name: _of_dataset(bigquery, name, roles), name) for name in _names(tables)),
        *(
            _Look("The dataset's tables", lambda name=name, known=known: _of_others(bigquery, name, known, settings.warehouse_uri), name)
            for name, known in _names(tables).items()
        ),
        *(_Look("The table", lambda t=t: _of_table(bigquery, t, tags), t.namespace, t.name) for t in tables),
    ]
    with ThreadPoolExecutor(_WORKERS) as workers:
        found = [finding for part in workers.map(_Look.findings, looks) for finding in part]
    return sorted(found, key=lambda finding: (finding.database, finding.table, finding.kind, finding.principal))


class _Look:
    """One thing that is looked at, where it is, and what is found."""

    def __init__(self, what: str, look: Any, database: str = "", table: str = "") -> None:
        self._what, self._look, self._database, self._table = what, look, database, table

    def findings(self) -> list[Finding]:
        try:
            return list(self._look())
        except LakehouseError as error:
            message, _, remedy = str(error).partition("\n")
        except Exception as error:
            message, remedy = f"{self._what} cannot be looked at: {type(error).__name__}: {error}", ""
        return [Finding("unreachable", message, remedy or CATALOG_REMEDY, self._database, self._table)]


def _roles(settings: LakehouseSettings) -> dict[str, Role]:
    if settings.backend != "gcp" or not settings.bigquery_connection:
        raise SettingsError("BigQuery shows the tables of the backend gcp, where LAKEHOUSE_BIGQUERY_CONNECTION is set.")
    given: dict[Role, str | None] = {"reader": settings.reader_role, "writer": settings.writer_role, "admin": settings.admin_role}
    needed = {f"LAKEHOUSE_{role.upper()}_ROLE": email for role, email in given.items()}
    needed |= {
        "LAKEHOUSE_POLICY_TAG_RESTRICTED": settings.policy_tag_restricted,
        "LAKEHOUSE_POLICY_TAG_INTERNAL": settings.policy_tag_internal,
    }
    remedy = "Terraform's outputs have them: lakehouse env --terraform terraform/gcp"
    if missing := [name for name, value in needed.items() if not value]:
        raise SettingsError(f"Settings that are needed, and not set: {', '.join(missing)}. {remedy}")
    roles = {email: role for role, email in given.items() if email}
    if wrong := [email for email in roles if not re.fullmatch(r"[^@:\s]+@[^@:\s]+", email)]:
        raise SettingsError(f"No service account's e-mail address: {', '.join(wrong)}. {remedy}")
    if len(roles) < len(given):
        raise SettingsError(f"Reader, writer and admin are three service accounts, and two of the settings are the same. {remedy}")
    return roles


def _tags(tags: PolicyTags) -> dict[Literal["restricted", "internal"], str]:
    return {"restricted": tags.restricted or "", "internal": tags.internal or ""}


# --- Tables


def _of_table(bigquery: BigQuery, template: TableTemplate, tags: PolicyTags) -> Iterator[Finding]:
    def finding(kind: Kind, message: str, remedy: str, columns: Iterable[str] = ()) -> Finding:
        on = (_READERS, ("SELECT",), tuple(columns)) if kind != "absent" else ("", (), ())
        return Finding(kind, message, remedy, template.namespace, template.name, *on)

    entry = bigquery.get(template.table_name)
    if entry is None:
        yield finding("absent", "BigQuery has no entry of it.", _APPLY)
        return
    if not entry.external.get("connectionId"):
        yield finding("excessive", "Its entry has no connection, and so its columns' tags do not count.", _APPLY)
    wide, narrow, others = _compared(entry, template, tags)
    if wide:
        yield finding("excessive", "Their policy tag is missing, another's, or wider than the template says.", _APPLY, wide)
    if others:
        yield finding("excessive", "Their policy tag is none of the templates': who reads them is not known.", _FORCE, others)
    if narrow:
        yield finding("missing", "Their policy tag hides more than the template says.", _FORCE, narrow)


def _names(tables: Iterable[TableTemplate]) -> dict[str, set[str]]:
    """The tables' names by namespace."""
    found: dict[str, set[str]] = {}
    for template in tables:
        found.setdefault(template.namespace, set()).add(template.name)
    return found


def _of_others(bigquery: BigQuery, namespace: str, known: Collection[str], warehouse: str) -> Iterator[Finding]:
    """Entries of the warehouse's files that no template describes, e.g. a second one of a table, without its tags."""
    for name in sorted(set(bigquery.tables(namespace)) - set(known)):
        entry = bigquery.get(f"{namespace}.{name}")
        uris = [str(uri) for uri in entry.external.get("sourceUris") or []] if entry else []
        if entry and any(uri.startswith(f"{warehouse}/") for uri in uris):
            message = "No template describes it, and it shows files of the warehouse."
            open_ = tuple(path for path, field in leaves(entry.fields) if not tags_of(field))
            remedy = f"Write a template, or remove the entry: bq rm -t {namespace}.{name}"
            yield Finding("excessive", message, remedy, namespace, name, _READERS, ("SELECT",), open_)


def _compared(entry: Entry, template: TableTemplate, tags: PolicyTags) -> tuple[list[str], list[str], list[str]]:
    """The fields whose tag is wider than the template's, narrower, and another's, which may be either."""
    wanted = access_levels(template)
    wide, narrow, others = list[str](), list[str](), list[str]()
    for path, field in leaves(entry.fields):
        has, level = tags.level(tags_of(field)), wanted.get(path.partition(".")[0], "restricted")
        if has is None:  # of a restricted column the next commit sets it right
            {"public": narrow, "internal": others, "restricted": wide}[level].append(path)
        elif ORDER[has] < ORDER[level]:
            wide.append(path)
        elif ORDER[has] > ORDER[level] and path.partition(".")[0] in {column.name for column in template.columns}:
            narrow.append(path)
    return wide, narrow, others


# --- Bindings


def _email(member: str) -> str:
    return member.removeprefix("serviceAccount:")


def _members(bindings: Iterable[Mapping[str, Any]], role: str) -> dict[str, bool]:
    """Who holds a role, and whether without a condition."""
    found: dict[str, bool] = {}
    for binding in bindings:
        if binding.get("role") == role:
            for member in binding.get("members") or []:
                found[member] = found.get(member, False) or not binding.get("condition")
    return found


def _of_tag(bigquery: BigQuery, tag: str, level: Literal["restricted", "internal"], roles: Mapping[str, Role]) -> Iterator[Finding]:
    """Who reads what a tag hides, by the tag's own policy, or by that of its taxonomy."""
    allowed, permissions = _SEES_TAG[level], (_FINE_GRAINED_READER,)
    taxonomy = tag.partition("/policyTags/")[0]
    if not bigquery.enforces(taxonomy):
        message = f"The taxonomy of the policy tag of {level} columns does not enforce access control: the tag hides nothing."
        yield Finding("excessive", message, _TERRAFORM, principal=_READERS)
    own = _members(bigquery.policy(tag), _FINE_GRAINED_READER)
    inherited = _members(bigquery.policy(taxonomy), _FINE_GRAINED_READER)
    for member in sorted({**own, **inherited}):
        if (role := roles.get(_email(member))) in allowed:
            continue
        where = f"the policy tag of {level} columns" + ("" if member in own else ", by its taxonomy")
        if role is not None:
            yield Finding("excessive", f"The {role} reads what hides behind {where}.", _TAKE_AWAY, "", "", _email(member), permissions)
        else:
            message = f"It is none of the three service accounts, and reads what hides behind {where}."
            yield Finding("foreign", message, _TAKE_AWAY, "", "", member, permissions)
    for email, role in roles.items():
        if role in allowed and not ({**inherited, **own}).get(f"serviceAccount:{email}"):
            message = f"The {role} does not read what hides behind the policy tag of {level} columns."
            yield Finding("missing", message, _TERRAFORM, "", "", email, permissions)


def _of_connection(bigquery: BigQuery, connection: str, roles: Mapping[str, Role]) -> Iterator[Finding]:
    """Who may make an entry of any file in the warehouse, without a tag."""
    return _beside_the_pipelines(bigquery, connection, roles, "may use the connection: it can show itself files of the warehouse")


def _of_catalog(bigquery: BigQuery, catalog: str, roles: Mapping[str, Role]) -> Iterator[Finding]:
    """Who may ask the catalog, which lends files. It has the name of the warehouse's bucket."""
    resource = f"projects/{bigquery.project}/catalogs/{catalog}"
    return _beside_the_pipelines(bigquery, resource, roles, "has a right to the catalog: it may be lent files of the warehouse")


def _beside_the_pipelines(bigquery: BigQuery, resource: str, roles: Mapping[str, Role], what: str) -> Iterator[Finding]:
    """Everybody but writer and admin who holds a role on what opens the warehouse's files."""
    for binding in bigquery.policy(resource):
        for member in binding.get("members") or []:
            role, permissions = roles.get(_email(member)), (str(binding.get("role")),)
            if role in ("writer", "admin"):
                continue
            who = "The reader" if role else "It is none of the three service accounts, and"
            message = f"{who} {what}, where no column is hidden."
            yield Finding("excessive" if role else "foreign", message, _TAKE_AWAY, "", "", _email(member), permissions)


def _of_project(bigquery: BigQuery, roles: Mapping[str, Role]) -> Iterator[Finding]:
    """What the reader may do in all of the project, and who reads what every policy tag of it hides."""
    for binding in bigquery.policy(f"projects/{bigquery.project}"):
        name = str(binding.get("role"))
        for member in binding.get("members") or []:
            role = roles.get(_email(member))
            if role == "reader" and name != _READERS_IN_PROJECT:
                message = "The reader may do it in all of the project, and needs to run queries only: it may get at more than its columns."
                yield Finding("excessive", message, _TAKE_AWAY, "", "", _email(member), (name,))
            elif role is None and name == _FINE_GRAINED_READER:
                message = "It is none of the three service accounts, and reads what hides behind every policy tag of the project."
                yield Finding("foreign", message, _TAKE_AWAY, "", "", member, (name,))


# --- Datasets


def _of_dataset(bigquery: BigQuery, namespace: str, roles: Mapping[str, Role]) -> Iterator[Finding]:
    access = bigquery.dataset_access(namespace)
    if access is None:
        yield Finding("absent", "BigQuery has no dataset of this name.", _TERRAFORM, namespace)
        return
    held: dict[str, set[str]] = {email: set() for email in roles}
    for entry in access:
        if (name := entry.get("role")) is None or entry.get("specialGroup") == "projectOwners":
            continue  # an authorized view, or who may grant itself anything
        who = next((str(entry[key]) for key in ("userByEmail", "iamMember", "groupByEmail", "domain", "specialGroup") if key in entry), "?")
        if _email(who) in held:
            held[_email(who)].add(_custom(str(name)))
        elif who in _EVERYONE:
            message = f"Everybody in {who} may do it, whatever the other grants say."
            yield Finding("leftover", message, _TAKE_AWAY, namespace, "", who, (str(name),))
        else:
            yield Finding("foreign", "It is none of the three service accounts.", _TAKE_AWAY, namespace, "", who, (str(name),))
    for email, role in roles.items():
        needed = _ON_DATASET[role]
        if lacking := [max(some, key=len) for some in needed if not some & held[email]]:
            yield Finding("missing", f"The {role} does not hold it.", _TERRAFORM, namespace, "", email, tuple(lacking))
        excess = held[email] - frozenset[str]().union(*needed)
        if role != "admin" and excess:
            message = f"It is more than Terraform grants the {role}."
            yield Finding("excessive", message, _TAKE_AWAY, namespace, "", email, tuple(sorted(excess)))


def _custom(role: str) -> str:
    """Terraform's own roles by what they are called after its prefix."""
    match = re.fullmatch(r"projects/[^/]+/roles/.*?(tables_mover|tables_admin)", role)
    return match.group(1) if match else role
