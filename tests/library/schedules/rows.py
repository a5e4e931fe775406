"""Agents and schedules as rows, for tests of what starts runs."""

from __future__ import annotations

from datetime import UTC, datetime

from apps.library.models import Graph, LibraryAgent, Node, Schedule

STORE_VALUE = "1ff065e9-88e8-4358-9d82-8dc91f622ba9"


def make_agent(person, name="Digest", blocks=((STORE_VALUE, {"input": 1}),)):
    """Return a library agent whose graph has a node for each block and its inputs."""
    graph = Graph.objects.create(user=person.user, name=name)
    for position, (block_id, inputs) in enumerate(blocks):
        Node.objects.create(graph=graph, position=position, block_id=block_id, input_default=inputs)
    return LibraryAgent.objects.create(user=person.user, graph=graph, graph_id_shared=graph.graph_id)


def make_schedule(agent, next_run_at, cron="", **columns):
    """Return a schedule that is due at a moment; without an expression it is for that moment only."""
    return Schedule.objects.create(
        user=agent.user,
        agent=agent,
        name="Every so often",
        cron=cron,
        run_at=None if cron else next_run_at,
        next_run_at=next_run_at,
        **columns,
    )


def at(hour, minute=0, second=0, day=20):
    """Return a moment of November 2026."""
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)
