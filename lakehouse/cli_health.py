"""What ``lakehouse health`` does and prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from lakehouse.catalog import open_catalog
from lakehouse.cli_output import OUT, print_grid, print_json, size_text
from lakehouse.errors import CatalogError
from lakehouse.health import Health, check_health
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

_COLUMNS = ["table", "rows", "files", "size", "average", "small", "deletes", "snapshots", "manifests", "metadata"]


def health(settings: LakehouseSettings, templates: Sequence[TableTemplate], as_json: bool) -> None:
    """Prints the health of tables. Raises CatalogError, after all others, with those that cannot be read."""
    answers = list(check_health(settings, open_catalog(settings), templates))
    found = [answer for answer in answers if isinstance(answer, Health)]
    if as_json:
        print_json([table.as_dict() for table in found])
    else:
        title = f"{len(found)} {'table' if len(found) == 1 else 'tables'}"
        print_grid(title, _COLUMNS, [_row(table) for table in found], right=tuple(_COLUMNS[1:]))
        for table in found:
            for advice in table.advice:
                OUT.print(Text(f"{table.table}: ", style="yellow").append(advice, style="default"))
        if found and not any(table.advice for table in found):
            OUT.print(Text("There is nothing to do.", style="green"))
    if broken := [str(answer) for answer in answers if isinstance(answer, CatalogError)]:
        raise CatalogError("\n".join(broken))


def _row(table: Health) -> list[object]:
    return [
        table.table,
        f"{table.rows:,}",
        f"{table.files:,}",
        size_text(table.bytes),
        size_text(table.average_bytes),
        f"{table.small_share:.0%}",
        f"{table.position_deletes + table.equality_deletes:,}",
        f"{table.snapshots:,}",
        f"{table.manifests:,}, {size_text(table.manifest_bytes)}",
        size_text(table.metadata_bytes),
    ]
