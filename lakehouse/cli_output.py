"""How the command line prints: consoles, JSON, grids."""

from __future__ import annotations

import sys
from typing import Any

import simplejson
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

# Not a terminal: wide enough that a table's lines stay lines.
OUT = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 180)
ERR = Console(stderr=True, soft_wrap=True, highlight=False)


def print_json(value: Any) -> None:
    """Prints a value for programs."""
    # JSON has no NaN; bytes and decimals are shown as text.
    print(simplejson.dumps(value, indent=2, default=str, ensure_ascii=False, ignore_nan=True, use_decimal=False, encoding=None))


def print_grid(title: str, columns: list[str], rows: list[list[Any]], right: tuple[str, ...] = ()) -> None:
    """Prints rows under column names; columns named in ``right`` are aligned right."""
    grid = Grid(title=title, title_justify="left", header_style="bold")
    for column in columns:
        grid.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    OUT.print(grid)


def size_text(count: int) -> str:
    """Bytes as people read them: ``1.5 MiB``."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:,.0f} {units[0]}" if units[0] == "B" else f"{value:,.1f} {units[0]}"
