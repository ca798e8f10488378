"""Where tables' rows come from: sources, inputs and quarantine tables as a graph, and the parts of it that pictures show."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lakehouse.errors import without_credentials
from lakehouse.pipelines import Source
from lakehouse.template import TableTemplate

NodeKind = Literal["source", "table", "quarantine", "namespace"]
EdgeKind = Literal["source", "input", "quarantine"]


@dataclass(frozen=True)
class Node:
    """A table, or where files come from.

    Attributes:
        id: ``namespace.name`` of a table; of a source its path, after ``source:``.
        label, note: its two lines; title: all of it.
        namespace: that of the table; a source belongs to each that it fills.
        page: the file name of the page about it, if there is one.
        outside: whether the picture is about others, and shows it as a neighbour.
        here: whether the page that shows the picture is its own.
    """

    id: str
    kind: NodeKind
    label: str
    note: str
    title: str
    namespace: str = ""
    page: str | None = None
    outside: bool = False
    here: bool = False


@dataclass(frozen=True)
class Lineage:
    """Nodes by their id, and what goes from one to another."""

    nodes: Mapping[str, Node]
    edges: Mapping[tuple[str, str], EdgeKind]


def page_of(template: TableTemplate) -> str:
    """The file name of a table's page."""
    return f"{template.table_name}.html"


def lineage_of(templates: Sequence[TableTemplate]) -> Lineage:
    """The whole graph of these tables, their quarantine tables among them."""
    tables = {template.table_name: template for template in templates}
    quarantines = {name: found.table_name for name, template in tables.items() if (found := template.quarantine) is not None}
    put_aside = frozenset(quarantines.values())
    nodes = {name: _table_node(template, "quarantine" if name in put_aside else "table") for name, template in tables.items()}
    edges: dict[tuple[str, str], EdgeKind] = {}
    for name, template in tables.items():
        if (source := source_of(template)) is not None:
            node = _source_node(source)
            nodes[node.id] = node
            edges[node.id, name] = "source"
        for read in template.input_templates(tables):
            edges[read.table_name, name] = "input"
        if name in quarantines:
            edges[name, quarantines[name]] = "quarantine"
    return Lineage(nodes, edges)


def source_of(template: TableTemplate) -> Source | None:
    """Where a table's files come from; None where its rows do not come from files."""
    pipeline = template.event_stream or template.scd_type2
    return pipeline.source if pipeline else None


def path_of(source: Source) -> str:
    """A source's path as the template has it: variables are not filled in, and no login is shown."""
    return without_credentials(source.path)


def of_namespace(lineage: Lineage, namespace: str) -> Lineage:
    """A namespace's tables, with their sources, and the tables of others that they read or that read them."""
    own = {node.id for node in lineage.nodes.values() if node.namespace == namespace}
    return _around(lineage, own)


def of_table(lineage: Lineage, table: str) -> Lineage:
    """A table and its neighbours: what it is filled from, and what is filled from it."""
    found = _around(lineage, {table})
    nodes = {name: replace(node, outside=False, here=name == table) for name, node in found.nodes.items()}
    return Lineage(nodes, found.edges)


def between_namespaces(lineage: Lineage) -> Lineage:
    """The namespaces, and which of them reads which."""
    tables = [node for node in lineage.nodes.values() if node.namespace]
    counts: dict[str, int] = {}
    for node in tables:
        counts[node.namespace] = counts.get(node.namespace, 0) + 1
    nodes = {
        name: Node(name, "namespace", name, f"{count} {'table' if count == 1 else 'tables'}", f"The namespace {name}: {count}", name)
        for name, count in sorted(counts.items())
    }
    pairs = ((lineage.nodes[start].namespace, lineage.nodes[end].namespace) for start, end in lineage.edges)
    return Lineage(nodes, {(start, end): "input" for start, end in pairs if start and start != end})


def nodes_before(lineage: Lineage, table: str, kind: EdgeKind) -> list[Node]:
    """What leads to a table by edges of this kind."""
    return [lineage.nodes[start] for (start, end), found in lineage.edges.items() if end == table and found == kind]


def nodes_after(lineage: Lineage, table: str, kind: EdgeKind) -> list[Node]:
    """What edges of this kind lead to from a table."""
    return [lineage.nodes[end] for (start, end), found in lineage.edges.items() if start == table and found == kind]


def _around(lineage: Lineage, own: Collection[str]) -> Lineage:
    """Some nodes, and those that an edge links with them."""
    edges = {edge: kind for edge, kind in lineage.edges.items() if edge[0] in own or edge[1] in own}
    shown = {*own, *(node for edge in edges for node in edge)}
    nodes = {
        name: replace(node, outside=name not in own and node.kind != "source") for name, node in lineage.nodes.items() if name in shown
    }
    return Lineage(nodes, edges)


def _table_node(template: TableTemplate, kind: NodeKind) -> Node:
    note = "quarantine" if kind == "quarantine" else pattern_of(template) or "no pipeline"
    title = f"{template.table_name}: {template.description}" if template.description else template.table_name
    return Node(template.table_name, kind, template.name, note, title, template.namespace, page_of(template))


def pattern_of(template: TableTemplate) -> str:
    """``event_stream``, ``scd_type2`` or ``feature_table``; empty where nothing fills the table."""
    pipeline = template.event_stream or template.pipeline
    return pipeline.pattern if pipeline else ""


def _source_node(source: Source) -> Node:
    path = path_of(source)
    last = path.rstrip("/").rpartition("/")[2] or path
    label = f"{last}/" if path.endswith("/") and last != path else last
    return Node(f"source:{path}", "source", label, f"{source.format} files", f"{source.format} files: {path}")
