"""Holds on shared model clients, let go from any thread and closed on the loop that owns them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

logger = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]


class SharedClients(Protocol):
    """Counted clients, such as `apps.engines.clients.OpenAIClients`; both methods belong on a loop."""

    async def load(self) -> None:
        """Import what clients are made with."""

    async def acquire(self, base_url: str, api_key: str) -> Any:
        """Return the shared client; touches no network."""

    async def release(self, base_url: str, api_key: str) -> None:
        """Let go of it; the last to let go closes it."""


class Closer:
    """Runs closing work on the loop that owns what is closed; asking for it takes no time, in any thread."""

    def __init__(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def schedule(self, work: Work) -> None:
        """Have a coroutine function run on the loop soon; its failures are logged. After the loop's end, do nothing."""
        try:
            self._loop.call_soon_threadsafe(self._begin, work)
        except RuntimeError:  # the loop is closed, and its connections with it
            logger.debug("nothing to close: its loop has ended")

    async def join(self) -> None:
        """Wait until everything that was asked for has run; call on the loop."""
        await asyncio.sleep(0)  # lets what is scheduled begin
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, work: Work) -> None:
        task = self._loop.create_task(_guarded(work), name="close what an agent let go")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _guarded(work: Work) -> None:
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - a client that can't be closed must disturb nobody
        logger.warning("closing failed: %s", type(error).__name__)


class ClientHold:
    """One agent's hold on a shared client."""

    __slots__ = ("_closer", "_let_go", "_lock", "client")

    def __init__(self, client: Any, let_go: Work, closer: Closer) -> None:
        """Keep what `hold_client` acquired.

        Args:
            client: The shared client.
            let_go: Gives it back; runs on the closer's loop, once.
            closer: Where.
        """
        self.client = client
        self._let_go: Work | None = let_go
        self._closer = closer
        self._lock = threading.Lock()

    def release(self) -> None:
        """Let go, from any thread and without waiting; a second call does nothing."""
        with self._lock:
            let_go, self._let_go, self.client = self._let_go, None, None
        if let_go is not None:
            self._closer.schedule(let_go)


async def hold_client(clients: SharedClients, base_url: str, api_key: str, closer: Closer) -> ClientHold:
    """Acquire a shared client for an agent, on the closer's loop; touches no network.

    Args:
        clients: Where clients are shared and counted.
        base_url: The server's address.
        api_key: The credential.
        closer: What lets go again.
    """

    async def let_go() -> None:  # a closure, since a partial would show the credential in its repr
        await clients.release(base_url, api_key)

    return ClientHold(await clients.acquire(base_url, api_key), let_go, closer)
