"""Reads of agents, versions, folders and presets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from apps.library.blocks.base import BlockType
from apps.library.graphs import schemas
from apps.library.graphs.checks_of_blocks import AgentFacts, Agents
from apps.library.graphs.exporter import as_uuid
from apps.library.graphs.shape import GraphData, from_rows
from apps.library.models import Folder, Graph, LibraryAgent, Preset
from apps.runtime.errors import NotFound


def access_agent(user_id: UUID, agent_id: UUID) -> LibraryAgent:
    """Return an agent of a person's library, with its active version.

    Raises:
        NotFound: Alike for one that is unknown, deleted or somebody else's.
    """
    agent = LibraryAgent.objects.filter(user_id=user_id, pk=agent_id).select_related("graph").first()
    if agent is None:
        raise NotFound
    return agent


def version_of(agent: LibraryAgent, version: int | None) -> Graph:
    """Return a version of an agent; the active one for None.

    Raises:
        NotFound: When it has no such version.
    """
    if version is None:
        return agent.graph
    if version == agent.graph.version:
        return agent.graph
    known = version < 2**31  # beyond, a database would refuse to compare
    graph = Graph.objects.filter(graph_id=agent.graph_id_shared, version=version).first() if known else None
    if graph is None:
        raise NotFound
    return graph


def list_agents(
    *,
    user_id: UUID,
    limit: int,
    offset: int,
    search: str = "",
    folder_id: UUID | None = None,
    without_folder: bool = False,
    is_archived: bool | None = None,
    is_favorite: bool | None = None,
) -> tuple[list[LibraryAgent], int]:
    """Return a page of a person's library, latest change first, and how many agents there are.

    Args:
        user_id: Whose library.
        limit: Agents a page.
        offset: Agents to pass over.
        search: Only those whose name or description has this.
        folder_id: Only those in this folder.
        without_folder: Only those in none.
        is_archived: Only those that are archived, or aren't.
        is_favorite: Only those that are favorites, or aren't.
    """
    mine = LibraryAgent.objects.filter(user_id=user_id)
    if search:
        mine = mine.filter(Q(graph__name__icontains=search) | Q(graph__description__icontains=search))
    if without_folder or folder_id is not None:
        mine = mine.filter(folder=None if without_folder else folder_id)
    if is_archived is not None:
        mine = mine.filter(is_archived=is_archived)
    if is_favorite is not None:
        mine = mine.filter(is_favorite=is_favorite)
    return _page(mine.select_related("graph"), limit, offset)


def latest_agent_names(user_id: UUID, *, limit: int) -> list[str]:
    """Return the names of the agents that a person changed last and hasn't archived, at most so many."""
    mine = LibraryAgent.objects.filter(user_id=user_id, is_archived=False).order_by("-updated_at", "-id")
    return list(mine.values_list("graph__name", flat=True)[:limit])


def list_versions(*, agent: LibraryAgent, limit: int, offset: int) -> tuple[list[Graph], int]:
    """Return a page of an agent's versions, newest first, with `node_count`, and how many there are."""
    versions = Graph.objects.filter(graph_id=agent.graph_id_shared).order_by("-version")
    found, total = _page(versions.annotate(node_count=Count("nodes")), limit, offset)
    return found, total


def list_folders(
    *, user_id: UUID, limit: int, offset: int, parent_id: UUID | None = None, top: bool = False
) -> tuple[list[Folder], int]:
    """Return a page of a person's folders by name, with `agent_count`, and how many there are.

    Args:
        user_id: Whose folders.
        limit: Folders a page.
        offset: Folders to pass over.
        parent_id: Only those in this folder.
        top: Only those that are in none.
    """
    mine = Folder.objects.filter(user_id=user_id)
    if top:
        mine = mine.filter(parent=None)
    elif parent_id is not None:
        mine = mine.filter(parent=parent_id)
    return _page(mine.annotate(agent_count=Count("agents")), limit, offset)


def access_folder(user_id: UUID, folder_id: UUID) -> Folder:
    """Return a person's folder, with `agent_count`.

    Raises:
        NotFound: Alike for one that is unknown, deleted or somebody else's.
    """
    folders = Folder.objects.filter(user_id=user_id, pk=folder_id)
    folder = folders.annotate(agent_count=Count("agents")).first()
    if folder is None:
        raise NotFound
    return folder


def list_presets(*, user_id: UUID, limit: int, offset: int, agent_id: UUID | None = None) -> tuple[list[Preset], int]:
    """Return a page of a person's presets, latest change first, and how many there are."""
    mine = Preset.objects.filter(user_id=user_id)
    return _page(mine if agent_id is None else mine.filter(agent=agent_id), limit, offset)


def access_preset(user_id: UUID, preset_id: UUID) -> Preset:
    """Return a person's preset.

    Raises:
        NotFound: Alike for one that is unknown, deleted or somebody else's.
    """
    preset = Preset.objects.filter(user_id=user_id, pk=preset_id).first()
    if preset is None:
        raise NotFound
    return preset


def agents_run_by(user_id: UUID, graph: GraphData) -> Agents:
    """Return what a graph's nodes that run agents may know of those of the person's library."""
    wanted = {
        graph_id
        for node, _ in schemas.nodes_of(graph, BlockType.AGENT)
        if (graph_id := as_uuid(node.input_default.get("graph_id")))
    }
    if not wanted:
        return {}
    rows = LibraryAgent.objects.filter(user_id=user_id, graph_id_shared__in=wanted)
    versions: dict[UUID, set[int]] = {graph_id: set() for graph_id in wanted}
    for graph_id, version in Graph.objects.filter(user_id=user_id, graph_id__in=wanted).values_list(
        "graph_id", "version"
    ):
        versions[graph_id].add(version)
    return {
        str(agent.graph_id_shared): _facts(agent.graph, versions[agent.graph_id_shared])
        for agent in rows.select_related("graph").prefetch_related("graph__nodes", "graph__links")
    }


def _facts(graph: Graph, versions: set[int]) -> AgentFacts:
    data = from_rows(graph)
    return AgentFacts(
        version=graph.version,
        name=graph.name,
        input_schema=schemas.input_schema(data),
        output_schema=schemas.output_schema(data),
        versions=frozenset(versions),
    )


def _page(rows: QuerySet[Any], limit: int, offset: int) -> tuple[list[Any], int]:
    return list(rows[offset : offset + limit]), rows.count()
