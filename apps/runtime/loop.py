"""One event loop for the whole life of a worker process, in a thread of its own.

Celery's pools know no asyncio: a task hands its coroutine over to this loop. Model clients, Redis connections and the
runs themselves live on it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import uvloop

from apps.runtime.children import close_children

T = TypeVar("T")

CANCEL_AGAIN_SECONDS = 0.2
#: How long a database thread may compute while the loop has events to pass on. At Python's 5 ms, a few threads that
#: load rows made every event of every turn wait.
SWITCH_SECONDS = 0.0005


class LoopThread:
    """An event loop that runs in its own thread until it is stopped."""

    def __init__(self, name: str = "loop") -> None:
        """Start the thread and wait until its loop runs."""
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop; the future is safe to wait for in any other thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def call(self, coroutine: Coroutine[Any, Any, T], timeout_seconds: float | None = None) -> T:
        """Run a coroutine on the loop and return its result, from another thread."""
        return self.submit(coroutine).result(timeout_seconds)

    def stop(self) -> None:
        """Cancel what still runs, end the loop and its thread."""
        self.call(_cancel_the_rest())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


_shared: tuple[LoopThread, int] | None = None
_sharing = threading.Lock()


def share_loop() -> LoopThread:
    """Return this process's one loop, for another part that lives on it; it starts with the first."""
    global _shared
    with _sharing:
        thread, parts = _shared or (LoopThread("runs"), 0)
        _shared = (thread, parts + 1)
        return thread


def leave_loop() -> None:
    """Leave the shared loop; it ends with the last part, and so do the child processes that its work was done in."""
    global _shared
    with _sharing:
        assert _shared is not None
        thread, parts = _shared
        _shared = (thread, parts - 1) if parts > 1 else None
    if parts == 1:
        thread.stop()
        close_children()


async def end_tasks(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel tasks and wait until they have ended, whatever their end.

    They are cancelled again and again: a Redis client that is just connecting swallows a cancellation.
    """
    current = asyncio.current_task()
    while left := {task for task in tasks if task is not None and task is not current and not task.done()}:
        for waiting in left:
            waiting.cancel()
        await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
    for task in tasks:
        if task is not None and task.done() and not task.cancelled():
            task.exception()  # looked at, so that asyncio doesn't complain about it


async def _cancel_the_rest() -> None:
    current = asyncio.current_task()
    await end_tasks(*(task for task in asyncio.all_tasks() if task is not current))
    await asyncio.get_running_loop().shutdown_asyncgens()
