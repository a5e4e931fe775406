"""Spending money in tests."""

from __future__ import annotations

from datetime import UTC, datetime

from apps.chat.usage.costs import book
from apps.chat.usage.models import UsageWindow
from apps.engines.base import Usage
from apps.engines.catalog import UNKNOWN

#: A Wednesday.
NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)


def pay(person, microdollars, now=None, *, usage=None, facts=UNKNOWN, session=None, turn=None, model="demo"):
    """Book one call of a person; returns what was charged."""
    return book(
        user_id=person.user.pk,
        session_id=session and session.pk,
        turn_id=turn and turn.pk,
        provider="demo",
        model=model,
        usage=usage or Usage(prompt_tokens=10, completion_tokens=5, cost_microdollars=microdollars),
        model_facts=facts,
        cache_ttl="5m",
        now=now,
    )


def window(person, kind, starts_at):
    """Return a window as (used, forgiven, paid resets), or None."""
    row = UsageWindow.objects.filter(user=person.user, kind=kind, starts_at=starts_at).first()
    return row and (row.used_microdollars, row.forgiven_microdollars, row.resets)
