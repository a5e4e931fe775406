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
from typing import ParamSpec, TypeVar

import structlog
from django.db import InterfaceError, OperationalError, close_old_connections

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
    """Like `db`, for writes that must not be given up: waits out a database that is gone, and cancellation too.

    The service must be safe to repeat: a commit whose answer was lost is tried again. A cancelled caller gets its
    `CancelledError` after the write has ended, so that it always knows whether the write happened.

    Raises:
        CancelledError: After the write, or while the database is away.
    """
    pause = FIRST_RETRY_SECONDS
    while True:
        call = asyncio.ensure_future(db(service, *args, **kwargs))
        try:
            return await _to_its_end(call)
        except (OperationalError, InterfaceError) as error:
            logger.warning("database_away", service=getattr(service, "__name__", "?"), error=type(error).__name__)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 -- jitter, not a secret
        pause = min(pause * 2, LONGEST_RETRY_SECONDS)


async def _to_its_end(call: asyncio.Future[T]) -> T:
    """Await a call that can't be interrupted; a cancellation that came meanwhile is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await asyncio.shield(call)
        except asyncio.CancelledError as error:
            if call.cancelled():
                raise
            cancelled = error
        except (OperationalError, InterfaceError):
            break
    if cancelled is not None:
        call.exception()  # looked at, so that asyncio doesn't complain about it
        raise cancelled
    return call.result()


def _with_fresh_connection(call: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return call()
    finally:
        close_old_connections()
