"""How model clients reach servers: through aiohttp, whose parser is written in C.

A streamed answer is thousands of small pieces, and reading one costs half of what it costs with httpx2's own transport.
The SDKs bring a transport of this kind themselves (their `aiohttp` extra). It can't tell when a request went out, and
calls a server that hung up a connection that took too long.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace

import aiohttp
import httpx2
from yarl import URL

#: Called as soon as a request of the present context went out whole.
on_sent: ContextVar[Callable[[], None] | None] = ContextVar("on_sent", default=None)

# The first that fits counts, so a class comes before what it is made from.
_MEANINGS: tuple[tuple[type[Exception], type[httpx2.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx2.ConnectTimeout),
    (aiohttp.SocketTimeoutError, httpx2.ReadTimeout),
    (TimeoutError, httpx2.PoolTimeout),
    (aiohttp.ClientProxyConnectionError, httpx2.ProxyError),
    (aiohttp.ClientConnectorError, httpx2.ConnectError),
    (aiohttp.NonHttpUrlClientError, httpx2.UnsupportedProtocol),
    (aiohttp.InvalidURL, httpx2.UnsupportedProtocol),
    (aiohttp.ClientConnectionError, httpx2.ReadError),
    (aiohttp.ClientError, httpx2.RemoteProtocolError),  # an answer that breaks off, or is no HTTP
    (OSError, httpx2.ReadError),
)


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """An httpx2 transport on a session of aiohttp. It belongs to the event loop that it was made on."""

    def __init__(
        self,
        *,
        trusted: ssl.SSLContext,
        most_connections: int,
        idle_seconds: float,
        trust_env: bool,
    ) -> None:
        """Make it; nothing is connected before the first request.

        Args:
            trusted: Verifies servers.
            most_connections: What is beyond waits, as long as the request's `pool` timeout allows.
            idle_seconds: How long a connection is kept for the next request.
            trust_env: Whether the environment's proxies are used.
        """
        watch = aiohttp.TraceConfig()
        watch.on_request_chunk_sent.append(_tell_sent)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=most_connections, keepalive_timeout=idle_seconds, ssl=trusted),
            cookie_jar=aiohttp.DummyCookieJar(),  # httpx2 keeps them
            skip_auto_headers=("Content-Type", "User-Agent"),
            trust_env=trust_env,
            trace_configs=[watch],
        )

    @property
    def most_connections(self) -> int:
        """How many connections may be open at once."""
        connector = self._session.connector
        return connector.limit if connector is not None else 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; returns as soon as the answer's headers are there.

        Its timeouts for connecting, reading and the pool hold; aiohttp has none for writing.

        Raises:
            httpx2.TransportError: One of its subclasses, when there is no answer.
        """
        limits = request.extensions.get("timeout", {})
        timeout = aiohttp.ClientTimeout(
            total=None, connect=limits.get("pool"), sock_connect=limits.get("connect"), sock_read=limits.get("read")
        )
        content = await request.aread()
        request.headers.pop("transfer-encoding", None)  # the whole body is known
        with _translated(request):
            answer = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
                data=content or None,
                allow_redirects=False,
                auto_decompress=False,  # httpx2 does it
                timeout=timeout,
            )
        return httpx2.Response(
            answer.status,
            headers=answer.raw_headers,
            stream=_Body(answer, request),
            request=request,
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": (answer.reason or "").encode()},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


class _Body(httpx2.AsyncByteStream):
    """An answer's body, as it comes."""

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx2.Request) -> None:
        self._answer = answer
        self._request = request

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        with _translated(self._request):
            async for piece in self._answer.content.iter_any():
                yield piece

    async def aclose(self) -> None:
        """Hang up, unless all was read: then the connection is kept already."""
        self._answer.close()


@contextmanager
def _translated(request: httpx2.Request) -> Iterator[None]:
    """Raise aiohttp's failures as httpx2's, which the SDKs know."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        meaning = next(meaning for kind, meaning in _MEANINGS if isinstance(error, kind))
        raise meaning(str(error), request=request) from error


async def _tell_sent(
    session: aiohttp.ClientSession, context: SimpleNamespace, facts: aiohttp.TraceRequestChunkSentParams
) -> None:
    told = on_sent.get()
    if told is not None:
        told()
