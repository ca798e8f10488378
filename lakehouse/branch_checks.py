"""Whether every table that a branch changed passes its checks on it, so that all of them may be merged, or none.

The checks are run by ``python -m quality``, a process of its own, as this package does not know of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lakehouse.branches import MergeConflictError, TableChange, diff
from lakehouse.errors import LakehouseError
from lakehouse.lint import load_templates
from lakehouse.nessie_client import NessieClient
from lakehouse.nessie_session import BranchError
from lakehouse.settings import LakehouseSettings

_NO_CHECK = "there is no check that its rows could pass"


@dataclass(frozen=True)
class CheckedTable:
    """A table that a branch changed.

    Attributes:
        checks: the results, as ``python -m quality --json`` has them; None where there is nothing to check: the table was dropped, or
            is a quarantine, whose rows are known not to fit.
        held_back_by: why it is not to be merged; nothing where it passed.
    """

    change: TableChange
    checks: tuple[dict[str, Any], ...] | None
    held_back_by: tuple[str, ...] = ()

    @property
    def result(self) -> dict[str, Any]:
        """For JSON, beside the change: ``checks`` and ``held_back_by``."""
        return {"checks": self.checks, "held_back_by": self.held_back_by}


@dataclass(frozen=True)
class CheckedBranch:
    """What the checks of a branch's tables say, as of one hash of it: what is merged must still have it."""

    name: str
    hash: str
    tables: tuple[CheckedTable, ...]

    @property
    def passed(self) -> bool:
        """Whether it may be merged."""
        return not any(table.held_back_by for table in self.tables)

    def require_passed(self, into: str) -> None:
        """Raises ChecksFailedError where a table did not pass."""
        if not self.passed:
            raise ChecksFailedError(self.name, into, self.tables)


class ChecksFailedError(BranchError):
    """Tables of a branch did not pass their checks. Nothing is merged."""

    def __init__(self, name: str, into: str, tables: Sequence[CheckedTable]) -> None:
        self.tables = tuple(tables)
        lines = "".join(f"\n  {table.change.table}: {'; '.join(table.held_back_by)}" for table in tables if table.held_back_by)
        super().__init__(
            f"{name} is not merged into {into}; none of its tables is:{lines}\nLook at the rows with LAKEHOUSE_BRANCH={name}, correct them "
            f"there, and merge again. Or merge it all the same, lakehouse branch merge {name} --into {into}, or drop it, "
            f"lakehouse branch drop {name}."
        )


def check_branch(settings: LakehouseSettings, client: NessieClient, name: str, into: str) -> CheckedBranch:
    """Runs the checks of every table that a branch changed since it and another were the same, over its rows on the branch.

    Raises:
        MergeConflictError: a table was changed on both, so that it could not be merged whatever the checks say.
        LakehouseError: the checks could not be run.
    """
    source, changes = client.branch(name), diff(client, name, into)
    if conflicts := tuple(change.table for change in changes if change.conflict):
        raise MergeConflictError(name, into, conflicts)
    templates = load_templates(settings.templates, settings.variables)
    names = {template.table_name for template in templates}
    quarantines = {template.quarantine.table_name for template in templates if template.quarantine is not None}
    asked = [change.table for change in changes if change.change != "dropped" and change.table in names]
    found = _scan(name, asked) if asked else {"tables": [], "errors": {}}
    scans = {scan["table"]: scan for scan in found["tables"]}

    def checked(change: TableChange) -> CheckedTable:
        if change.change == "dropped" or change.table in quarantines:
            return CheckedTable(change, None)
        return _checked(change, scans, found["errors"])

    return CheckedBranch(name, source.hash, tuple(map(checked, changes)))


def _checked(change: TableChange, scans: dict[str, Any], errors: dict[str, str]) -> CheckedTable:
    if change.table in errors:
        return CheckedTable(change, (), (errors[change.table],))
    if (scan := scans.get(change.table)) is None:
        return CheckedTable(change, (), (_NO_CHECK,))
    return CheckedTable(change, tuple(scan["checks"]), tuple(scan["held_back_by"]))


def _scan(branch: str, tables: Sequence[str]) -> dict[str, Any]:
    """The JSON of ``python -m quality``, whose progress is shown as it comes."""
    command = [sys.executable, "-m", "quality", "--json", *tables]
    done = subprocess.run(command, env={**os.environ, "LAKEHOUSE_BRANCH": branch}, stdout=subprocess.PIPE, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise LakehouseError(
            f"The checks of {branch} could not be run (exit code {done.returncode}), and nothing was merged. See what is said above, and: "
            f"LAKEHOUSE_BRANCH={branch} python -m quality {' '.join(tables)}"
        ) from None
    return found
