"""Lays a graph out in layers, from left to right, as Sugiyama's method does. Knows nothing of tables.

Boxes are put into columns by how far they are from where things begin, ordered so that few lines cross, and moved beside what they
belong to. A line that passes a column has a place of its own in it, so that it runs behind no box.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

BOX_WIDTH, BOX_HEIGHT = 204, 46
_GAP_X, _GAP_Y = 52, 14
_LINE_HEIGHT = 6  # of the place that a line has in a column it passes
_MARGIN = 4
_SWEEPS = 8

Edge = tuple[str, str]
# A box, or the place of a line in the column that it passes.
_Place = str | tuple[Edge, int]
_Links = Mapping[_Place, Sequence[_Place]]


@dataclass(frozen=True)
class Box:
    """Where a node is: its upper left corner."""

    id: str
    x: float
    y: float


@dataclass(frozen=True)
class Curve:
    """An edge as the path of an SVG."""

    edge: Edge
    path: str


@dataclass(frozen=True)
class Layout:
    """Where everything is, in pixels of the picture's own size."""

    width: float
    height: float
    boxes: list[Box]
    curves: list[Curve]


def lay_out(nodes: Sequence[str], edges: Iterable[Edge], width: float) -> Layout:
    """Lays out a graph, each connected part for itself, the largest first.

    Args:
        edges: pairs of nodes; circles are allowed.
        width: of the picture; small parts stand beside each other up to it, and a part that needs more has more.
    """
    edges = [edge for edge in dict.fromkeys(edges) if edge[0] != edge[1]]
    parts = [_part(part, [edge for edge in edges if edge[0] in part]) for part in map(dict.fromkeys, _components(nodes, edges))]
    parts.sort(key=lambda part: -len(part.boxes))
    boxes, curves = list[Box](), list[Curve]()
    x = y = shelf = right = 0.0
    for part in parts:
        if x and x + part.width > width:
            x, y, shelf = 0.0, y + shelf + 2 * _GAP_Y, 0.0
        boxes += [Box(box.id, box.x + x + _MARGIN, box.y + y + _MARGIN) for box in part.boxes]
        curves += [Curve(edge, _path(points, x + _MARGIN, y + _MARGIN)) for edge, points in part.lines.items()]
        right, shelf = max(right, x + part.width), max(shelf, part.height)
        x += part.width + _GAP_X
    return Layout(right + 2 * _MARGIN, y + shelf + 2 * _MARGIN, boxes, curves)


@dataclass(frozen=True)
class _Part:
    width: float
    height: float
    boxes: list[Box]
    lines: dict[Edge, list[tuple[float, float]]]


def _components(nodes: Sequence[str], edges: Iterable[Edge]) -> Iterator[list[str]]:
    beside = defaultdict[str, list[str]](list)
    for start, end in edges:
        beside[start].append(end)
        beside[end].append(start)
    seen = set[str]()
    for node in nodes:
        if node in seen:
            continue
        seen.add(node)
        found = [node]
        for each in found:  # grows meanwhile
            fresh = [other for other in beside[each] if other not in seen]
            seen.update(fresh)
            found += dict.fromkeys(fresh)
        yield found


def _part(nodes: Iterable[str], edges: Sequence[Edge]) -> _Part:
    layers = _layers(nodes, edges)
    chains = {edge: _chain(edge, layers) for edge in edges}
    columns: list[list[_Place]] = [[] for _ in range(max(layers.values()) + 1)]
    for node, layer in layers.items():
        columns[layer].append(node)
    before, after = defaultdict[_Place, list[_Place]](list), defaultdict[_Place, list[_Place]](list)
    for edge, chain in chains.items():
        for layer, place in enumerate(chain[1:-1], min(layers[node] for node in edge) + 1):
            columns[layer].append(place)
        for left, right in pairwise(chain):
            after[left].append(right)
            before[right].append(left)
    columns = _ordered(columns, before, after)
    centres = _centres(columns, before, after)
    step = BOX_WIDTH + _GAP_X
    top = min(centre - _height(place) / 2 for place, centre in centres.items())
    boxes = [Box(node, layer * step, centres[node] - BOX_HEIGHT / 2 - top) for node, layer in layers.items()]
    height = max(centre + _height(place) / 2 for place, centre in centres.items()) - top
    lines = {edge: list(_points(edge, chain, layers, centres, top)) for edge, chain in chains.items()}
    return _Part(len(columns) * step - _GAP_X, height, boxes, lines)


def _layers(nodes: Iterable[str], edges: Iterable[Edge]) -> dict[str, int]:
    """How many edges, at most, lead to each node. Of a circle one edge is turned round for it."""
    sources: dict[str, set[str]] = {node: set() for node in nodes}
    for start, end in edges:
        sources[end].add(start)
    while True:
        try:
            order = list(TopologicalSorter(sources).static_order())
            break
        except CycleError as error:
            start, end = error.args[1][:2]
            sources[end].discard(start)
            sources[start].add(end)
    layers: dict[str, int] = {}
    for node in order:
        layers[node] = max((layers[source] + 1 for source in sources[node]), default=0)
    return {node: layers[node] for node in sources}


def _chain(edge: Edge, layers: Mapping[str, int]) -> list[_Place]:
    """The places that an edge goes through, from left to right."""
    left, right = sorted(edge, key=lambda node: layers[node])
    return [left, *((edge, layer) for layer in range(layers[left] + 1, layers[right])), right]


def _ordered(columns: list[list[_Place]], before: _Links, after: _Links) -> list[list[_Place]]:
    """The columns with their places in an order in which few lines cross."""
    best, fewest = columns, _crossings(columns, after)
    for sweep in range(_SWEEPS):
        links, order = (before, columns[1:]) if sweep % 2 == 0 else (after, columns[-2::-1])
        place = {key: float(index) for column in columns for index, key in enumerate(column)}
        for column in order:
            column.sort(key=lambda key, place=place, links=links: _mean(place, links.get(key, ()), place[key]))  # type: ignore[misc]
            place.update((key, float(index)) for index, key in enumerate(column))
        if (crossings := _crossings(columns, after)) < fewest:
            best, fewest = [list(column) for column in columns], crossings
        if sweep == 0 and best is columns:
            best = [list(column) for column in columns]
    return best


def _crossings(columns: Sequence[Sequence[_Place]], after: _Links) -> int:
    count = 0
    for left, right in pairwise(columns):
        place, seen = {key: index for index, key in enumerate(right)}, list[int]()
        for key in left:
            ends = sorted(place[end] for end in after.get(key, ()))
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


def _centres(columns: Sequence[Sequence[_Place]], before: _Links, after: _Links) -> dict[_Place, float]:
    """The vertical middle of each place: near those that it is linked with, and apart from those of its column."""
    centres: dict[_Place, float] = {}
    for column in columns:
        centres.update(zip(column, _apart(column, [0.0] * len(column)), strict=True))
    for sweep in range(_SWEEPS):
        links, order = (before, columns) if sweep % 2 == 0 else (after, columns[::-1])
        for column in order:
            wanted = [_mean(centres, links.get(place, ()), centres[place]) for place in column]
            centres.update(zip(column, _apart(column, wanted), strict=True))
    return centres


def _apart(column: Sequence[_Place], wanted: Sequence[float]) -> list[float]:
    """Positions as near as possible to those wanted, in least squares, far enough from each other: isotonic regression."""
    offsets = [0.0]
    for above, below in pairwise(column):
        offsets.append(offsets[-1] + (_height(above) + _height(below)) / 2 + _GAP_Y)
    blocks: list[tuple[float, int]] = []  # the mean, and of how many
    for position, offset in zip(wanted, offsets, strict=True):
        block = (position - offset, 1)
        while blocks and blocks[-1][0] >= block[0]:
            mean, count = blocks.pop()
            block = ((mean * count + block[0] * block[1]) / (count + block[1]), count + block[1])
        blocks.append(block)
    means = [mean for mean, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _mean(values: Mapping[_Place, float], keys: Sequence[_Place], default: float) -> float:
    return sum(values[key] for key in keys) / len(keys) if keys else default


def _height(place: _Place) -> float:
    return BOX_HEIGHT if isinstance(place, str) else _LINE_HEIGHT


def _points(
    edge: Edge, chain: Sequence[_Place], layers: Mapping[str, int], centres: Mapping[_Place, float], top: float
) -> Iterator[tuple[float, float]]:
    """Where a line leaves a column and enters the next one, in turns, from the edge's start to its end."""
    step, points = BOX_WIDTH + _GAP_X, list[tuple[float, float]]()
    for place in chain:
        layer = layers[place] if isinstance(place, str) else place[1]
        points += [(layer * step, centres[place] - top), (layer * step + BOX_WIDTH, centres[place] - top)]
    inner = points[1:-1]
    return iter(inner if chain[0] == edge[0] else inner[::-1])


def _path(points: Sequence[tuple[float, float]], x: float, y: float) -> str:
    shifted = [(point[0] + x, point[1] + y) for point in points]
    parts = [f"M{shifted[0][0]:g} {shifted[0][1]:.1f}"]
    for index, (start, end) in enumerate(pairwise(shifted)):
        middle = (start[0] + end[0]) / 2
        curve = f"C{middle:g} {start[1]:.1f} {middle:g} {end[1]:.1f} {end[0]:g} {end[1]:.1f}"
        parts.append(curve if index % 2 == 0 else f"L{end[0]:g} {end[1]:.1f}")
    return " ".join(parts)
