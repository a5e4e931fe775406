"""Versions of graphs: saving, importing, choosing and deleting them. Every writer of an agent first locks its row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone

from apps.library.graphs import hooks, importer, queries, renames, shape
from apps.library.graphs.pins import TOOLS_PREFIX
from apps.library.graphs.problems import Problem, refuse
from apps.library.graphs.shape import GraphData, NodeData
from apps.library.graphs.validate import Masks, validate
from apps.library.models import Execution, Graph, LibraryAgent, Link, Node, StoredValue
from apps.runtime.errors import NotFound

COPY_SUFFIX = " (copy)"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file.

    Attributes:
        agent: The agent.
        sub_agents: The agents that it runs, which are in the library too.
        told: What its new owner should know.
    """

    agent: LibraryAgent
    sub_agents: list[LibraryAgent] = field(default_factory=list)
    told: list[Problem] = field(default_factory=list)


def save_graph(*, user_id: UUID, data: Any, graph_id: UUID | None = None) -> Graph:
    """Save a graph as a new agent, or as the next version of one, which becomes the active one.

    Args:
        user_id: Whose it is.
        data: The graph in the file format. Ids of nodes and links only tell them apart within it.
        graph_id: The agent's graph; None makes a new agent.

    Returns:
        The stored version. Its nodes and links have new ids.

    Raises:
        GraphInvalid: With everything that is wrong; nothing is stored then.
        NotFound: When the person has no such agent.
    """
    importer.check_size(data)
    graph = shape.read(data)
    if graph.sub_graphs:
        message = "A version holds no sub-agents of its own."
        refuse([Problem(code="sub_graphs", message=message, remedy="Import the file, or save each agent by itself.")])
    renames.modernise(graph)
    refuse(validate(graph, for_run=False))
    with transaction.atomic():
        if graph_id is None:
            graph.id = str(uuid4())  # an id in a stranger's file may be somebody else's
            return _create(user_id, graph).graph
        agent = lock_agent(user_id=user_id, graph_id=graph_id)
        return _add_version(agent, graph)


def import_agent(*, user_id: UUID, file: Any) -> Imported:
    """Put the agent of a file into a person's library, with the agents that it runs.

    Args:
        user_id: Whose library.
        file: The file's bytes, or the JSON that was in it.

    Raises:
        GraphInvalid: With everything that is wrong; nothing is stored then.
    """
    if isinstance(file, bytes):
        file = importer.load(file)
    else:
        importer.check_size(file)
    graph, told = importer.read_agent(file)
    with transaction.atomic():
        subs = [_create(user_id, sub) for sub in graph.sub_graphs]
        return Imported(_create(user_id, graph), subs, told)


def clone_version(*, user_id: UUID, agent_id: UUID, version: int) -> LibraryAgent:
    """Make a new agent of a version.

    Raises:
        NotFound: When the person has no such agent, or it no such version.
    """
    graph = queries.version_of(queries.access_agent(user_id, agent_id), version)
    data = shape.from_rows(graph)
    data.id, data.version = str(uuid4()), 1
    data.name = graph.name[: shape.NAME_LENGTH - len(COPY_SUFFIX)] + COPY_SUFFIX
    with transaction.atomic():
        return _create(user_id, data, forked_from_id=graph.graph_id, forked_from_version=graph.version)


def activate_version(*, user_id: UUID, agent_id: UUID, version: int) -> LibraryAgent:
    """Let a version be the one that runs.

    Raises:
        NotFound: When the person has no such agent, or it no such version.
    """
    with transaction.atomic():
        agent = lock_agent(user_id=user_id, agent_id=agent_id)
        graph = queries.version_of(agent, version)
        Graph.objects.active().filter(graph_id=agent.graph_id_shared).update(is_active=False)
        Graph.objects.filter(pk=graph.pk).update(is_active=True)
        graph.is_active = True
        return _point_at(agent, graph)


def delete_agent(*, user_id: UUID, agent_id: UUID) -> None:
    """Take an agent out of the library with its schedules, presets, webhooks and what it remembers; its runs stop.

    Versions that ran are kept, inactive, for the record of those runs; the others go.

    Raises:
        NotFound: When the person has no such agent.
    """
    with transaction.atomic():
        agent = lock_agent(user_id=user_id, agent_id=agent_id)
        graph_id = agent.graph_id_shared
        runs = Execution.objects.filter(graph__graph_id=graph_id).exclude(status__in=Execution.ENDED)
        hooks.stop_runs(list(runs.values_list("pk", flat=True)))
        agent.delete()
        StoredValue.objects.filter(user_id=user_id, graph_id_shared=graph_id).delete()
        versions = Graph.objects.filter(graph_id=graph_id)
        versions.update(is_active=False)
        versions.filter(executions__isnull=True).delete()


def problems_of(*, user_id: UUID, graph: Graph, for_run: bool, masks: Masks | None = None) -> list[Problem]:
    """Return what keeps a stored version from running, or from being saved; see `validate`."""
    data = shape.from_rows(graph)
    return validate(data, for_run=for_run, agents=queries.agents_run_by(user_id, data), masks=masks)


def lock_agent(*, user_id: UUID, touches: bool = True, **which: UUID) -> LibraryAgent:
    """Return an agent whose row nobody else changes until the transaction is over.

    Whoever locks rows that go with an agent (its schedules, webhooks, runs) locks the agent first, as its end does.

    Args:
        user_id: Whose library.
        touches: Whether the agent counts as changed by this.
        which: `agent_id`, or the `graph_id` that its versions share.

    Raises:
        NotFound: When the person has no such agent.
    """
    column = {"agent_id": "pk", "graph_id": "graph_id_shared"}
    mine = LibraryAgent.objects.filter(user_id=user_id, **{column[name]: value for name, value in which.items()})
    # A write, because it locks on every database.
    if not mine.update(updated_at=timezone.now() if touches else F("updated_at")):
        raise NotFound
    return mine.select_related("graph").get()


def _create(user_id: UUID, graph: GraphData, **columns: Any) -> LibraryAgent:
    row = _store(user_id, graph, graph_id=UUID(graph.id), version=1, **columns)
    return LibraryAgent.objects.create(user_id=user_id, graph=row, graph_id_shared=row.graph_id)


def _add_version(agent: LibraryAgent, graph: GraphData) -> Graph:
    versions = Graph.objects.filter(graph_id=agent.graph_id_shared)
    highest = versions.aggregate(highest=Max("version"))["highest"] or 0
    versions.active().update(is_active=False)
    row = _store(agent.user_id, graph, graph_id=agent.graph_id_shared, version=highest + 1)
    _point_at(agent, row)
    return row


def _point_at(agent: LibraryAgent, graph: Graph) -> LibraryAgent:
    LibraryAgent.objects.filter(pk=agent.pk).update(graph=graph)
    agent.graph = graph
    return agent


def _store(user_id: UUID, graph: GraphData, *, graph_id: UUID, version: int, **columns: Any) -> Graph:
    row = Graph.objects.create(
        graph_id=graph_id,
        version=version,
        user_id=user_id,
        name=graph.name,
        description=graph.description,
        instructions=graph.instructions,
        recommended_schedule_cron=graph.recommended_schedule_cron,
        **columns,
    )
    nodes = {
        node.id: Node(
            graph=row,
            position=place,
            block_id=node.block_id,
            input_default=node.input_default,
            metadata=node.metadata,
        )
        for place, node in enumerate(graph.nodes)
    }
    Node.objects.bulk_create(nodes.values())
    Link.objects.bulk_create(
        Link(
            graph=row,
            position=place,
            source=nodes[link.source_id],
            source_name=_renamed_tool(link.source_name, link.sink_id, nodes[link.sink_id].pk),
            sink=nodes[link.sink_id],
            sink_name=link.sink_name,
            is_static=_is_static(source, link.is_static),
        )
        for place, (link, source, _) in enumerate(graph.wires())
    )
    return row


def _renamed_tool(pin: str, old_sink: str, new_sink: UUID) -> str:
    """Return a source pin with the id of its tool brought up to date, where it names one."""
    return pin.replace(f"{TOOLS_PREFIX}{old_sink}_~_", f"{TOOLS_PREFIX}{new_sink}_~_", 1)


def _is_static(source: NodeData, said: bool) -> bool:
    """Return whether a link's value is reused: what its block says, and what the file says where that is missing."""
    return said if source.block is None else source.block.static_output
