"""What a live lakehouse says of its tables: sizes, snapshot by snapshot, and health. Reads metadata alone, within a bound of time.

Of a snapshot's summary only totals are taken: others may name files and partitions, whose values not everybody may see.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from lakehouse.bounded import Call, run_calls
from lakehouse.drift import open_existing
from lakehouse.errors import LakehouseError, without_credentials
from lakehouse.health import Health, read_health
from lakehouse.history import ancestors, committed_at, summary_of
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings
from lakehouse.template import TableTemplate

_WORKERS = 8
_LONGEST_REASON = 300
_PLACES = re.compile(r"""['"]?(?:\w+:/\S+|arn:\S+|(?<![\w.])/\S+)""")
NOT_THERE = "The table is not created yet: lakehouse apply"


@dataclass(frozen=True)
class Commit:
    """A table as it was after a snapshot, and what the snapshot did."""

    at: datetime
    operation: str
    added_rows: int
    rows: int
    files: int
    bytes: int


@dataclass(frozen=True)
class Figures:
    """What is known of one table.

    Attributes:
        commits: those that led to what readers see, oldest first; expired ones are gone.
        health: None where there was no time to look at all files.
    """

    commits: list[Commit]
    health: Health | None = None


@dataclass(frozen=True)
class LiveAnswer:
    """What the backend said.

    Attributes:
        reason: why there are no figures at all; None where there are some.
        figures: by table name; missing: why a table has none.
    """

    reason: str | None = None
    figures: Mapping[str, Figures] = field(default_factory=dict[str, Figures])
    missing: Mapping[str, str] = field(default_factory=dict[str, str])


def read_live(settings: LakehouseSettings, templates: Sequence[TableTemplate], timeout: float) -> LiveAnswer:
    """Asks the backend of the settings for the tables of these templates, for so many seconds at most. Raises nothing."""
    deadline = time.monotonic() + timeout
    catalog = run_calls({"catalog": Call(lambda: open_existing(settings), timeout)}, 1).get("catalog")
    if not isinstance(catalog, Catalog):
        return LiveAnswer(_reason(catalog))
    loads = {template.table_name: _load(catalog, template.table_name, settings.drift_table_timeout) for template in templates}
    loaded = run_calls(loads, _WORKERS, deadline - time.monotonic())
    tables = {name: table for name, table in loaded.items() if isinstance(table, Table)}
    missing = {name: _reason(loaded.get(name)) for name in loads if name not in tables}
    if loads and not tables and not any(isinstance(outcome, NoSuchTableError) for outcome in loaded.values()):
        return LiveAnswer(next(iter(missing.values())))
    looks = {
        template.table_name: _look(settings, catalog, tables[template.table_name], template)
        for template in templates
        if template.table_name in tables
    }
    health = run_calls(looks, _WORKERS, deadline - time.monotonic())
    figures = {
        name: Figures(list(_commits(table)), found if isinstance(found := health.get(name), Health) else None)
        for name, table in tables.items()
    }
    return LiveAnswer(None, figures, missing)


def _load(catalog: Catalog, name: str, timeout: float) -> Call[Table]:
    return Call(lambda: catalog.load_table(name), timeout)


def _look(settings: LakehouseSettings, catalog: Catalog, table: Table, template: TableTemplate) -> Call[Health]:
    return Call(lambda: read_health(settings, catalog, table, template), settings.drift_table_timeout)


def _commits(table: Table) -> Iterator[Commit]:
    return (commit for snapshot in reversed(list(ancestors(table))) if (commit := _commit(snapshot)) is not None)


def _commit(snapshot: Snapshot) -> Commit | None:
    """None where the summary does not say how large the table is: that is optional in Iceberg."""
    summary = summary_of(snapshot)
    totals = [summary.get(key, "") for key in ("total-records", "total-data-files", "total-files-size")]
    if not all(total.isdecimal() for total in totals):
        return None
    operation = snapshot.summary.operation.value if snapshot.summary else ""
    added = summary.get("added-records", "")
    rows, files, size = map(int, totals)
    return Commit(committed_at(snapshot), operation, int(added) if added.isdecimal() else 0, rows, files, size)


def _reason(error: object) -> str:
    """Why there is no answer, in one line without a login."""
    match error:
        case NoSuchTableError():
            return NOT_THERE
        case None | TimeoutError():
            return "There was no answer in time."
        case LakehouseError():
            text = str(error)
        case _:
            text = f"{type(error).__name__}: {error}"
    line = text.strip().partition("\n")[0].replace(f"{PROJECT_ROOT}/", "")
    return without_credentials(line)[:_LONGEST_REASON]


def publishable(reason: str) -> str:
    """A reason without addresses, ARNs and absolute paths: what pages show to people who know nothing of the machines behind them."""
    return _PLACES.sub("…", reason)
