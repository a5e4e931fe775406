"""What a person is told first: what runs, what waits for them, what comes, what failed, what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import F, Sum
from django.utils import timezone

from apps.library.models import Execution, Review, Schedule
from apps.library.models.executions import Status
from apps.library.reviews.queries import waiting_reviews
from apps.library.schedules.cron import zone_names

#: Rows that are shown of each kind.
SHOWN = 5
FAILED_LATELY = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Briefing:
    """The facts; of each list there are the first rows and how many there are in all.

    Attributes:
        running: Runs that work or are queued, newest first, without those that other runs started.
        reviews: Questions that wait, newest first.
        schedules: What is due next.
        stopped: Schedules that were switched off because their agent could not be started.
        failed: Runs that failed within a day, latest first.
        spent_cents: What runs cost that were started in this month.
        month_starts_at: When the month began in the person's zone.
    """

    running: list[Execution]
    running_total: int
    reviews: list[Review]
    reviews_total: int
    schedules: list[Schedule]
    schedules_total: int
    stopped: list[Schedule]
    stopped_total: int
    failed: list[Execution]
    failed_total: int
    spent_cents: int
    month_starts_at: datetime


def briefing(*, user_id: UUID, time_zone: str, now: datetime | None = None) -> Briefing:
    """Return a person's briefing, in a constant number of queries.

    Args:
        user_id: Whose.
        time_zone: The IANA zone in which their month begins and ends; UTC when there is none of that name.
        now: The moment to look from; the present one by default.
    """
    now = now or timezone.now()
    runs = Execution.objects.of(user_id)
    topmost = runs.filter(parent=None).select_related("graph")
    running = topmost.filter(status__in=(Status.QUEUED, Status.RUNNING)).order_by("-created_at", "-id")
    failed = topmost.filter(status=Status.FAILED, ended_at__gt=now - FAILED_LATELY, ended_at__lte=now)
    mine = Schedule.objects.filter(user=user_id).select_related("agent__graph")
    schedules = mine.filter(is_enabled=True, next_run_at__isnull=False)
    stopped = mine.filter(is_enabled=False).exclude(disabled_reason="")
    reviews, reviews_total = waiting_reviews(user_id=user_id, limit=SHOWN, offset=0)
    start, end = month(now, time_zone)
    begun = runs.filter(started_at__gte=start, started_at__lt=end)
    return Briefing(
        running=list(running[:SHOWN]),
        running_total=running.count(),
        reviews=reviews,
        reviews_total=reviews_total,
        schedules=list(schedules.order_by("next_run_at", "id")[:SHOWN]),
        schedules_total=schedules.count(),
        stopped=list(stopped.order_by(F("skipped_at").desc(nulls_last=True), "id")[:SHOWN]),
        stopped_total=stopped.count(),
        failed=list(failed.order_by("-ended_at", "-id")[:SHOWN]),
        failed_total=failed.count(),
        spent_cents=begun.aggregate(cents=Sum("cost_cents"))["cents"] or 0,
        month_starts_at=start,
    )


def month(now: datetime, time_zone: str) -> tuple[datetime, datetime]:
    """Return when the calendar month of a moment begins and ends in a zone, in UTC."""
    zone = ZoneInfo(time_zone if time_zone in zone_names() else "UTC")
    here = now.astimezone(zone)
    start = datetime(here.year, here.month, 1, tzinfo=zone)
    later = start + timedelta(days=31)
    return start.astimezone(UTC), datetime(later.year, later.month, 1, tzinfo=zone).astimezone(UTC)


def dollars(cents: int) -> str:
    """Return an amount as people write it."""
    return f"${cents // 100:,}.{cents % 100:02}"
