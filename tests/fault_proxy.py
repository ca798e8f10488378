"""A proxy for the tests: it stands between clients and a server, and answers some calls in its own way."""

from __future__ import annotations

import fnmatch
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

import requests

Answer = tuple[int, bytes]
Proxy = TypeVar("Proxy", bound="FaultProxy")


@dataclass(frozen=True)
class Call:
    """One request on its way to the server.

    Attributes:
        name: ``POST /iceberg/v1/…``.
        forward: has the server do it, and returns status and body of its answer.
    """

    name: str
    headers: Mapping[str, str]
    forward: Callable[[], Answer]
    body: bytes = b""


Fault = Callable[[Call], Answer | None]


class FaultProxy:
    """A proxy of one server: clients are given its ``uri``.

    Attributes:
        calls: every one that came, in order.
    """

    def __init__(self, server: str) -> None:
        self.calls: list[Call] = []
        self._server, self._faults = server, list[tuple[str, Fault]]()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                answer = proxy._answer(self)
                if answer is None:
                    self.close_connection = True
                    return
                status, body = answer
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if self.command != "HEAD" else b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """No line per request."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.uri = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self: Proxy) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def inject(self, match: str, fault: Fault) -> None:
        """Meets the next call whose name matches a shell pattern. A fault that returns None closes the connection."""
        self._faults.append((match, fault))

    def reset(self) -> None:
        """Forgets calls, and faults that met none."""
        self.calls.clear()
        self._faults.clear()

    def forward(self, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Has the server do a call."""
        method, _, path = name.partition(" ")
        response = requests.request(method, f"{self._server}{path}", data=body, headers=headers, timeout=60)
        return response.status_code, response.content

    def _answer(self, request: BaseHTTPRequestHandler) -> Answer | None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "connection", "accept-encoding")}
        name = f"{request.command} {request.path}"
        call = Call(name, headers, lambda: self.forward(name, headers, body), body)
        self.calls.append(call)
        for found in self._faults:
            if fnmatch.fnmatchcase(call.name, found[0]):
                self._faults.remove(found)
                return found[1](call)
        try:
            return call.forward()
        except requests.ConnectionError:
            return None


def lost_answer(call: Call) -> None:
    """The server does it, and the connection breaks before the client gets any answer."""
    call.forward()


def answers(status: int, message: str) -> Fault:
    """The server does nothing, and answers with an error of its Iceberg API."""
    body = json.dumps({"error": {"message": message, "type": "Exception", "code": status}}).encode()
    return lambda call: (status, body)
