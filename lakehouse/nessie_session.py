"""HTTP to Nessie: requests that log in, wait only so long, and say what is wrong. Both of its APIs are used through it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import MaxRetryError, NewConnectionError
from urllib3.util import Retry

from lakehouse.errors import CatalogError, LakehouseError

# Seconds: to connect; and, for an answer, of which the slowest is a commit that waits for others' on a busy branch.
_TIMEOUT = (5.0, 60.0)
_RETRIES = 3
# Seconds before its end at which a login is made anew, and how long it lasts where the OAuth server does not say.
_LOGIN_MARGIN, _LOGIN_SECONDS = 60, 300
_READING = ("GET", "HEAD")


class BranchError(LakehouseError):
    """A branch is not there, is there already, or cannot be merged or dropped."""


class NessieSession(requests.Session):
    """Requests with a time-out, a login, and errors that say what to do. What only reads is tried again.

    Of what changes something, only what never reached the server is: the outcome of the rest is not known, and what requests
    raises stays as it is, so that who commits finds out.

    Args:
        login: what ``login_of`` made; sessions may share it.
    """

    def __init__(self, login: AuthBase) -> None:
        super().__init__()
        self.auth = login
        retries = Retry(
            total=_RETRIES, backoff_factor=0.3, allowed_methods=_READING, status_forcelist=(429, 502, 503, 504), raise_on_status=False
        )
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(max_retries=retries))

    def request(self, method: str, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """As requests does it.

        Raises:
            CatalogError: the server does not answer what only reads, or was not reached; it refuses the caller; the branch is gone.
        """
        kwargs.setdefault("timeout", _TIMEOUT)
        reads = method.upper() in _READING
        try:
            response = super().request(method, url, *args, **kwargs)
        except (requests.ConnectionError, requests.Timeout) as error:
            if reads or _never_sent(error):
                reason = "in time" if isinstance(error, requests.Timeout) else f"({_reason(error)})"
                raise CatalogError(
                    f"Nessie at {_server(url)} does not answer {reason}. See whether it runs and can be reached from here, and NESSIE_URI."
                ) from error
            raise
        _check(response, reads)
        return response


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
            response = requests.post(self._uri, data=data, auth=(self._client, self._secret), timeout=_TIMEOUT)
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


def _never_sent(error: requests.RequestException) -> bool:
    """Whether no connection was made at all."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    inner = error.args[0] if error.args else None
    return isinstance(inner, MaxRetryError) and isinstance(inner.reason, NewConnectionError)


def _reason(error: requests.RequestException) -> str:
    inner = error.args[0] if error.args else None
    reason = inner.reason if isinstance(inner, MaxRetryError) else inner
    return str(reason if reason is not None else type(error).__name__).rpartition(": ")[2][:200]


def _check(response: requests.Response, reads: bool) -> None:
    status, server, message = response.status_code, _server(response.url), message_of(response)
    if status == 401:
        sent = "Authorization" in response.request.headers
        remedy = "it may have expired: set a new NESSIE_TOKEN" if sent else "set NESSIE_TOKEN, or NESSIE_CREDENTIAL and NESSIE_OAUTH_URI"
        raise CatalogError(f"Nessie at {server} {'does not accept the login' if sent else 'wants a login'} (401): {remedy}.")
    if status == 403:
        raise CatalogError(
            f"Nessie at {server} does not allow this (403): {message} Its authorization rules decide: have one added for this caller."
        )
    if status in (400, 404) and message.startswith("Named reference"):
        raise BranchError(f"{message} See which branches there are: lakehouse branch list; create one: lakehouse branch create.")
    if reads and status == 500 and message.startswith("Warehouse"):
        raise CatalogError(f"Nessie at {server}: {message} LAKEHOUSE_WAREHOUSE must be the location of a warehouse of the server.")
    if reads and status >= 500:
        raise CatalogError(f"Nessie at {server} fails ({status}): {message} See its log.")


def message_of(response: requests.Response) -> str:
    """What the server says about an error, as a sentence; both of its APIs."""
    if response.ok:
        return ""
    try:
        body = response.json()
        found = body.get("error", body)
        message = str(found["message"]) if isinstance(found, dict) else str(found)
    except (ValueError, KeyError, AttributeError):
        message = response.reason or "no message"
    message = " ".join(message.split())[:300]
    return message if message.endswith(".") else f"{message}."


def _server(url: str | bytes) -> str:
    parts = urlsplit(url if isinstance(url, str) else url.decode())
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
