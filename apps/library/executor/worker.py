"""A worker process's runs of agents: how the generic lease machinery is joined to the runner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import redis.asyncio
import structlog
from django.conf import settings

from apps.library.executor import announce, rows
from apps.library.executor.agents import agent_runner
from apps.library.executor.events import RunLog, log_key
from apps.library.executor.load import RunFacts, load
from apps.library.executor.run import GraphRunner
from apps.library.executor.state import NodeRun
from apps.library.executor.tools import tools_of_node
from apps.library.executor.waits import Waits
from apps.library.models import Execution
from apps.library.models.executions import Status
from apps.runtime.db import db_until_done
from apps.runtime.eventlog import EventLogWriter
from apps.runtime.leases import Claim, Replaced, forgotten_ids
from apps.runtime.loop import end_tasks
from apps.runtime.redis import RedisError, async_client
from apps.runtime.round_trips import RoundTrips
from apps.runtime.worker import RunWorker, Signals

logger = structlog.get_logger(__name__)

#: A run that has ended waits this long for Redis to take its last events; readers find the end in the rows anyway.
FLUSH_SECONDS = 5.0
LISTEN_PAUSE_SECONDS = 1.0


class GraphKind:
    """Runs of agents, as the worker sees them."""

    def __init__(self) -> None:
        """Read the settings; nothing is opened before `run`. Call on the loop."""
        self.lease_seconds = settings.LEASE_SECONDS
        self.renew_seconds = settings.LEASE_RENEW_SECONDS
        self.sweep_seconds = settings.LEASE_SWEEP_SECONDS
        self.redis: redis.asyncio.Redis = async_client()
        self.round_trips = RoundTrips(self.redis)
        self.waits = Waits()
        self.runners: dict[UUID, GraphRunner] = {}

    def claim(self, run_id: UUID, runner: str) -> Claim | None:
        """Become a run's runner; the run is read on the same way, as every hop between threads takes time."""
        claim = Execution.objects.claim(run_id, runner=runner, lease_seconds=self.lease_seconds)
        return claim and replace(claim, facts=load(run_id))

    def renew(self, run_ids: Sequence[UUID], runner: str) -> tuple[set[UUID], set[UUID]]:
        """Prolong the leases of this process's runs."""
        return Execution.objects.renew(run_ids, runner=runner, lease_seconds=self.lease_seconds)

    def forgotten(self, limit: int) -> Sequence[UUID]:
        """Return runs that need a runner."""
        return forgotten_ids(Execution.objects.all(), limit)

    async def run(self, claim: Claim, signals: Signals) -> None:
        """Work on a run from where its rows are."""
        facts: RunFacts | None = claim.facts
        if facts is None:
            raise Replaced
        structlog.contextvars.bind_contextvars(execution_id=str(facts.id))
        writer = EventLogWriter(
            self.round_trips,
            log_key(facts.id),
            ttl_seconds=settings.STREAM_TTL_SECONDS,
            on_replaced=signals.replaced.set,
        )
        is_settled = False
        try:
            is_settled = await self._attempt(facts, claim, signals, RunLog(writer, attempt=claim.attempt))
            if not await writer.flush(FLUSH_SECONDS):
                logger.warning("run_events_unsent")
        finally:
            self.runners.pop(facts.id, None)
            await writer.aclose()
            if not is_settled:
                await asyncio.shield(asyncio.to_thread(announce.wake_worker, facts.id))

    async def _attempt(self, facts: RunFacts, claim: Claim, signals: Signals, log: RunLog) -> bool:
        """Make one attempt; returns whether nobody needs to take the run up."""
        if facts.plan is None:
            error = ("graph_invalid", " ".join(str(problem.get("message", "")) for problem in facts.problems))
            await self._end(facts, claim, Status.FAILED, error)
            log.end(Status.FAILED, error[1])
            return True
        runner = GraphRunner(facts, plan=facts.plan, claim=claim, signals=signals, log=log, world=self)
        self.runners[facts.id] = runner
        return await runner.run()

    async def _end(self, facts: RunFacts, claim: Claim, status: str, error: tuple[str, str]) -> None:
        await db_until_done(rows.commit, claim, 1, rows.Write(user_id=facts.user_id, end=status, error=error))

    def services(self, facts: RunFacts, run: NodeRun) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """Return what is offered to a block (`run.World`)."""
        return {"run_agent": agent_runner(facts, run, self.waits), "tools_of_node": tools_of_node(facts)}

    def hear(self, told: str) -> tuple[str, UUID]:
        """Pass on what was told about a run; returns what and which."""
        what, _, run_id = told.partition(" ")
        execution_id = UUID(run_id)
        if what == announce.ENDED:
            self.waits.hear(execution_id)
        elif what == announce.ANSWERED and (runner := self.runners.get(execution_id)) is not None:
            runner.look_at_answers()
        return what, execution_id


class GraphProcess:
    """Everything of a worker process that lives on its loop for the sake of agents' runs."""

    def __init__(self) -> None:
        """Make it; call on the loop."""
        self.kind = GraphKind()
        self.worker = RunWorker(self.kind, concurrency=settings.GRAPH_CONCURRENCY)
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to sweep, renew and listen."""
        self.worker.start()
        self._listener = asyncio.create_task(self._listen(), name="wake-ups of runs")

    async def stop(self, grace_seconds: float) -> None:
        """Hand over what runs and close everything."""
        await self.worker.shut_down(grace_seconds)
        await end_tasks(self._listener)
        await self.kind.waits.aclose()
        await self.kind.round_trips.aclose()
        await self.kind.redis.aclose()

    async def _listen(self) -> None:
        """Pass wake-ups on; what is missed is found in the rows."""
        while True:
            try:
                async with self.kind.redis.pubsub() as channel:
                    await channel.subscribe(announce.channel())
                    while True:
                        told = await channel.get_message(ignore_subscribe_messages=True, timeout=30)
                        if told is None:
                            continue
                        heard = self.kind.hear(told["data"].decode())
                        if heard[0] == announce.STOP:
                            self.worker.signal_stop(heard[1])
            except (*RedisError, ValueError) as error:
                logger.warning("run_wake_ups_away", error=type(error).__name__)
                await asyncio.sleep(LISTEN_PAUSE_SECONDS)
