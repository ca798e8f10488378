"""How the live tables, and who may read them, differ from the templates: the comparison of `plan`, for all tables, read-only.

An answer is never guessed: what does not answer is unreachable, what the time was too short for is not checked.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from lakehouse.bounded import Call, run_calls
from lakehouse.catalog import load_newest, open_catalog
from lakehouse.drift_answers import EVERYTHING, TableDrift, first_sentence, grants_drift, pointer_drift, pointer_unseen, schema_drift
from lakehouse.errors import CatalogError, LakehouseError, TableMismatchError
from lakehouse.inspect import list_tables
from lakehouse.live_grants import has_live_grants, live_findings
from lakehouse.pointers import PointerError, Pointers, PointerUnreachableError, open_pointers, remedy, wrong_with
from lakehouse.schema_plan import Change
from lakehouse.settings import LakehouseSettings
from lakehouse.table_plan import TablePlan
from lakehouse.tables import open_tables
from lakehouse.template import TableTemplate, with_quarantine

T = TypeVar("T")

_WORKERS = 8
# Seconds after which a pointer that is behind is looked at again. Shorter than the shortest time for a table's answer is of use.
_SECOND_LOOK = 1.0
_NOT_ANSWERING = "None of the tables answers, and neither does the list of them"


def check_drift(
    settings: LakehouseSettings,
    templates: Iterable[TableTemplate],
    *,
    first: Collection[str] = (),
    budget: float = math.inf,
    table_timeout: float | None = None,
    only_these: bool = False,
    opener: Callable[[LakehouseSettings], Catalog] = open_catalog,
) -> list[TableDrift]:
    """Compares every table, quarantine tables included, what readers are shown of it, and on AWS the grants. Changes nothing.

    Args:
        first: the names of the tables that are looked at first.
        budget: seconds for everything. What they are too short for is ``not checked``.
        table_timeout: seconds for each table, by default the settings'. A table that needs longer is ``unreachable``.
        only_these: whether tables without a template are not looked for.
        opener: opens the catalog, once.

    Returns:
        The catalog's answer, then the tables' by name, then the grants'. A catalog that cannot be reached is one answer, and its
        tables are not checked; so are grants.
    """
    templates = list(templates)
    tables = {found.table_name: found for found in with_quarantine(templates)}
    catalog, pointers = _Shared(lambda: open_existing(settings, opener)), _Shared(lambda: open_pointers(settings))

    def look(template: TableTemplate) -> list[TableDrift]:
        return [_table(settings, catalog.get(), template, pointers)]

    def table_call(template: TableTemplate) -> Call[list[TableDrift]]:
        return Call(lambda: look(template), table_timeout or settings.drift_table_timeout)

    calls: dict[str, Call[list[TableDrift]]] = {}
    if has_live_grants(settings):
        # All grants are one list, and so one call, and that of a thousand tables is longer than a table's.
        calls["grants"] = Call(lambda: grants_drift(templates, live_findings(settings, templates)))
    if not only_these:
        calls["catalog"] = Call(lambda: _unmanaged(settings, catalog.get(), tables), table_timeout or settings.drift_table_timeout)
    early = [name for name in first if name in tables]
    calls |= {name: table_call(tables[name]) for name in dict.fromkeys([*early, *sorted(tables)])}
    outcomes = run_calls(calls, _WORKERS, budget)

    answers = [_answer(name, outcomes) for name in sorted(tables)]
    grants = outcomes.get("grants") if "grants" in calls else []
    if not isinstance(grants, list):
        lost = TableDrift(EVERYTHING, "unreachable", "grants", reason=_reason(grants))
        grants = [lost, *(TableDrift(name, "not checked", "grants", reason="The grants cannot be looked at.") for name in sorted(tables))]
    if only_these:
        return [*answers, *grants]
    listed = outcomes.get("catalog")
    if isinstance(listed, list):
        return [TableDrift(EVERYTHING, "in step", "catalog"), *sorted([*answers, *listed], key=lambda drift: drift.table), *grants]
    if all(answer.state in ("unreachable", "not checked") for answer in answers):
        reason = f"{_NOT_ANSWERING}: {_reason(listed)}"
        answers = [TableDrift(answer.table, "not checked", reason="The catalog is unreachable.") for answer in answers]
    else:
        reason = f"Tables without a template are not looked for, because the tables cannot be listed: {_reason(listed)}"
    return [TableDrift(EVERYTHING, "unreachable", "catalog", reason=reason), *answers, *grants]


def open_existing(settings: LakehouseSettings, opener: Callable[[LakehouseSettings], Catalog] = open_catalog) -> Catalog:
    """The catalog of the settings' backend. Raises CatalogError, also where the embedded one was never made, or is gone."""
    # Opening would make an empty catalog where a warehouse is lost, and every table would be missing.
    # One that was never made looks like one that is gone, so that it is said, and stays an unknown.
    if settings.backend == "local" and not ((folder := settings.warehouse_folder) / "catalog.db").is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise CatalogError(f"The catalog is lost: {folder} has files, and no catalog.db. Restore the warehouse.")
        raise CatalogError(
            f"There is nothing in {folder} yet. Create the tables: lakehouse apply. If there were any, restore the warehouse."
        )
    return opener(settings)


class _Shared(Generic[T]):
    """A catalog, or what points at its tables, opened by the first thread that needs it: that it hangs or fails is a table's answer, too.

    Threads may share SQLAlchemy's engines, boto3's clients, and requests' sessions as PyIceberg uses them, which is all that its
    catalogs have. A Glue catalog for each thread would cost seconds: every session of boto3 reads AWS's descriptions anew.
    """

    def __init__(self, open_: Callable[[], T]) -> None:
        self._open, self._lock = open_, threading.Lock()
        self._outcome: list[T] | Exception | None = None

    def get(self) -> T:
        """What was opened. Raises what opening it raised, to everyone."""
        with self._lock:
            if self._outcome is None:
                try:
                    self._outcome = [self._open()]
                except Exception as error:
                    self._outcome = error
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome[0]


def _answer(table: str, outcomes: dict[str, list[TableDrift] | BaseException]) -> TableDrift:
    outcome = outcomes.get(table)
    match outcome:
        case None:
            return TableDrift(table, "not checked", reason="There was no time for it; it comes first next time.")
        case BaseException():
            return TableDrift(table, "unreachable", reason=_reason(outcome))
        case _:
            return outcome[0]


def _reason(error: object) -> str:
    """What an error says, without what a damaged metadata file may hold: PyIceberg shows it from the second line on."""
    match error:
        case LakehouseError():
            return str(error)
        case BaseException():
            text = str(error).strip().partition("\n")[0]
            return first_sentence(f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__)
        case _:
            return "There was no answer in time."


def _unmanaged(settings: LakehouseSettings, catalog: Catalog, tables: Collection[str]) -> list[TableDrift]:
    """The live tables without a template. Glue's catalog is the whole account's: there, of the templates' databases."""
    found = sorted(_of_databases(catalog, tables)) if settings.backend == "aws-glue" else list_tables(catalog)
    remedy = "Write one, or drop the table."
    return [TableDrift(name, "unmanaged", reason=remedy) for name in found if name not in tables]


def _of_databases(catalog: Catalog, tables: Iterable[str]) -> Iterator[str]:
    for database in {name.partition(".")[0] for name in tables}:
        try:
            yield from (".".join(identifier) for identifier in catalog.list_tables(database))
        except NoSuchNamespaceError:  # its tables are missing, and say so themselves
            continue


def _table(settings: LakehouseSettings, catalog: Catalog, template: TableTemplate, pointers: _Shared[Pointers | None]) -> TableDrift:
    tables = open_tables(settings, catalog)
    try:
        table = tables.load(template)
    except TableMismatchError as error:
        return TableDrift(template.table_name, "missing", reason=str(error))
    if table is None:
        return TableDrift(template.table_name, "missing", reason="Create it: lakehouse apply")
    try:
        changes = TablePlan(table, template, tables.properties(template)).changes
    except TableMismatchError as error:  # it is there, but not as `apply` could change it
        drift = TableDrift(template.table_name, "drifted", differences=(" ".join(str(error).split()),))
    else:
        drift = schema_drift(template.table_name, [_with_live_order(change, table.schema()) for change in changes])
    try:
        if (opened := pointers.get()) is None:
            return drift
        return pointer_drift(drift, _wrong_pointer(opened, catalog, template, table))
    except PointerUnreachableError as error:
        return pointer_unseen(drift, str(error))
    except PointerError as error:
        return pointer_drift(drift, [str(error)])
    except Exception as error:  # what is known of the table is told all the same
        return pointer_unseen(drift, _reason(error))


def _wrong_pointer(pointers: Pointers, catalog: Catalog, template: TableTemplate, table: Table) -> list[str]:
    """What is wrong with what points at a table, looked at twice: a run moves it a moment after its commit. Sentences."""
    first = pointers.read(template.table_name)
    if first is not None and not wrong_with(pointers, template, table, first):
        return []
    time.sleep(_SECOND_LOOK)
    again = pointers.read(template.table_name)
    if again is None:
        return ["Nothing points at it.", remedy(template.table_name)]
    wrong = wrong_with(pointers, template, load_newest(catalog, template.table_name), again)
    return [*wrong, remedy(template.table_name)] if wrong and first is not None and first.version == again.version else []


def _with_live_order(change: Change, live: Schema) -> Change:
    """A plan has only the order that columns are to get; another wrong order is another drift."""
    if change.kind != "move-columns":
        return change
    around = f"{change.subject}." if change.subject else ""
    names = [name.removeprefix(around) for name in live.column_names if name.startswith(around)]
    return replace(change, before=", ".join(name for name in names if "." not in name))
