"""``soda scan`` as a process of its own: started, watched, ended in time. Soda is never imported.

What it prints may quote rows: only lines that cannot are passed on. See results.py for the same of what it answers.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lakehouse.errors import MissingExtraError
from quality.errors import ScanCrashedError, ScanTimeoutError
from quality.processes import end_process, forget_process, start_process
from quality.results import ExpectedCheck, ScanResult, read_result

# Exit codes after which there is a result: all passed, some warned, some failed, some could not be evaluated.
_WITH_RESULT = (0, 1, 2, 3)
# Lines of Soda's that hold no value of a row: of the scan as a whole, and of a check with its outcome.
_SAFE_LINE = re.compile(
    r"^(Soda Core |Scan summary|\d+/\d+ checks? |\d+ checks? not evaluated|\d+ errors?\.|All is good|Oops!|\s*\w+ \[[A-Z ]+\]$)"
)
_TIME = re.compile(r"^\[\d\d:\d\d:\d\d\] ?")
_TAIL = 200  # lines of output that are kept, to say why a scan failed


def run_scan(
    table: str,
    data_source: str,
    configuration: Path,
    checks: Path,
    expected: Sequence[ExpectedCheck],
    *,
    timeout: float,
    log: Callable[[str], None],
    now: datetime | None = None,
) -> ScanResult:
    """Runs ``soda scan`` once.

    Args:
        data_source: its name in the configuration file.
        expected: the checks of the file ``checks``, each of which gets a result.
        timeout: seconds after which the process is ended.
        log: takes what Soda prints, line by line, as it comes.
        now: what freshness is measured against; without it, the time of the scan.

    Raises:
        ScanTimeoutError, ScanCrashedError, InvalidChecksError, DataSourceUnreachableError: there is no result, and why.
        MissingExtraError: Soda is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="lakehouse-soda-") as name:
        folder = Path(name)
        results = folder / "results.json"
        command = [*_soda(), "scan", "-d", data_source, "-c", str(configuration.absolute()), "-srf", str(results)]
        command += ["-v", f"NOW={now.isoformat()}"] if now else []
        start = time.monotonic()
        code, tail = _run(table, [*command, str(checks.absolute())], folder, timeout, log)
        duration = time.monotonic() - start
        data = _read(results) if code in _WITH_RESULT else None
        if data is None:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code} and no result"
            raise ScanCrashedError(f"The soda scan of {table} {how}. See its lines in the log, and the memory of the machine.")
    return read_result(table, data, tail, expected, duration)


def _soda() -> list[str]:
    soda = Path(sys.executable).parent / "soda"
    if not soda.exists():
        raise MissingExtraError("soda", "A soda scan")
    return [str(soda)]


def _run(table: str, command: list[str], folder: Path, timeout: float, log: Callable[[str], None]) -> tuple[int, list[str]]:
    """The exit code, negative for the signal that killed the process; and the last lines of its output, which may quote rows."""
    _silence(folder)
    process = start_process(command, folder, _environment(folder))
    late = threading.Event()

    def end() -> None:
        late.set()
        end_process(process)

    tail: deque[str] = deque(maxlen=_TAIL)
    timer = threading.Timer(min(timeout, threading.TIMEOUT_MAX), end)
    timer.start()
    try:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                text = _TIME.sub("", line.rstrip())
                tail.append(text)
                if _SAFE_LINE.match(text):
                    log(text)
        code = process.wait()
    except BaseException:
        end_process(process)
        raise
    finally:
        timer.cancel()
        forget_process(process)
    if late.is_set():
        raise ScanTimeoutError(f"The soda scan of {table} took more than {timeout:g} s, and was ended. Raise LAKEHOUSE_SCAN_TIMEOUT.")
    return code, list(tail)


def _silence(folder: Path) -> None:
    """Soda looks for a file of its own in the home folder, then in the working one. Where there is none, it makes one at home."""
    path = folder / ".soda" / "config.yml"
    path.parent.mkdir()
    path.write_text(json.dumps({"send_anonymous_usage_stats": False, "user_cookie_id": "none"}), encoding="utf-8")


def _environment(folder: Path) -> dict[str, str]:
    """The variables that a data source's client may need: none that change Soda's checks or send its telemetry, no secret of others.

    Soda would also take those of any ``.env`` file above the folder in which it is installed.
    """
    others = ("SODA_", "OTEL_", "LAKEHOUSE_", "NESSIE_", "SPARK_", "DAGSTER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others) and name != "NOW"}
    return {**kept, "OTEL_SDK_DISABLED": "true", "PYTHON_DOTENV_DISABLED": "true", "TZ": "UTC", "TMPDIR": str(folder), "COLUMNS": "1000"}


def _read(results: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
