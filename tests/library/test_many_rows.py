"""A library with very many runs: every list and page takes as many queries as with a few, and stays a page long.

The depth `deep` makes 100 000 runs.
"""

from __future__ import annotations

import random
import re
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection, reset_queries
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.library.executor.queries import MOST_COUNTED
from apps.library.models import Execution, LibraryAgent, NodeExecution, NodeOutput, Review, Schedule
from apps.library.models.executions import Status
from tests.depth import depth
from tests.library.pages import world
from tests.library.pages.conftest import browser

__all__ = ["browser"]

FEW = 100
MANY = depth(quick=300, full=1_500, deep=100_000)
A_BATCH = 2_000
#: Of each hundred runs; all others are completed.
STATUSES = [Status.FAILED] * 7 + [Status.TERMINATED] * 2 + [Status.REVIEW, Status.RUNNING, Status.QUEUED]
UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def add_runs(agents: list[LibraryAgent], count: int) -> None:
    """Add runs of a year to agents by turns, as they stand in every state; some have asked, some were asked for."""
    chance = random.Random(count)
    now = timezone.now()
    nodes = {agent.pk: list(agent.graph.nodes.order_by("position")) for agent in agents}
    for first in range(0, count, A_BATCH):
        runs, uses, outputs, reviews, schedules = [], [], [], [], []
        for number in range(first, min(first + A_BATCH, count)):
            agent = agents[number % len(agents)]
            status = dict(enumerate(STATUSES)).get(number % 100, Status.COMPLETED)
            asked_at = now - timedelta(minutes=5 * number)
            has_begun = status != Status.QUEUED
            run = Execution(
                id=UUID(int=chance.getrandbits(128), version=4),
                user=agent.user,
                agent=agent,
                graph=agent.graph,
                status=status,
                trigger=chance.choice(Execution.Trigger.values),
                inputs={"word": "hello"},
                cost_cents=number % 3,
                created_at=asked_at,
                started_at=asked_at if has_begun else None,
                ended_at=asked_at + timedelta(minutes=1) if status in Execution.ENDED else None,
                lease_expires_at=now + timedelta(hours=1) if status == Status.RUNNING else None,
            )
            run.root_id = run.pk
            if runs and number % 50 == 49:
                run.parent, run.root_id, run.depth = runs[-1], runs[-1].pk, 1
            runs.append(run)
            for place, node in enumerate(nodes[agent.pk] if has_begun else ()):
                use = NodeExecution(execution=run, node=node, number=place + 1, status=Status.COMPLETED)
                uses.append(use)
                outputs.append(NodeOutput(node_execution=use, position=0, pin="output", data="hello"))
            if status == Status.REVIEW:
                uses[-1].status = Status.REVIEW
                reviews.append(Review(node_execution=uses[-1], execution=run, user=agent.user, payload="May I?"))
            if number % 20 == 0:
                due_at = now + timedelta(minutes=number + 1)
                facts = {"cron": "0 9 * * *", "next_run_at": due_at}
                schedules.append(Schedule(user=agent.user, agent=agent, name="Morning", **facts))
        for made in (runs, uses, outputs, reviews, schedules):
            if made:
                type(made[0]).objects.bulk_create(made, batch_size=A_BATCH)


def addresses(agent: LibraryAgent, run: Execution) -> list[str]:
    """Every list and page of the library, and lists in the middle and at their end."""
    of_agent = f"/library/agents/{agent.pk}"
    return [
        "/library/",
        "/library/?q=Agent",
        "/library/executions/",
        "/library/executions/?page=3",
        "/library/executions/?status=failed",
        "/library/executions/?status=review",
        "/library/executions/?trigger=webhook",
        f"/library/executions/?agent={agent.pk}",
        f"/library/executions/{run.pk}/",
        "/library/schedules/",
        "/library/reviews/",
        f"{of_agent}/",
        f"{of_agent}/run",
        "/api/library/briefing",
        "/api/library/agents",
        f"/api{of_agent}",
        f"/api{of_agent}/versions",
        "/api/library/executions",
        "/api/library/executions?limit=50&offset=40",
        "/api/library/executions?status=FAILED",
        f"/api/library/executions?agent_id={agent.pk}",
        f"/api/library/executions/{run.pk}",
        "/api/library/schedules",
        "/api/library/reviews",
    ]


def look(client, api, path: str) -> tuple[int, int]:
    """Return how many queries an answer takes, and how many things of the library it names."""
    with CaptureQueriesContext(connection) as captured:
        answer = (api if path.startswith("/api/") else client).get(path)
    assert answer.status_code == 200, (path, answer.content[:300])
    return len(captured), len(set(UUIDS.findall(answer.content.decode())))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.django_db
def test_lists_take_as_many_queries_with_many_rows_as_with_few(owner, browser):
    agents = [world.add_agent(owner, world.echo_file(f"Agent {number}")) for number in range(6)]
    add_runs(agents, FEW)
    run = Execution.objects.filter(agent=agents[0], status=Status.COMPLETED).first()
    paths = addresses(agents[0], run)
    for path in paths:
        look(browser, owner.client, path)  # what is kept in memory after the first time
    few = {path: look(browser, owner.client, path) for path in paths}

    add_runs(agents, MANY)
    look(browser, owner.client, paths[-1])  # a token notes once a minute that it was used
    reset_queries()

    many = {path: look(browser, owner.client, path) for path in paths}
    assert {path: found[0] for path, found in many.items()} == {path: found[0] for path, found in few.items()}
    assert max(queries for queries, _ in many.values()) <= 20
    assert max(named for _, named in many.values()) <= 250
    answer = owner.client.get("/api/library/executions").json()
    assert answer["total"] == min(Execution.objects.filter(parent=None).count(), MOST_COUNTED)
