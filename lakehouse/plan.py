"""What `apply` would do, table by table. Read-only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pyiceberg.catalog import Catalog

from lakehouse.errors import LakehouseError
from lakehouse.schema_plan import Change, Level, worst_level
from lakehouse.settings import LakehouseSettings
from lakehouse.table_plan import TablePlan
from lakehouse.tables import Tables, open_tables
from lakehouse.template import TableTemplate

# So that CI can gate on it.
NOTHING, FAILED, CHANGES, BREAKING = 0, 1, 2, 3


@dataclass(frozen=True)
class Planned:
    """What would be done about one table.

    Attributes:
        action: create; change; none; error, where the live table cannot be looked at or the change is not permitted now.
        changes: every difference, breaking ones among them.
        error: why it cannot be planned, and what to do.
    """

    table: str
    action: Literal["create", "change", "none", "error"]
    changes: list[Change] = field(default_factory=list[Change])
    error: str = ""

    @property
    def level(self) -> Level | None:
        """The worst level of its changes; None without any."""
        return worst_level(self.changes) or ("safe" if self.action == "create" else None)

    def as_dict(self) -> dict[str, Any]:
        """The form of ``lakehouse plan --json``, documented in docs/changing-tables.md."""
        changes = [asdict(change) for change in self.changes]
        return {"table": self.table, "action": self.action, "level": self.level, "changes": changes, "error": self.error}


def plan(settings: LakehouseSettings, catalog: Catalog, templates: Iterable[TableTemplate]) -> Iterator[Planned]:
    """The plan of each table and its quarantine table. One that cannot be looked at hides no other."""
    tables = open_tables(settings, catalog)
    for template in templates:
        for wanted in filter(None, (template, template.quarantine)):
            try:
                yield plan_table(tables, wanted)
            except LakehouseError as error:
                yield Planned(wanted.table_name, "error", error=str(error))
            except Exception as error:
                yield Planned(wanted.table_name, "error", error=f"{type(error).__name__}: {error}")


def plan_table(tables: Tables, template: TableTemplate) -> Planned:
    """The plan of one table. Raises what its catalog does."""
    if (table := tables.load(template)) is None:
        tables.check_create(template)
        return Planned(template.table_name, "create")
    table_plan = TablePlan(table, template, tables.properties(template), entry_changes=tables.entry_changes(template, table))
    if not table_plan.changes:
        return Planned(template.table_name, "none")
    tables.check(table_plan)
    return Planned(template.table_name, "change", table_plan.changes)


def exit_code(planned: Iterable[Planned]) -> int:
    """0 no change, 2 changes, 3 breaking changes among them, 1 a table that could not be planned."""
    found = list(planned)
    if any(table.action == "error" for table in found):
        return FAILED
    if any(table.level == "breaking" for table in found):
        return BREAKING
    return CHANGES if any(table.action != "none" for table in found) else NOTHING
