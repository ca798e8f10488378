"""HTTP to a catalog: requests that wait only so long, try again what only reads, and say what is wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import MaxRetryError, NewConnectionError
from urllib3.util import Retry

from lakehouse.errors import CatalogError

# Seconds: to connect; and, for an answer, of which the slowest is a commit that waits for others' on a busy branch.
TIMEOUT = (5.0, 60.0)
READING = ("GET", "HEAD")
_RETRIES = 3


class RestSession(requests.Session):
    """Requests with a time-out, a login, and errors that say what to do. What only reads is tried again.

    Of what changes something, only what never reached the server is: the outcome of the rest is not known, and what requests
    raises stays as it is, so that who commits finds out.

    Args:
        service: what errors call the server; setting: the variable that has its URL.
        login: logs requests in; sessions may share it.
        retried: HTTP statuses after which what only reads is tried again.
    """

    def __init__(self, service: str, setting: str, login: AuthBase, retried: Collection[int]) -> None:
        super().__init__()
        self.auth = login
        self._service, self._setting = service, setting
        retries = Retry(
            total=_RETRIES,
            backoff_factor=0.3,
            allowed_methods=READING,
            status_forcelist=retried,
            raise_on_status=False,
            respect_retry_after_header=False,  # a server may ask for hours
        )
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(max_retries=retries))

    def request(self, method: str, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """As requests does it.

        Raises:
            CatalogError: the server does not answer what only reads, or was not reached; or ``check`` raises it.
        """
        kwargs.setdefault("timeout", TIMEOUT)
        reads = method.upper() in READING
        try:
            response = super().request(method, url, *args, **kwargs)
            if self.renewed(response):
                response = super().request(method, url, *args, **kwargs)
        except requests.RequestException as error:  # also an answer that breaks off
            if reads or _never_sent(error):
                reason = "in time" if isinstance(error, requests.Timeout) else f"({_reason(error)})"
                raise CatalogError(
                    f"{self._service} at {server_of(url)} does not answer {reason}. See whether it runs and can be reached from here, "
                    f"and {self._setting}."
                ) from error
            raise
        self.check(response, reads)
        return response

    def renewed(self, response: requests.Response) -> bool:
        """Whether the login was made anew after this answer, so that the request is to be sent once more."""
        return False

    def check(self, response: requests.Response, reads: bool) -> None:
        """Raises CatalogError for an answer that only the user can do something about."""


def message_of(response: requests.Response) -> str:
    """What the server says about an error, as a sentence: Iceberg's form of errors, Google's, and that of Nessie's own API."""
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


def server_of(url: str | bytes) -> str:
    """A URL's server, without the path."""
    parts = urlsplit(url if isinstance(url, str) else url.decode())
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


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
