"""A picture of a graph: where its boxes and wires go. Boxes stand as in the builder, or in columns where they can't."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from textwrap import wrap
from typing import Any

from apps.library.blocks.base import BlockType
from apps.library.graphs.shape import GraphData, NodeData

WIDTH, HEIGHT = 208, 60
GAP_X, GAP_Y = 64, 28
MARGIN = 16
#: Letters of a line within a box.
LETTERS = 25
#: Beyond this the places of the file leave too much emptiness between boxes; columns are clearer.
WIDEST = 6000
#: Every pair of boxes is compared; larger graphs stand in columns.
MOST_COMPARED = 150

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A node in the picture."""

    node_id: str
    label: str
    lines: tuple[str, ...]
    kind: str
    is_missing: bool
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Wire:
    """A link in the picture, with the words that a list has for it."""

    path: str
    source_id: str
    source: str
    source_pin: str
    sink: str
    sink_pin: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that a template draws."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]
    box_width: int = WIDTH
    box_height: int = HEIGHT


def draw(graph: GraphData) -> Picture:
    """Return the picture of a graph."""
    nodes = [node for node in graph.nodes if not _is_note(node)]
    places = _own_places(nodes) or _columns(nodes, graph)
    boxes = {node.id: _box(node, places[node.id]) for node in nodes}
    wires = tuple(
        Wire(_path(boxes[a.id], boxes[b.id]), a.id, a.label, link.source_name, b.label, link.sink_name)
        for link, a, b in graph.wires()
        if a.id in boxes and b.id in boxes
    )
    width = max((box.x + WIDTH for box in boxes.values()), default=0) + MARGIN
    height = max((box.y + HEIGHT for box in boxes.values()), default=0) + MARGIN
    return Picture(width, height, tuple(boxes.values()), wires)


def _is_note(node: NodeData) -> bool:
    return node.block is not None and node.block.type == BlockType.NOTE


def _box(node: NodeData, place: Place) -> Box:
    name = (
        node.input_default.get("name") if node.block and node.block.type in {BlockType.INPUT, BlockType.OUTPUT} else ""
    )
    label = str(name or node.label).strip() or "Block"
    kind = node.block.name if node.block else "Missing block"
    if kind == label:
        kind = ""
    elif node.block is None and label == node.block_id:
        label, kind = kind, label  # nobody knows what it is called
    lines = wrap(label, LETTERS, max_lines=2, placeholder="…", break_long_words=True)
    return Box(
        node_id=node.id,
        label=label,
        lines=tuple(lines) or ("Block",),
        kind=kind if len(kind) <= LETTERS + 5 else f"{kind[: LETTERS + 4]}…",
        is_missing=node.block is None,
        x=round(place[0]) + MARGIN,
        y=round(place[1]) + MARGIN,
    )


def _own_places(nodes: list[NodeData]) -> Mapping[str, Place]:
    """Return where the file puts the boxes, stretched until none lies on another; nothing where that isn't sensible."""
    given = {node.id: place for node in nodes if (place := _place(node)) is not None}
    if len(given) != len(nodes) or not 0 < len(nodes) <= MOST_COMPARED:
        return {}
    stretch = 0.0
    for (ax, ay), (bx, by) in combinations(given.values(), 2):
        across, down = abs(ax - bx), abs(ay - by)
        needed = min((WIDTH + GAP_X) / across if across else math.inf, (HEIGHT + GAP_Y) / down if down else math.inf)
        stretch = max(stretch, needed)
    if not stretch:
        stretch = 1.0  # one box alone
    left, top = min(x for x, _ in given.values()), min(y for _, y in given.values())
    places = {node_id: ((x - left) * stretch, (y - top) * stretch) for node_id, (x, y) in given.items()}
    most = len(nodes) * (WIDTH + GAP_X)
    fits = all(x <= min(WIDEST, most) and y <= min(WIDEST, most) for x, y in places.values())
    return places if fits else {}


def _place(node: NodeData) -> Place | None:
    found: Any = node.metadata.get("position")
    if not isinstance(found, dict):
        return None
    x, y = found.get("x"), found.get("y")
    is_number = all(isinstance(n, int | float) and math.isfinite(n) and abs(n) < 1e7 for n in (x, y))
    return (float(x), float(y)) if is_number and x is not None and y is not None else None


def _columns(nodes: list[NodeData], graph: GraphData) -> Mapping[str, Place]:
    """Return places by how many links are before each box; a ring begins where the file's order says."""
    before: dict[str, set[str]] = {node.id: set() for node in nodes}
    for _, source, sink in graph.wires():
        if source.id in before and sink.id in before and source is not sink:
            before[sink.id].add(source.id)
    column: dict[str, int] = {}
    while len(column) < len(before):
        waiting = [node_id for node_id in before if node_id not in column]
        ready = [node_id for node_id in waiting if before[node_id] <= column.keys()] or waiting[:1]
        # What is ready together doesn't depend on each other, so a whole rank is placed at once.
        for node_id in ready:
            column[node_id] = max((column[each] + 1 for each in before[node_id] if each in column), default=0)
    filled: dict[int, int] = {}
    places: dict[str, Place] = {}
    for node_id, rank in column.items():
        row = filled.get(rank, 0)
        filled[rank] = row + 1
        places[node_id] = (rank * (WIDTH + GAP_X), row * (HEIGHT + GAP_Y))
    return places


def _path(source: Box, sink: Box) -> str:
    """Return a curve from the right side of a box to the left side of another."""
    x1, y1 = source.x + WIDTH, source.y + HEIGHT // 2
    x2, y2 = sink.x, sink.y + HEIGHT // 2
    bend = max(28, abs(x2 - x1) // 2 if x2 >= x1 else 60)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
