"""Reads of runs, with a constant number of queries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, QuerySet

from apps.library.executor.events import shown
from apps.library.executor.outputs import grouped, values_by_name
from apps.library.executor.state import STORED_CALL
from apps.library.models import Execution, NodeExecution, NodeOutput
from apps.runtime.errors import NotFound

#: So many runs are counted: going through half a million for a page of twenty took four times as long as the page.
MOST_COUNTED = 10_000
#: Values of a run's outputs that its page shows; the others are read with its nodes.
MOST_OUTPUTS = 200
#: Values of one node run that a page of node runs shows.
MOST_VALUES = 50
LARGE = ("inputs", "credential_inputs", "node_input_masks")


def access_execution(user_id: UUID, execution_id: UUID) -> Execution:
    """Return a person's run with its graph.

    Raises:
        NotFound: Alike for one that is unknown, deleted or somebody else's.
    """
    run = Execution.objects.of(user_id).filter(pk=execution_id).select_related("graph").first()
    if run is None:
        raise NotFound
    return run


def list_executions(
    *, user_id: UUID, limit: int, offset: int, agent_id: UUID | None = None, status: str = "", is_child: bool = False
) -> tuple[list[Execution], int]:
    """Return a page of a person's runs, newest first, and how many there are, at most `MOST_COUNTED`.

    Args:
        user_id: Whose.
        limit: Runs a page.
        offset: Runs to pass over.
        agent_id: Only this agent's.
        status: Only those that stand there.
        is_child: Also runs that other runs have started.
    """
    runs = Execution.objects.of(user_id)
    if agent_id is not None:
        runs = runs.filter(agent=agent_id)
    if status:
        runs = runs.filter(status=status)
    if not is_child:
        runs = runs.filter(parent__isnull=True)
    page = runs.select_related("graph").defer(*LARGE).order_by("-created_at", "-id")
    return list(page[offset : offset + limit]), runs.order_by()[:MOST_COUNTED].count()


def node_page(*, execution_id: UUID, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Return a page of a run's node runs, oldest first, each with what it put out, and how many there are."""
    runs = NodeExecution.objects.filter(execution=execution_id).order_by("number")
    page = list(runs.select_related("node")[offset : offset + limit])
    put_out = outputs_of(page)
    rows = [
        {
            "id": run.pk,
            "node_id": run.node_id,
            "block_id": run.node.block_id,
            "number": run.number,
            "status": run.status,
            "input_data": {pin: shown(value) for pin, value in run.input_data.items()},
            "output_data": put_out.get(run.pk, {}),
            "charged_cents": run.charged_cents,
            "stats": {name: figure for name, figure in run.stats.items() if name != STORED_CALL},
            "error": run.error,
            "queued_at": run.queued_at,
            "started_at": run.started_at,
            "ended_at": run.ended_at,
        }
        for run in page
    ]
    return rows, runs.count()


def outputs_of(runs: Iterable[NodeExecution]) -> dict[UUID, dict[str, list[Any]]]:
    """Return what node runs put out first, by pin."""
    found: dict[UUID, dict[str, list[Any]]] = {}
    values = NodeOutput.objects.filter(node_execution__in=[run.pk for run in runs], position__lt=MOST_VALUES)
    for row_id, pin, data in values.order_by("position").values_list("node_execution_id", "pin", "data"):
        found.setdefault(row_id, {}).setdefault(pin, []).append(shown(data))
    return found


def outputs_by_name(run: Execution) -> dict[str, list[Any]]:
    """Return what a run gave back first, by name."""
    return grouped(values_by_name(run, limit=MOST_OUTPUTS))


def node_counts(execution_id: UUID) -> dict[str, int]:
    """Return how many of a run's node runs stand where."""
    runs = NodeExecution.objects.filter(execution=execution_id).order_by()
    return dict(runs.values_list("status").annotate(Count("pk")))


def is_over(execution_id: UUID) -> bool:
    """Return whether a run has ended or is gone."""
    return not Execution.objects.filter(pk=execution_id).exclude(status__in=Execution.ENDED).exists()


def snapshot(execution_id: UUID) -> dict[str, Any] | None:
    """Return a run as its rows tell it, for those who follow it; None when it is gone.

    Each node is told with the status of its newest run and how many runs it had.
    """
    run = Execution.objects.filter(pk=execution_id).defer(*LARGE).first()
    if run is None:
        return None
    nodes: QuerySet[Any, Any] = NodeExecution.objects.filter(execution=execution_id).order_by()
    newest = dict(nodes.values_list("node_id").annotate(Max("number")))
    counts = dict(nodes.values_list("node_id").annotate(Count("pk")))
    rows = NodeExecution.objects.filter(execution=execution_id, number__in=newest.values())
    fields = ("id", "node_id", "number", "status", "started_at", "ended_at", "error")
    return {
        "type": "snapshot",
        "run": {
            "status": run.status,
            "node_count": run.node_count,
            "node_error_count": run.node_error_count,
            "cost_cents": run.cost_cents,
            "error": run.error,
        },
        "nodes": [{**row, "runs": counts[row["node_id"]]} for row in rows.values(*fields)],
        "outputs": {name: [shown(value) for value in values] for name, values in outputs_by_name(run).items()},
    }
