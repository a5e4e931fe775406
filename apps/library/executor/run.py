"""The runner of one attempt at one run: it starts what is ready, hears what nodes put out, and ends the run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import structlog
from django.conf import settings

from apps.library.blocks.services import offered
from apps.library.executor import costs, rows
from apps.library.executor.commits import Commits
from apps.library.executor.costs import MICRODOLLARS_A_CENT, Bill
from apps.library.executor.events import RunLog
from apps.library.executor.lanes import Lanes
from apps.library.executor.load import RunFacts
from apps.library.executor.nodes import LONG, Decision, End, NodeWork
from apps.library.executor.plan import Plan
from apps.library.executor.state import NodeRun, RunState
from apps.library.executor.tool_calls import ToolCalls
from apps.library.models.executions import Status
from apps.runtime.db import db
from apps.runtime.leases import Claim, Replaced
from apps.runtime.loop import end_tasks
from apps.runtime.worker import Signals

logger = structlog.get_logger(__name__)

#: So many runners of one run may die before it is given up.
MOST_LOST_LEASES = 3
#: Loops that never end are cut off here.
MOST_NODE_RUNS = 100_000
#: Nodes that don't react to their cancellation are waited for this long before the end is written without them.
CANCEL_SECONDS = 5.0

INTERRUPTED = "interrupted"
INTERRUPTED_SENTENCE = "It was interrupted; whether it took effect is unknown."
LOST_RUNNERS = ("lost_runners", "The run was interrupted several times, so it was given up. Try again.")
TOO_LONG = ("too_many_steps", f"The run was stopped after {MOST_NODE_RUNS} steps: a loop in it may never end.")
STOPPED = ("stopped", "The run was stopped.")


class World(Protocol):
    """What a run may ask of the process that it runs in."""

    def services(self, facts: RunFacts, run: NodeRun) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """Return what is offered to a block; those that `LONG` names may take as long as they take."""


class GraphRunner:
    """Works on a run until it ends, waits for a person, is handed over, or is somebody else's."""

    def __init__(
        self, facts: RunFacts, *, plan: Plan, claim: Claim, signals: Signals, log: RunLog, world: World
    ) -> None:
        """Make it; `run` does the work."""
        self.facts = facts
        self._claim = claim
        self._signals = signals
        self._log = log
        self._world = world
        self.state = RunState(plan)
        self._lanes = Lanes()
        self._tool_calls = ToolCalls(self, facts.runs)
        self._news = asyncio.Event()
        self._commits = Commits(claim, facts, self.state, log, on_trouble=self._news.set)
        self._tasks: dict[asyncio.Task[None], NodeRun] = {}
        self._again: list[NodeRun] = []  # begun by an earlier runner, or answered by a person
        self._decisions: dict[UUID, Decision] = {}
        self._approved_nodes: set[UUID] = set()
        self._paused: dict[UUID, NodeRun] = {}
        self._working = 0
        self._waiting = 0
        self._answered = False
        self._is_over = False
        self._failure: tuple[str, str] | None = None
        self._accrued = facts.cost_microdollars
        self._paying = asyncio.Lock()
        self._reserved: dict[UUID, int] = {}

    async def run(self) -> bool:
        """Work; returns whether nobody needs to take the run up: it has ended, or waits for a person.

        Raises:
            Replaced: When another runner has the run; nothing was written since.
        """
        watched = self._signals.stop, self._signals.replaced, self._signals.hand_over
        watchers = [asyncio.create_task(signal.wait()) for signal in watched]
        for watcher in watchers:
            watcher.add_done_callback(lambda _: self._news.set())
        self._commits.start()
        try:
            await self._take_up()
            return await self._work()
        except asyncio.CancelledError:
            if self._signals.hand_over.is_set():
                await self._hand_over()  # the process's time to stop is over
            raise
        finally:
            self._is_over = True
            await end_tasks(*watchers, *self._tasks)
            await self._commits.aclose()

    def look_at_answers(self) -> None:
        """Hear that a person has answered something."""
        self._answered = True
        self._news.set()

    async def _take_up(self) -> None:
        """Go on from where the rows are."""
        if not self.facts.runs:
            self.state.begin()
            self._failure = LOST_RUNNERS if self.facts.lost_leases > MOST_LOST_LEASES else None
            return
        self.state.restore(self.facts.runs)
        for run in self.facts.runs:
            if run.status == Status.RUNNING:
                if run.node.block.is_idempotent and not run.put_out:
                    self._again.append(run)
                else:
                    self._commits.note(run).error = INTERRUPTED_SENTENCE
                    self.state.fail(run, INTERRUPTED)
                    self._commits.count(failed=True, seconds=0.0)
            elif run.status == Status.REVIEW:
                self._paused[run.id] = run
        await self._take_answers()
        self._commits.changed()
        if self.facts.lost_leases > MOST_LOST_LEASES:
            self._failure = LOST_RUNNERS

    async def _take_answers(self) -> None:
        """Let node runs go on whose questions people have answered."""
        decided = await db(rows.node_decisions, self.facts.id)
        for node_execution_id, decision in decided.items():
            if (run := self._paused.pop(node_execution_id, None)) is not None:
                self._decisions[run.id] = Decision(*decision)
                self._again.append(run)
        self._approved_nodes = await db(rows.approved_nodes, self.facts.id)

    async def _work(self) -> bool:
        while True:
            self._news.clear()
            if self._signals.replaced.is_set():
                raise Replaced
            if self._commits.failure is not None:
                raise self._commits.failure
            if self._signals.stop.is_set() or self.facts.was_stopped:
                return await self._give_up(Status.TERMINATED, STOPPED)
            if self._commits.is_short:
                self._failure = self._failure or (rows.NO_CREDITS, rows.NO_CREDITS_SENTENCE)
            if self._failure is not None:
                return await self._give_up(Status.FAILED, self._failure)
            if self._answered:
                self._answered = False
                await self._take_answers()
            if self._signals.hand_over.is_set():
                if not self._working:
                    return await self._hand_over()
            else:
                self._start_ready()
                if not self._tasks and await self._has_ended():
                    return True
                if not self._tasks:
                    continue
            await self._news.wait()

    def _start_ready(self) -> None:
        """Begin what is ready, as far as there is room."""
        while self._working < settings.NODE_CONCURRENCY and (self._again or self.state.ready):
            if self.state.count > MOST_NODE_RUNS:
                self._failure = TOO_LONG
                self._news.set()
                return
            run = self._again.pop(0) if self._again else self.state.ready.popleft()
            notes = self._commits.note(run)
            notes.queued_at = notes.queued_at or datetime.now(UTC)
            if run.status != Status.RUNNING:
                self.state.move(run, Status.RUNNING)
            notes.started_at = datetime.now(UTC)
            self._commits.changed()
            self._lanes.enter(run)
            self._count_work(1)
            task = asyncio.create_task(self._drive(run))
            self._tasks[task] = run
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._news.set()

    async def _drive(self, run: NodeRun) -> None:
        work = NodeWork(self, run)
        try:
            end = await work.drive()
        except asyncio.CancelledError:
            self._end(run, work.end_of(Status.TERMINATED))
            raise
        finally:
            self._count_work(-1)
        self._end(run, end)

    def _end(self, run: NodeRun, end: End) -> None:
        if self._signals.hand_over.is_set() and end.status == Status.TERMINATED:
            # Its row stays as it is; the next runner decides. What its node's later runs put out is kept.
            self._lanes.leave(run, lambda: None)
        elif not self._is_over:
            self._lanes.leave(run, lambda: self._note_end(run, end))

    def _note_end(self, run: NodeRun, end: End) -> None:
        self._reserved.pop(run.id, None)
        notes = self._commits.note(run)
        notes.stats = end.stats
        if end.question is not None:
            self.state.move(run, Status.REVIEW)
            self._paused[run.id] = run
            asked = end.question
            self._commits.reviews.append(rows.ReviewWrite(run.id, asked.payload, asked.instructions, asked.is_editable))
            self._commits.changed()
            return
        notes.ended_at = datetime.now(UTC)
        if end.status == Status.FAILED:
            notes.error = end.error
            self.state.fail(run, end.error)
        else:
            self.state.move(run, end.status)
        if end.microdollars:
            self._commits.bills.append(Bill(run.id, run.node.block.id, end.microdollars))
            self._accrued += end.microdollars
        self._commits.count(failed=end.status == Status.FAILED, seconds=end.seconds)
        self._failure = self._failure or end.fatal
        self._tool_calls.hear_end(run)
        self._commits.changed()

    async def _has_ended(self) -> bool:
        """End the run, or let it wait for people; False when people have answered or stopped it meanwhile."""
        if self._again or self.state.ready:
            return False
        written = await self._commits.end(rows.DONE)
        if self._commits.is_short:
            return False
        if written.status == Status.RUNNING:
            if written.is_stopping:
                self._signals.stop.set()  # what the wake-up would do, which is on its way or lost
            await self._take_answers()
            return False
        if written.status == Status.REVIEW:
            self._log.pause({"status": Status.REVIEW})
        else:
            self._log.end(written.status, "")
        return True

    async def _give_up(self, status: str, error: tuple[str, str]) -> bool:
        """Stop what works and end the run."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        self._is_over = True
        left = [*self._tasks.values(), *self._again, *self.state.ready, *self._paused.values()]
        self.state.ready.clear()
        for run in left:
            if run.status in {Status.RUNNING, Status.QUEUED, Status.REVIEW}:
                self._commits.note(run).ended_at = datetime.now(UTC)
                self.state.move(run, Status.TERMINATED)
        await self._commits.end(status, error)
        self._log.end(status, error[1])
        return True

    async def _hand_over(self) -> bool:
        """Leave the run to another runner; nodes that wait for others' work are begun again there."""
        await end_tasks(*self._tasks)
        await self._commits.hand_over()
        return False

    # What nodes need (`nodes.Runner`).

    async def stored(self) -> None:
        """Wait until everything up to now is committed."""
        await self._commits.stored()

    async def room(self) -> None:
        """Wait while too much is uncommitted."""
        await self._commits.room()

    def put_out(self, run: NodeRun, pin: str, value: Any) -> None:
        """Hand a value on, when it is its node run's turn."""
        if not self._is_over:
            self._lanes.say(run, lambda: self._route(run, pin, value))

    def _route(self, run: NodeRun, pin: str, value: Any) -> None:
        self.state.put_out(run, pin, value)
        self._commits.changed()
        if self.state.ready and self._working < settings.NODE_CONCURRENCY:
            self._news.set()

    def decision(self, run: NodeRun) -> Decision | None:
        """Return what a person decided of a node run or, once and for all, of its node."""
        if run.node.id in self._approved_nodes and run.id not in self._decisions:
            return Decision(approved=True, data=None, message=rows.APPROVED_FOR_ALL)
        return self._decisions.get(run.id)

    async def reserve(self, run: NodeRun, microdollars: int) -> None:
        """Hold credits for what a node run costs for certain, until it has ended.

        Raises:
            PaymentRequired: When credits or caps forbid it.
        """
        async with self._paying:
            await self.stored()  # what has ended is charged by now
            await db(
                costs.check_next,
                user_id=self.facts.user_id,
                root_id=self.facts.root_id,
                agent_id=self.facts.agent_id,
                cost=microdollars + sum(self._reserved.values()),
                accrued=self._accrued % MICRODOLLARS_A_CENT,
            )
            self._reserved[run.id] = microdollars

    def services(self, run: NodeRun) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """Return what is offered to a block."""
        return {
            name: self._without_a_place(service) if name in LONG else service
            for name, service in {
                **offered,
                **self._world.services(self.facts, run),
                **self._tool_calls.services(run),
            }.items()
        }

    def _without_a_place(self, service: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return a service that gives back the node's place, and the run's when all its nodes wait, while it waits."""

        async def wait(*args: Any, **kwargs: Any) -> Any:
            self._rest(1)
            try:
                return await service(*args, **kwargs)
            finally:
                self._rest(-1)

        return wait

    def _rest(self, change: int) -> None:
        self._waiting += change
        self._count_work(-change)
        self._news.set()

    def _count_work(self, change: int) -> None:
        self._working += change
        self._signals.rest(self._waiting > 0 and self._working == 0)
