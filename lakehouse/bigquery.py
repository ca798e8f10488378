"""The calls of BigQuery, and of who may do what, that the project needs, with their time-outs, retries and errors.

A test server is found as Google's own tools find one: by BIGQUERY_EMULATOR_HOST, and CLOUDSDK_API_ENDPOINT_OVERRIDES_<API>.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse.bigquery_schema import Field
from lakehouse.catalog import require_extra
from lakehouse.errors import CatalogError, LakehouseError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from requests import Session

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
# The APIs whose resources have policies, by the first part of a resource's name that is theirs alone.
_POLICY_APIS = {"taxonomies": ("datacatalog", "v1"), "connections": ("bigqueryconnection", "v1"), "catalogs": ("biglake", "v1")}
_PROJECT_API = ("cloudresourcemanager", "v3")
# Seconds: of one attempt, and of all of a call's.
TIMEOUT, PATIENCE = 30.0, 60.0
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 8.0
_RETRIED = (429, 500, 502, 503, 504)
_REMEDIES = {
    400: "See whether the dataset, the connection and the policy tags are in the same location.",
    401: "Log in, gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS.",
    403: "Run it as the service account that may: the admin for lakehouse apply, the writer for pipelines. See docs/gcp.md.",
    404: "Terraform makes the dataset, the connection and the policy tags: terraform -chdir=terraform/gcp apply",
    429: "Too many calls: try it again later, or raise the quota.",
}
_REMEDY = "Try it again; see whether Google's APIs can be reached from here, and the settings: lakehouse env"


class BigQueryError(CatalogError):
    """BigQuery, or Data Catalog, does not do what it is asked.

    Attributes:
        code: the HTTP status; None where there was no answer.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class Entry:
    """A table as BigQuery has it.

    Attributes:
        resource: the API's form of it: https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#Table.
    """

    resource: Mapping[str, Any]

    @property
    def etag(self) -> str:
        """Another with each change of the table."""
        return str(self.resource["etag"])

    @property
    def external(self) -> dict[str, Any]:
        """What it reads, and how; empty where it is no external table."""
        return dict(self.resource.get("externalDataConfiguration") or {})

    @property
    def is_iceberg(self) -> bool:
        """Whether it is an external table over an Iceberg metadata file."""
        return str(self.external.get("sourceFormat")) == "ICEBERG"

    @property
    def metadata_location(self) -> str | None:
        """The metadata file that it names."""
        return next(iter(self.external.get("sourceUris") or []), None)

    @property
    def fields(self) -> list[Field]:
        """Its columns, with their policy tags."""
        return list((self.resource.get("schema") or {}).get("fields") or [])

    @property
    def description(self) -> str:
        """What people read about it."""
        return str(self.resource.get("description") or "")


class BigQuery:
    """BigQuery's tables and datasets, and the policies of policy tags, as one project sees them.

    Calls that meet an overload or an outage are repeated for a minute; every method raises BigQueryError.

    Raises:
        MissingExtraError: google-cloud-bigquery is not installed; BigQueryError: there are no credentials.
    """

    def __init__(self, settings: LakehouseSettings) -> None:
        require_extra("google.cloud.bigquery", "gcp", "BigQuery")
        import google.auth
        from google.api_core.retry import Retry
        from google.cloud import bigquery

        self.project = settings.google_project or ""
        with _errors("Google's credentials cannot be used"):
            self._credentials, _ = google.auth.default(scopes=_SCOPES)
        self._bigquery = bigquery
        self._client = bigquery.Client(self.project, self._credentials, location=settings.google_location)
        retry = Retry(predicate=_passes, initial=_FIRST_WAIT, maximum=_LONGEST_WAIT, timeout=PATIENCE)
        self._how: dict[str, Any] = {"retry": retry, "timeout": TIMEOUT}
        self._retry = retry

    def get(self, table_name: str) -> Entry | None:
        """The table ``namespace.name``; None where there is none, or no such dataset."""
        from google.api_core.exceptions import NotFound

        with _errors(f"BigQuery's table {table_name} cannot be read"):
            try:
                return Entry(self._client.get_table(f"{self.project}.{table_name}", **self._how).to_api_repr())
            except NotFound:
                return None

    def insert(self, table_name: str, resource: Mapping[str, Any]) -> None:
        """Makes a table, in one call. BigQueryError has the code 409 where there is one, perhaps this very one: look at it then."""
        with _errors(f"BigQuery's table {table_name} cannot be made"):
            self._client.create_table(self._table(table_name, resource), **self._how)

    def patch(self, table_name: str, etag: str, resource: Mapping[str, Any]) -> Entry:
        """Changes parts of a table, in one call, and returns what it is then.

        BigQueryError has the code 412 where it is not the one any more that had this etag.
        """
        names = {"schema": "schema", "externalDataConfiguration": "external_data_configuration", "description": "description"}
        table = self._table(table_name, {**resource, "etag": etag})
        with _errors(f"BigQuery's table {table_name} cannot be changed"):
            return Entry(self._client.update_table(table, [names[key] for key in resource], **self._how).to_api_repr())

    def delete(self, table_name: str) -> None:
        """Removes a table, if it is there. An external one has no rows of its own."""
        with _errors(f"BigQuery's table {table_name} cannot be removed"):
            self._client.delete_table(f"{self.project}.{table_name}", not_found_ok=True, **self._how)

    def dataset_access(self, namespace: str) -> list[dict[str, Any]] | None:
        """Who may do what with a dataset, as the API lists it; None where there is no such dataset.

        https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets#Dataset
        """
        from google.api_core.exceptions import NotFound

        with _errors(f"BigQuery's dataset {namespace} cannot be read"):
            try:
                return list(self._client.get_dataset(f"{self.project}.{namespace}", **self._how).to_api_repr().get("access") or [])
            except NotFound:
                return None

    def tables(self, namespace: str) -> list[str]:
        """The names of everything in a dataset, tables and views; nothing where there is no such dataset."""
        from google.api_core.exceptions import NotFound

        with _errors(f"BigQuery's dataset {namespace} cannot be listed"):
            try:
                return [str(found.table_id) for found in self._client.list_tables(f"{self.project}.{namespace}", **self._how)]
            except NotFound:
                return []

    def policy(self, resource: str) -> list[dict[str, Any]]:
        """The bindings of a policy tag, a taxonomy, a connection, a catalog or a project, roles with members, by its resource name.

        https://cloud.google.com/data-catalog/docs/reference/rest/v1/projects.locations.taxonomies.policyTags/getIamPolicy and, alone
        with a GET, https://docs.cloud.google.com/lakehouse/docs/reference/rest/v1/projects.catalogs/getIamPolicy
        """
        action, body = ":getIamPolicy", {"options": {"requestedPolicyVersion": 3}}
        with _errors(f"The policy of {resource} cannot be read"):
            if "/catalogs/" in resource:
                answer = self._ask(resource, f"{action}?options.requestedPolicyVersion=3")
            else:
                answer = self._ask(resource, action, body)
        return list(answer.get("bindings") or [])

    def enforces(self, taxonomy: str) -> bool:
        """Whether the tags of a taxonomy hide anything.

        https://cloud.google.com/data-catalog/docs/reference/rest/v1/projects.locations.taxonomies#Taxonomy
        """
        with _errors(f"{taxonomy} cannot be read"):
            return "FINE_GRAINED_ACCESS_CONTROL" in (self._ask(taxonomy).get("activatedPolicyTypes") or [])

    def _ask(self, resource: str, action: str = "", body: Any = None) -> dict[str, Any]:
        """What the API of a resource answers: to a GET, or to a POST where there is a body."""
        from google.api_core.exceptions import from_http_response

        api, version = next((found for part, found in _POLICY_APIS.items() if f"/{part}/" in resource), _PROJECT_API)
        endpoint = os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}") or f"https://{api}.googleapis.com"
        url, headers = f"{endpoint.rstrip('/')}/{version}/{resource}{action}", {"x-goog-user-project": self.project}

        def call() -> dict[str, Any]:
            response = session.request("GET" if body is None else "POST", url, json=body, headers=headers, timeout=TIMEOUT)
            if not response.ok:
                raise from_http_response(response)  # type: ignore[no-untyped-call]
            return dict(response.json())

        with _session(self._credentials) as session:
            found: dict[str, Any] = self._retry(call)()
            return found

    def _table(self, table_name: str, resource: Mapping[str, Any]) -> Any:
        namespace, _, name = table_name.partition(".")
        reference = {"projectId": self.project, "datasetId": namespace, "tableId": name}
        return self._bigquery.Table.from_api_repr({**resource, "tableReference": reference})


def _session(credentials: Any) -> Session:
    from google.auth.transport.requests import AuthorizedSession

    return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]


def _passes(error: BaseException) -> bool:
    """Whether another attempt may do: too many calls, an error on Google's side, or no answer."""
    import requests
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import RefreshError, TransportError

    if isinstance(error, GoogleAPICallError):
        reasons = {str(found.get("reason")) for found in error.errors or [] if isinstance(found, Mapping)}
        return error.code in _RETRIED or "rateLimitExceeded" in reasons
    if isinstance(error, RefreshError):
        return bool(getattr(error, "retryable", False))
    return isinstance(error, ConnectionError | TransportError | requests.exceptions.ConnectionError | requests.exceptions.Timeout)


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Whatever Google's libraries raise becomes a BigQueryError that starts with ``what`` and ends in the remedy."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except LakehouseError:
        raise
    except Exception as error:
        cause: BaseException = error.cause if isinstance(error, RetryError) and error.cause is not None else error
        if isinstance(cause, GoogleAPICallError):
            code = int(cause.code) if cause.code else None
            text = re.sub(r"^[A-Z]+ https?://\S+: ", "", str(cause.message))
            raise BigQueryError(f"{what}: {code} {text}\n{_REMEDIES.get(code or 0, _REMEDY)}", code) from error
        remedy = _REMEDIES[401] if isinstance(cause, GoogleAuthError) else _REMEDY
        text = str(cause).partition("\n")[0]
        raise BigQueryError(f"{what}: {type(cause).__name__}: {text}\n{remedy}") from error
