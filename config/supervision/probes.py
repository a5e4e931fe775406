"""Small questions to local servers, asked until they are answered."""

from __future__ import annotations

import asyncio
import socket

ANSWER_SECONDS = 5.0
ANSWER_BYTES = 64


async def exchange(port: int, words: bytes) -> bytes:
    """Return the beginning of what a server on this machine answers.

    Args:
        port: Where it listens, at 127.0.0.1.
        words: What it is sent.

    Returns:
        At most 64 bytes; none when it didn't answer within 5 seconds.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(words)
                await writer.drain()
                return await reader.read(ANSWER_BYTES)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


async def answers_http(port: int, path: str) -> bool:
    """Whether a GET of `path` is answered with 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    return b" 200 " in (await exchange(port, request.encode())).partition(b"\r\n")[0]


async def answers_redis(port: int, password: str) -> bool:
    """Whether a Redis takes the password and answers a ping."""
    return (await exchange(port, f"AUTH {password}\r\nPING\r\n".encode())).startswith(b"+OK")


def free_port() -> int:
    """Return a TCP port that nothing on this machine listens at right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
