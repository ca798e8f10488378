"""Runs a pipeline in processes that kill themselves at the N-th call of any function, in Python or C.

A process of its own forks one for each command, so that a run costs no start of Python. Commands are lines of JSON on
standard input, ``{"table": …, "days": […], "at": N}``; to each comes a line with the exit status and the number of calls.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from lakehouse.catalog import open_catalog
from lakehouse.commit import Batch
from lakehouse.engines import AppendFiles, ComputeDays, MergeFiles, embedded, open_engine
from lakehouse.lint import load_templates
from lakehouse.maintenance.plan import maintain
from lakehouse.settings import LakehouseSettings

MAINTAIN = "maintain"  # in place of days: the table is maintained, as in a month


def run(settings: LakehouseSettings, table: str, days: list[str]) -> None:
    """Runs the pipeline of a table, as its asset does."""
    templates = load_templates(settings.templates, settings.variables)
    template = next(found for found in templates if found.table_name == table)
    if days == [MAINTAIN]:
        now = datetime.now(UTC) + timedelta(days=30)
        reports = list(maintain(settings, open_catalog(settings), [template], dry_run=False, now=now))
        assert not [failure for report in reports for failure in report.failures]
        return
    engine = open_engine(settings, open_catalog(settings))
    if template.feature_table is not None:
        inputs = tuple(found for found in templates if found is not template)
        work = ComputeDays(template, inputs, tuple(map(date.fromisoformat, days)))
        engine.compute_days(work, Batch(f"killed-{os.getpid()}"), lambda _: None)
    elif template.scd_type2 is not None:
        engine.merge_files(MergeFiles(template), "killed", lambda _: None)
    else:
        engine.append_files(AppendFiles(template), "killed", lambda _: None)


def run_and_die(command: dict[str, Any], report: int) -> None:
    """Runs a pipeline in this process, which ends at the call whose number the command names."""
    calls, at = itertools.count(1), command["at"]

    def count(frame: Any, event: str, argument: Any) -> None:
        if event.endswith("call") and next(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = LakehouseSettings.load()
    threading.setprofile(count)
    sys.setprofile(count)
    run(settings, command["table"], command["days"])
    sys.setprofile(None)
    os.write(report, b"%d" % next(calls))


def serve() -> None:
    """Forks a process for each command."""
    assert embedded  # imported here, once, and not by each process
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                run_and_die(json.loads(line), writing)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        os.close(writing)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        calls = int(os.read(reading, 20) or 0)
        os.close(reading)
        print(json.dumps([status, calls]), flush=True)


@dataclass
class Killer:
    """The process that forks others. Use it as a context manager.

    Attributes:
        environment: the settings of the lakehouse.
    """

    environment: dict[str, str]

    def __enter__(self) -> Killer:
        # What a killed run leaves on local disk goes with the test's folder.
        temporary = Path(self.environment["LAKEHOUSE_WAREHOUSE"]).parent / "tmp"
        temporary.mkdir()
        environment = {**os.environ, **self.environment, "TMPDIR": str(temporary)}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(60)
        self._process.stdout.close()  # type: ignore[union-attr]

    def run(self, table: str, days: list[str] | None = None, at: int = 0) -> tuple[bool, int]:
        """Runs a table's pipeline, killed at the call ``at``. Returns whether it was, and else how many calls it took."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({"table": table, "days": days or [], "at": at}), file=self._process.stdin, flush=True)
        status, calls = json.loads(self._process.stdout.readline())
        assert status in (0, -signal.SIGKILL)
        return status != 0, calls


if __name__ == "__main__":
    serve()
