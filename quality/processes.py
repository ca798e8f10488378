"""The processes of this program's scans. Each is a session of its own, so that all of it can be ended, and Ctrl-C does not reach it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from quality.errors import ScanCrashedError

_GRACE = 5.0  # seconds to end by itself after it was asked to
_LOCK = threading.Lock()
_RUNNING: set[subprocess.Popen[str]] = set()
_ENDING = threading.Event()


def start_process(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Starts a process whose output, errors too, is text to be read. Raises ScanCrashedError after ``kill_processes``."""
    with _LOCK:
        if _ENDING.is_set():
            raise ScanCrashedError("The program ends: no scan is started any more. Run it again.")
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        _RUNNING.add(process)
    return process


def forget_process(process: subprocess.Popen[str]) -> None:
    """It has ended."""
    with _LOCK:
        _RUNNING.discard(process)


def end_process(process: subprocess.Popen[str]) -> None:
    """Ends it with all that it started: asked first, then killed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    with suppress(ProcessLookupError):  # what it started may be there when it is gone
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)


def kill_processes() -> None:
    """Kills all that run, and lets none start any more: for a program that ends at once."""
    with _LOCK:
        _ENDING.set()
        for process in _RUNNING:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
