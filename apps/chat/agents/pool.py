"""A worker process's agents: what a turn takes its agent from, and what sweeps those that nobody uses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Hashable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from apps.chat.agents.agent import BUILDING, Agent
from apps.chat.agents.cache import IDLE_TTL_SECONDS, MAX_SIZE, AgentCache, CacheGauges
from apps.chat.agents.conversation import Conversation, Conversations
from apps.chat.agents.holds import Closer
from apps.runtime.loop import end_tasks

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 300.0

#: Builds an agent for a conversation, given its resources and what lets go of clients. It does no network call.
Build = Callable[[Conversation, Closer], Awaitable[Agent]]
#: Returns those of some sessions that are no more.
FindGone = Callable[[Collection[Any]], Awaitable[Collection[Any]]]


@dataclass(slots=True)
class AgentTurn:
    """A turn with its agent; the two facts are for the turn to set.

    Attributes:
        agent: What answers.
        succeeded: The turn was answered.
        model_changed: The model was switched or a fallback was activated during the turn.
    """

    agent: Agent
    succeeded: bool = False
    model_changed: bool = False


class AgentPool:
    """The agent cache of one worker process, joined to its loop."""

    def __init__(
        self,
        *,
        max_size: int = MAX_SIZE,
        idle_ttl_seconds: float = IDLE_TTL_SECONDS,
        sweep_seconds: float = SWEEP_SECONDS,
        find_gone: FindGone | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Make it; call on the loop.

        Args:
            max_size: How many agents are kept.
            idle_ttl_seconds: How long an idle one is kept.
            sweep_seconds: The pause between sweeps.
            find_gone: Asked at each sweep which sessions were deleted, for those of which nobody told this process.
            now: The clock, in Unix seconds.
        """
        self.cache = AgentCache(max_size, idle_ttl_seconds, now=now)
        self.conversations = Conversations()
        self._closer = Closer()
        self._now = now
        self._sweep_seconds = sweep_seconds
        self._find_gone = find_gone
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sweep."""
        self._sweeper = asyncio.create_task(self._sweep_again_and_again(), name="sweep agents")

    async def aclose(self) -> None:
        """Let go of all agents and wait until their clients are closed; the conversations' resources end as well."""
        await end_tasks(self._sweeper)
        self.cache.clear()
        self.conversations.close_all()
        await self._closer.join()

    @asynccontextmanager
    async def turn(self, session_id: Hashable, signature: str, build: Build) -> AsyncGenerator[AgentTurn]:
        """Run a turn with its conversation's agent: the cached one if it fits, else a new one.

        Args:
            session_id: The conversation.
            signature: What the turn needs, from `agent_signature`.
            build: Makes the agent when there is none that fits.
        """
        agent = await self._take(session_id, signature, build)
        turn = AgentTurn(agent)
        try:
            yield turn
        finally:
            agent.end_turn(self._now())
            self.cache.finish_turn(session_id, agent, succeeded=turn.succeeded, model_changed=turn.model_changed)

    def reset_session(self, session_id: Hashable) -> None:
        """Have the next turn build a new agent; what belongs to the conversation stays."""
        self.cache.evict(session_id)

    def end_session(self, session_id: Hashable) -> None:
        """Drop a conversation's agent and end its sandbox, processes, browser and children."""
        self.cache.evict(session_id)
        self.conversations.close(session_id)

    def end_session_soon(self, session_id: Hashable) -> None:
        """Like `end_session`, beside the loop: ending processes takes time. Call on the loop."""
        self._closer.schedule(partial(asyncio.to_thread, self.end_session, session_id))

    async def end_gone(self) -> None:
        """End the sessions that were deleted while nobody told this process."""
        known = {*self.cache.keys(), *self.conversations.owners()}
        if self._find_gone is not None and known:
            for session_id in await self._find_gone(known):
                self.end_session_soon(session_id)

    def gauges(self) -> CacheGauges:
        """Return a snapshot for operators."""
        return self.cache.gauges()

    def sweep(self) -> int:
        """Drop idle agents, and more while memory is short; returns how many went."""
        return self.cache.sweep_idle() + self.cache.enforce_memory()

    async def _take(self, session_id: Hashable, signature: str, build: Build) -> Agent:
        cached: Agent | None = self.cache.get(session_id, signature)
        # It may have been released between the two calls, as other threads insert too.
        if cached is not None and cached.begin_turn(self._now()):
            return cached
        self.cache.put(session_id, BUILDING, signature)
        try:
            agent = await build(self.conversations.of(session_id), self._closer)
            agent.begin_turn(self._now())
            self.cache.put(session_id, agent, signature)
        finally:
            self.cache.abandon_building(session_id)
        return agent

    async def _sweep_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_seconds)
            try:
                await self.end_gone()
                self.sweep()
                logger.info("agent cache", extra=asdict(self.gauges()))
            except Exception as error:  # noqa: BLE001 - the next sweep may go well
                logger.warning("agents could not be swept: %s", type(error).__name__)
