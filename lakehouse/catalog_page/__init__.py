"""A static site from the templates: what tables there are, who sees which column, where rows come from, checks, sizes over time.

Nothing of a row is in it, no value's bounds, and nothing of the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lakehouse.catalog_page.live import LiveAnswer, publishable, read_live
from lakehouse.catalog_page.model import Site, gather
from lakehouse.catalog_page.render import write_site
from lakehouse.catalog_page.results import read_results
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate, with_quarantine

__all__ = ["Written", "write_catalog_page"]


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        pages: the files; index.html is the first.
        reason: why there are no live figures; None where there are. missing: why single tables have none. With what pages leave
            out of it, such as addresses.
    """

    pages: list[Path]
    reason: str | None
    missing: Mapping[str, str]


def write_catalog_page(
    settings: LakehouseSettings,
    templates: Sequence[TableTemplate],
    output: Path,
    *,
    checks: Mapping[str, Sequence[Mapping[str, Any]]],
    results: Path | None = None,
    timeout: float | None = 60,
) -> Written:
    """Writes the site into a folder.

    Args:
        checks: by table name, as ``lakehouse checks --json`` has them.
        results: a file with the checks' last results, see ``results.py``.
        timeout: seconds that the backend is waited for; None does not ask it.

    Raises:
        SettingsError: ``results`` is no such file, or the folder cannot be written. A backend that does not answer is no error.
    """
    found = read_results(results)
    everything = with_quarantine(templates)
    live = LiveAnswer("They were not asked for.") if timeout is None else read_live(settings, everything, timeout)
    site = Site(
        tables=gather(everything, checks, found, live),
        backend=settings.backend,
        branch=settings.branch,
        reason=publishable(live.reason) if live.reason else None,
        made_at=datetime.now(UTC),
        repository_url=settings.repository_url,
    )
    return Written(write_site(site, output), live.reason, live.missing)
