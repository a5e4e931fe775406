"""A small HTTP server on this machine that tests tell what to answer, byte by byte."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def http(body: bytes = b"", *headers: str, status: str = "200 OK", content_type: str | None = "text/html") -> bytes:
    """Write a whole answer.

    Args:
        body: Its body.
        headers: Further header lines.
        status: Status code and words.
        content_type: The media type; None leaves the header out.

    Returns:
        The bytes for the wire.
    """
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(to: str, status: str = "302 Found") -> bytes:
    """Write a redirect to `to`."""
    return http(b"", f"Location: {to}", status=status)


class LocalServer:
    """Answers by path and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.port = 0
        self.asked = asyncio.Event()
        self.client_gone = asyncio.Event()

    @property
    def place(self) -> str:
        """Its `host:port`."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/") -> str:
        """The URL of a path."""
        return f"http://{self.place}{path}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection with one request."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.strip().split("\r\n")
            method, path, _ = line.split(" ")
            self.requests.append((method, path, {k.lower(): v for k, _, v in (f.partition(": ") for f in fields)}))
            self.asked.set()
            answer = self.answers.get(path.partition("?")[0], http(b"nothing here", status="404 Not Found"))
            if isinstance(answer, bytes):
                writer.write(answer)
            else:
                answering = asyncio.ensure_future(answer(writer))
                try:
                    await reader.read()  # ends when the client closes, or breaks when it does so with much unread
                finally:
                    self.client_gone.set()
                    answering.cancel()
                    await asyncio.wait([answering])
            await writer.drain()
        writer.close()


@asynccontextmanager
async def local_server(ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[LocalServer]:
    """Run a server on a free port of 127.0.0.1 while the block lasts.

    Args:
        ssl_context: Speaks TLS with it.

    Yields:
        The server.
    """
    server = LocalServer()
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=ssl_context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()
