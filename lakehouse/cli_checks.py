"""What ``lakehouse checks`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakehouse.cli_output import OUT, print_grid
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from quality.checks import Check


def checks_of(settings: LakehouseSettings, template: TableTemplate) -> list[dict[str, Any]]:
    """A table's quality checks, for programs. Raises ChecksError where its SodaCL file cannot be used."""
    return [
        {
            "name": check.name,
            "definition": check.definition,
            "threshold": check.threshold,
            "column": check.column,
            "severity": check.severity,
            "blocking": check.blocking,
            "generated": check.generated,
            "source": check.source,
        }
        for check in _table_checks(settings, template)
    ]


def print_checks(template: TableTemplate, checks: list[dict[str, Any]]) -> None:
    """The checks as ``checks_of`` gives them."""
    if not checks:
        OUT.print(f"{template.table_name} has no checks.")
        return
    rows = [
        [check["name"], check["definition"], check["severity"], "yes" if check["blocking"] else "", "yes" if check["generated"] else "",
         check["source"]]
        for check in checks
    ]  # fmt: skip
    print_grid(f"Checks of {template.table_name}", ["name", "definition", "severity", "blocking", "generated", "source"], rows)


def _table_checks(settings: LakehouseSettings, template: TableTemplate) -> tuple[Check, ...]:
    # The command line is the outermost layer: only it knows of `quality`, and only when it is asked.
    from quality.checks import table_checks

    return table_checks(settings, template)
