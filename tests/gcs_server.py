"""Google Cloud Storage for the tests: an emulator that serves many clients at once, and asks for a login where it is to.

It is a process of its own: PyArrow holds Python's lock while it waits for some answers, and one in the same process could not answer.
"""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
import time
import uuid
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import requests
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage
from google.auth import jwt

OWN, _LENT = "ya29.own.", "ya29.lent."
_TIMEOUT = 10
_STATE, _REQUESTS = "/_state", "/_requests"


def lent_token(location: str, seconds: float) -> str:
    """A token for what is below a location, gs://…, for some seconds."""
    now = time.time()
    claims = {"location": location, "since": now, "until": now + seconds, "id": uuid.uuid4().hex}
    return _LENT + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()


def location_of(token: str) -> str | None:
    """What a token was lent for; None where it is another's own."""
    return _claims(token)["location"] if token.startswith(_LENT) else None


class GcsServer:
    """The emulator; its state is in memory.

    Attributes:
        open_uri: its URL without a login.
        uri: its URL with one, for CLOUD_STORAGE_EMULATOR_ENDPOINT: it takes tokens of ``lent_token``, tokens that start with OWN, and
            JWTs that the service account signed, as Google's C++ library does.

    Args:
        public_key: the service account's, a file.
    """

    def __init__(self, public_key: Path) -> None:
        self._key = public_key
        self.open_uri = self.uri = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> GcsServer:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._key)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.open_uri, self.uri = json.loads(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def reset(self, *names: str) -> None:
        """Empties it, and makes buckets, in which a service account may do anything."""
        requests.get(f"{self.open_uri}/wipe", timeout=_TIMEOUT).raise_for_status()
        for name in names:
            requests.post(f"{self.open_uri}/storage/v1/b", json={"name": name}, timeout=_TIMEOUT).raise_for_status()
        self.allow(*(f"{name}/" for name in names))
        requests.delete(self.open_uri + _REQUESTS, timeout=_TIMEOUT).raise_for_status()

    def allow(self, *places: str) -> None:
        """Where service accounts may do anything by themselves, and only there: ``bucket/`` or ``bucket/folder/``."""
        requests.put(self.open_uri + _STATE, json={"own_places": places}, timeout=_TIMEOUT).raise_for_status()

    def end_loans(self) -> None:
        """No token that was lent so far is good any more."""
        requests.put(self.open_uri + _STATE, json={"lent_since": time.time()}, timeout=_TIMEOUT).raise_for_status()

    def fail(self, method: str, end: str, status: int) -> None:
        """Refuses the next request of a method for an object whose name ends so."""
        requests.put(self.open_uri + _STATE, json={"fault": [method, end, status]}, timeout=_TIMEOUT).raise_for_status()

    @property
    def requests(self) -> list[tuple[str, str, str]]:
        """The method, object (``bucket/name``) and token of each request to ``uri``."""
        return [(method, target, token) for method, target, token in requests.get(self.open_uri + _REQUESTS, timeout=_TIMEOUT).json()]

    def put(self, bucket: str, name: str, content: bytes) -> None:
        """Makes an object."""
        url = f"{self.open_uri}/upload/storage/v1/b/{bucket}/o"
        headers = {"Content-Type": "application/octet-stream"}  # without one Google's C++ library ends the process
        params = {"uploadType": "media", "name": name}
        requests.post(url, params=params, data=content, headers=headers, timeout=_TIMEOUT).raise_for_status()

    def objects(self, bucket: str) -> list[str]:
        """The names of a bucket's objects."""
        found = requests.get(f"{self.open_uri}/storage/v1/b/{bucket}/o", timeout=_TIMEOUT).json()
        return sorted(item["name"] for item in found.get("items", []))


# --- In its own process


class _Guard:
    """Whose token may do what."""

    def __init__(self, public_key: bytes) -> None:
        self.key = public_key
        self.state: dict[str, Any] = {"own_places": [], "lent_since": 0.0, "fault": None}
        self.requests: list[tuple[str, str, str]] = []

    def refuses(self, method: str, target: str, authorization: str) -> int | None:
        """The HTTP status, where a request may not be answered."""
        token = authorization.removeprefix("Bearer ")
        self.requests.append((method, target, token))
        fault = self.state["fault"]
        if fault and method == fault[0] and target.endswith(fault[1]):
            self.state["fault"] = None
            return int(fault[2])
        if token.startswith(_LENT):
            claims = _claims(token)
            if time.time() >= claims["until"] or claims["since"] <= self.state["lent_since"]:
                return 401
            return None if f"gs://{target}".startswith(f"{claims['location']}/") else 403
        if not self._is_own(token):
            return 401
        return None if target.startswith(tuple(self.state["own_places"])) else 403

    def _is_own(self, token: str) -> bool:
        try:
            return token.startswith(OWN) or bool(jwt.decode(token, self.key))
        except ValueError:
            return False


class _Handler(RequestHandler):
    protocol_version = "HTTP/1.1"  # clients keep their connections
    wbufsize = -1
    disable_nagle_algorithm = True

    def __init__(self, storage: Storage, guard: _Guard, guarded: bool, *args: Any) -> None:
        self._guard, self._guarded = guard, guarded
        super().__init__(storage, *args)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.path in (_STATE, _REQUESTS):
            return self._control()
        if not self._guarded:
            return True
        target = _target(self.path)
        status = self._guard.refuses(self.command, target, self.headers.get("Authorization", ""))
        if status is None:
            return True
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return self._answer(status, {"error": {"code": status, "message": f"The caller does not have access to {target}."}})

    def _control(self) -> bool:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.command == "PUT":
            self._guard.state |= json.loads(body)
        elif self.command == "DELETE":
            self._guard.requests.clear()
        return self._answer(200, self._guard.requests)

    def _answer(self, status: int, body: Any) -> bool:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
        return False

    def log_message(self, *_: object) -> None:
        """No line per request."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has read enough closes its connection: no line for that."""


def _claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.removeprefix(_LENT)))
    return found


def _target(path: str) -> str:
    """``bucket/name`` of the object that a request is about; for a list ``bucket/`` and its prefix."""
    parts = urlsplit(path)
    query = parse_qs(parts.query)
    _, _, rest = parts.path.partition("/b/")
    bucket, _, name = rest.partition("/o/")
    if not rest:
        bucket, _, name = parts.path.lstrip("/").partition("/")  # the XML API
    found = unquote(name) or (query.get("name") or query.get("prefix") or [""])[0]
    return f"{bucket.removesuffix('/o')}/{found}"


def main() -> None:
    """Serves until it is killed, or who started it is gone; prints the two URLs, as JSON."""
    logging.disable()  # the emulator warns of what is well
    storage, guard = Storage(use_memory_fs=True), _Guard(Path(sys.argv[1]).read_bytes())
    servers = [_Server(("127.0.0.1", 0), partial(_Handler, storage, guard, guarded)) for guarded in (False, True)]
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps([f"http://127.0.0.1:{server.server_port}" for server in servers]), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
