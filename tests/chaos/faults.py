"""What is done to the cluster, and what was in flight at that moment."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from tests.chaos.cluster import Cluster
from tests.chaos.database import CallFact, TurnFact
from tests.chaos.processes import Process
from tests.chaos.tools import NOT_IDEMPOTENT
from tests.chaos.world import World

SETTLE_SECONDS = 0.04  # a statement that a stopped process had sent reaches the rows meanwhile
ALLOWED_SECONDS = 30.0
WATCH_SECONDS = 0.25
THAW_SECONDS = 0.5
#: A turn whose fourth runner died is given up by design, so none is hit more often than this.
MOST_HITS_A_TURN = 3


@dataclass(slots=True, kw_only=True)
class Fault:
    """One blow.

    Attributes:
        kind: What was done.
        at: When, on the monotonic clock; `wall` is seconds since 1970.
        over: When it was over, in seconds since 1970: a process that ends politely may cut work off until then.
        pids: The worker processes whose work it may cut off; None for those of all.
        takes_runners: Whether the turns need another runner.
        turns: The turns that it hit, with their attempt.
        cut_off: Calls of tools that aren't idempotent and were in flight.
        settled: How long each turn took until it was running again or over.
    """

    kind: str
    at: float
    wall: float
    pids: AbstractSet[int] | None = frozenset()
    takes_runners: bool = False
    turns: dict[str, int] = field(default_factory=dict)
    cut_off: set[str] = field(default_factory=set)
    settled: dict[str, float] = field(default_factory=dict)
    over: float = 0.0

    def may_have_cut(self, pid: int, began: float, until: float) -> bool:
        """Whether it may have ended work that a worker process began, before a moment."""
        is_near = self.pids is None or pid in self.pids
        return is_near and began - 0.1 <= max(self.wall, self.over) and self.wall <= until

    def has_settled(self, turn: TurnFact) -> bool:
        """Whether a turn that it hit is running again, or over."""
        if turn.is_over:
            return True
        is_alive = turn.status == "running" and turn.is_leased
        return is_alive and (not self.takes_runners or turn.attempt > self.turns[turn.id])


class Chaos:
    """Deals out faults and watches what becomes of the turns that they hit."""

    def __init__(self, cluster: Cluster, world: World, rng: random.Random) -> None:
        """Prepare; `watch` runs beside the faults."""
        self.cluster = cluster
        self.world = world
        self.faults: list[Fault] = []
        self._rng = rng

    async def pause(self, least: float, most: float) -> None:
        """Let a random time pass, and whatever was started become ready."""
        await asyncio.sleep(self._rng.uniform(least, most))
        await self.cluster.all_ready()

    async def kill_worker(self) -> None:
        """SIGKILL a worker that has work; another is started at once."""
        worker = await self._victim()
        fault = await self._strike("worker kill", worker)
        await worker.kill()
        self.faults.append(fault)
        worker.start()

    async def freeze_worker(self) -> None:
        """SIGSTOP a worker until its leases are over and its turns taken, then SIGCONT."""
        worker = await self._victim()
        fault = await self._strike("freeze", worker)
        self.faults.append(fault)
        await asyncio.sleep(self.cluster.shape.lease_seconds + self._rng.uniform(0.3, 2.5))
        worker.signal(signal.SIGCONT)
        # A call that was written down as started before the freeze may begin before its runner hears of its loss.
        fault.over = time.time() + THAW_SECONDS

    async def kill_web(self) -> None:
        """SIGKILL a web process; it is started again."""
        web = self._rng.choice(self.cluster.webs)
        self.faults.append(await self._note("web kill"))
        await web.kill()
        web.start()

    async def restart_redis(self, *, emptied: bool) -> None:
        """SIGKILL Redis, and start it again with what it had, or with nothing."""
        fault = await self._note("redis emptied" if emptied else "redis restart")
        await self.cluster.redis.process.kill()
        self.faults.append(fault)
        await asyncio.sleep(self._rng.uniform(0, 1.5))
        if emptied:
            self.cluster.redis.forget()
        await self.cluster.redis.start()

    async def flush_redis(self) -> None:
        """FLUSHALL: everything is gone, and no connection breaks."""
        import redis.asyncio

        self.faults.append(await self._note("redis flush"))
        async with redis.asyncio.Redis.from_url(self.cluster.redis.url) as client:
            await client.flushall()

    async def kill_worker_and_redis(self) -> None:
        """Stop Redis, so that a runner's last events are stuck in it; kill the runner, and empty Redis."""
        self.cluster.redis.process.signal(signal.SIGSTOP)
        await asyncio.sleep(self._rng.uniform(0.05, 1.0))
        await self.kill_worker()
        await self.restart_redis(emptied=self._rng.random() < 0.5)

    async def restart_postgres(self, how: signal.Signals) -> None:
        """Stop PostgreSQL fast (SIGINT) or at once (SIGQUIT), and start it again."""
        if self.cluster.postgres is None:
            raise RuntimeError("this cluster has no PostgreSQL")
        fault = await self._note("postgresql fast" if how == signal.SIGINT else "postgresql immediate", None)
        await self.cluster.postgres.stop(how)
        self.faults.append(fault)
        await asyncio.sleep(self._rng.uniform(0, 1.0))
        await self.cluster.postgres.start()

    async def roll(self) -> None:
        """Restart web processes and workers politely, one after another, each when the one before is ready."""
        for process in (*self.cluster.webs, *self.cluster.workers):
            fault = await self._note(f"rolling restart of {process.name}", {process.pid})
            self.faults.append(fault)
            process.signal(signal.SIGTERM)
            if not await process.ended(self.cluster.shape.grace_seconds + 15):
                await process.kill()
                raise RuntimeError(f"{process.name} did not stop within its grace time")
            fault.over = time.time()
            process.start()
            await process.ready()

    async def watch(self) -> None:
        """Note when the turns that faults hit are running again or over."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            open_turns = {turn for fault in self.faults for turn in fault.turns if turn not in fault.settled}
            if not open_turns:
                continue
            facts = await self.cluster.database.read(self.cluster.database.turns, open_turns)
            now = time.monotonic()
            for fault in self.faults:
                for turn_id in set(fault.turns) - set(fault.settled):
                    if turn_id in facts and fault.has_settled(facts[turn_id]):
                        fault.settled[turn_id] = now - fault.at

    async def settle(self) -> None:
        """Wait until every hit turn is settled, or the time for it is over."""
        while self._is_unsettled():
            await asyncio.sleep(WATCH_SECONDS)

    def _is_unsettled(self) -> bool:
        now = time.monotonic()
        recent = [fault for fault in self.faults if now < fault.at + ALLOWED_SECONDS]
        return any(set(fault.turns) - set(fault.settled) for fault in recent)

    async def _victim(self) -> Process:
        """Return a worker that runs something, and nothing that was hit too often."""
        while True:
            turns = await self.cluster.database.read(self.cluster.database.turns)
            running = [turn for turn in turns.values() if turn.status == "running"]
            hits = Counter(turn for fault in self.faults if fault.takes_runners for turn in fault.turns)
            spared = {turn.pid for turn in running if hits[turn.id] >= MOST_HITS_A_TURN}
            busy = {turn.pid for turn in running} - spared
            if candidates := [worker for worker in self.cluster.workers if worker.pid in busy]:
                return self._rng.choice(candidates)
            await asyncio.sleep(0.1)

    async def _strike(self, kind: str, worker: Process) -> Fault:
        """Stop a worker where it is, and read what it has in hand."""
        worker.signal(signal.SIGSTOP)
        at, wall = time.monotonic(), time.time()
        await asyncio.sleep(SETTLE_SECONDS)
        turns, calls = await self._facts()
        held = {turn.id: turn.attempt for turn in turns.values() if turn.pid == worker.pid and turn.status == "running"}
        cut_off = _risky(calls, held)
        return Fault(kind=kind, at=at, wall=wall, pids={worker.pid}, takes_runners=True, turns=held, cut_off=cut_off)

    async def _note(self, kind: str, pids: AbstractSet[int] | None = frozenset()) -> Fault:
        """Read what is in flight anywhere, and may be cut off in these worker processes (None: in all)."""
        turns, calls = await self._facts()
        held = {turn.id: turn.attempt for turn in turns.values()}
        near = {turn.id: turn.attempt for turn in turns.values() if pids is None or turn.pid in pids}
        cut_off = _risky(calls, near)
        return Fault(kind=kind, at=time.monotonic(), wall=time.time(), pids=pids, turns=held, cut_off=cut_off)

    async def _facts(self) -> tuple[dict[str, TurnFact], list[CallFact]]:
        database = self.cluster.database
        return await database.read(database.turns), await database.read(database.calls, "state = 'started'")


def _risky(calls: list[CallFact], held: dict[str, int]) -> set[str]:
    return {call.id for call in calls if call.turn_id in held and call.name in NOT_IDEMPOTENT}
