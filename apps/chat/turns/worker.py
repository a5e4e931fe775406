"""A worker process's turns: how the generic lease machinery is joined to the runner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

import redis.asyncio
import structlog
from django.conf import settings

from apps.chat import announce
from apps.chat.agents.agent import Agent
from apps.chat.agents.conversation import Conversation
from apps.chat.agents.holds import Closer, hold_client
from apps.chat.agents.pool import AgentPool
from apps.chat.agents.signature import agent_signature
from apps.chat.models import Turn
from apps.chat.queries import gone_sessions
from apps.chat.stream import chunks as c
from apps.chat.stream.publisher import Publisher, log_key
from apps.chat.tools.registry import ToolRegistry, default_registry
from apps.chat.turns import recovery
from apps.chat.turns.history import system_prompt
from apps.chat.turns.recorder import Recorder
from apps.chat.turns.recovery import TakeUp
from apps.chat.turns.route import Route, Router
from apps.chat.turns.runner import TurnRunner
from apps.chat.turns.state import TurnState, load
from apps.chat.turns.title import TitleMaker
from apps.runtime import eventlog
from apps.runtime.db import db
from apps.runtime.eventlog import BEGINNING, EventLogWriter
from apps.runtime.leases import Claim, Replaced, forgotten_ids
from apps.runtime.loop import end_tasks
from apps.runtime.redis import RedisError, async_client
from apps.runtime.round_trips import RoundTrips
from apps.runtime.worker import RunWorker, Signals

logger = structlog.get_logger(__name__)

#: A turn that has ended waits this long for Redis to take its last events; readers find the end in the rows anyway.
FLUSH_SECONDS = 10.0
LISTEN_PAUSE_SECONDS = 1.0
GIVEN_UP = "lost_runners"
GIVEN_UP_SENTENCE = "The copilot was interrupted several times while it worked on this, so it stopped. Try again."


async def find_gone(session_ids: Collection[UUID]) -> Collection[UUID]:
    """Return those of the sessions that were deleted."""
    return await db(gone_sessions, session_ids)


class TurnKind:
    """Turns, as the worker sees them."""

    def __init__(self) -> None:
        """Read the settings; nothing is opened before `run`. Call on the loop."""
        self.lease_seconds = settings.LEASE_SECONDS
        self.renew_seconds = settings.LEASE_RENEW_SECONDS
        self.sweep_seconds = settings.LEASE_SWEEP_SECONDS
        self.redis: redis.asyncio.Redis = async_client()
        self.round_trips = RoundTrips(self.redis)
        self.router = Router()
        self.tools: ToolRegistry = default_registry(
            extra_modules=settings.CHAT_TOOL_MODULES, call_limit_seconds=settings.CHAT_TOOL_TIMEOUT_SECONDS
        )
        self.agents = AgentPool(
            max_size=settings.CHAT_AGENT_CACHE_SIZE,
            idle_ttl_seconds=settings.CHAT_AGENT_IDLE_SECONDS,
            find_gone=find_gone,
        )
        #: Called when a session's first turn begins.
        self.on_first_turn: Callable[[TurnState], None] | None = None

    def claim(self, run_id: UUID, runner: str) -> Claim | None:
        """Become a turn's runner; the turn is read on the same way, as every hop between threads delays its answer."""
        claim = Turn.objects.claim(run_id, runner=runner, lease_seconds=self.lease_seconds)
        return claim and replace(claim, facts=load(run_id, is_new=claim.attempt == 1))

    def renew(self, run_ids: Sequence[UUID], runner: str) -> tuple[set[UUID], set[UUID]]:
        """Prolong the leases of this process's turns."""
        return Turn.objects.renew(run_ids, runner=runner, lease_seconds=self.lease_seconds)

    def forgotten(self, limit: int) -> Sequence[UUID]:
        """Return turns that need a runner."""
        return forgotten_ids(Turn.objects.all(), limit)

    async def run(self, claim: Claim, signals: Signals) -> None:
        """Work on a turn from where its rows and its log are."""
        turn: TurnState | None = claim.facts
        if turn is None:
            raise Replaced
        structlog.contextvars.bind_contextvars(session_id=str(turn.session_id), turn_id=str(turn.id))
        writer = EventLogWriter(
            self.round_trips,
            log_key(turn.id),
            ttl_seconds=settings.STREAM_TTL_SECONDS,
            on_replaced=signals.replaced.set,
        )
        if turn.is_first and claim.attempt == 1 and self.on_first_turn is not None:
            self.on_first_turn(turn)
        has_ended = False
        try:
            has_ended = await self._attempt(turn, claim, signals, writer)
            await writer.flush(FLUSH_SECONDS)
        finally:
            await writer.aclose()
            await asyncio.shield(asyncio.to_thread(self._tell, turn, has_ended=has_ended))

    def _tell(self, turn: TurnState, *, has_ended: bool) -> None:
        """Tell readers that a turn has ended, or other workers that it is to be had."""
        if has_ended:
            told = {"user_id": turn.user_id, "session_id": turn.session_id, "turn_id": turn.id}
            announce.announce(announce.ENDED, **told)
        else:
            announce.wake_worker(turn.id)

    async def _attempt(self, turn: TurnState, claim: Claim, signals: Signals, writer: EventLogWriter) -> bool:
        """Make one attempt; returns whether the turn has ended."""
        publisher = Publisher(writer, attempt=claim.attempt, window_seconds=settings.CHAT_DELTA_WINDOW_SECONDS)
        recorder = Recorder(claim, turn, publisher, writer)
        found = await self._take_up(turn, claim, recorder, publisher)
        if not (turn.was_stopped or turn.lost_leases > recovery.MOST_LOST_LEASES):
            route = self.router.route(turn.mode, turn.tier)
            tools = self.tools.within(turn.permissions)
            build = partial(self._agent, route, tools)
            async with self.agents.turn(turn.session_id, self._signature(route, tools), build) as held:
                runner = TurnRunner(turn, self.router, route, held.agent, tools, recorder, signals, found)
                return await runner.run()
        # Nobody goes on with this turn: what only the log holds of it is kept, and it ends.
        if turn.open_rows or found.unstored:
            recorder.reopen_step([str(call.id) for call in turn.open_calls], found.replay)
            for row in found.unstored:
                recorder.take_row(row)
        if turn.was_stopped:
            await recorder.stop()
        else:
            await recorder.fail(GIVEN_UP, GIVEN_UP_SENTENCE)
        return True

    def _signature(self, route: Route, tools: ToolRegistry) -> str:
        """Return what a conversation's agent depends on."""
        return agent_signature(
            model=route.model,
            provider=route.provider,
            base_url=route.base_url,
            api_mode=type(route.engine).__name__,
            credential=route.credential,
            toolsets=[spec.name for spec in tools.specs()],
            instructions=system_prompt(),
        )

    async def _agent(self, route: Route, tools: ToolRegistry, conversation: Conversation, closer: Closer) -> Agent:
        """Build a conversation's agent; its hold keeps the model's connections open between its turns."""
        hold = None
        if route.clients is not None:
            hold = await hold_client(route.clients, route.base_url, route.credential, closer)
        return Agent(
            session_id=conversation.session_id,
            system_prompt=system_prompt(),
            tools=tools.specs(),
            hold=hold,
            conversation=conversation,
        )

    async def _take_up(self, turn: TurnState, claim: Claim, recorder: Recorder, publisher: Publisher) -> TakeUp:
        """Bring the log, and those who read it, to where the rows are."""
        if claim.attempt == 1:
            recorder.announce(c.Start(message_id=str(turn.id)))
            recorder.status("Message received")
            return TakeUp()
        place = recovery.resume_id(turn)
        try:
            entries = await eventlog.read_all_after(self.redis, log_key(turn.id), place)
            newest = entries[-1].id if entries else await eventlog.last_id(self.redis, log_key(turn.id))
        except RedisError:
            entries, newest = [], BEGINNING
        recorder.announce()
        if newest < place:
            publisher.demand_reload(place)
        elif newest == BEGINNING:
            recorder.announce(c.Start(message_id=str(turn.id)))
        found = recovery.take_up(turn, entries)
        recorder.announce(*found.chunks)
        return found


class TurnProcess:
    """Everything of a worker process that lives on its loop for the turns' sake."""

    def __init__(self) -> None:
        """Make it; call on the loop."""
        self.kind = TurnKind()
        self.worker = RunWorker(self.kind, concurrency=settings.TURN_CONCURRENCY)
        self._titles = TitleMaker(self.kind.router)
        self.kind.on_first_turn = self._titles.begin
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to sweep, renew and listen."""
        self.worker.start()
        self.kind.agents.start()
        self._listener = asyncio.create_task(self._listen(), name="stop wake-ups")

    async def stop(self, grace_seconds: float) -> None:
        """Hand over what runs and close everything."""
        await self.worker.shut_down(grace_seconds)
        await end_tasks(self._listener)
        await self._titles.aclose()
        await self.kind.agents.aclose()
        await self.kind.round_trips.aclose()
        await self.kind.redis.aclose()

    async def _listen(self) -> None:
        """Pass on hints: which turns wait, are to be stopped, and which sessions are gone. All are found out anyway."""
        while True:
            try:
                async with self.kind.redis.pubsub() as channel:
                    await channel.subscribe(announce.wake_channel(), announce.stop_channel(), announce.gone_channel())
                    while True:
                        told = await channel.get_message(ignore_subscribe_messages=True, timeout=30)
                        if told is not None:
                            self._hear(told["channel"].decode(), UUID(told["data"].decode()))
            except (*RedisError, ValueError) as error:
                logger.warning("stop_wake_ups_away", error=type(error).__name__)
                await asyncio.sleep(LISTEN_PAUSE_SECONDS)

    def _hear(self, channel: str, about: UUID) -> None:
        if channel == announce.wake_channel():
            self.worker.hint(about)
        elif channel == announce.stop_channel():
            self.worker.signal_stop(about)
        else:
            self.kind.agents.end_session_soon(about)
