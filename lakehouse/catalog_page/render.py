"""Writes the pages. Everything that a template says is escaped; nothing is loaded from elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lakehouse.catalog_page import lineage as lineages
from lakehouse.catalog_page.charts import HEIGHT, WIDTH, Chart, line_chart
from lakehouse.catalog_page.layout import BOX_HEIGHT, BOX_WIDTH, Layout, lay_out
from lakehouse.catalog_page.lineage import Lineage, Node
from lakehouse.catalog_page.live import Figures
from lakehouse.catalog_page.model import Site, TableEntry
from lakehouse.cli_output import size_text
from lakehouse.errors import SettingsError
from lakehouse.governance import ROLES

_FILES = ("catalog.css", "search.js")
_TABLES = "tables"
# In each page, so that an old one is known for what it is.
GENERATOR = "lakehouse catalog-page"
_SHOWN_COMMITS = 10
_PICTURE_WIDTH = 1240  # as wide as the page of all pictures


@dataclass(frozen=True)
class Picture:
    """A graph that is laid out: its nodes, and the edges' kinds, with their places."""

    lineage: Lineage
    layout: Layout
    name: str

    @property
    def nodes(self) -> Iterator[tuple[Node, float, float]]:
        return ((self.lineage.nodes[box.id], box.x, box.y) for box in self.layout.boxes)

    @property
    def curves(self) -> Iterator[tuple[str, str, str]]:
        """Kind, path, and what it says."""
        for curve in self.layout.curves:
            start, end = (self.lineage.nodes[node] for node in curve.edge)
            yield self.lineage.edges[curve.edge], curve.path, f"{start.label} to {end.label}"


class Renderer:
    """Makes the pages of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._environment = Environment(
            loader=PackageLoader("lakehouse.catalog_page"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
        )
        self._environment.filters |= {"size": size_text, "number": lambda number: f"{number:,}", "shortened": shortened, "plural": plural}
        self._environment.globals |= {
            "site": site, "roles": ROLES, "generator": GENERATOR,
            "box_width": BOX_WIDTH, "box_height": BOX_HEIGHT, "chart_width": WIDTH, "chart_height": HEIGHT,
        }  # fmt: skip

    @cached_property
    def _lineage(self) -> Lineage:
        return lineages.lineage_of([entry.template for entry in self._site.tables])

    def index(self) -> str:
        """The page with all tables, and the search."""
        words = {entry.name: [[found.column.name, found.column.description] for found in entry.columns] for entry in self._site.tables}
        newest = [entry.figures.commits[-1] for entry in self._site.tables if entry.figures and entry.figures.commits]
        totals = {"rows": sum(commit.rows for commit in newest), "bytes": sum(commit.bytes for commit in newest)} if newest else None
        return self._render("index.html", "", words=words, totals=totals)

    def lineage(self) -> str:
        """The page with a picture for each namespace."""
        names = list(self._site.namespaces)
        pictures = [(name, _picture(lineages.of_namespace(self._lineage, name), f"lineage-{name}")) for name in names]
        overview = _picture(lineages.between_namespaces(self._lineage), "namespaces") if len(names) > 1 else None
        return self._render("lineage.html", "", pictures=pictures, overview=overview)

    def table(self, entry: TableEntry) -> str:
        """The page of one table."""
        around = lineages.of_table(self._lineage, entry.name)
        return self._render(
            "table.html",
            "../",
            entry=entry,
            picture=_picture(around, "neighbours") if around.edges else None,
            neighbours=list(_neighbours(around, entry.name)),
            charts=charts_of(entry.figures, self._site.made_at) if entry.figures else [],
            commits=entry.figures.commits[: -_SHOWN_COMMITS - 1 : -1] if entry.figures else [],
        )

    def _render(self, name: str, root: str, **values: Any) -> str:
        return self._environment.get_template(name).render(root=root, tables=f"{root}{_TABLES}/", **values)


def write_site(site: Site, output: Path) -> list[Path]:
    """Writes all pages into a folder, and returns them; pages of tables that are gone are removed.

    Raises:
        SettingsError: the folder cannot be written.
    """
    renderer = Renderer(site)
    try:
        (output / _TABLES).mkdir(parents=True, exist_ok=True)
        pages = {output / "index.html": renderer.index(), output / "lineage.html": renderer.lineage()}
        for path, text in pages.items():
            path.write_text(text, encoding="utf-8")
        tables = {output / _TABLES / entry.page: entry for entry in site.tables}
        for path, entry in tables.items():
            path.write_text(renderer.table(entry), encoding="utf-8")
        for path in (output / _TABLES).glob("*.html"):
            if path not in tables and f'content="{GENERATOR}"' in path.read_text(encoding="utf-8", errors="replace"):
                path.unlink()
        for file in _FILES:
            shutil.copyfile(Path(__file__).parent / "templates" / file, output / file)
    except OSError as error:
        raise SettingsError(f"{error.filename or output} cannot be written: {error.strerror}. Name another folder: --output") from None
    return [*pages, *tables]


def charts_of(figures: Figures, until: datetime) -> list[Chart]:
    """Rows, bytes and files over time; none of a table without a commit."""
    if not (commits := figures.commits):
        return []
    return [
        line_chart("Rows", [(commit.at, commit.rows) for commit in commits], until, lambda number: f"{number:,}"),
        line_chart("Size", [(commit.at, commit.bytes) for commit in commits], until, size_text),
        line_chart("Files", [(commit.at, commit.files) for commit in commits], until, lambda number: f"{number:,}"),
    ]


def _picture(lineage: Lineage, name: str) -> Picture:
    return Picture(lineage, lay_out(list(lineage.nodes), lineage.edges, _PICTURE_WIDTH), name)


def _neighbours(around: Lineage, name: str) -> Iterator[tuple[str, Sequence[Node]]]:
    """The picture in words: what is linked with the table, and how."""
    for title, nodes in (
        ("Filled from", lineages.nodes_before(around, name, "source")),
        ("Reads", lineages.nodes_before(around, name, "input")),
        ("Read by", lineages.nodes_after(around, name, "input")),
        ("Quarantine", lineages.nodes_after(around, name, "quarantine")),
        ("Quarantine of", lineages.nodes_before(around, name, "quarantine")),
    ):
        if nodes:
            yield title, nodes


def shortened(text: str, length: int) -> str:
    """A text that fits, with an ellipsis where it is cut."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def plural(count: int, word: str) -> str:
    """``1 table``, ``2 tables``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
