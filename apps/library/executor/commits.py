"""Group commit: what node runs did since the last commit goes into the next one, while work goes on.

A node whose block may run twice doesn't wait for its own row: after a crash it runs again from what is stored. All
others begin only after a commit that holds their own RUNNING and everything before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from apps.library.executor import rows
from apps.library.executor.costs import Bill
from apps.library.executor.events import RunLog, shown
from apps.library.executor.load import RunFacts
from apps.library.executor.rows import NodeWrite, OutputWrite, ReviewWrite, Write, Written
from apps.library.executor.state import OVER, NodeRun, RunState
from apps.library.models.executions import Status
from apps.runtime.db import db_until_done
from apps.runtime.leases import Claim, Replaced
from apps.runtime.loop import end_tasks

#: Nothing waits for a commit that is not urgent, so that many node runs share it.
GATHER_SECONDS = 0.01
#: Whoever puts out more than this between two commits waits for the next.
MOST_UNWRITTEN = 2000


@dataclass(slots=True)
class Notes:
    """What is stored of a node run besides its state; `before` is the status in its row."""

    before: str | None = None
    stats: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Commits:
    """Writes a run's changes, one transaction after another."""

    def __init__(
        self, claim: Claim, facts: RunFacts, state: RunState, log: RunLog, *, on_trouble: Callable[[], None]
    ) -> None:
        """Make it; `start` begins.

        Args:
            claim: The runner's claim.
            facts: The run.
            state: Its node runs.
            log: Where readers are told what was committed.
            on_trouble: Called when a write failed for good, or credits ran out.
        """
        self.notes: dict[UUID, Notes] = {run.id: Notes(before=run.status) for run in facts.runs}
        self.reviews: list[ReviewWrite] = []
        self.bills: list[Bill] = []
        self.failure: BaseException | None = None
        self.is_short = False
        self._claim = claim
        self._facts = facts
        self._state = state
        self._log = log
        self._on_trouble = on_trouble
        self._number = 0
        self._ended = [0, 0, 0.0]
        self._told = {"nodes": facts.node_count, "errors": 0, "cost_cents": facts.cost_cents}
        self._wanted = asyncio.Event()
        self._urgent = asyncio.Event()
        self._writing = asyncio.Lock()
        self._waiting: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write what changes."""
        self._task = asyncio.create_task(self._write_for_ever(), name="commit node runs")

    async def aclose(self) -> None:
        """Stop; what isn't written is given up."""
        await end_tasks(self._task)

    def changed(self) -> None:
        """Note that something is to be written, soon."""
        self._wanted.set()

    def note(self, run: NodeRun) -> Notes:
        """Return what is kept of a node run."""
        return self.notes.setdefault(run.id, Notes())

    def count(self, *, failed: bool, seconds: float) -> None:
        """Count a node run that has ended."""
        self._ended[0] += 1
        self._ended[1] += failed
        self._ended[2] += seconds

    async def stored(self) -> None:
        """Wait until everything up to now is committed.

        Raises:
            Replaced: When another runner has the run.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._wanted.set()
        self._urgent.set()
        await waiter

    async def room(self) -> None:
        """Wait while too much is unwritten."""
        if len(self._state.touched) + len(self._state.outputs) > MOST_UNWRITTEN:
            await self.stored()

    async def end(self, end: str, error: tuple[str, str] = ("", "")) -> Written:
        """Write what is left, with the run's end.

        Raises:
            Replaced: When another runner has the run.
        """
        async with self._writing:
            return await self._write(end=end, error=error)

    async def hand_over(self) -> None:
        """Write what is left, and leave the run to another runner.

        Raises:
            Replaced: When another runner has it already.
        """
        async with self._writing:
            await self._write(handed_over=True)

    async def _write_for_ever(self) -> None:
        while self.failure is None:
            await self._wanted.wait()
            try:
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._urgent.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            self._urgent.clear()
            async with self._writing:
                try:
                    await self._write()
                except Exception as error:  # noqa: BLE001 -- the runner raises it
                    self.failure = error
                    self._on_trouble()
                    for waiter in self._waiting:
                        if not waiter.done():
                            waiter.set_exception(Replaced())

    async def _write(self, *, end: str = "", error: tuple[str, str] = ("", ""), handed_over: bool = False) -> Written:
        waiting, self._waiting = self._waiting, []
        write = self._take(end, error, handed_over=handed_over)
        try:
            written = await self._commit(write)
        except BaseException:
            self._waiting += waiting
            raise
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
        return written

    async def _commit(self, write: Write) -> Written:
        if not (write.nodes or write.outputs or write.end or write.handed_over):
            return Written(Status.RUNNING)
        self._number += 1
        written = await db_until_done(rows.commit, self._claim, self._number, write)
        for node in write.nodes:
            if node.status in OVER:
                self.notes.pop(node.id, None)
        if write.bills:
            self._told["cost_cents"] = written.cost_cents
        if written.is_short and not self.is_short:
            self.is_short = True
            self._on_trouble()
        self._tell(write, written)
        await self._log.trim()
        return written

    def _take(self, end: str, error: tuple[str, str], *, handed_over: bool) -> Write:
        runs, outputs = self._state.take()
        ended, self._ended = self._ended, [0, 0, 0.0]
        reviews, self.reviews = self.reviews, []
        bills, self.bills = self.bills, []
        return Write(
            user_id=self._facts.user_id,
            nodes=[self._node_write(run) for run in runs],
            outputs=[OutputWrite(found.run.id, found.position, found.pin, found.data) for found in outputs],
            reviews=reviews,
            bills=bills,
            ended_nodes=(int(ended[0]), int(ended[1]), ended[2]),
            end=end,
            error=error,
            handed_over=handed_over,
        )

    def _node_write(self, run: NodeRun) -> NodeWrite:
        notes = self.note(run)
        before, notes.before = notes.before, run.status
        if run.status == Status.QUEUED and notes.queued_at is None:
            notes.queued_at = datetime.now(UTC)
        return NodeWrite(
            id=run.id,
            node_id=run.node.id,
            number=run.number,
            before=before,
            status=run.status,
            input_data=dict(run.inputs),
            stats=notes.stats if run.call is None else {**notes.stats, **run.call.stored()},
            error=notes.error,
            queued_at=notes.queued_at,
            started_at=notes.started_at,
            ended_at=notes.ended_at,
        )

    def _tell(self, write: Write, written: Written) -> None:
        self._told["nodes"] += write.ended_nodes[0]
        self._told["errors"] += write.ended_nodes[1]
        if not write.nodes and not write.outputs:
            return
        put_out: dict[UUID, list[dict[str, Any]]] = {}
        for output in write.outputs:
            put_out.setdefault(output.node_execution_id, []).append({"pin": output.pin, **shown(output.data)})
        told = {node.id: _told_node(node) for node in write.nodes}
        for node_execution_id, values in put_out.items():
            told.setdefault(node_execution_id, {"id": node_execution_id})["outputs"] = values
        run = {
            "status": Status.RUNNING if written.status == Status.RUNNING or not write.end else written.status,
            "node_count": self._told["nodes"],
            "node_error_count": self._told["errors"],
            "cost_cents": self._told["cost_cents"],
        }
        self._log.tell_nodes(list(told.values()), run)


def _told_node(node: NodeWrite) -> dict[str, Any]:
    """Return what readers are told of a node run."""
    told: dict[str, Any] = {
        "id": node.id,
        "node_id": node.node_id,
        "number": node.number,
        "status": node.status,
        "started_at": node.started_at,
        "ended_at": node.ended_at,
    }
    if node.error:
        told["error"] = node.error
    return told
