"""When windows begin and end, and how they are added to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil
from uuid import UUID

from django.db.models import F

from apps.chat.usage.models import UsageWindow

DAILY, WEEKLY = UsageWindow.Kind.DAILY, UsageWindow.Kind.WEEKLY
#: Also the order in which they are locked.
KINDS = (DAILY, WEEKLY)
LENGTH = {DAILY: timedelta(days=1), WEEKLY: timedelta(days=7)}


def window_start(kind: str, now: datetime) -> datetime:
    """Return when the window began that a moment lies in: midnight, or Monday's midnight, in UTC."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if kind == DAILY else midnight - timedelta(days=midnight.weekday())


def resets_at(kind: str, now: datetime) -> datetime:
    """Return when the window ends that a moment lies in."""
    return window_start(kind, now) + LENGTH[UsageWindow.Kind(kind)]


def seconds_left(kind: str, now: datetime) -> int:
    """Return how many seconds, rounded up, it is until the window ends that a moment lies in."""
    return ceil((resets_at(kind, now) - now).total_seconds())


def add(user_id: UUID, microdollars: int, now: datetime) -> None:
    """Add to both windows of a moment; call inside the transaction that writes the cost entry."""
    for kind in KINDS:
        start = window_start(kind, now)
        window = UsageWindow.objects.filter(user_id=user_id, kind=kind, starts_at=start)
        grown = {"used_microdollars": F("used_microdollars") + microdollars}
        if not window.update(**grown):
            # The first call of the window; of two at once one makes the row, and both add to it.
            row = UsageWindow(user_id=user_id, kind=kind, starts_at=start)
            UsageWindow.objects.bulk_create([row], ignore_conflicts=True)
            window.update(**grown)


def used(user_id: UUID, now: datetime) -> dict[str, int]:
    """Return what a person spent in the present windows: kind → microdollars."""
    starts = {window_start(kind, now) for kind in KINDS}
    rows = UsageWindow.objects.filter(user_id=user_id, starts_at__in=starts)
    found = {(kind, start): used for kind, start, used in rows.values_list("kind", "starts_at", "used_microdollars")}
    return {kind: found.get((kind, window_start(kind, now)), 0) for kind in KINDS}
