"""The last results of quality checks, from a file: what ``python -m quality --json`` or ``dagster_project.check_results`` wrote."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from lakehouse.errors import SettingsError

Outcome = Literal["pass", "warn", "fail", "error"]
_REMEDY = "Write it anew: python -m quality --json, or python -m dagster_project.check_results"


class CheckResult(BaseModel):
    """What was found last of one check.

    Attributes:
        value: of a freshness in seconds; None where there is none, or it may not be shown.
        message: why it did not pass; never a value of a row.
        at: when it ran; None where the file does not say.
    """

    name: str
    outcome: Outcome
    definition: str = ""
    value: float | int | None = None
    threshold: str = ""
    message: str = ""
    at: datetime | None = None

    @property
    def value_text(self) -> str:
        """The value as people read it."""
        if self.value is None:
            return ""
        if self.definition.startswith("freshness"):
            return str(timedelta(seconds=round(self.value)))
        return f"{self.value:,.0f}" if float(self.value).is_integer() else f"{self.value:,.3f}"


class _Table(BaseModel):
    table: str
    checks: list[CheckResult]


class _File(BaseModel):
    version: Literal[1]
    at: datetime | None = None
    tables: list[_Table]
    errors: dict[str, str] = {}


Results = Mapping[str, Mapping[str, CheckResult]]


def read_results(path: Path | None) -> tuple[Results, dict[str, str]]:
    """The results by table and check, and by table why a scan could not be made. ``-`` is the standard input, None no file.

    Raises:
        SettingsError: the file cannot be read, or is none of these.
    """
    if path is None:
        return {}, {}
    name = "The standard input" if str(path) == "-" else str(path)
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        file = _File.model_validate_json(text)
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: {error.strerror}. {_REMEDY}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{name} is no file of check results. {_REMEDY}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise SettingsError(f"{name} is no file of check results: {where + ': ' if where else ''}{first['msg']}. {_REMEDY}") from None
    found = {
        table.table: {check.name: check if check.at else check.model_copy(update={"at": file.at}) for check in table.checks}
        for table in file.tables
    }
    return found, file.errors
