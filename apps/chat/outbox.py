"""What waits to be sent to one client of a websocket, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import msgspec

MOST_QUEUED_FRAMES = 1000
MOST_QUEUED_BYTES = 4 * 1024 * 1024
MOST_SENT_AT_ONCE = 64 * 1024  # characters; what a connection buffers by itself
SLOW_SECONDS = 5.0


class TooSlow(Exception):
    """The client doesn't read what it is sent."""


class Outbox:
    """Frames on their way to one client, bounded: who waits too long for room is told so."""

    def __init__(self) -> None:
        """Begin empty."""
        self._frames: deque[str] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def put_now(self, frame: dict[str, Any]) -> None:
        """Queue a small frame without waiting for room; there are few of them."""
        self._push(msgspec.json.encode(frame).decode())

    async def put(self, text: str) -> None:
        """Queue an event.

        Raises:
            TooSlow: When there is no room for `SLOW_SECONDS`.
        """
        await self.wait_for_room()
        self._push(text)

    async def wait_for_room(self) -> None:
        """Return once there is room for another frame.

        Raises:
            TooSlow: When there is none for `SLOW_SECONDS`.
        """
        if not self._room.is_set():
            try:
                async with asyncio.timeout(SLOW_SECONDS):
                    await self._room.wait()
            except TimeoutError:
                raise TooSlow from None

    def _push(self, text: str) -> None:
        self._frames.append(text)
        self._bytes += len(text)
        self._news.set()
        if len(self._frames) >= MOST_QUEUED_FRAMES or self._bytes >= MOST_QUEUED_BYTES:
            self._room.clear()

    async def get(self) -> list[str]:
        """Return the next frames, when there are some: as many as a connection takes at once."""
        while not self._frames:
            self._news.clear()
            await self._news.wait()
        texts: list[str] = []
        size = 0
        while self._frames and size < MOST_SENT_AT_ONCE:
            texts.append(self._frames.popleft())
            size += len(texts[-1])
        self._bytes -= size
        if len(self._frames) < MOST_QUEUED_FRAMES and self._bytes < MOST_QUEUED_BYTES:
            self._room.set()
        return texts
