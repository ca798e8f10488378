"""The catalog of BigLake: PyIceberg's REST catalog with Google's login, and what a long run needs of it.

PyIceberg's own has no time-outs, asks Google for a token with every request, and keeps the credentials that the catalog lends
for a table's files until they have ended.
"""

from __future__ import annotations

from pyiceberg.catalog.rest import Endpoints, RestCatalog, TableResponse
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.table import CommitTableRequest, CommitTableResponse, Table, TableIdentifier
from pyiceberg.table.update import TableRequirement, TableUpdate

from lakehouse.biglake_io import LentFileIO, Loan
from lakehouse.biglake_session import BigLakeSession, GoogleLogin
from lakehouse.errors import CatalogError
from lakehouse.rest_session import message_of

DELEGATION = "X-Iceberg-Access-Delegation"
VENDED = "vended-credentials"
_CREDENTIALS = f"{Endpoints.load_table}/credentials"
# Nothing was done: another's commit came before, the table is gone, or there were too many requests.
_NOT_DONE = (404, 409, 412, 429)


class BigLakeCatalog(RestCatalog):
    """Tables of a BigLake catalog.

    Args:
        properties: PyIceberg's. Without ``header.X-Iceberg-Access-Delegation: vended-credentials`` files are the caller's own
            to reach.

    Raises:
        CatalogError: there is no login, or the catalog cannot be used.
    """

    def __init__(self, name: str, **properties: str) -> None:
        self._login = GoogleLogin(properties.get("header.x-goog-user-project", ""))
        self._lends = properties.get(f"header.{DELEGATION}") == VENDED
        super().__init__(name, **properties)

    def _create_session(self) -> BigLakeSession:
        session = BigLakeSession(self._login)
        self._config_headers(session)
        if not self._lends:
            session.headers.pop(DELEGATION, None)  # PyIceberg asks by default
        return session

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """Commits updates.

        Raises:
            CommitFailedException: another's commit came before, the table is gone, or BigLake is busy. CommitStateUnknownException:
            the outcome is not known. CatalogError: BigLake refuses it.
        """
        name = table.name()
        request = CommitTableRequest(
            identifier=TableIdentifier(namespace=name[:-1], name=name[-1]), requirements=requirements, updates=updates
        )
        url = self.url(Endpoints.update_table, **self._split_identifier_for_path(name))
        response = self._session.post(url, data=request.model_dump_json().encode())
        if not response.ok:
            message = f"{'.'.join(name)} ({response.status_code}): {message_of(response)}"
            if response.status_code in _NOT_DONE:
                raise CommitFailedException(message)
            if response.status_code >= 500:
                raise CommitStateUnknownException(message)
            raise CatalogError(f"BigLake refuses a commit to {message}")
        return CommitTableResponse.model_validate_json(response.content)

    def _response_to_table(self, identifier_tuple: tuple[str, ...], table_response: TableResponse) -> Table:
        table = super()._response_to_table(identifier_tuple, table_response)
        if self._lends:
            place = table.location()
            loan = Loan.of(table_response.config)
            table.io = LentFileIO(table.io.properties, place, loan, lambda: self._lend(identifier_tuple, place))
        return table

    def _lend(self, name: tuple[str, ...], place: str) -> Loan:
        """New credentials for a table's files, which are in ``place``.

        Source: https://docs.cloud.google.com/lakehouse/docs/reference/rest, iceberg.v1.restcatalog…tables.credentials
        """
        response = self._session.get(self.url(_CREDENTIALS, **self._split_identifier_for_path(name)))
        found = response.json().get("storage-credentials", []) if response.ok else []
        loans = [Loan.of(credentials["config"]) for credentials in found if place.startswith(credentials["prefix"])]
        if (loan := next(filter(None, loans), None)) is None:
            told = message_of(response) or "there are none in its answer."
            raise CatalogError(
                f"BigLake lends no credentials for the files of {'.'.join(name)} ({response.status_code}): {told} The catalog must vend "
                "credentials, and its service account reach the bucket, as Terraform sets it up; or set LAKEHOUSE_GCP_CREDENTIALS=own."
            )
        return loan
