"""The catalog of a Nessie server: PyIceberg's REST catalog, made safe for what Nessie does in its own way.

- It shows only a table's current snapshot. Each commit of this catalog therefore names, in its snapshot's summary, the metadata
  files of the snapshots before it, and a loaded table has them: what looks for a batch that was committed finds it.
- Two first appends to a table without a snapshot would both succeed, and one be lost: a table is made with an empty snapshot, which
  is not shown, and which the first commit names as the one that it follows.
- It keeps no branches of a table: the branch ``audit`` is one of Nessie's own, see ``lakehouse.nessie_audits``.
- Servers before 0.105 fail on a new schema without ``last-column-id``, which PyIceberg leaves out.
- It puts tables into folders of its own choice; here they go where they were asked for, as on every backend.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, cast

from pyiceberg.catalog.rest import Endpoints, RestCatalog, TableResponse
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, TableAlreadyExistsError
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec, assign_fresh_partition_spec_ids
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableRequest, CommitTableResponse, CreateTableTransaction, StagedTable, Table, TableIdentifier
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder, assign_fresh_sort_order_ids
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AddSnapshotUpdate,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties

from lakehouse.errors import CatalogError
from lakehouse.history import RUN_ID, ancestors, audit_snapshot, summary_of
from lakehouse.nessie_audits import NessieAudits, change_of, waiting, with_audit
from lakehouse.nessie_client import Branch, NessieClient
from lakehouse.nessie_history import EMPTY, MOST_ANCESTORS, ancestor_locations, current_snapshot_of, linked, required, shown
from lakehouse.nessie_ids import numbered_by_nessie
from lakehouse.nessie_session import BranchError, NessieSession, NoBranchError, login_of
from lakehouse.rest_session import message_of, server_of

_READERS = 8
_LOGIN = ("token", "credential", "oauth2-server-uri", "scope")


class NessieCatalog(RestCatalog):
    """Tables on one branch of a Nessie server.

    Args:
        properties: PyIceberg's, where ``uri`` is ``<server>/iceberg`` or ``<server>/iceberg/<branch>``. Those of the login
            are not kept, so that no file of a table gets to see them.

    Raises:
        CatalogError: the server or the branch cannot be used.
    """

    def __init__(self, name: str, **properties: str) -> None:
        self._login = login_of({key: properties.pop(key) for key in _LOGIN if key in properties})
        self._server, _, self._branch = properties["uri"].partition("/iceberg")
        self._known: dict[str, Snapshot | None] = {}
        super().__init__(name, **properties)
        self._check_branch()

    def _create_session(self) -> NessieSession:
        session = NessieSession(self._login)
        self._config_headers(session)
        return session

    def _fetch_config(self) -> None:
        super()._fetch_config()
        # The server names itself as it sees itself, behind a load balancer even without TLS. The branch is in the prefix.
        self.uri = f"{self._server}/iceberg"

    def _check_branch(self) -> None:
        """The REST catalog of a branch that is not there opens, and fails later."""
        branch = self._branch.strip("/") or "-"  # the server's main
        response = self._session.get(f"{self._server}/api/v2/trees/{branch}")
        if not response.ok:
            raise CatalogError(
                f"Nessie at {server_of(self._server)} does not show the branch {branch} ({response.status_code}): {message_of(response)}"
            )
        if response.json()["reference"]["type"] != "BRANCH":
            raise BranchError(f"LAKEHOUSE_BRANCH is {branch}, which is a tag. Name a branch: lakehouse branch list")

    # --- Tables

    def load_table(self, identifier: str | Identifier) -> Table:
        """A table with as much of its history as its snapshots name, and its open audit. Raises NoSuchTableError."""
        # The audit first: one that is published or dropped meanwhile is then not taken for one that was never there.
        audit = self._audits.load(self.identifier_to_tuple(identifier))
        table = super().load_table(identifier)
        table.metadata = shown(table.metadata, list(self._ancestors(table)))
        table.metadata = with_audit(table.metadata, waiting(table, audit))
        return table

    def load_at(self, branch: Branch, identifier: Identifier) -> Table | None:
        """A table as it is on another branch; None where it, or the branch, is not there any more."""
        try:
            response = self._session.get(self._url_at(Endpoints.load_table, f"{branch.name}%40{branch.hash}", identifier))
        except NoBranchError:
            return None
        if response.status_code == 404:
            return None
        if not response.ok:
            raise CatalogError(f"Nessie does not show {'.'.join(identifier)} on {branch.name}: {message_of(response)}")
        table = self._response_to_table(identifier, TableResponse.model_validate_json(response.content))
        table.metadata = shown(table.metadata, list(self._ancestors(table)))
        return table

    def audited_tables(self) -> list[str]:
        """The tables that may have an open audit, as ``namespace.table``."""
        return self._audits.tables()

    @cached_property
    def _audits(self) -> NessieAudits:
        branch = self._branch.strip("/")
        source = self.properties["prefix"].partition("%7C")[0]
        return NessieAudits(self, NessieClient(self._server, cast("NessieSession", self._session)), source, f".{branch}" if branch else "")

    def load_without_history(self, identifier: str | Identifier) -> Table:
        """A table with its newest snapshot alone: one request."""
        table = super().load_table(identifier)
        table.metadata = shown(table.metadata, [])
        return table

    def create_table(
        self,
        identifier: str | Identifier,
        schema: Schema | Any,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: Properties = EMPTY_DICT,
    ) -> Table:
        """Makes a table with an empty first snapshot, in one commit, where it was asked for. Raises TableAlreadyExistsError."""
        schema = self._convert_schema_if_needed(schema)
        # Asked only for how its files are written: of identifiers and layout it would make its own.
        staged = super().create_table_transaction(identifier, Schema(*schema.fields), location, properties=properties)._table
        # Nessie's own choice of a folder is left out, and what it only says of staged tables.
        own = {key: value for key, value in staged.metadata.properties.items() if not key.startswith("nessie.")}
        metadata = new_table_metadata(
            location=(location or staged.location()).rstrip("/"),
            schema=schema,
            partition_spec=partition_spec,
            sort_order=sort_order,
            properties={"format-version": "2", **own, **properties},
            table_uuid=staged.metadata.table_uuid,
        )
        fresh = numbered_by_nessie(schema)
        staged.metadata = metadata.model_copy(
            update={
                "schemas": [fresh],
                "last_column_id": fresh.highest_field_id,
                "partition_specs": [assign_fresh_partition_spec_ids(partition_spec, schema, fresh)],
                "sort_orders": [assign_fresh_sort_order_ids(sort_order, schema, fresh)],
            }
        )
        transaction = CreateTableTransaction(cast("StagedTable", staged))
        with transaction.update_snapshot(snapshot_properties={EMPTY: "true"}).fast_append():
            pass
        try:
            transaction.commit_transaction()
        except CommitFailedException:
            if self.table_exists(identifier):  # another was faster
                raise TableAlreadyExistsError(f"Table already exists: {identifier}") from None
            raise
        return self.load_table(identifier)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """Commits updates, to main or of the branch audit.

        Raises:
            CommitFailedException: another's commit came before, or the table is gone. CommitStateUnknownException: the outcome is
            not known. CatalogError: the server refuses it.
        """
        match change_of(updates):
            case "write":
                return self._audits.write(table, requirements, updates)
            case "publish":
                return self._audits.publish(table, requirements)
            case "drop":
                return self._audits.drop(table, requirements)
        _check_is_kept(table, updates)
        answer = self.send(table, requirements, updates)
        chain = list(ancestors(table))
        is_new = all(snapshot.snapshot_id != answer.metadata.current_snapshot_id for snapshot in chain)
        metadata = shown(answer.metadata, chain[:MOST_ANCESTORS] if is_new else chain[1:])
        return answer.model_copy(update={"metadata": with_audit(metadata, audit_snapshot(table))})

    def send(
        self, table: Table, requirements: Sequence[TableRequirement], updates: Sequence[TableUpdate], branch: str | None = None
    ) -> CommitTableResponse:
        """Sends updates to the table on another branch, or the catalog's. Returns what Nessie answers. Raises as ``commit_table``."""
        name = table.name()
        identifier = TableIdentifier(namespace=name[:-1], name=name[-1])
        # Before anything is sent: an error here means that nothing was committed.
        follows = table.current_snapshot() is not None and any(isinstance(update, AddSnapshotUpdate) for update in updates)
        newest = self._metadata_file(table) if follows else ""
        changes = tuple(linked(update, table, newest) for update in updates)
        conditions = tuple(required(requirement, table) for requirement in requirements)
        request = CommitTableRequest(identifier=identifier, requirements=conditions, updates=changes)
        response = self._session.post(
            self._url_at(Endpoints.update_table, branch, name),
            data=self._body(request, table).encode(),
            headers=_commit_headers(".".join(name), changes),
        )
        if not response.ok:
            message = f"{'.'.join(name)}: {message_of(response)}"
            if response.status_code in (404, 409):
                raise CommitFailedException(message)
            if response.status_code >= 500:
                raise CommitStateUnknownException(message)
            raise CatalogError(f"Nessie refuses a commit ({response.status_code}) to {message}")
        return CommitTableResponse.model_validate_json(response.content)

    def _url_at(self, endpoint: str, branch: str | None, identifier: Identifier) -> str:
        """A table's URL on another branch, or, as ``branch%40hash``, as of a commit of it; None is the catalog's branch."""
        own, _, warehouse = self.properties["prefix"].partition("%7C")
        path = endpoint.format(**self._split_identifier_for_path(identifier))
        return f"{self.uri}/v1/{branch or own}%7C{warehouse}/{path}"

    def _body(self, request: CommitTableRequest, table: Table) -> str:
        text = request.model_dump_json()
        schemas = [update.schema_ for update in request.updates if isinstance(update, AddSchemaUpdate)]
        if not schemas or not self._wants_last_column_id:
            return text
        last_id = max(table.metadata.last_column_id, *(schema.highest_field_id for schema in schemas))
        body = json.loads(text)
        for update in body["updates"]:
            if update["action"] == "add-schema":
                update["last-column-id"] = last_id
        return json.dumps(body)

    @cached_property
    def _wants_last_column_id(self) -> bool:
        """Whether the server is older than 0.105, by its own description of its API; also where it does not say."""
        with self._session.get(f"{self._server}/nessie-openapi/openapi.yaml", stream=True) as response:
            head = next(response.iter_content(4096), b"") if response.ok else b""
        found = re.search(rb"^  version: \"?(\d+)\.(\d+)", head, re.MULTILINE)
        return found is None or (int(found[1]), int(found[2])) < (0, 105)

    # --- History

    def _metadata_file(self, table: Table) -> str:
        """Where a table's metadata is: after a commit Nessie answers with a URL of its own in the file's place."""
        if not table.metadata_location.startswith("http"):
            return table.metadata_location
        commit = table.properties["nessie.commit.id"]
        branch = self.properties["prefix"].partition("%7C")[0]
        response = self._session.get(self._url_at(Endpoints.load_table, f"{branch}%40{commit}", table.name()))
        if not response.ok:
            raise CatalogError(
                f"Nessie does not show {'.'.join(table.name())} as of {commit} ({response.status_code}): {message_of(response)}"
            )
        return str(response.json()["metadata-location"])

    def _ancestors(self, table: Table) -> Iterator[Snapshot]:
        """The snapshots before the current one, newest first, as far as they are named and their files are there."""
        locations = ancestor_locations(table)
        unread = [location for location in locations if location not in self._known]
        if unread:
            with ThreadPoolExecutor(min(_READERS, len(unread))) as readers:
                found = readers.map(lambda location: current_snapshot_of(table.io, location), unread)
                self._known.update(zip(unread, found, strict=True))
        for location in locations:
            snapshot = self._known[location]
            if snapshot is None:
                return
            yield snapshot


def _check_is_kept(table: Table, updates: Sequence[TableUpdate]) -> None:
    """Nessie takes, and does not do, what needs a table's older snapshots or branches of its own."""
    added = {update.snapshot.snapshot_id for update in updates if isinstance(update, AddSnapshotUpdate)}
    for update in updates:
        moves = isinstance(update, SetSnapshotRefUpdate) and (update.ref_name != MAIN_BRANCH or update.snapshot_id not in added)
        if moves or isinstance(update, RemoveSnapshotRefUpdate | RemoveSnapshotsUpdate):
            raise CatalogError(
                f"{'.'.join(table.name())}: Nessie keeps a table's newest snapshot only, and no branches or tags of a table. "
                "Its own commits, branches and tags are those of all tables: lakehouse branch list"
            )


def _commit_headers(name: str, updates: Sequence[TableUpdate]) -> dict[str, str]:
    """What Nessie's log of commits says, where it would say only which table was updated."""
    snapshots = [update.snapshot for update in updates if isinstance(update, AddSnapshotUpdate)]
    if not snapshots or not (run := summary_of(snapshots[-1]).get(RUN_ID)):
        return {}
    return {"Nessie-Commit-Message": f"{name}: run {run}".encode("ascii", "replace").decode()}
