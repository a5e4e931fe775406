"""Model clients, shared: one a provider and credential on each event loop, counted, closed by the last to let go."""

from __future__ import annotations

import asyncio
import functools
import importlib
import ipaddress
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic  # noqa: F401 -- named as text below
    from openai import AsyncOpenAI  # noqa: F401 -- named as text below

Client = TypeVar("Client", bound=Any)  # AsyncOpenAI or AsyncAnthropic

CONNECT_TIMEOUT_SECONDS = 5.0
# Models may think in silence for minutes; the runner's own watchdog is what ends a stuck turn.
READ_TIMEOUT_SECONDS = 300.0
# A worker process runs 200 turns by default (TURN_CONCURRENCY) and operators may raise that: the pool must never be
# what a turn waits for.
MAX_CONNECTIONS = 1_000
IDLE_CONNECTION_SECONDS = 30.0
_NO_KEY = "none"  # local servers need no key, but the SDKs insist on one


@dataclass(frozen=True, slots=True)
class _Key:
    """What a client is shared by. The key is kept out of `repr`, and so out of logs and error pages."""

    base_url: str
    api_key: str

    def __repr__(self) -> str:
        return f"_Key(base_url={self.base_url!r})"


@dataclass(slots=True)
class _Held(Generic[Client]):
    client: Client
    holders: int = 0


class SharedClients(Generic[Client]):
    """Shared clients of one SDK.

    All methods belong on an event loop; each loop has clients of its own, since connections can't change loops.

    Attributes:
        sdk: The SDK's module.
        client_class: The name of its client.
    """

    sdk: ClassVar[str]
    client_class: ClassVar[str]

    def __init__(self) -> None:
        """Start without clients; nothing is imported and no network is touched."""
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, _Held[Client]]] = WeakKeyDictionary()
        self._imported = False

    async def load(self) -> None:
        """Import the SDK, beside the loop: it takes half a second, which must not stop the other turns there."""
        if not self._imported:
            await asyncio.to_thread(self._import)
            self._imported = True

    def _import(self) -> None:
        importlib.import_module(self.sdk)
        importlib.import_module("apps.engines.transport")
        _trusted()

    async def acquire(self, base_url: str, api_key: str) -> Client:
        """Return the running loop's client for a server and credential; every call needs its `release`.

        Args:
            base_url: The server's address up to and with its version, such as `https://openrouter.ai/api/v1`.
            api_key: The credential.
        """
        await self.load()
        mine, key = self._mine(), _Key(base_url, api_key)
        held = mine.get(key)
        if held is None:  # no await since the look-up, so that two tasks can't both build one
            held = mine[key] = _Held(self._build(base_url, api_key))
        held.holders += 1
        return held.client

    async def release(self, base_url: str, api_key: str) -> None:
        """Let go of a client; the last one to let go closes it. A surplus call does nothing."""
        mine, key = self._mine(), _Key(base_url, api_key)
        held = mine.get(key)
        if held is None:
            return
        held.holders -= 1
        if held.holders <= 0:
            del mine[key]
            await held.client.close()

    @asynccontextmanager
    async def hold(self, base_url: str, api_key: str) -> AsyncGenerator[Client]:
        """Acquire a client for a block."""
        client = await self.acquire(base_url, api_key)
        try:
            yield client
        finally:
            await self.release(base_url, api_key)

    def count(self) -> int:
        """Return how many clients the running loop has."""
        return len(self._mine())

    def _mine(self) -> dict[_Key, _Held[Client]]:
        return self._loops.setdefault(asyncio.get_running_loop(), {})

    def _build(self, base_url: str, api_key: str) -> Client:
        """Make a client. It never retries: the runner does, which knows what was shown already."""
        http_client = _http_client(base_url)
        made: Client = getattr(importlib.import_module(self.sdk), self.client_class)(
            base_url=base_url,
            api_key=api_key or _NO_KEY,
            max_retries=0,
            timeout=http_client.timeout,
            http_client=http_client,
        )
        return made


class OpenAIClients(SharedClients["AsyncOpenAI"]):
    """Clients of the official `openai` SDK."""

    sdk = "openai"
    client_class = "AsyncOpenAI"


class AnthropicClients(SharedClients["AsyncAnthropic"]):
    """Clients of the official `anthropic` SDK."""

    sdk = "anthropic"
    client_class = "AsyncAnthropic"


openai_clients = OpenAIClients()
anthropic_clients = AnthropicClients()


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Return whom this process trusts. Reading the authorities takes some 20 ms, and every client would do it anew."""
    import httpx2

    return httpx2.create_ssl_context()


def _http_client(base_url: str) -> httpx2.AsyncClient:
    import httpx2

    from apps.engines.transport import AiohttpTransport

    timeout = httpx2.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
    transport = AiohttpTransport(
        trusted=_trusted(),
        most_connections=MAX_CONNECTIONS,
        idle_seconds=IDLE_CONNECTION_SECONDS,
        # A proxy from the environment leads outside, where this machine's own addresses can't be reached.
        trust_env=not _is_this_machine(base_url),
    )
    return httpx2.AsyncClient(timeout=timeout, transport=transport, trust_env=False)


def _is_this_machine(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
