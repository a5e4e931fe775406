"""What models can do and cost, by id: one table, which an installation may add to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_UP, Decimal

from apps.engines.base import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One model. Prices are US dollars for a million tokens, which is microdollars a token; None where unknown.

    Attributes:
        context_tokens: Tokens of prompt and answer together at most.
        thinking: Whether it can think before it answers.
        adaptive: Whether it decides by itself how long it thinks; a budget would be refused.
        effort: Whether it takes an effort setting.
        vision: Whether it sees images.
        input_price: Uncached input.
        output_price: Output, reasoning included.
        cache_write_5m_price: Input written to the prompt cache for five minutes.
        cache_write_1h_price: The same for an hour.
        cache_read_price: Input read from the prompt cache.
    """

    context_tokens: int = 128_000
    thinking: bool = False
    adaptive: bool = False
    effort: bool = False
    vision: bool = False
    input_price: float | None = None
    output_price: float | None = None
    cache_write_5m_price: float | None = None
    cache_write_1h_price: float | None = None
    cache_read_price: float | None = None


UNKNOWN = ModelFacts()


def _claude(price: float, output: float, *, effort: bool = False, adaptive: bool = False) -> ModelFacts:
    """Return a Claude model; its cache prices are fixed parts of the input price."""
    return ModelFacts(
        context_tokens=200_000,
        thinking=True,
        adaptive=adaptive,
        effort=effort,
        vision=True,
        input_price=price,
        output_price=output,
        cache_write_5m_price=price * 1.25,
        cache_write_1h_price=price * 2,
        cache_read_price=price / 10,
    )


#: Ids without a vendor's prefix; the longest one that a model's id begins with counts. Prices are those of Anthropic's
#: and OpenAI's price pages as of November 2026; they are only used where a provider tells no cost.
BUILT_IN: dict[str, ModelFacts] = {
    "claude-opus-4": _claude(5.0, 25.0, effort=True),
    "claude-opus-4-7": _claude(5.0, 25.0, effort=True, adaptive=True),
    "claude-sonnet-4": _claude(3.0, 15.0),
    "claude-sonnet-4-6": _claude(3.0, 15.0, effort=True),
    "claude-haiku-4": _claude(1.0, 5.0),
    "flightdeck-demo": ModelFacts(thinking=True),  # it shows what thinking looks like
    "gpt-4o": ModelFacts(vision=True, input_price=2.5, output_price=10.0, cache_read_price=1.25),
    "gpt-4o-mini": ModelFacts(vision=True, input_price=0.15, output_price=0.6, cache_read_price=0.075),
}


def facts(model: str, added: Mapping[str, ModelFacts] | None = None) -> ModelFacts:
    """Return what is known of a model.

    Args:
        model: Its id, with or without a vendor's prefix (`anthropic/claude-sonnet-4-6`).
        added: An installation's own table, which is asked first.

    Returns:
        Its facts; cautious ones without prices where nobody knows it.
    """
    whole = model.lower()
    bare = whole.rpartition("/")[2]
    for table in (added or {}, BUILT_IN):
        known = [name for name in table if whole.startswith(name.lower()) or bare.startswith(name.lower())]
        if known:
            return table[max(known, key=len)]
    return UNKNOWN


def price(usage: Usage, model: ModelFacts, *, cache_ttl: str = "5m") -> int | None:
    """Return what a call costs by the table.

    Args:
        usage: The normalised tokens of the call.
        model: Whose prices count.
        cache_ttl: `5m` or `1h`, how long what was written to the prompt cache is kept.

    Returns:
        Microdollars, rounded half up; None where a price is missing for something that was used.
    """
    write = model.cache_write_1h_price if cache_ttl == "1h" else model.cache_write_5m_price
    parts = (
        (usage.prompt_tokens, model.input_price),
        (usage.completion_tokens, model.output_price),
        (usage.cache_write_tokens, write if write is not None else model.input_price),
        (usage.cache_read_tokens, model.cache_read_price if model.cache_read_price is not None else model.input_price),
    )
    total = Decimal(0)
    for tokens, dollars in parts:
        if tokens and dollars is None:
            return None
        total += tokens * Decimal(repr(dollars or 0))
    return int(total.to_integral_value(rounding=ROUND_HALF_UP))


def parse_table(text: str) -> dict[str, ModelFacts]:
    """Read an installation's own table.

    Args:
        text: A JSON object: model id (or how ids begin) → the attributes of `ModelFacts` that are known.

    Raises:
        ValueError: When it is something else; the message says what.
    """
    table = json.loads(text)
    if not isinstance(table, dict):
        raise ValueError("it is no object")  # noqa: TRY004 -- how a setting says that it can't be used
    kinds = {field.name: field.type for field in fields(ModelFacts)}
    found = {}
    for name, given in table.items():
        if not isinstance(given, dict):
            raise ValueError(f"{name} is no object")  # noqa: TRY004
        for key, value in given.items():
            if key not in kinds:
                raise ValueError(f"{name} has an unknown field {key}")
            is_flag = kinds[key] == "bool"
            if isinstance(value, bool) != is_flag or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"{name}.{key} must be {'true or false' if is_flag else 'a number, 0 or more'}")
        found[name] = ModelFacts(**given)
    return found
