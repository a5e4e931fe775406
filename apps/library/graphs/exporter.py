"""Writes an agent as a file for other people and installations."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.library.blocks.base import BlockType
from apps.library.graphs import schemas, secrecy
from apps.library.graphs.shape import GraphData, from_rows
from apps.library.models import Graph

#: How far agents that run agents are followed; deeper ones can't run either.
MOST_LEVELS = 10

Key = tuple[UUID, int]


def export_graph(graph: Graph) -> dict[str, Any]:
    """Return a version in the file format, with the agents that it runs, without credentials and secrets."""
    data = with_sub_graphs(graph)
    secrecy.strip(data)
    file = data.as_json()
    for part, each in zip(file["sub_graphs"], data.sub_graphs, strict=True):
        part.update(schemas.facts(each))
        del part["sub_graphs"]
    return {**file, **schemas.facts(data)}


def with_sub_graphs(graph: Graph) -> GraphData:
    """Return a stored version with the agents that it runs, and theirs; three queries more for each level of these."""
    data = from_rows(graph)
    data.sub_graphs = sub_graphs(graph, data)
    return data


def sub_graphs(graph: Graph, data: GraphData) -> list[GraphData]:
    """Return the graphs of the same person that a graph's nodes run, and theirs, each once."""
    seen: set[Key] = {(graph.graph_id, graph.version)}
    found: list[GraphData] = []
    level = [data]
    for _ in range(MOST_LEVELS):
        keys = list(dict.fromkeys(key for each in level for key in run_by(each) if key not in seen))
        if not keys:
            break
        seen |= set(keys)
        rows = Graph.objects.filter(
            user_id=graph.user_id, graph_id__in={graph_id for graph_id, _ in keys}, version__in={v for _, v in keys}
        ).prefetch_related("nodes", "links")
        by_key = {(row.graph_id, row.version): row for row in rows}
        level = [from_rows(by_key[key]) for key in keys if key in by_key]
        found += level
    return found


def run_by(data: GraphData) -> list[Key]:
    """Return which versions of which graphs a graph's nodes run."""
    found: list[Key] = []
    for node, _ in schemas.nodes_of(data, BlockType.AGENT):
        version = node.input_default.get("graph_version")
        graph_id = as_uuid(node.input_default.get("graph_id"))
        # Versions beyond what the database can hold are nobody's.
        if graph_id is not None and isinstance(version, int) and 0 < version < 2**31:
            found.append((graph_id, int(version)))
    return found


def as_uuid(value: Any) -> UUID | None:
    """Return an id that a file wrote as text; None when it is none."""
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
