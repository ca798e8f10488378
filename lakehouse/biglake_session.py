"""HTTP to BigLake's Iceberg REST catalog: a Google login that lasts as long as a run does, and errors that name the missing role."""

from __future__ import annotations

import re
import threading
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from lakehouse.errors import CatalogError
from lakehouse.rest_session import RestSession, message_of, server_of

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_RETRIED = (429, 500, 502, 503, 504)
_LOG_IN = "Log in: gcloud auth application-default login; or set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account's key"
_UNKNOWN = " Whether it was done is not known: run it again, it finds out."
_COMMIT = re.compile(r"/tables/[^/]+$")


class GoogleLogin(AuthBase):
    """Logs requests in with Google's Application Default Credentials, and anew before a token ends.

    Args:
        project: the one that is billed.

    Raises:
        CatalogError: there are no credentials, or Google does not accept them.
    """

    def __init__(self, project: str) -> None:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        self._lock, self._transport = threading.Lock(), Request()
        try:
            self._credentials: Any = google.auth.default(scopes=_SCOPES, quota_project_id=project or None)[0]
        except GoogleAuthError as error:
            raise CatalogError(f"There are no credentials for Google Cloud: {_first_line(error)}\n{_LOG_IN}.") from error

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        with self._lock:
            if not self._credentials.valid:
                self._refresh()
            request.headers["Authorization"] = f"Bearer {self._credentials.token}"
        return request

    def renew(self, refused: str) -> bool:
        """Logs in anew, unless somebody did since the header ``refused`` was sent; whether there is another token now."""
        with self._lock:
            if refused == f"Bearer {self._credentials.token}":
                self._refresh()
            return refused != f"Bearer {self._credentials.token}"

    def _refresh(self) -> None:
        from google.auth.exceptions import GoogleAuthError, TransportError

        try:
            self._credentials.refresh(self._transport)
        except TransportError as error:
            raise CatalogError(
                f"Google's server for logins does not answer: {_first_line(error)}. See whether it can be reached from here."
            ) from error
        except GoogleAuthError as error:
            raise CatalogError(f"Google does not accept the login: {_first_line(error)}\n{_LOG_IN}.") from error


class BigLakeSession(RestSession):
    """Requests to BigLake, see ``RestSession``. A token that is refused is replaced once: Google did nothing with it."""

    def __init__(self, login: GoogleLogin) -> None:
        super().__init__("BigLake", "ICEBERG_REST_URI", login, _RETRIED)
        self._login = login

    def request(self, method: str, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """As ``RestSession`` does it. Raises CatalogError, too, where it is not known what became of a change that is no commit."""
        try:
            return super().request(method, url, *args, **kwargs)
        except (requests.ConnectionError, requests.Timeout) as error:
            if _is_commit(method, url):
                raise
            raise CatalogError(f"BigLake at {server_of(url)} does not answer ({type(error).__name__}).{_UNKNOWN}") from error

    def renewed(self, response: requests.Response) -> bool:
        """Whether the token was refused, and there is another."""
        return response.status_code == 401 and self._login.renew(str(response.request.headers.get("Authorization", "")))

    def check(self, response: requests.Response, reads: bool) -> None:
        """Raises CatalogError: the caller is refused; there is no such catalog; BigLake fails, but for a commit, which finds out."""
        status, message = response.status_code, message_of(response)
        server, path = server_of(response.url), urlsplit(response.url).path
        if status == 401:
            raise CatalogError(f"BigLake at {server} does not accept the login (401): {message} {_LOG_IN}.")
        if status == 403:
            raise CatalogError(f"BigLake at {server} does not allow this (403): {message} {_role(response, reads, message)}")
        if status in (400, 404) and path.endswith("/v1/config"):
            raise CatalogError(
                f"BigLake at {server} has no catalog of LAKEHOUSE_WAREHOUSE ({status}): {message} Terraform makes it, named as the bucket: "
                "terraform -chdir=terraform/gcp apply"
            )
        if (status == 429 or status >= 500) and not _is_commit(response.request.method, response.url):
            unknown = "" if reads else _UNKNOWN
            raise CatalogError(f"BigLake at {server} fails ({status}): {message}{unknown} See https://status.cloud.google.com.")


def _is_commit(method: str | None, url: str | bytes) -> bool:
    return method == "POST" and bool(_COMMIT.search(urlsplit(url if isinstance(url, str) else url.decode()).path))


def _role(response: requests.Response, reads: bool, message: str) -> str:
    """Which role is missing. Source: https://cloud.google.com/biglake/docs/blms-rest-catalog#required_roles."""
    if "serviceusage" in message:
        role = "roles/serviceusage.serviceUsageConsumer"
        return f"The caller needs {role} on GOOGLE_CLOUD_PROJECT, as Terraform gives it to the writer and the admin."
    if reads or _is_commit(response.request.method, response.url):
        needed = "biglake.tables.getData" if reads else "biglake.tables.updateData"
        return (
            f"The caller needs a role with {needed} on the catalog, as Terraform gives one to the writer and the admin. Readers ask "
            "BigQuery instead: see docs/gcp.md."
        )
    return "The caller needs roles/biglake.admin on the catalog, as Terraform gives it to the admin: run it as the admin."


def _first_line(error: Exception) -> str:
    return str(error.args[0] if error.args else error).partition("\n")[0][:300]
