"""How much a person may spend on models, and what they are told of it: percents, never money."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from apps.accounts import queries as accounts
from apps.chat.errors import SpendLimitReached
from apps.chat.usage import windows
from apps.chat.usage.models import UsageOverride
from apps.chat.usage.windows import DAILY, WEEKLY

MULTIPLIERS = accounts.TIER_MULTIPLIERS
BASE_SETTING = {DAILY: "CHAT_DAILY_LIMIT_MICRODOLLARS", WEEKLY: "CHAT_WEEKLY_LIMIT_MICRODOLLARS"}
RESET_COST, MAX_RESETS = "CHAT_USAGE_RESET_COST_CENTS", "CHAT_MAX_DAILY_RESETS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What counts for one person at this moment.

    Attributes:
        tier: Their tier.
        microdollars: Window kind → limit; 0 = unlimited.
        reset_cost_cents: What clearing the daily window costs; 0 = can't be bought.
        max_daily_resets: How often a day it may be bought.
    """

    tier: str
    microdollars: dict[str, int]
    reset_cost_cents: int
    max_daily_resets: int


def limits_of(user_id: UUID) -> Limits:
    """Return a person's limits; tier, overrides and live settings are read anew, so that changes are seen at once.

    Raises:
        NotFound: When there is no such person.
    """
    return _limits_of_tier(user_id, accounts.tier_of(user_id))


def _limits_of_tier(user_id: UUID, tier: str) -> Limits:
    names = (*BASE_SETTING.values(), RESET_COST, MAX_RESETS)
    base = _whole_numbers({name: getattr(settings, name) for name in names})
    own = UsageOverride.objects.filter(pk=user_id).first()
    overrides = {} if own is None else {DAILY: own.daily_limit_microdollars, WEEKLY: own.weekly_limit_microdollars}
    factor = MULTIPLIERS[tier]
    limits: dict[str, int] = {}
    for kind, name in BASE_SETTING.items():
        override = overrides.get(kind)
        limits[kind] = factor * (base[name] if override is None else override)
    return Limits(tier=tier, microdollars=limits, reset_cost_cents=base[RESET_COST], max_daily_resets=base[MAX_RESETS])


def _whole_numbers(defaults: dict[str, int]) -> dict[str, int]:
    """Return live settings; one that isn't a whole number, 0 or more, falls back to the environment's."""
    live = accounts.live_settings(defaults)
    usable = {
        name: value
        for name, value in live.items()
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0
    }
    return {**defaults, **usable}


def check_spend(user_id: UUID, *, now: datetime | None = None) -> None:
    """Let a person who is below their limits pass.

    Costs are known afterwards, so turns that run at the same time may overshoot by what they cost themselves.

    Args:
        user_id: Who wants to start something that costs.
        now: The moment; the present one when None.

    Raises:
        SpendLimitReached: At or over a limit. Where both are reached it names the weekly one, which lasts longer.
        NotFound: When there is no such person.
    """
    now = now or timezone.now()
    tier = accounts.tier_of(user_id)
    used = windows.used(user_id, now)
    if not any(used.values()):
        return  # whatever the limits are: a limit of 0 is none
    limits = _limits_of_tier(user_id, tier).microdollars
    for kind in (WEEKLY, DAILY):
        if limits[kind] and used[kind] >= limits[kind]:
            raise SpendLimitReached(
                window=kind.value,
                resets_at=windows.resets_at(kind, now).isoformat(),
                retry_after_seconds=windows.seconds_left(kind, now),
            )


def usage_of(user_id: UUID, *, now: datetime | None = None) -> dict[str, Any]:
    """Return what a person may see of their usage.

    Args:
        user_id: Whose usage.
        now: The moment; the present one when None.

    Returns:
        `{daily: {percent_used, resets_at} | None, weekly: … | None, tier, reset_cost}`; None where unlimited, the cost
        in cents.

    Raises:
        NotFound: When there is no such person.
    """
    now = now or timezone.now()
    limits = limits_of(user_id)
    used = windows.used(user_id, now)
    shown = {}
    for kind in windows.KINDS:
        limit = limits.microdollars[kind]
        facts = limit and {"percent_used": percent(used[kind], limit), "resets_at": windows.resets_at(kind, now)}
        shown[kind.value] = facts or None
    return {**shown, "tier": limits.tier, "reset_cost": limits.reset_cost_cents}


def percent(used: int, limit: int) -> float:
    """Return how much of a limit is used: one decimal, 100.0 exactly when it is reached, at most 99.9 before."""
    if used >= limit:
        return 100.0
    tenths = (2000 * used + limit) // (2 * limit)  # rounded half up, without a float's doubts
    return min(tenths, 999) / 10
