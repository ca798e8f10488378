"""Makes the catalog hold what the templates describe: creates what is missing, changes what differs, recreates nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from lakehouse.errors import LakehouseError
from lakehouse.pointers import Moved, follow, open_pointers
from lakehouse.settings import LakehouseSettings
from lakehouse.table_plan import TablePlan
from lakehouse.tables import Tables, open_tables
from lakehouse.template import TableTemplate

_ATTEMPTS = 8


@dataclass(frozen=True)
class Applied:
    """What was done about one table. ``detail`` says what changed, or why it failed or was refused.

    ``refused``: it has breaking changes, which were not made; the safe ones were.
    """

    table: str
    action: Literal["created", "changed", "exists", "refused", "failed"]
    detail: str = ""


def apply(
    settings: LakehouseSettings, catalog: Catalog, templates: Iterable[TableTemplate], allow_breaking: bool = False
) -> Iterator[Applied]:
    """Creates or changes each table, and its quarantine table. One that fails does not keep the others from being made.

    What differs is changed in one transaction per table. Breaking changes are refused unless they are allowed, the others made.
    What readers ask in the catalog's place follows, see ``lakehouse.pointers``.
    """
    tables, pointers = open_tables(settings, catalog), open_pointers(settings)
    for template in templates:
        for wanted in filter(None, (template, template.quarantine)):
            try:
                applied = _apply_one(tables, wanted, allow_breaking)
                yield applied if pointers is None else _followed(applied, follow(pointers, settings, catalog, [wanted]))
            except LakehouseError as error:
                yield Applied(wanted.table_name, "failed", str(error))
            except Exception as error:
                yield Applied(wanted.table_name, "failed", f"{type(error).__name__}: {error}")


def _followed(applied: Applied, moved: list[Moved]) -> Applied:
    """What was done, with what became of the table's pointer."""
    for found in moved:
        if found.action == "failed":
            done = f"{applied.action} in the catalog{f' ({applied.detail})' if applied.detail else ''}"
            return Applied(applied.table, "failed", f"{done}, and readers are not shown it: {found.detail}")
        if found.action == "moved" and applied.action == "exists":
            return Applied(applied.table, "changed", "what points at it was moved to its newest metadata")
    return applied


# Another apply, or a pipeline's commit, came between reading and committing: read again, and plan again.
@retry(
    retry=retry_if_exception_type(CommitFailedException),
    stop=stop_after_attempt(_ATTEMPTS),
    wait=wait_random_exponential(multiplier=0.1, max=5),
    reraise=True,
)
def _apply_one(tables: Tables, template: TableTemplate, allow_breaking: bool) -> Applied:
    if (table := tables.load(template)) is None:
        try:
            tables.create(template)
        except TableAlreadyExistsError:  # another apply was faster, and made the same
            return Applied(template.table_name, "exists")
        return Applied(template.table_name, "created")
    plan = TablePlan(table, template, tables.properties(template), allow_breaking, tables.entry_changes(template, table))
    tables.check(plan)
    updates, requirements = plan.updates()
    refused = plan.refused
    made = [str(change) for change in plan.changes if change not in refused]
    if updates:
        with table.transaction() as transaction:
            transaction._apply(updates, requirements)
    tables.finish(plan)
    if refused:
        reasons = [f"{change} ({change.note})" if change.note else str(change) for change in refused]
        done = f"; done: {'; '.join(made)}" if made else ""
        return Applied(template.table_name, "refused", f"{'; '.join(reasons)}{done}")
    return Applied(template.table_name, "changed" if made else "exists", "; ".join(made))
