"""Whether a setup works, and what to do where it does not: ``lakehouse doctor``.

A check is a function ``check_<name>`` and a line in ``_CHECKS``. Its docstring is what is to hold. No check hides another: one that
fails is an error of its own, one that hangs is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from lakehouse.bounded import Call, run_calls
from lakehouse.doctor.base import Answer, Check, NotChecked, Setup, Status
from lakehouse.errors import LakehouseError, without_credentials

__all__ = ["Answer", "Status", "diagnose"]

# By name, the module that has ``check_<name>``: imported when it runs, because what it imports may be what is missing. In the order
# in which people mend things: what comes first may be why what follows fails.
_CHECKS = {
    "python": "installation",
    "packages": "installation",
    "settings": "wiring",
    "extras": "installation",
    "templates": "wiring",
    "credentials": "stores",
    "catalog": "stores",
    "nessie": "stores",
    "namespaces": "stores",
    "warehouse": "stores",
    "landing": "stores",
    "pointers": "stores",
    "terraform": "wiring",
    "dagster": "installation",
    "soda": "installation",
}
_WORKERS = 8


def diagnose(timeout: float, terraform: Path | None = None) -> list[Answer]:
    """Makes every check, and raises nothing. What it writes, one small object in the warehouse, it deletes again.

    Args:
        timeout: seconds that one check is waited for.
        terraform: the Terraform root that the settings came from; None is the backend's.
    """
    setup = Setup.read(terraform)
    # One after the other: PyIceberg's modules import one another, and threads that begin with different ones find them half made.
    for name in _CHECKS:
        _meaning(name)
    calls = {name: Call(_bound(name, setup), timeout) for name in _CHECKS}
    # Room for all of them to hang, some at a time.
    outcomes = run_calls(calls, _WORKERS, budget=timeout * (1 + len(calls) // _WORKERS), capped=False)
    return [_answer(name, outcomes.get(name, TimeoutError("there was no time left"))) for name in _CHECKS]


def _check(name: str) -> Check:
    found: Check = getattr(import_module(f"lakehouse.doctor.{_CHECKS[name]}"), f"check_{name}")
    return found


def _bound(name: str, setup: Setup) -> Callable[[], Answer]:
    return lambda: _check(name)(setup)


def _answer(name: str, outcome: Answer | BaseException) -> Answer:
    match outcome:
        case Answer():
            status, message = outcome.status, outcome.message
        case NotChecked():
            status, message = "warning", f"Not checked: {outcome}"
        case TimeoutError():
            status, message = "error", f"{outcome}. See whether it can be reached from here, and its settings: lakehouse env"
        case LakehouseError():
            status, message = "error", str(outcome)
        case ImportError():
            missing = (outcome.name or str(outcome)).split(".")[0]
            status, message = "error", f"{missing} is missing or broken. Install what the project needs: pip install -e ."
        case _:  # whatever a library raises is told, and is no traceback
            first = next(iter(str(outcome).splitlines()), "")
            status, message = "error", f"{type(outcome).__name__}: {first}"
    return Answer(status, without_credentials(message), name, _meaning(name))


def _meaning(name: str) -> str:
    """The first paragraph of a check's docstring; empty where its module cannot be imported."""
    try:
        return " ".join((_check(name).__doc__ or "").split("\n\n")[0].split())
    except Exception:  # told already, as the check's outcome
        return ""
