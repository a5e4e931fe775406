"""What a model call used, however it ends: stopping an answer, or losing it half-way, doesn't make it free."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

import structlog

from apps.chat.turns.compaction import BYTES_A_TOKEN, request_tokens, weight
from apps.chat.turns.route import Route
from apps.chat.usage.costs import ModelCall
from apps.engines.base import (
    EngineEvent,
    Meter,
    ReasoningDelta,
    StepRequest,
    TextDelta,
    ToolInputDelta,
    ToolInputStart,
    Usage,
)

logger = structlog.get_logger(__name__)

Count = Callable[[ModelCall], None]


class MeteredCall:
    """One call of a model, counted exactly once."""

    def __init__(self, route: Route, request: StepRequest, count: Count) -> None:
        """Prepare a call; nothing is sent yet.

        Args:
            route: Who is asked.
            request: What.
            count: Takes down what the call used.
        """
        self._route = route
        self._request = replace(request, meter=Meter())
        self._count: Count | None = count
        self._received_bytes = 0

    async def events(self) -> AsyncGenerator[EngineEvent]:
        """Make the call and yield its events but `Usage`; use it within `contextlib.aclosing`.

        Raises:
            EngineError: When the call failed.
        """
        try:
            async with aclosing(self._route.engine.step(self._request)) as events:
                async for event in events:
                    if isinstance(event, Usage):
                        self._end(self._route.call_of(event))
                    else:
                        self._received_bytes += received_bytes(event)
                        yield event
        finally:
            self.end()

    def end(self) -> None:
        """Count what is known now; nothing happens where the call was counted, and nothing is counted afterwards."""
        if self._count is not None:
            self._end(self._known())

    def _end(self, call: ModelCall | None) -> None:
        count, self._count = self._count, None
        if count is not None and call is not None:
            count(call)

    def _known(self) -> ModelCall | None:
        """Return the call as far as it is known; None where it can't have cost anything, or nobody can say what."""
        meter, told = self._request.meter, self._request.meter.told
        if told is not None and (meter.told_all or told.cost_microdollars is not None):
            return self._route.call_of(told)
        if meter.came_whole:
            logger.warning("model_call_without_usage", provider=self._route.provider, model=self._route.model)
            return None
        if not (meter.may_cost or self._received_bytes or told):
            return None
        return self._route.call_of(estimate(self._request, told or Usage(), self._received_bytes), is_estimated=True)


def received_bytes(event: EngineEvent) -> int:
    """Return how many bytes the model wrote for an event."""
    match event:
        case TextDelta(text=text) | ReasoningDelta(text=text):
            return weight(text)
        case ToolInputStart(name=text) | ToolInputDelta(delta=text):
            return weight(text)
    return 0


def estimate(request: StepRequest, told: Usage, received: int) -> Usage:
    """Return what a call used that was broken off.

    Args:
        request: What was sent.
        told: What the provider had told; its input counts where there is any.
        received: Bytes that the model had written.
    """
    written = -(-received // BYTES_A_TOKEN)
    knows_input = told.prompt_tokens or told.cache_read_tokens or told.cache_write_tokens
    return replace(
        told,
        prompt_tokens=told.prompt_tokens if knows_input else request_tokens(request),
        completion_tokens=max(told.completion_tokens, written),
    )
