"""Waiting for other runs' ends: woken by what workers tell, sure by a look at the rows now and then."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from apps.library.models import Execution
from apps.runtime.db import db
from apps.runtime.loop import end_tasks
from apps.runtime.worker import DatabaseAway

logger = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


class Waits:
    """This process's waits, of any number of runs for any others; one query looks after them all."""

    def __init__(self) -> None:
        """Make it; the first wait begins to look."""
        self._waiting: dict[UUID, set[asyncio.Future[None]]] = {}
        self._looker: asyncio.Task[None] | None = None
        self._news = asyncio.Event()  # here already: an end may be told before the first look

    async def until_over(self, execution_id: UUID) -> None:
        """Wait until a run has ended or is gone."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(execution_id, set()).add(waiter)
        if self._looker is None or self._looker.done():
            self._looker = asyncio.create_task(self._look_for_ever(), name="look after waits")
        try:
            await waiter
        finally:
            waiters = self._waiting.get(execution_id, set())
            waiters.discard(waiter)
            if not waiters:
                self._waiting.pop(execution_id, None)

    def hear(self, execution_id: UUID) -> None:
        """Look at once, as a run may have ended."""
        if execution_id in self._waiting:
            self._news.set()

    async def aclose(self) -> None:
        """Stop looking."""
        await end_tasks(self._looker)

    async def _look_for_ever(self) -> None:
        while self._waiting:
            self._news.clear()
            try:
                over = await db(those_over, list(self._waiting))
            except DatabaseAway as error:
                logger.warning("waits_not_looked_at", error=type(error).__name__)
                over = set()
            for execution_id in over:
                for waiter in self._waiting.get(execution_id, ()):
                    if not waiter.done():
                        waiter.set_result(None)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                continue


def those_over(ids: list[UUID]) -> set[UUID]:
    """Return those of some runs that have ended or are gone."""
    return set(ids) - set(
        Execution.objects.filter(pk__in=ids).exclude(status__in=Execution.ENDED).values_list("pk", flat=True)
    )
