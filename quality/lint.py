"""What ``lakehouse lint`` says of the checks of templates: one that cannot be used keeps the whole code location from loading."""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse.errors import Problem
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate
from quality.checks import line_of, shown, table_checks
from quality.errors import ChecksError

_RULE = "checks"


def lint_checks(settings: LakehouseSettings, templates: Sequence[TableTemplate]) -> list[Problem]:
    """An error for each table whose checks cannot be used, and for each whose audits would check nothing."""
    found = [problem for template in templates if (problem := _problem(settings, template)) is not None]
    return [*dict.fromkeys(found)]  # a folder that is not there is one error, whatever the number of tables


def _problem(settings: LakehouseSettings, template: TableTemplate) -> Problem | None:
    try:
        checks = table_checks(settings, template)
    except ChecksError as error:
        file = error.file or str(settings.checks)
        return Problem(file, error.line or 1, error.column or 1, error.key, _RULE, "error", error.message, error.remedy)
    if template.publish == "audited" and not checks:
        message = f"{template.table_name} is published after its checks, and has none."
        remedy = f"Write some in {shown(settings.checks / template.name)}_checks.yaml, or set `publish: direct`."
        return Problem(shown(template.path), line_of(template, "publish"), 1, "publish", _RULE, "error", message, remedy)
    return None
