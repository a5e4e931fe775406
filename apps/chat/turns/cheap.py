"""Short chores for the cheap model: titles and summaries."""

from __future__ import annotations

from contextlib import aclosing

from apps.chat.turns.route import Router
from apps.chat.usage.costs import ModelCall
from apps.engines.base import StepRequest, TextDelta, Usage


async def ask_cheap(router: Router, system: str, text: str) -> tuple[str, ModelCall]:
    """Have the cheap model answer one text.

    Args:
        router: Knows which model that is.
        system: What it is to do.
        text: What to do it with.

    Returns:
        Its answer, stripped, and the call, which the caller books.

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
    return "".join(said).strip(), route.call_of(usage)
