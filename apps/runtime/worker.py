"""A worker process's share of leased runs: it claims, runs them as tasks on its loop, renews, sweeps and hands over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError

from apps.runtime.db import db
from apps.runtime.leases import Claim, Replaced, runner_name
from apps.runtime.loop import end_tasks

logger = structlog.get_logger(__name__)

#: After the grace time, the writes that give runs back may take this long; a database that is away must not hold us.
LAST_WRITE_SECONDS = 5.0
DatabaseAway = (OperationalError, InterfaceError)


class Places:
    """The places for runs in a process.

    A run that only waits for another gives its place up, and takes it again at once when it goes on: so those that
    wait can't starve those that they wait for, whatever the number of places.
    """

    def __init__(self, count: int) -> None:
        """Make free places."""
        self._free = count
        self._news = asyncio.Event()

    @property
    def are_taken(self) -> bool:
        """Whether a further run must wait."""
        return self._free <= 0

    async def acquire(self) -> None:
        """Take a place when there is one."""
        while self.are_taken:
            self._news.clear()
            await self._news.wait()
        self._free -= 1

    def take_back(self) -> None:
        """Take the place again that was given up; there may be one too many for a while."""
        self._free -= 1

    def release(self) -> None:
        """Give a place up."""
        self._free += 1
        self._news.set()


@dataclass(eq=False, slots=True)
class Signals:
    """What may reach a run from outside while it works.

    Attributes:
        stop: Its owner asked it to stop.
        replaced: It lost its lease; it must end without writing.
        hand_over: The process is stopping; it should give the run back at the next good moment.
        places: Where it has its place; None outside a worker.
        is_resting: Whether it gave its place up.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    hand_over: asyncio.Event = field(default_factory=asyncio.Event)
    places: Places | None = None
    is_resting: bool = False

    def rest(self, is_resting: bool) -> None:
        """Give the run's place up while it only waits for another, or take it again."""
        if self.places is None or is_resting == self.is_resting:
            return
        self.is_resting = is_resting
        if is_resting:
            self.places.release()
        else:
            self.places.take_back()


class RunKind(Protocol):
    """What a worker needs to know of one kind of run; the first four are called in database threads."""

    lease_seconds: float
    renew_seconds: float
    sweep_seconds: float

    def claim(self, run_id: UUID, runner: str) -> Claim | None:
        """Become the run's runner, or return None."""

    def renew(self, run_ids: Sequence[UUID], runner: str) -> tuple[set[UUID], set[UUID]]:
        """Prolong leases; returns the runs that are still ours, and those asked to stop."""

    def forgotten(self, limit: int) -> Sequence[UUID]:
        """Return runs that need a runner."""

    async def run(self, claim: Claim, signals: Signals) -> None:
        """Do the work to its end; raises Replaced when the lease is lost."""


class RunWorker:
    """Runs leased runs of one kind, at most `concurrency` at once, on the loop that started it."""

    def __init__(self, kind: RunKind, *, concurrency: int) -> None:
        """Make a worker that doesn't work yet."""
        self.name = runner_name()
        self._kind = kind
        self._places = Places(concurrency)
        self._running: dict[UUID, tuple[Claim, Signals, asyncio.Task[None]]] = {}
        self._hinted: dict[UUID, asyncio.Task[bool]] = {}  # claims that a hint began, until their run ends
        self._chores: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        """Begin to renew and to sweep."""
        self._chores = [
            asyncio.create_task(self._again_and_again(self._renew, self._kind.renew_seconds), name="renew leases"),
            asyncio.create_task(self._again_and_again(self._sweep, self._kind.sweep_seconds), name="sweep runs"),
        ]

    @property
    def running(self) -> int:
        """How many runs this process has in hand."""
        return len(self._running)

    async def offer(self, run_id: UUID) -> None:
        """Take a run if it is still to be had; waits for a free slot, and so holds the queue back."""
        if (hinted := self._hinted.pop(run_id, None)) is not None:
            await asyncio.wait({hinted})
            if not hinted.cancelled() and hinted.result():
                return  # this is the wake-up that the hint came before
        await self._places.acquire()
        await self._take(run_id)

    def hint(self, run_id: UUID) -> None:
        """Take a run before its wake-up comes, if there is room and it is still to be had; never waits."""
        if self._stopping or self._places.are_taken or run_id in self._hinted:
            return
        self._places.take_back()
        self._hinted[run_id] = asyncio.create_task(self._take_early(run_id), name=f"claim {run_id}")

    def signal_stop(self, run_id: UUID) -> None:
        """Tell a run that it was asked to stop; nothing happens if it isn't here."""
        if held := self._running.get(run_id):
            held[1].stop.set()

    def stop_claiming(self) -> None:
        """Leave new runs to other workers."""
        self._stopping = True

    def begin_hand_over(self) -> None:
        """Leave new runs to others, and ask those that run to come to a good place to give them back."""
        self.stop_claiming()
        for _, signals, _ in self._running.values():
            signals.hand_over.set()

    async def shut_down(self, grace_seconds: float) -> None:
        """Hand over what runs: at step ends within the grace time, and after it at once."""
        self.stop_claiming()
        if claiming := [hinted for hinted in self._hinted.values() if not hinted.done()]:
            await asyncio.wait(claiming, timeout=LAST_WRITE_SECONDS)  # a run claimed and left would wait out its lease
        self.begin_hand_over()
        if tasks := [task for _, _, task in self._running.values()]:
            _, late = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=LAST_WRITE_SECONDS)
        await end_tasks(*self._chores)

    async def _take_early(self, run_id: UUID) -> bool:
        """Take a run that a hint told of; returns whether it was to be had."""
        taken = False
        try:
            taken = await self._take(run_id)
        except Exception:
            logger.exception("hint_broke", run_id=str(run_id))
        finally:
            if not taken:
                self._hinted.pop(run_id, None)
        return taken

    async def _take(self, run_id: UUID) -> bool:
        """Claim a run and start it; the caller's slot is used or given back. Returns whether it was to be had."""
        claim: Claim | None = None
        try:
            if not self._stopping:
                claim = await db(self._kind.claim, run_id, self.name)
        except DatabaseAway as error:
            logger.warning("claim_failed", run_id=str(run_id), error=type(error).__name__)
        finally:
            if claim is None:
                self._places.release()
        if claim is not None:
            signals = Signals(places=self._places)
            task = asyncio.create_task(self._run(claim, signals), name=f"run {run_id}")
            if earlier := self._running.get(run_id):
                earlier[1].replaced.set()  # our own older attempt: it lost its lease to this one
            self._running[run_id] = (claim, signals, task)
        return claim is not None

    async def _run(self, claim: Claim, signals: Signals) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(run_id=str(claim.run_id), attempt=claim.attempt)
        try:
            await self._kind.run(claim, signals)
        except Replaced:
            logger.info("run_replaced")
        except Exception:
            logger.exception("run_broke")
        finally:
            if not signals.is_resting:
                self._places.release()
            held = self._running.get(claim.run_id)
            if held is not None and held[0] == claim:
                del self._running[claim.run_id]
                self._hinted.pop(claim.run_id, None)

    async def _renew(self) -> None:
        if not self._running:
            return
        held = dict(self._running)
        ours, to_stop = await db(self._kind.renew, list(held), self.name)
        for run_id, (_, signals, _) in held.items():
            if run_id not in ours:
                signals.replaced.set()
            elif run_id in to_stop:
                signals.stop.set()

    async def _sweep(self) -> None:
        """Take runs whose runner died, or whose wake-up was lost, as far as there is room."""
        if self._stopping:
            return
        await self._renew()  # first our own: after a database that was away, their leases may have run out
        for run_id in await db(self._kind.forgotten, 20):
            if self._places.are_taken:
                return
            await self._places.acquire()
            await self._take(run_id)

    async def _again_and_again(self, chore: Callable[[], Awaitable[None]], every_seconds: float) -> None:
        while True:
            # Jitter keeps the sweeps of many workers from falling on the same moment.
            await asyncio.sleep(every_seconds * random.uniform(0.8, 1.0))  # noqa: S311 -- no secret
            try:
                await chore()
            except DatabaseAway as error:
                logger.warning("chore_failed", chore=chore.__name__, error=type(error).__name__)
