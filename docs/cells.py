"""Markdown tables, as GitHub and the site both read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape


def cell(text: str) -> str:
    """Text that Markdown takes neither for a new cell nor, outside of code, for HTML."""
    return "".join(_part(part) for part in re.split(r"(`[^`]*`)", " ".join(text.split())))


def _part(text: str) -> str:
    if text.startswith("`") and "|" in text:
        # GitHub wants a bar in code escaped, Python's Markdown shows the escape.
        return f"<code>{escape(text.strip('`'), quote=False).replace('|', '&#124;')}</code>"
    return text if text.startswith("`") else text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
