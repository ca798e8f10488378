"""Nessie's REST API v2: references, what differs between them, and merges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote

import requests

from lakehouse.errors import CatalogError, LakehouseError
from lakehouse.nessie_session import BranchError, BranchMovedError, NessieSession, NoBranchError
from lakehouse.rest_session import message_of, server_of

_REFUSALS: Mapping[int, type[LakehouseError]] = {400: BranchError, 404: BranchError, 409: BranchMovedError}


@dataclass(frozen=True)
class Branch:
    """A branch as the server tells it.

    Attributes:
        ahead, behind: commits that main does not have, and that only main has; None for main. What was merged counts on.
        changed_at: of its newest commit, in UTC; None where it has none.
        change: that commit's message.
    """

    name: str
    hash: str
    ahead: int | None = None
    behind: int | None = None
    changed_at: datetime | None = None
    change: str = ""


@dataclass(frozen=True)
class Entry:
    """What is at a key on one side of a comparison: a table's id, which it keeps through renames, and its metadata file."""

    id: str
    kind: str
    metadata_location: str


@dataclass(frozen=True)
class MergeAnswer:
    """What a merge did, or would do.

    Attributes:
        ancestor: the hash that both branches have; target: that of the branch that is merged into, afterwards.
        keys: what would change, as ``namespace.table``; conflicts: those of them that were changed on both sides.
    """

    applied: bool
    ancestor: str
    target: str
    keys: tuple[str, ...]
    conflicts: tuple[str, ...]


class NoAnswerError(CatalogError):
    """The server did not answer, or failed."""


class OutcomeUnknownError(NoAnswerError):
    """A change was sent, and whether it was done is not known."""


class NessieClient:
    """Nessie's references.

    All methods raise CatalogError where the server cannot be used, BranchError for a branch that is not there; those that change
    something OutcomeUnknownError where no answer comes, a merge that only looks NoAnswerError.

    Args:
        server: its URL, without a path.
    """

    def __init__(self, server: str, session: NessieSession) -> None:
        self._api, self._session = f"{server}/api/v2", session

    def configuration(self) -> dict[str, Any]:
        """What the server says of itself: ``specVersion``, ``maxSupportedApiVersion``, ``defaultBranch``."""
        found: dict[str, Any] = self._json("GET", "config")
        return found

    def branches(self) -> list[Branch]:
        """Every branch, by name."""
        found, params = list[Branch](), {"fetch": "ALL"}
        while True:
            page = self._json("GET", "trees", params=params)
            found += [_branch(reference) for reference in page["references"] if reference["type"] == "BRANCH"]
            if not page.get("hasMore"):
                return sorted(found, key=lambda branch: branch.name)
            params["page-token"] = page["token"]

    def branch(self, name: str) -> Branch:
        """One branch."""
        reference = self._reference(name)
        if reference["type"] != "BRANCH":
            raise BranchError(f"{name} is a tag, which never changes. Name a branch: lakehouse branch list")
        return _branch(reference)

    def find(self, name: str) -> Branch | None:
        """One branch; None where there is none of that name. Raises BranchError where it is a tag."""
        try:
            return self.branch(name)
        except NoBranchError:
            return None

    def create(self, name: str, source: str | Branch) -> Branch:
        """A new branch where another branch or a tag is, or a branch was when it was read.

        Raises:
            BranchError: there is one of that name, or the name cannot be used.
        """
        body = self._reference(source) if isinstance(source, str) else _reference_to(source)
        return _branch(self._json("POST", "trees", params={"name": name, "type": "BRANCH"}, json=body)["reference"])

    def assign(self, branch: Branch, to: Branch) -> None:
        """Puts a branch where another is, whatever is on it. Raises BranchError where it has moved meanwhile."""
        self._json("PUT", f"trees/{_quoted(branch.name)}@{branch.hash}", params={"type": "BRANCH"}, json=_reference_to(to))

    def drop(self, branch: Branch) -> None:
        """Deletes a branch. Raises BranchError where it has moved meanwhile, or is the server's main."""
        self._json("DELETE", f"trees/{_quoted(branch.name)}@{branch.hash}", params={"type": "BRANCH"})

    def compare(self, old: str, new: str) -> dict[str, tuple[Entry | None, Entry | None]]:
        """What differs between two references, each a name, ``name@hash`` or ``@hash``, by key."""
        found, params = dict[str, tuple[Entry | None, Entry | None]](), dict[str, str]()
        while True:
            page = self._json("GET", f"trees/{_quoted(old)}/diff/{_quoted(new)}", params=params)
            for diff in page["diffs"]:
                found[_key(diff)] = _entry(diff.get("from")), _entry(diff.get("to"))
            if not page.get("hasMore"):
                return found
            params = {"page-token": page["token"]}

    def merge(self, source: Branch, target: Branch, message: str, dry_run: bool) -> MergeAnswer:
        """Merges one branch into another, all of it in one commit, or nothing where anything was changed on both sides.

        Args:
            dry_run: only look.
        """
        body = {
            "fromRefName": source.name,
            "fromHash": source.hash,
            "isDryRun": dry_run,
            "isReturnConflictAsResult": True,
            "commitMeta": {"message": message},
        }
        answer = self._json("POST", f"trees/{_quoted(target.name)}@{target.hash}/history/merge", only_looks=dry_run, json=body)
        details = sorted((_key(detail), "conflict" in detail) for detail in answer["details"])
        return MergeAnswer(
            bool(answer["wasApplied"]),
            answer.get("commonAncestor") or "",
            answer.get("resultantTargetHash") or "",
            tuple(key for key, _ in details),
            tuple(key for key, conflicts in details if conflicts),
        )

    def _reference(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._json("GET", f"trees/{_quoted(name)}")["reference"]
        return found

    def _json(self, method: str, path: str, only_looks: bool = False, **kwargs: Any) -> Any:
        no_answer, unknown = (NoAnswerError, "") if only_looks else (OutcomeUnknownError, ", and whether it was done is not known")
        again = "Do it again." if only_looks else "Look, and repeat it."
        try:
            response = self._session.request(method, f"{self._api}/{path}", **kwargs)
        except requests.RequestException as error:
            raise no_answer(f"Nessie did not answer ({type(error).__name__}){unknown}. {again}") from error
        if response.status_code >= 500:
            raise no_answer(f"Nessie fails ({response.status_code}){unknown}: {message_of(response)} {again}")
        if not response.ok:
            kind = _REFUSALS.get(response.status_code, CatalogError)
            raise kind(f"Nessie refuses this ({response.status_code}): {message_of(response)}")
        if response.status_code == 204 or not response.content:
            return {}
        try:
            return response.json()
        except ValueError:
            raise CatalogError(
                f"{server_of(self._api)} does not answer as Nessie does. Set NESSIE_URI to the server, without /iceberg and /api."
            ) from None


def _branch(reference: Mapping[str, Any]) -> Branch:
    metadata = reference.get("metadata") or {}
    head = metadata.get("commitMetaOfHEAD") or {}
    changed_at = datetime.fromisoformat(head["commitTime"]) if head.get("commitTime") else None
    return Branch(
        reference["name"],
        reference["hash"],
        metadata.get("numCommitsAhead"),
        metadata.get("numCommitsBehind"),
        changed_at,
        str(head.get("message", "")),
    )


def _reference_to(branch: Branch) -> dict[str, str]:
    return {"type": "BRANCH", "name": branch.name, "hash": branch.hash}


def _entry(content: Mapping[str, str] | None) -> Entry | None:
    return Entry(content["id"], content["type"], content.get("metadataLocation", "")) if content else None


def _key(holder: Mapping[str, Any]) -> str:
    return ".".join(cast("list[str]", holder["key"]["elements"]))


def _quoted(reference: str) -> str:
    return quote(reference, safe="@")
