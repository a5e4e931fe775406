"""What a call used and cost, made alike for every provider."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from apps.engines.base import Usage

logger = logging.getLogger(__name__)

MICRODOLLARS_PER_DOLLAR = 1_000_000
# No single call costs this much: a larger figure is a broken one, and would not fit a bigint column once added up.
MAX_COST_DOLLARS = 1_000_000

# Where servers put the same figure: (a path inside `usage`), the first one present is read.
_CACHE_READ_PATHS = (
    ("prompt_tokens_details", "cached_tokens"),  # OpenAI, OpenRouter, vLLM
    ("cache_read_input_tokens",),  # LiteLLM
    ("prompt_cache_hit_tokens",),  # DeepSeek
    ("cached_tokens",),  # Moonshot
)
_CACHE_WRITE_PATHS = (
    ("prompt_tokens_details", "cache_write_tokens"),  # OpenAI, OpenRouter
    ("cache_creation_input_tokens",),  # LiteLLM
    ("cache_write_tokens",),
)


def parse_usage(raw: object) -> Usage | None:
    """Normalise the `usage` object of an OpenAI-shaped answer.

    Its `prompt_tokens` counts cached tokens in; `Usage.prompt_tokens` doesn't.

    Args:
        raw: The decoded `usage` value.

    Returns:
        The normalised figures, or None when it isn't an object at all.
    """
    if not isinstance(raw, Mapping):
        logger.error("usage is not an object", extra={"shape": type(raw).__name__})
        return None
    cache_read = _first_count(raw, _CACHE_READ_PATHS)
    cache_write = _first_count(raw, _CACHE_WRITE_PATHS)
    prompt = _count(raw.get("prompt_tokens"))
    return Usage(
        prompt_tokens=max(0, prompt - cache_read - cache_write),
        completion_tokens=_count(raw.get("completion_tokens")),
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cost_microdollars=parse_cost(raw["cost"]) if "cost" in raw else None,
    )


def parse_anthropic_usage(raw: Mapping[str, Any]) -> Usage:
    """Normalise the `usage` of Anthropic's Messages API, whose `input_tokens` leaves cached tokens out already."""
    return Usage(
        prompt_tokens=_count(raw.get("input_tokens")),
        completion_tokens=_count(raw.get("output_tokens")),
        cache_read_tokens=_count(raw.get("cache_read_input_tokens")),
        cache_write_tokens=_count(raw.get("cache_creation_input_tokens")),
    )


def parse_cost(dollars: object) -> int | None:
    """Turn a provider's cost in US dollars into whole microdollars, rounded half up.

    Args:
        dollars: The decoded `cost` value.

    Returns:
        Microdollars, or None (logged as an error: money went uncounted) when it is null, not a number, not
        finite, negative or absurdly large.
    """
    if isinstance(dollars, bool) or not isinstance(dollars, int | float):
        logger.error("cost is not a number", extra={"shape": type(dollars).__name__})
        return None
    if not math.isfinite(dollars) or not 0 <= dollars <= MAX_COST_DOLLARS:
        logger.error("cost is out of range")
        return None
    # repr() of a float is the shortest text that means it: 0.1 becomes 0.1 and not 0.1000000000000000055…
    exact = Decimal(repr(dollars)) * MICRODOLLARS_PER_DOLLAR
    return int(exact.to_integral_value(rounding=ROUND_HALF_UP))


def _first_count(raw: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]) -> int:
    """Return the first figure that is present under one of the paths."""
    for path in paths:
        value: Any = raw
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            return _count(value)
    return 0


def _count(value: object) -> int:
    """Read a number of tokens; what isn't a whole number of at least 0 counts as 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if not math.isfinite(value) or value < 0:
        return 0
    return int(value)
