"""The runs that schedules start."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.library.errors import GraphInvalid
from apps.library.executor.start import start_execution
from apps.library.models import Execution, Graph, Schedule
from apps.runtime.errors import PaymentRequired


def start_run(schedule: Schedule, due_at: datetime | None) -> Execution:
    """Start what a schedule runs.

    Args:
        schedule: With its agent and the agent's graph.
        due_at: The moment that it is due for; None only when the run is taken back.

    Raises:
        GraphInvalid, InputsInvalid, NotEnoughCredits, CapReached: As `start_execution` does.
    """
    return start_execution(
        user_id=schedule.user_id,
        graph=graph_of(schedule),
        agent=schedule.agent,
        inputs=schedule.inputs,
        credential_inputs=schedule.credential_inputs,
        trigger=Execution.Trigger.SCHEDULE,
        schedule=schedule if due_at is not None else None,
        due_at=due_at,
    )


def check_runnable(schedule: Schedule) -> None:
    """Refuse what couldn't run when it is due. The run is started and taken back, so both refuse the very same.

    Raises:
        GraphInvalid: When the agent can't run.
        InputsInvalid: When it can't run with these inputs.
    """
    try:
        with transaction.atomic():
            start_run(schedule, None)
            transaction.set_rollback(True)
    except PaymentRequired:
        return  # there may be credits when it is due


def graph_of(schedule: Schedule) -> Graph:
    """Return the version that a schedule runs.

    Raises:
        GraphInvalid: When it names one that isn't there.
    """
    agent = schedule.agent
    if schedule.graph_version is None or schedule.graph_version == agent.graph.version:
        return agent.graph
    versions = Graph.objects.filter(graph_id=agent.graph_id_shared, user=schedule.user_id)
    found = versions.filter(version=schedule.graph_version).first()
    if found is None:
        raise GraphInvalid([{"message": f"The agent has no version {schedule.graph_version}."}])
    return found
