"""Agents that agents run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from apps.library.errors import BlockError
from apps.library.executor.load import RunFacts
from apps.library.executor.outputs import values_by_name
from apps.library.executor.start import MOST_DEPTH, start_execution
from apps.library.executor.state import NodeRun
from apps.library.executor.values import storable
from apps.library.executor.waits import Waits
from apps.library.graphs.services import lock_agent
from apps.library.models import Execution, Graph, LibraryAgent
from apps.library.models.executions import Status
from apps.runtime.db import db
from apps.runtime.errors import DomainError, NotFound

Values = list[tuple[str, Any]]


def agent_runner(facts: RunFacts, run: NodeRun, waits: Waits) -> Callable[..., Any]:
    """Return what the agent executor block calls: it runs an agent as a child of this run, once, and waits."""

    async def run_agent(
        *,
        graph_id: str,
        graph_version: int,
        inputs: dict[str, Any],
        node_input_masks: dict[str, dict[str, Any]] | None = None,
    ) -> Values:
        child_id = await db(
            start_child,
            facts,
            run.id,
            graph_id=graph_id,
            graph_version=graph_version,
            inputs=inputs,
            node_input_masks=node_input_masks,
        )
        await waits.until_over(child_id)
        return await db(result_of, child_id)

    return run_agent


def start_child(
    facts: RunFacts,
    node_execution_id: UUID,
    *,
    graph_id: str,
    graph_version: int,
    inputs: dict[str, Any],
    node_input_masks: dict[str, dict[str, Any]] | None,
) -> UUID:
    """Start an agent as a child of a run, or find the child that this node run has started already.

    Raises:
        BlockError: When that can't be.
    """
    mine = Execution.objects.filter(parent_node_execution_id=node_execution_id)
    if (earlier := mine.values_list("pk", flat=True).first()) is not None:
        return earlier
    if facts.depth >= MOST_DEPTH:
        raise BlockError(f"Agents run agents at most {MOST_DEPTH} deep.")
    graph = find_graph(facts.user_id, graph_id, graph_version)
    try:
        with transaction.atomic():
            agent = lock_if_kept(facts.user_id, graph)
            # The parent's row is touched, so that this and a stop of the parent follow one another.
            going = Execution.objects.filter(pk=facts.id, status=Status.RUNNING, cancel_requested_at__isnull=True)
            if not going.update(node_count=F("node_count")):
                raise BlockError("The run is being stopped.")
            child = start_execution(
                user_id=facts.user_id,
                graph=graph,
                inputs=storable(inputs),  # texts were read as JSON on their way into the block
                credential_inputs=dict(facts.credential_inputs),
                agent=agent,
                trigger=Execution.Trigger.AGENT,
                parent=Execution.objects.get(pk=facts.id),
                parent_node_execution_id=node_execution_id,
                node_input_masks=storable(node_input_masks),
            )
    except IntegrityError:
        if (other := mine.values_list("pk", flat=True).first()) is None:
            raise BlockError("The agent was deleted.") from None
        return other
    except DomainError as error:
        raise BlockError(f"The agent can't run: {reasons(error)}") from error
    return child.pk


def lock_if_kept(user_id: UUID, graph: Graph) -> LibraryAgent | None:
    """Return the locked library agent of a graph; None for one that was deleted, of which runs kept a version."""
    try:
        return lock_agent(user_id=user_id, graph_id=graph.graph_id, touches=False)
    except NotFound:
        return None


def find_graph(user_id: UUID, graph_id: str, version: int) -> Graph:
    """Return a person's graph in a version.

    Raises:
        BlockError: When they have none.
    """
    try:
        found = Graph.objects.filter(graph_id=UUID(graph_id), version=version, user=user_id).first()
    except ValueError:
        found = None
    if found is None:
        raise BlockError("The agent isn't in your library in that version.")
    return found


def reasons(error: DomainError) -> str:
    """Return what an error says, with its problems."""
    problems = error.fields.get("problems")
    if isinstance(problems, dict):
        return "; ".join(f"{name}: {why}" for name, why in problems.items())
    if isinstance(problems, list):
        return "; ".join(str(problem.get("message", "")) for problem in problems)
    return error.detail


def result_of(child_id: UUID) -> Values:
    """Return what a child run gave back, by name, in order.

    Raises:
        BlockError: When it failed or was stopped.
    """
    child = Execution.objects.filter(pk=child_id).first()
    if child is None:
        raise BlockError("The agent's run is gone.")
    if child.status == Status.TERMINATED:
        raise BlockError("The agent's run was stopped.")
    if child.status == Status.FAILED:
        raise BlockError(f"The agent's run failed: {child.error}")
    return values_by_name(child)
