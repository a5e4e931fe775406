"""Short chores for the cheap model: titles and summaries."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

from apps.chat.turns.route import Route, Router
from apps.engines.base import StepRequest, TextDelta, Usage
from apps.engines.catalog import price


async def ask_cheap(router: Router, system: str, text: str) -> tuple[str, Usage]:
    """Have the cheap model answer one text.

    Args:
        router: Knows which model that is.
        system: What it is to do.
        text: What to do it with.

    Returns:
        Its answer, stripped, and what the call used; the cost is the provider's figure, or that of the price table.

    Raises:
        EngineError: When the call failed.
    """
    route = router.cheap()
    request = StepRequest(model=route.model, system=(system,), messages=[{"role": "user", "content": text}])
    said: list[str] = []
    usage = Usage()
    async with aclosing(route.engine.step(request)) as events:
        async for event in events:
            match event:
                case TextDelta(text=delta):
                    said.append(delta)
                case Usage():
                    usage += event
    return "".join(said).strip(), priced(usage, route)


def priced(usage: Usage, route: Route) -> Usage:
    """Return usage with a cost: by the price table where the provider told none, as far as the table knows."""
    if usage.cost_microdollars is not None:
        return usage
    return replace(usage, cost_microdollars=price(usage, route.facts, cache_ttl=route.cache_ttl))
