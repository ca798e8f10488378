"""What people do with Nessie's branches: see what one changed, merge it or drop it. A branch has all tables; a copy costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lakehouse.catalog import nessie_login, nessie_server
from lakehouse.errors import SettingsError
from lakehouse.nessie_audits import AUDIT_PREFIX, audited_table
from lakehouse.nessie_client import Branch, Entry, MergeAnswer, NessieClient, OutcomeUnknownError
from lakehouse.nessie_session import BranchError, NessieSession, login_of
from lakehouse.settings import BRANCH_NAME, BRANCH_RULE, LakehouseSettings

MAIN = "main"
_NAMESPACE = "NAMESPACE"


@dataclass(frozen=True)
class TableChange:
    """What a branch did to a table since it parted from another.

    Attributes:
        conflict: whether the other changed it, too, so that they cannot be merged.
    """

    table: str
    change: Literal["created", "dropped", "changed"]
    conflict: bool


class MergeConflictError(BranchError):
    """Tables were changed on both branches. Nothing is merged."""

    def __init__(self, name: str, into: str, tables: tuple[str, ...]) -> None:
        self.tables = tables
        lines = "".join(f"\n  {table}: changed on {name} and, since {name} was made, on {into}" for table in tables)
        super().__init__(
            f"{name} cannot be merged into {into}; nothing was merged:{lines}\n"
            f"Merges are of whole tables, never of rows. Make the branch again from {into} and run there what it was for: "
            f"lakehouse branch drop {name}, then lakehouse branch create {name} --from {into}. What {into} is to keep needs nothing."
        )


def open_client(settings: LakehouseSettings) -> NessieClient:
    """Nessie's API. Raises SettingsError where the backend is another."""
    if settings.backend != "aws-nessie":
        raise SettingsError(
            f"The backend {settings.backend} has no branches of the catalog. They are Nessie's: LAKEHOUSE_BACKEND=aws-nessie"
        )
    return NessieClient(nessie_server(settings), NessieSession(login_of(nessie_login(settings))))


def check_name(name: str) -> None:
    """Raises BranchError where people cannot have a branch of this name."""
    if not BRANCH_NAME.fullmatch(name):
        raise BranchError(f"{name!r} cannot be a branch: {BRANCH_RULE}")
    if name.startswith(AUDIT_PREFIX):
        raise BranchError(f"{name} cannot be used: names that begin with {AUDIT_PREFIX} are those of audits. Choose another.")


def create(client: NessieClient, name: str, source: str) -> None:
    """A new branch of a branch or tag. Raises BranchError where the name is taken, or is none."""
    check_name(name)
    client.create(name, source)


def diff(client: NessieClient, name: str, against: str) -> list[TableChange]:
    """What a branch changed since it and another were the same, or were merged, by table. What the other changed is not in it."""
    source, target = client.branch(name), client.branch(against)
    looked = client.merge(source, target, "", dry_run=True)
    # The ancestor by the branch's own name: after a merge, the other's history does not lead there.
    found = client.compare(f"{name}@{looked.ancestor}", f"{name}@{source.hash}") if looked.ancestor != source.hash else {}
    return [
        TableChange(key, _change(old, new), key in looked.conflicts)
        for key, (old, new) in sorted(found.items())
        if _NAMESPACE not in {entry.kind for entry in (old, new) if entry}
    ]


def merge(client: NessieClient, name: str, into: str, at: str | None = None) -> list[TableChange]:
    """Merges a branch into another, all its tables in one commit, and says what that changed. The branch stays.

    Args:
        at: the hash that the branch must still have.

    Raises:
        MergeConflictError: a table was changed on both; nothing was merged. BranchError: the branch has another hash, too.
        OutcomeUnknownError: no answer came, and it is not merged yet.
    """
    source, target = client.branch(name), client.branch(into)
    if at is not None and source.hash != at:
        raise BranchError(f"{name} was changed meanwhile, so that it is not what was checked; nothing was merged. Do it again.")
    looked = client.merge(source, target, "", dry_run=True)
    if looked.conflicts:
        raise MergeConflictError(name, into, looked.conflicts)
    if not looked.keys:
        return []
    changes = diff(client, name, into)
    done = _merged(client, source, target, f"merge {name} into {into}: {', '.join(looked.keys)}"[:500])
    if done.conflicts:  # a commit came between
        raise MergeConflictError(name, into, done.conflicts)
    if not done.applied:
        raise BranchError(f"{name} was not merged into {into}, and Nessie does not say why. See its log.")
    return changes


def _merged(client: NessieClient, source: Branch, target: Branch, message: str) -> MergeAnswer:
    """Merges, and finds out whether that happened where no answer comes."""
    try:
        return client.merge(source, target, message, dry_run=False)
    except OutcomeUnknownError:
        looked = client.merge(source, client.branch(target.name), "", dry_run=True)
        if looked.keys:
            raise
        return replace(looked, applied=True)  # nothing of it is left to be merged


def drop(client: NessieClient, name: str) -> None:
    """Deletes a branch with the open audits of its tables; its rows go, those of other branches stay. Raises BranchError for main."""
    if name == MAIN:
        raise BranchError(f"{MAIN} cannot be dropped: it is what everybody reads.")
    branch = client.branch(name)
    # First: those of a branch that is gone would be found as those of the next one of its name.
    for audit in client.branches():
        if audited_table(audit.name, f".{name}") is not None:
            client.drop(audit)
    client.drop(branch)


def _change(old: Entry | None, new: Entry | None) -> Literal["created", "dropped", "changed"]:
    if old is None:
        return "created"
    return "dropped" if new is None else "changed"
