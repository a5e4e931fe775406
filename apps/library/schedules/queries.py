"""Reads of schedules."""

from __future__ import annotations

from uuid import UUID

from django.db.models import F

from apps.library.models import Schedule
from apps.runtime.errors import NotFound


def list_schedules(
    *, user_id: UUID, limit: int, offset: int, agent_id: UUID | None = None
) -> tuple[list[Schedule], int]:
    """Return a page of a person's schedules, what is due next first, and how many there are.

    Args:
        user_id: Whose schedules.
        limit: Rows a page.
        offset: Rows to pass over.
        agent_id: Only those of this library agent.
    """
    mine = Schedule.objects.filter(user=user_id)
    if agent_id is not None:
        mine = mine.filter(agent=agent_id)
    ordered = mine.select_related("agent__graph").order_by(F("next_run_at").asc(nulls_last=True), "id")
    return list(ordered[offset : offset + limit]), mine.count()


def find_schedule(*, user_id: UUID, schedule_id: UUID) -> Schedule:
    """Return a person's own schedule.

    Raises:
        NotFound: Alike for one that is unknown or somebody else's.
    """
    found = Schedule.objects.select_related("agent__graph").filter(pk=schedule_id, user=user_id).first()
    if found is None:
        raise NotFound
    return found
