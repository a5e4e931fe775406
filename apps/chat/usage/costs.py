"""Booking what a model call cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from apps.chat.usage import windows
from apps.chat.usage.models import CostEntry
from apps.engines.base import Usage
from apps.engines.catalog import ModelFacts, price

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One call of a model that ended, or that was broken off.

    Attributes:
        provider: Who answered.
        model: The provider's model id.
        usage: Its tokens, and its cost where the provider told one.
        facts: The model's prices, for when it didn't.
        cache_ttl: `5m` or `1h`, how long what was written to the prompt cache is kept.
        is_estimated: Its tokens were not all told by the provider.
    """

    provider: str
    model: str
    usage: Usage
    facts: ModelFacts
    cache_ttl: str
    is_estimated: bool = False


@transaction.atomic
def book(
    *, user_id: UUID, session_id: UUID | None, turn_id: UUID | None, call: ModelCall, now: datetime | None = None
) -> int:
    """Write a call's cost entry and add it to the person's windows, in one transaction.

    It isn't idempotent: call it inside the transaction that stores the call's outcome once.

    Args:
        user_id: Who pays.
        session_id: The conversation that the call was made for, if any.
        turn_id: The turn that it was made for, if any.
        call: What was used.
        now: The moment that it counts for; the present one when None.

    Returns:
        Microdollars that were charged; 0 where nobody knows the price, which is logged once a turn.
    """
    now = now or timezone.now()
    usage, told = call.usage, call.usage.cost_microdollars
    cost = told if told is not None else price(usage, call.facts, cache_ttl=call.cache_ttl)
    if cost is None:
        _warn_once(turn_id, call)
    CostEntry.objects.create(
        user_id=user_id,
        session_id=session_id,
        turn_id=turn_id,
        provider=call.provider[:64],
        model=call.model[:200],
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        microdollars=cost or 0,
        is_estimated=call.is_estimated or (told is None and cost is not None),
        is_unpriced=cost is None,
        created_at=now,
    )
    if cost:
        windows.add(user_id, cost, now)
    return cost or 0


def _warn_once(turn_id: UUID | None, call: ModelCall) -> None:
    """Log that a call went uncharged, unless one of the same turn was logged before."""
    if turn_id is None or not CostEntry.objects.filter(turn_id=turn_id, is_unpriced=True).exists():
        told = {"provider": call.provider, "model": call.model}
        logger.warning("model_call_unpriced", turn_id=turn_id and str(turn_id), **told)
