"""AWS for the tests and for a rehearsal without an account: moto's server, corrected where it answers unlike AWS, with faults.

In a test: ``with AwsServer() as aws: ...``. In a shell: ``python tests/aws_server.py --port 5000`` prints the variables to export.
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import io
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto_corrections import LOCK, correct_moto
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

# --- The server


class AwsServer:
    """moto's server with all corrections in this process, on 127.0.0.1.

    moto's state belongs to the process, not to the server: two servers show the same buckets.

    Attributes:
        endpoint: its URL.
        environment: the variables with which Terraform and boto3 find it, and nothing else. PyArrow's S3FileSystem reads no endpoint
            from them: give PyIceberg's catalog the property ``s3.endpoint``.
        removed: the variables that must not be set beside them.
        faults: what goes wrong between a client and AWS.
    """

    removed = ("AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")

    def __init__(self, port: int = 0, region: str = "eu-central-1") -> None:
        """Binds the port, 0 for a free one."""
        correct_moto()
        self.faults = Faults(_Dispatcher(create_backend_app))
        self._server = make_server("127.0.0.1", port, self.faults, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            # Nobody's own configuration may lead to a real account, nor a search for credentials to a time-out.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> AwsServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()

    def reset(self) -> None:
        """Forgets every resource and every fault."""
        self.faults.clear()
        with LOCK:
            moto_api_backend.reset()


class _Dispatcher(DomainDispatcherApplication):
    """Finds a host's service once: moto looks through all its services twice per request."""

    get_backend_for_host = functools.lru_cache(maxsize=None)(DomainDispatcherApplication.get_backend_for_host)


class _QuietHandler(MotoRequestHandler):
    """No line per request."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        if type == "error":
            super().log(type, message, *args)


# --- Faults


@dataclass(frozen=True)
class Call:
    """One request on its way to moto.

    Attributes:
        service: as in the signature: glue, s3, lakeformation, athena, iam.
        name: ``glue:UpdateTable``; for S3 ``s3:PUT bucket/key``, with the query string where there is one.
        forward: lets moto do it, and returns its answer. May be called once.
    """

    service: str
    name: str
    environ: dict[str, Any]
    forward: Callable[[], Response]


Answer = Callable[[Call], Response]


@dataclass
class Fault:
    """What was injected.

    Attributes:
        pattern: which calls it meets, a shell pattern over ``Call.name``.
        times: how many calls it meets; None: all.
        met: how many it has met.
    """

    pattern: str
    answer: Answer
    times: int | None = 1
    met: int = 0


class Faults:
    """A WSGI application that stands in front of moto's and answers some calls in its own way."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._faults: list[Fault] = []

    def inject(self, match: str, answer: Answer, times: int | None = 1) -> Fault:
        """Meets the next ``times`` calls whose name matches a shell pattern, e.g. ``s3:PUT warehouse/*.metadata.json``."""
        fault = Fault(match, answer, times)
        with LOCK:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """No more faults."""
        with LOCK:
            self._faults.clear()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self._faults:
            call = _call(environ, self._application)
            if (fault := self._next(call.name)) is not None:
                return fault.answer(call)(environ, start_response)
        return self._application(environ, start_response)

    def _next(self, name: str) -> Fault | None:
        with LOCK:
            for fault in self._faults:
                if (fault.times is None or fault.met < fault.times) and fnmatch.fnmatchcase(name, fault.pattern):
                    fault.met += 1
                    return fault
        return None


def throttled(call: Call) -> Response:
    """AWS asks the client to slow down, and does nothing."""
    codes = {"s3": "SlowDown", "iam": "Throttling", "sts": "Throttling", "athena": "TooManyRequestsException"}
    return _error(call, codes.get(call.service, "ThrottlingException"), 503 if call.service == "s3" else 400, "Rate exceeded")


def internal_error(call: Call) -> Response:
    """AWS fails, and does nothing."""
    return _error(call, "InternalError" if call.service == "s3" else "InternalFailure", 500, "We encountered an internal error.")


def access_denied(call: Call) -> Response:
    """The caller may not do this."""
    code, status = ("AccessDenied", 403) if call.service in _XML else ("AccessDeniedException", 400)
    return _error(call, code, status, f"User is not authorized to perform {call.name}")


def lost_answer(call: Call) -> Response:
    """AWS does it, and the client gets a 500."""
    call.forward()
    return internal_error(call)


def closed_connection(call: Call) -> Response:
    """AWS does it, and the connection breaks before the client gets any answer."""
    call.forward()
    call.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError


def before(hook: Callable[[], object]) -> Answer:
    """Runs ``hook`` first, e.g. another writer that wins, and then lets the call pass. The hook may call the server itself."""

    def answer(call: Call) -> Response:
        hook()
        return call.forward()

    return answer


_XML = {"s3", "iam", "sts"}


def _error(call: Call, code: str, status: int, message: str) -> Response:
    """An error as the service's protocol writes it."""
    if call.service not in _XML:
        return Response(
            json.dumps({"__type": code, "message": message}), status, {"x-amzn-ErrorType": code}, content_type="application/x-amz-json-1.1"
        )
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    body = f"<Error>{error}</Error>" if call.service == "s3" else f"<ErrorResponse><Error>{error}</Error></ErrorResponse>"
    return Response(body, status, content_type="application/xml")


def _call(environ: dict[str, Any], application: Any) -> Call:
    # Credential=<key>/<day>/<region>/<service>/aws4_request
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split(",")[0].split("/")
    service = scope[3] if len(scope) == 5 else "s3"
    path = environ["PATH_INFO"].lstrip("/")
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        action = target.rpartition(".")[2]
    elif service == "s3":
        # SDKs of other languages name the operation in the query.
        query = urlencode([pair for pair in parse_qsl(environ["QUERY_STRING"], keep_blank_values=True) if pair[0] != "x-id"])
        action = f"{environ['REQUEST_METHOD']} {path}" + (f"?{query}" if query else "")
    elif environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = Request(environ).get_data()
        environ["wsgi.input"] = io.BytesIO(body)
        action = parse_qs(body.decode()).get("Action", [path])[0]
    else:
        action = path
    return Call(service, f"{service}:{action}", environ, lambda: Response.from_app(application, environ, buffered=True))


# --- The command


def main() -> None:
    """Serves in the foreground until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="AWS without an account: moto's server, corrected.")
    parser.add_argument("--port", type=int, default=5000, help="0 takes a free one")
    parser.add_argument("--region", default="eu-central-1")
    arguments = parser.parse_args()
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    with AwsServer(arguments.port, arguments.region) as server:
        print("# Nothing is kept when this server stops. In another shell:")
        print(f"unset {' '.join(server.removed)}")
        for name, value in server.environment.items():
            print(f"export {name}={value}")
        print(flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
