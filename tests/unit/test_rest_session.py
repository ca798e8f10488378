"""How long a catalog may have its callers wait: see ``lakehouse.rest_session``."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from requests.auth import HTTPBasicAuth

from lakehouse.rest_session import RestSession


def test_a_server_that_wants_to_be_asked_in_hours_is_asked_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses, slept = [503, 200], list[float]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.pop(0))
            self.send_header("Retry-After", "7200")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        session = RestSession("The catalog", "ICEBERG_REST_URI", HTTPBasicAuth("a", "b"), (503,))
        assert session.get(f"http://127.0.0.1:{server.server_port}/").ok
        server.shutdown()
    assert statuses == []
    assert sum(slept) < 10
