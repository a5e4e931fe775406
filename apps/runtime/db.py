"""How coroutines reach the database: through a thread pool of its own, never through Django's `a*` methods.

Those share one thread and stay broken once the server has dropped its connection. Here every call begins and ends with
connections that are checked or given back to the pool.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

import structlog
from django.db import InterfaceError, OperationalError, close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
FIRST_RETRY_SECONDS = 0.05
LONGEST_RETRY_SECONDS = 2.0

logger = structlog.get_logger(__name__)
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="db")


async def db(service: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a service or query in a database thread and return what it returns.

    A cancelled caller stops waiting; the call itself runs to its end.
    """
    call = partial(contextvars.copy_context().run, _with_fresh_connection, partial(service, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_pool, call)


async def db_until_done(service: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like `db`, for calls that must not be given up: waits out a database that is gone, and cancellation too.

    The service must be safe to repeat: a commit whose answer was lost is tried again. A caller that is cancelled
    meanwhile still gets the result, so that it knows what was written, and its `CancelledError` at its next await.
    """
    pause = FIRST_RETRY_SECONDS
    cancelled = False
    while True:
        call = asyncio.ensure_future(db(service, *args, **kwargs))
        cancelled |= await _uninterrupted(call)
        try:
            result = call.result()
        except (OperationalError, InterfaceError) as error:
            logger.warning("database_away", service=getattr(service, "__name__", "?"), error=type(error).__name__)
        else:
            if cancelled:
                _cancel_later()
            return result
        wait = asyncio.ensure_future(asyncio.sleep(pause * random.uniform(0.5, 1.0)))  # noqa: S311 -- no secret
        cancelled |= await _uninterrupted(wait)
        pause = min(pause * 2, LONGEST_RETRY_SECONDS)


async def _uninterrupted(call: asyncio.Future[Any]) -> bool:
    """Wait until a call has ended, whatever its end; returns whether the waiter was cancelled meanwhile."""
    cancelled = False
    while not call.done():
        try:
            await asyncio.wait({call})
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


def _cancel_later() -> None:
    """Give a swallowed cancellation back: it strikes at the present task's next await."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    task.cancel()


def _with_fresh_connection(call: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return call()
    finally:
        for connection in connections.all(initialized_only=True):
            if connection.vendor == "sqlite":
                # A pool gives PostgreSQL's back; opening a file and setting it up costs more than most statements.
                connection.close_at = None
        close_old_connections()
