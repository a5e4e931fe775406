"""Fills a person's account: `python -m bench.pages_rows EMAIL SESSIONS MESSAGES EXECUTIONS TRANSACTIONS`.

Prints the ids that the pages are asked for as JSON. Rows are written as the product writes them, but many at once.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import django

AGENTS = 20
A_BATCH = 2000
SPAN_MINUTES = 365 * 24 * 60  # everything happened within a year
#: Of each hundred runs; a person has 20 that last or wait, however many are over.
FAILED, STOPPED = 7, 2
LIVE = 20
WORDS = "What a person asks, or a copilot answers, in about as many characters as that. " * 4


def fill(email: str, *, sessions: int, messages: int, executions: int, transactions: int) -> dict[str, str]:
    """Write so many rows for one person; returns the ids of a session, an agent and a run."""
    from apps.accounts.models import User

    user = User.objects.get(email=email)
    found = {"session": fill_chat(user, sessions, messages // sessions)}
    found |= fill_library(user, executions)
    fill_ledger(user, transactions)
    return found


def fill_chat(user: Any, count: int, length: int) -> str:
    """Write conversations of one length; returns the id of the newest."""
    from apps.chat.models import Message, Session, Turn

    times, ids = moments(count), identifiers("chat")
    sessions = []
    for number in range(count):
        at = times(number)
        facts = {"title": f"Conversation {number}", "next_sequence": length + 1, "created_at": at, "updated_at": at}
        sessions.append(Session(id=next(ids), user=user, **facts))
    Session.objects.bulk_create(sessions, batch_size=A_BATCH)
    turns = (
        Turn(id=next(ids), session=session, status=Turn.Status.COMPLETED, created_at=session.created_at)
        for session in sessions
    )
    roles = (Message.Role.USER, Message.Role.ASSISTANT)
    for some in batches(turns, A_BATCH):
        Turn.objects.bulk_create(some)
        made = (
            Message(id=next(ids), session_id=turn.session_id, turn=turn, **row)
            for turn in some
            for row in (
                {"sequence": place + 1, "role": roles[place % 2], "content": WORDS, "created_at": turn.created_at}
                for place in range(length)
            )
        )
        write(Message, made)
    return str(sessions[0].pk)


def fill_library(user: Any, count: int) -> dict[str, str]:
    """Write runs of some agents, each with what its nodes were given and put out; returns ids."""
    from apps.library.graphs.examples import example_files
    from apps.library.graphs.services import import_agent
    from apps.library.models import Execution, NodeExecution, NodeOutput
    from apps.library.models.executions import Status

    files = list(example_files().values())
    agents = [import_agent(user_id=user.pk, file=files[number % len(files)]).agent for number in range(AGENTS)]
    nodes = {agent.pk: list(agent.graph.nodes.order_by("position"))[:2] for agent in agents}
    times, ids = moments(count), identifiers("library")
    now = times(0) + timedelta(hours=1)

    def run_of(number: int) -> Execution:
        agent, at, place = agents[number % AGENTS], times(number), number % 100
        over = Status.FAILED if place < FAILED else Status.TERMINATED if place < FAILED + STOPPED else Status.COMPLETED
        status = Status.RUNNING if number < LIVE else over
        run = Execution(id=next(ids), user=user, agent=agent, graph=agent.graph, status=status, created_at=at)
        run.root_id, run.started_at, run.cost_cents = run.pk, at, number % 3
        run.inputs = {"Text": WORDS}
        run.ended_at = None if status == Status.RUNNING else at + timedelta(minutes=1)
        # As if somebody worked on it, so that no worker takes it over.
        run.lease_expires_at = now + timedelta(days=1) if status == Status.RUNNING else None
        return run

    shown = ""
    for runs in batches(map(run_of, range(count)), A_BATCH):
        shown = shown or str(runs[LIVE + FAILED + STOPPED].pk)
        Execution.objects.bulk_create(runs)
        uses = [
            NodeExecution(id=next(ids), execution=run, node=node, number=place + 1, status=Status.COMPLETED)
            for run in runs
            for place, node in enumerate(nodes[run.agent_id])
        ]
        write(NodeExecution, uses)
        write(NodeOutput, (NodeOutput(node_execution=use, position=0, pin="result", data=WORDS) for use in uses))
    return {"agent": str(agents[0].pk), "execution": shown}


def fill_ledger(user: Any, count: int) -> None:
    """Write what was given and spent."""
    from apps.billing.models import Balance, CreditTransaction

    times, ids = moments(count), identifiers("ledger")
    kinds = CreditTransaction.Type
    rows = (
        CreditTransaction(
            id=next(ids),
            user=user,
            number=number,
            amount_cents=count if number == 1 else -1,
            running_balance_cents=count + 1 - number,
            type=kinds.GRANT if number == 1 else kinds.USAGE,
            key=f"bench:{user.pk}:{number}",
            created_at=times(count - number),
        )
        for number in range(1, count + 1)
    )
    write(CreditTransaction, rows)
    Balance.objects.update_or_create(user=user, defaults={"cents": 1, "transactions": count})


def moments(count: int) -> Callable[[int], Any]:
    """Return the moment of each of so many things of a year; 0 is the newest."""
    from django.utils import timezone

    now = timezone.now()
    return lambda number: now - timedelta(minutes=SPAN_MINUTES * number / count)


def identifiers(seed: str) -> Iterator[UUID]:
    """Yield random ids, which are far quicker made than with the system's randomness."""
    chance = random.Random(seed)
    while True:
        yield UUID(int=chance.getrandbits(128), version=4)


def write(model: Any, rows: Iterable[Any]) -> None:
    """Write rows as they come, some thousands at once."""
    for some in batches(rows, A_BATCH):
        model.objects.bulk_create(some)


def batches(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield rows in lists of a size."""
    rest = iter(rows)
    while some := list(islice(rest, size)):
        yield some


if __name__ == "__main__":
    django.setup()
    from django.db import connection, transaction

    counts = dict(zip(("sessions", "messages", "executions", "transactions"), map(int, sys.argv[2:]), strict=True))
    with transaction.atomic():
        told = fill(sys.argv[1], **counts)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # as autovacuum does in time; nobody tells SQLite
    sys.stdout.write(json.dumps(told))
