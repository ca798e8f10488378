"""``lakehouse catalog-page``: a static site of the tables, for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lakehouse.cli_arguments import Json
from lakehouse.cli_output import ERR, OUT, print_json
from lakehouse.settings import LakehouseSettings

app = typer.Typer()
_MOST_WARNINGS = 10


@app.command("catalog-page", epilog="Example: lakehouse catalog-page --output data/catalog")
def catalog_page(
    output: Annotated[Path, typer.Option("--output", help="The folder to write; pages of tables that are gone are removed.")] = Path(
        "data/catalog"
    ),
    checks: Annotated[
        Path | None,
        typer.Option(
            "--checks", metavar="FILE", help="The checks' last results, as python -m quality --json prints them; -: standard input."
        ),
    ] = None,
    live: Annotated[bool, typer.Option(help="Ask the backend for sizes over time and health.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that the backend is waited for.")] = 60,
    as_json: Json = False,
) -> None:
    """Write a site of the tables: columns, who sees them, lineage, checks, sizes over time. It opens without a server.

    A backend that does not answer is a warning: the pages say what the templates say.
    """
    from lakehouse.catalog_page import write_catalog_page
    from lakehouse.cli_checks import checks_of
    from lakehouse.lint import load_templates

    settings = LakehouseSettings.load()
    templates = load_templates(settings.templates, settings.variables)
    written = write_catalog_page(
        settings,
        templates,
        output,
        checks={template.table_name: checks_of(settings, template) for template in templates},
        results=checks,
        timeout=timeout if live else None,
    )
    if live:
        for reason in _warnings(written.reason, written.missing):
            ERR.print(Text(f"warning: no live figures{reason}", style="yellow"))
    if as_json:
        facts = {"reason": written.reason, "missing": dict(written.missing)}
        print_json({"version": 1, "index": str(written.pages[0]), "pages": len(written.pages), "live": written.reason is None, **facts})
    else:
        OUT.print(Text(f"{len(written.pages)} pages. Open {written.pages[0]}"))


def _warnings(reason: str | None, missing: Mapping[str, str]) -> list[str]:
    if reason is not None:
        return [f": {reason}"]
    told = [f" of {table}: {why}" for table, why in missing.items()]
    return told if len(told) <= _MOST_WARNINGS else [*told[:_MOST_WARNINGS], f" of {len(told) - _MOST_WARNINGS} more"]
