"""HTTP to Nessie: requests that log in, wait only so long, and say what is wrong. Both of its APIs are used through it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import requests
from requests.auth import AuthBase

from lakehouse.errors import CatalogError, LakehouseError
from lakehouse.rest_session import TIMEOUT, RestSession, message_of, server_of

# Seconds before its end at which a login is made anew, and how long it lasts where the OAuth server does not say.
_LOGIN_MARGIN, _LOGIN_SECONDS = 60, 300
_RETRIED = (429, 502, 503, 504)


class BranchError(LakehouseError):
    """A branch is not there, is there already, or cannot be merged or dropped."""


class NoBranchError(BranchError):
    """A branch is not there."""


class BranchMovedError(BranchError):
    """A branch is not where it was when it was read, or there is one already where none was."""


class NessieSession(RestSession):
    """Requests to Nessie, see ``RestSession``.

    Args:
        login: what ``login_of`` made; sessions may share it.
    """

    def __init__(self, login: AuthBase) -> None:
        super().__init__("Nessie", "NESSIE_URI", login, _RETRIED)

    def check(self, response: requests.Response, reads: bool) -> None:
        """Raises CatalogError: the server refuses the caller, or fails what only reads; NoBranchError: the branch is gone."""
        _check(response, reads)


def login_of(login: Mapping[str, str]) -> AuthBase:
    """What logs requests in, by a token or as an OAuth client, or not at all.

    Args:
        login: the properties token, or credential, oauth2-server-uri and scope, as PyIceberg names them.
    """
    if credential := login.get("credential"):
        return _ClientCredentials(credential, login.get("oauth2-server-uri", ""), login.get("scope"))
    return _Bearer(login.get("token"))


class _Bearer(AuthBase):
    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # Also without a token: else requests would look for a password in the user's .netrc.
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _ClientCredentials(AuthBase):
    """A token of the OAuth server, anew before it ends. PyIceberg's own waits for the server without an end."""

    def __init__(self, credential: str, uri: str, scope: str | None) -> None:
        self._client, _, self._secret = credential.partition(":")
        self._uri, self._scope = uri, scope
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        with self._lock:
            if time.monotonic() >= self._until:
                self._log_in()
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _log_in(self) -> None:
        data = {"grant_type": "client_credentials", **({"scope": self._scope} if self._scope else {})}
        try:
            response = requests.post(self._uri, data=data, auth=(self._client, self._secret), timeout=TIMEOUT)
            answer = response.json() if response.ok else {}
        except (requests.RequestException, ValueError) as error:
            raise CatalogError(
                f"The OAuth server {self._uri} does not answer as it should ({type(error).__name__}). See NESSIE_OAUTH_URI."
            ) from None
        if not answer.get("access_token"):
            raise CatalogError(
                f"The OAuth server {self._uri} gives no token ({response.status_code}). See NESSIE_CREDENTIAL, which is client id:secret, "
                "and NESSIE_SCOPE."
            )
        self._token = str(answer["access_token"])
        lasts = float(answer.get("expires_in") or _LOGIN_SECONDS)
        self._until = time.monotonic() + max(lasts - _LOGIN_MARGIN, lasts / 2)


def _check(response: requests.Response, reads: bool) -> None:
    status, server, message = response.status_code, server_of(response.url), message_of(response)
    if status == 401:
        sent = "Authorization" in response.request.headers
        remedy = "it may have expired: set a new NESSIE_TOKEN" if sent else "set NESSIE_TOKEN, or NESSIE_CREDENTIAL and NESSIE_OAUTH_URI"
        raise CatalogError(f"Nessie at {server} {'does not accept the login' if sent else 'wants a login'} (401): {remedy}.")
    if status == 403:
        raise CatalogError(
            f"Nessie at {server} does not allow this (403): {message} Its authorization rules decide: have one added for this caller."
        )
    if status in (400, 404) and message.startswith("Named reference"):
        raise NoBranchError(f"{message} See which branches there are: lakehouse branch list; create one: lakehouse branch create.")
    if reads and status == 500 and message.startswith("Warehouse"):
        raise CatalogError(f"Nessie at {server}: {message} LAKEHOUSE_WAREHOUSE must be the location of a warehouse of the server.")
    if reads and status >= 500:
        raise CatalogError(f"Nessie at {server} fails ({status}): {message} See its log.")
