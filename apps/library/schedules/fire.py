"""Starting what is due, exactly once, however many beats and workers do it at the same time.

A due time is taken by one conditional UPDATE, which moves `next_run_at` on from the value that was read; whoever finds
it moved already leaves it. The run's row is written in the same transaction, and no two runs may have one due time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfoNotFoundError

import structlog
from cronsim import CronSimError
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import DateTimeField, Value
from django.db.models.functions import Now

from apps.library.graphs.services import lock_agent
from apps.library.models import Execution, Schedule
from apps.library.schedules import cron
from apps.library.schedules.runs import start_run
from apps.runtime.errors import DomainError, LimitReached, NotFound, PaymentRequired, Unavailable

logger = structlog.get_logger(__name__)

#: How late a run may be started; what is later is passed over.
MOST_LATENESS = timedelta(hours=1)
#: Schedules a tick; the next tick goes on.
BATCH = 200
MISSED = "This time was passed over, as nothing could be started for an hour."
BROKEN = "The run could not be started because of an internal error."
UNREADABLE = "The expression or its time zone can't be understood any more."
LONGEST_REASON = 2000  # characters


@dataclass(frozen=True, slots=True)
class Read:
    """A schedule that is due, as it was read; whoever changed it since wins."""

    id: UUID
    user_id: UUID
    agent_id: UUID
    next_run_at: datetime
    cron: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done about it.

    Attributes:
        moment: The due time to run; None when all are too late.
        missed: The latest due time that is passed over.
        following: When it is due next; None = never again.
    """

    moment: datetime | None
    missed: datetime | None
    following: datetime | None


def fire_due_schedules(*, now: datetime | None = None) -> int:
    """Start what is due, the oldest first, at most `BATCH` schedules.

    Args:
        now: The moment to count from; the database's clock by default.

    Returns:
        How many runs this call started.
    """
    clock = Now() if now is None else Value(now, output_field=DateTimeField())
    due = Schedule.objects.filter(is_enabled=True, next_run_at__lte=clock, user__is_active=True)
    rows = due.order_by("next_run_at", "id").values_list(
        "id", "user_id", "agent_id", "next_run_at", "cron", "time_zone", clock
    )[:BATCH]
    started = 0
    for *columns, moment in (found := list(rows)):
        read = Read(*columns)
        try:
            started += fire(read, moment)
        except (OperationalError, InterfaceError) as error:
            # Nothing of this one was stored; the next tick tries again.
            logger.warning("schedule_not_fired", schedule_id=str(read.id), error=type(error).__name__)
    if found:
        logger.info("schedules_fired", due=len(found), started=started)
    return started


@transaction.atomic
def fire(read: Read, now: datetime) -> bool:
    """Take a due time and start its run; returns whether this call started one.

    Args:
        read: The schedule.
        now: The moment that lateness is counted from.
    """
    try:
        lock_agent(user_id=read.user_id, agent_id=read.agent_id, touches=False)
    except NotFound:
        return False
    try:
        due = assess(read, now)
    except (CronSimError, ZoneInfoNotFoundError, ValueError):
        take(read, next_run_at=None, is_enabled=False, disabled_reason=UNREADABLE, skipped_at=read.next_run_at)
        return False
    if due.moment is None:
        take(read, next_run_at=due.following, skipped_at=due.missed, disabled_reason=MISSED)
        return False
    missed = {"skipped_at": due.missed} if due.missed else {}
    if not take(read, next_run_at=due.following, last_run_at=now, disabled_reason="", **missed):
        return False
    # Read only now that nobody else can change it: its owner may have, after it was found to be due.
    schedule = Schedule.objects.select_related("agent__graph").get(pk=read.id)
    return run(schedule, due.moment)


def take(read: Read, **changes: Any) -> int:
    """Write to a schedule if its due time is still what was read; of any number of takers one gets a 1."""
    unchanged = {"next_run_at": read.next_run_at, "cron": read.cron, "time_zone": read.time_zone}
    return Schedule.objects.filter(pk=read.id, is_enabled=True, **unchanged).update(**changes)


def run(schedule: Schedule, moment: datetime) -> bool:
    """Start the run of a due time that was taken; what keeps it from starting is written down for its owner."""
    mine = Schedule.objects.filter(pk=schedule.pk)
    try:
        with transaction.atomic():  # what fails takes only itself back
            start_run(schedule, moment)
    except (PaymentRequired, LimitReached, Unavailable) as error:
        mine.update(skipped_at=moment, disabled_reason=reason(error))
    except DomainError as error:
        mine.update(is_enabled=False, next_run_at=None, skipped_at=moment, disabled_reason=reason(error))
        logger.info("schedule_switched_off", schedule_id=str(schedule.pk), code=error.code)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        # One broken schedule must not stop the others.
        if isinstance(error, IntegrityError) and Execution.objects.filter(schedule=schedule, due_at=moment).exists():
            return False  # this time has its run: its owner planned it anew while it was being taken
        logger.exception("schedule_broken", schedule_id=str(schedule.pk))
        mine.update(skipped_at=moment, disabled_reason=BROKEN)
    else:
        return True
    return False


def assess(read: Read, now: datetime) -> Due:
    """Return what is to be done about a schedule that is due.

    Raises:
        CronSimError, ZoneInfoNotFoundError, ValueError: When its expression or zone can't be understood.
    """
    latest, missed, following = read.next_run_at, None, None
    if read.cron:
        following = cron.next_after(read.cron, read.time_zone, now)
        latest = cron.latest_between(read.cron, read.time_zone, read.next_run_at, now) or read.next_run_at
        if latest > read.next_run_at:
            before = latest - timedelta(microseconds=1)
            missed = cron.latest_between(read.cron, read.time_zone, read.next_run_at, before) or read.next_run_at
    if now - latest < MOST_LATENESS:
        return Due(latest, missed, following)
    return Due(None, latest, following)


def reason(error: DomainError) -> str:
    """Return in words what is wrong, for the schedule's owner."""
    problems = error.fields.get("problems", [])
    if isinstance(problems, dict):
        found = [f"{name}: {problem}" for name, problem in problems.items()]
    else:
        found = [str(problem.get("message", "")) for problem in problems]
    return " ".join([error.detail, *found])[:LONGEST_REASON]
