"""How pages of the library show money, times that passed, statuses and values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone

from apps.library.pages.values import Shown, shown

register = template.Library()

STATUS_WORDS = {
    "INCOMPLETE": "Waiting",
    "QUEUED": "Queued",
    "RUNNING": "Running",
    "COMPLETED": "Completed",
    "TERMINATED": "Stopped",
    "FAILED": "Failed",
    "REVIEW": "Needs review",
    "APPROVED": "Approved",
    "REJECTED": "Rejected",
    "": "Not started",
}
MINUTE, HOUR, DAY = 60, 3600, 86400


@register.filter
def status_words(status: Any) -> str:
    """Return a status as people read it."""
    return STATUS_WORDS.get(str(status or ""), str(status).capitalize())


@register.filter
def money(cents: int | None) -> str:
    """Return cents as dollars."""
    return f"${(cents or 0) / 100:,.2f}"


@register.filter
def dollars(cents: int | None) -> str:
    """Return cents as the value of a field of dollars; nothing for no amount."""
    return "" if cents is None else f"{cents / 100:.2f}"


@register.filter
def seconds_words(seconds: float | None) -> str:
    """Return a length of time in words."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min {int(seconds % MINUTE)} s"
    return f"{int(seconds // HOUR)} h {int(seconds % HOUR // MINUTE)} min"


@register.filter
def took(run: Any) -> str:
    """Return how long a run or a node's share of it took, or takes so far."""
    if run is None or run.started_at is None:
        return ""
    return seconds_words(((run.ended_at or timezone.now()) - run.started_at).total_seconds())


@register.filter
def ago(moment: datetime | None) -> str:
    """Return how long ago a moment was, or how long it is until then."""
    if moment is None:
        return ""
    seconds = (timezone.now() - moment).total_seconds()
    text = _rough(abs(seconds))
    if not text:
        return "just now" if seconds >= 0 else "in a moment"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


def _rough(seconds: float) -> str:
    for length, word in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {word}{'' if count == 1 else 's'}"
    return ""


@register.filter
def as_shown(value: Any) -> Shown:
    """Return a value of a run with what a template needs to show it."""
    return shown(value)
