"""Clearing windows: bought by their owner, or done by an operator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import BigIntegerField, F, Value
from django.db.models.functions import Greatest, Least
from django.utils import timezone

from apps.billing import services as billing
from apps.chat.errors import ResetInProgress, ResetLimitReached, ResetRefused
from apps.chat.usage import limits, windows
from apps.chat.usage.models import UsageWindow
from apps.chat.usage.windows import DAILY, WEEKLY, window_start

EXHAUSTED_WEEK = "Your weekly limit would still be reached after a reset."
logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """What a paid reset cost, and how things stand after it."""

    credits_charged: int
    remaining_balance: int
    usage: dict[str, Any]


@transaction.atomic
def buy_reset(*, user_id: UUID, now: datetime | None = None) -> Reset:
    """Take credits for clearing the daily window; the weekly one is lowered by the daily limit.

    Args:
        user_id: Whose window, and who pays.
        now: The moment; the present one when None.

    Raises:
        ResetRefused: When there is nothing that could be bought, or it wouldn't help; says why.
        ResetLimitReached: When it was bought as often as a day allows.
        ResetInProgress: When the same window is being reset at this moment; nothing is charged for this one.
        InsufficientBalance: When the credits don't suffice; nothing is reset then.
        NotFound: When there is no such person.
    """
    now = now or timezone.now()
    plan = limits.limits_of(user_id)
    _refuse_in_vain(plan, windows.used(user_id, now))
    daily, weekly = plan.microdollars[DAILY], plan.microdollars[WEEKLY]
    today = UsageWindow.objects.get(user_id=user_id, kind=DAILY, starts_at=window_start(DAILY, now))
    if today.resets >= plan.max_daily_resets:
        raise ResetLimitReached(retry_after_seconds=windows.seconds_left(DAILY, now))
    # Of several at once one finds the window as it was read; its row stays locked until the credits are taken.
    same = UsageWindow.objects.filter(pk=today.pk, resets=today.resets, used_microdollars__gte=daily)
    if not same.update(resets=F("resets") + 1, **_lowered(None)):
        raise ResetInProgress
    week = UsageWindow.objects.filter(user_id=user_id, kind=WEEKLY, starts_at=window_start(WEEKLY, now))
    week.update(**_lowered(daily))
    if weekly and windows.used(user_id, now)[WEEKLY] >= weekly:
        raise ResetRefused(EXHAUSTED_WEEK)
    line = billing.spend(
        user_id=user_id,
        amount_cents=plan.reset_cost_cents,
        key=f"usage-reset:{user_id}:{today.starts_at:%Y-%m-%d}:{today.resets + 1}",
        metadata={"for": "usage_reset"},
    )
    return Reset(
        credits_charged=plan.reset_cost_cents,
        remaining_balance=line.running_balance_cents,
        usage=limits.usage_of(user_id, now=now),
    )


def _refuse_in_vain(plan: limits.Limits, used: dict[str, int]) -> None:
    """Refuse a reset that isn't for sale or wouldn't help.

    Raises:
        ResetRefused: Says why.
    """
    daily, weekly = plan.microdollars[DAILY], plan.microdollars[WEEKLY]
    if not plan.reset_cost_cents:
        raise ResetRefused("Resets can't be bought here.")
    if not daily:
        raise ResetRefused("You have no daily limit.")
    if used[DAILY] < daily:
        raise ResetRefused("You haven't reached your daily limit.")
    if weekly and used[WEEKLY] - daily >= weekly:
        raise ResetRefused(EXHAUSTED_WEEK)


def clear(*, user_id: UUID, reset_weekly: bool, operator_id: UUID, now: datetime | None = None) -> None:
    """Clear a person's daily window, and the weekly one on demand, at an operator's wish.

    Args:
        user_id: Whose windows.
        reset_weekly: Whether the week is cleared too.
        operator_id: Who does it, for the log.
        now: The moment; the present one when None.
    """
    now = now or timezone.now()
    with transaction.atomic():
        for kind in (DAILY, WEEKLY) if reset_weekly else (DAILY,):
            present = UsageWindow.objects.filter(user_id=user_id, kind=kind, starts_at=window_start(kind, now))
            present.update(**_lowered(None))
    logger.info("usage_cleared", user_id=str(user_id), operator_id=str(operator_id), reset_weekly=reset_weekly)


def _lowered(microdollars: int | None) -> dict[str, Any]:
    """Return the changes that take an amount off a window, not below 0; None takes all."""
    used = F("used_microdollars")
    if microdollars is None:
        return {"forgiven_microdollars": F("forgiven_microdollars") + used, "used_microdollars": 0}
    whole = BigIntegerField()
    part = Value(microdollars, whole)
    return {
        "forgiven_microdollars": F("forgiven_microdollars") + Least(used, part, output_field=whole),
        "used_microdollars": Greatest(used - part, Value(0, whole), output_field=whole),
    }
