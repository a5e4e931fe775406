"""Short chores for the cheap model: titles and summaries."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from apps.chat.turns.metering import MeteredCall
from apps.chat.turns.route import Route, Router
from apps.engines.base import StepRequest, TextDelta

Metered = Callable[[Route, StepRequest], MeteredCall]


async def ask_cheap(router: Router, system: str, text: str, metered: Metered) -> str:
    """Have the cheap model answer one text.

    Args:
        router: Knows which model that is.
        system: What it is to do.
        text: What to do it with.
        metered: Makes the call, and sees to it that it is booked however it ends.

    Returns:
        Its answer, stripped.

    Raises:
        EngineError: When the call failed.
    """
    route = router.cheap()
    request = StepRequest(model=route.model, system=(system,), messages=[{"role": "user", "content": text}])
    async with aclosing(metered(route, request).events()) as events:
        said = [event.text async for event in events if isinstance(event, TextDelta)]
    return "".join(said).strip()
