"""Making, changing and deleting schedules."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.accounts.queries import find_user
from apps.library.graphs.services import lock_agent
from apps.library.models import LibraryAgent, Schedule
from apps.library.schedules import cron
from apps.library.schedules.errors import ScheduleInvalid
from apps.library.schedules.runs import check_runnable
from apps.runtime.errors import NotFound

#: How far ahead a single run may be planned.
LONGEST_WAIT = timedelta(days=10 * 366)
WHEN = frozenset({"cron", "run_at", "time_zone", "is_enabled"})
WHAT = frozenset({"inputs", "credential_inputs", "graph_version"})


@transaction.atomic
def create_schedule(
    *,
    user_id: UUID,
    agent_id: UUID,
    name: str,
    cron: str = "",
    run_at: datetime | None = None,
    time_zone: str = "",
    inputs: dict[str, Any] | None = None,
    credential_inputs: dict[str, str] | None = None,
    graph_version: int | None = None,
) -> Schedule:
    """Store a schedule.

    Args:
        user_id: Whose runs it starts.
        agent_id: The library agent that it runs.
        name: What the person calls it, at most 200 characters.
        cron: Five fields; or else `run_at`.
        run_at: The moment of a single run.
        time_zone: The IANA zone that the expression counts in; empty = the person's own.
        inputs: Values of the agent's inputs by name.
        credential_inputs: Ids of credentials by the name of the agent's credentials input.
        graph_version: The version to run; None = the active one when it is due.

    Returns:
        The stored schedule.

    Raises:
        NotFound: When the person has no such agent.
        ScheduleInvalid: When it names no time, or none that will come.
        GraphInvalid: When the agent can't run.
        InputsInvalid: When it can't run with these inputs.
    """
    agent = LibraryAgent.objects.select_related("graph").filter(pk=agent_id, user=user_id).first()
    if agent is None:
        raise NotFound
    schedule = Schedule(
        user_id=user_id,
        agent=agent,
        name=name,
        cron=cron,
        run_at=run_at,
        time_zone=time_zone or find_user(user_id=user_id).time_zone,
        inputs=inputs or {},
        credential_inputs=credential_inputs or {},
        graph_version=graph_version,
    )
    plan(schedule)
    check_runnable(schedule)
    schedule.save(force_insert=True)
    schedule.refresh_from_db(fields=["created_at"])
    return schedule


@transaction.atomic
def update_schedule(*, user_id: UUID, schedule_id: UUID, **changes: Any) -> Schedule:
    """Change a schedule; when what is changed says when it is due, the next time is found anew from this moment.

    Args:
        user_id: Whose it is.
        schedule_id: The schedule.
        **changes: As in `create_schedule`, without `agent_id`, and `is_enabled`. Giving `cron` takes `run_at` away, and
            the other way round.

    Raises:
        NotFound: When the person has no such schedule.
        ScheduleInvalid, GraphInvalid, InputsInvalid: As in `create_schedule`; nothing is changed then.
    """
    mine = Schedule.objects.filter(pk=schedule_id, user=user_id)
    if (agent_id := mine.values_list("agent_id", flat=True).first()) is None:
        raise NotFound
    lock_agent(user_id=user_id, agent_id=agent_id, touches=False)
    schedule = mine.select_for_update(of=("self",)).select_related("agent__graph").first()
    if schedule is None:
        raise NotFound
    if changes.get("cron") and changes.get("run_at") is None:
        changes["run_at"] = None
    elif changes.get("run_at") is not None and not changes.get("cron"):
        changes["cron"] = ""
    for column, value in changes.items():
        setattr(schedule, column, value)
    if changes.keys() & WHEN:
        plan(schedule)
        changes["next_run_at"] = schedule.next_run_at
    is_to_run = bool(changes.keys() & (WHAT | {"is_enabled"})) and schedule.is_enabled
    if is_to_run:
        check_runnable(schedule)
    if is_to_run or "is_enabled" in changes:  # who switches it off has read what was wrong
        schedule.disabled_reason = changes["disabled_reason"] = ""
    if changes:
        schedule.save(update_fields=list(changes))
    return schedule


def delete_schedule(*, user_id: UUID, schedule_id: UUID) -> None:
    """Delete a schedule; its runs stay.

    Raises:
        NotFound: When the person has no such schedule.
    """
    deleted, _ = Schedule.objects.filter(pk=schedule_id, user=user_id).delete()
    if not deleted:
        raise NotFound


def plan(schedule: Schedule) -> None:
    """Set when a schedule is due next, counted from now; None while it is switched off.

    Raises:
        ScheduleInvalid: When it names no time, or none that will come.
    """
    now = timezone.now()
    if bool(schedule.cron) == (schedule.run_at is not None):
        raise ScheduleInvalid("cron", "Give either a cron expression or the moment of a single run.")
    cron.check_zone(schedule.time_zone)
    if schedule.cron:
        schedule.cron = cron.check(schedule.cron, schedule.time_zone, now)
        following = cron.next_after(schedule.cron, schedule.time_zone, now)
    else:
        following = schedule.run_at
        assert following is not None
        if schedule.is_enabled and not now < following <= now + LONGEST_WAIT:
            raise ScheduleInvalid("run_at", "This moment isn't in the next ten years.")
    schedule.next_run_at = following if schedule.is_enabled else None
