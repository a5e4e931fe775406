"""Reads for pages: cards, tiles, lists of runs and what a run's page shows. Each is a fixed number of queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Max, OuterRef, Q, Subquery, Sum

from apps.library.models import (
    Credential,
    Execution,
    LibraryAgent,
    NodeExecution,
    NodeOutput,
    Review,
    Webhook,
)
from apps.library.models.executions import Status
from apps.runtime.errors import NotFound

#: Runs after a page that are counted: to count hundreds of thousands takes longer than to read what is shown.
COUNTED_AHEAD = 2_000
#: What lists of runs need; inputs and the like stay where they are.
RUN_COLUMNS = (
    "id",
    "status",
    "trigger",
    "is_dry_run",
    "cost_cents",
    "node_error_count",
    "error",
    "created_at",
    "started_at",
    "ended_at",
    "agent_id",
    "graph__name",
    "graph__version",
)


def last_runs(agents: Sequence[LibraryAgent]) -> Mapping[UUID, Execution]:
    """Return the newest run of each agent that has one, by agent: one query."""
    newest = Execution.objects.filter(agent=OuterRef("pk"), parent=None).order_by("-created_at", "-id").values("pk")[:1]
    wanted = LibraryAgent.objects.filter(pk__in=[agent.pk for agent in agents]).order_by()
    runs = Execution.objects.filter(pk__in=wanted.values(newest=Subquery(newest)))
    return {run.agent_id: run for run in runs.select_related("graph").only(*RUN_COLUMNS) if run.agent_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs a list is asked for; empty is all of them."""

    agent_id: UUID | None = None
    statuses: tuple[str, ...] = ()
    trigger: str = ""
    schedule_id: UUID | None = None


def list_runs(*, user_id: UUID, limit: int, offset: int, wanted: RunFilter) -> tuple[list[Execution], int, bool]:
    """Return a page of a person's runs that nobody's run started, newest first.

    Returns:
        The runs; how many there are, counted up to `COUNTED_AHEAD` beyond the page; and whether there are more.
    """
    mine = Execution.objects.of(user_id).filter(parent=None)
    if wanted.agent_id is not None:
        mine = mine.filter(agent=wanted.agent_id)
    if wanted.schedule_id is not None:
        mine = mine.filter(schedule=wanted.schedule_id)
    if wanted.statuses:
        mine = mine.filter(status__in=wanted.statuses)
    if wanted.trigger:
        mine = mine.filter(trigger=wanted.trigger)
    rows = mine.select_related("graph").only(*RUN_COLUMNS)
    most = offset + limit + COUNTED_AHEAD
    total = mine.order_by()[: most + 1].count()
    return list(rows[offset : offset + limit]), min(total, most), total > most


def agent_names(user_id: UUID, most: int = 200) -> list[tuple[UUID, str]]:
    """Return ids and names of a person's agents by name, for choices."""
    mine = LibraryAgent.objects.filter(user_id=user_id).order_by("graph__name", "pk")
    return list(mine.values_list("pk", "graph__name")[:most])


def access_run(user_id: UUID, execution_id: UUID) -> Execution:
    """Return a person's run with its graph, agent and parent.

    Raises:
        NotFound: Alike for one that is unknown or somebody else's.
    """
    run = (
        Execution.objects.of(user_id).filter(pk=execution_id).select_related("graph", "agent", "parent__graph").first()
    )
    if run is None:
        raise NotFound
    return run


@dataclass(frozen=True, slots=True)
class NodeState:
    """Where a node of a run stands, over all its uses."""

    status: str
    uses: int
    failures: int
    cents: int
    error: str
    started_at: datetime | None
    ended_at: datetime | None


def node_states(execution_id: UUID) -> Mapping[UUID, NodeState]:
    """Return where each node that was used stands: two queries, whatever the number of uses."""
    uses = NodeExecution.objects.filter(execution=execution_id)
    figures = (
        uses.order_by()
        .values("node_id")
        .annotate(
            uses=Count("pk"),
            last=Max("number"),
            running=Count("pk", filter=Q(status=Status.RUNNING)),
            waiting=Count("pk", filter=Q(status=Status.REVIEW)),
            failures=Count("pk", filter=Q(status=Status.FAILED)),
            cents=Sum("charged_cents"),
        )
    )
    by_node = {row["node_id"]: row for row in figures}
    newest = uses.filter(number__in=[row["last"] for row in by_node.values()])
    return {
        use.node_id: NodeState(
            status=_status(use.status, row),
            uses=row["uses"],
            failures=row["failures"],
            cents=row["cents"] or 0,
            error=use.error,
            started_at=use.started_at,
            ended_at=use.ended_at,
        )
        for use in newest.defer("input_data", "stats")
        if (row := by_node.get(use.node_id)) is not None and row["last"] == use.number
    }


def _status(last: str, figures: Mapping[str, Any]) -> str:
    if figures["running"]:
        return Status.RUNNING
    return Status.REVIEW if figures["waiting"] else last


@dataclass(frozen=True, slots=True)
class NodeUse:
    """One use of a node, with what it was given and put out."""

    row: NodeExecution
    outputs: list[NodeOutput]


def uses_of(execution_id: UUID, node_id: UUID, most: int = 10) -> tuple[list[NodeUse], int]:
    """Return a node's latest uses in a run with their values, and how many there are: three queries."""
    uses = NodeExecution.objects.filter(execution=execution_id, node=node_id)
    rows = list(uses.order_by("-number")[:most])
    outputs: dict[UUID, list[NodeOutput]] = {row.pk: [] for row in rows}
    for output in NodeOutput.objects.filter(node_execution__in=outputs).order_by("position")[: most * 50]:
        outputs[output.node_execution_id].append(output)
    return [NodeUse(row, outputs[row.pk]) for row in rows], uses.count()


def reviews_of(execution_id: UUID) -> list[Review]:
    """Return the questions of a run that wait, oldest first."""
    waiting = Review.objects.filter(execution=execution_id, status=Review.Status.WAITING)
    return list(waiting.select_related("node_execution__node", "execution__graph").order_by("created_at")[:50])


def credentials_that_fit(user_id: UUID, providers: set[str], types: set[str]) -> list[dict[str, Any]]:
    """Return `id`, `title`, `provider` and `type` of a person's credentials of some services."""
    fit = Credential.objects.filter(user_id=user_id, provider__in=providers, type__in=types)
    rows = fit.order_by("title", "pk").values("pk", "title", "provider", "type")[:200]
    return [dict(row) for row in rows]


def access_review(user_id: UUID, review_id: UUID) -> Review:
    """Return a question to a person with the run that asks.

    Raises:
        NotFound: Alike for one that is unknown or somebody else's.
    """
    mine = Review.objects.filter(user_id=user_id, pk=review_id)
    review = mine.select_related("node_execution__node", "execution__graph").first()
    if review is None:
        raise NotFound
    return review


def children_of(execution_id: UUID, most: int = 20) -> list[Execution]:
    """Return the runs that a run started, oldest first."""
    below = Execution.objects.filter(parent=execution_id).select_related("graph").only(*RUN_COLUMNS)
    return list(below.order_by(F("created_at").asc(), "id")[:most])


def webhooks_of(agent_id: UUID, most: int = 20) -> list[Webhook]:
    """Return an agent's webhooks, newest first; their secrets stay behind."""
    return list(Webhook.objects.filter(agent=agent_id).select_related("preset").defer("secret", "path_hash")[:most])
