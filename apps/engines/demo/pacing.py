"""How fast the server speaks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from apps.engines.demo.script import Pace

DEFAULT_WORDS_PER_SECOND = 40.0  # a brisk model's speed, and one that people can follow

_WORD = re.compile(r"\s*\S+\s?|\s+")


class Pacer:
    """Cuts texts into deltas and waits between them."""

    def __init__(self, words_per_second: float = DEFAULT_WORDS_PER_SECOND) -> None:
        """Set the pace of word-wise texts; 0: no waiting."""
        self._words_per_second = words_per_second

    def pieces(self, text: str, pace: Pace) -> Iterator[str]:
        """Cut a text into deltas; put together they are the text."""
        if pace.words:
            yield from _WORD.findall(text)
        elif pace.chunk > 0:
            yield from (text[place : place + pace.chunk] for place in range(0, len(text), pace.chunk))
        elif text:
            yield text

    async def wait(self, pace: Pace) -> None:
        """Wait before a delta."""
        delay = pace.delay
        if pace.words:
            delay = 1 / self._words_per_second if self._words_per_second > 0 else 0
        if delay > 0:
            await asyncio.sleep(delay)

    async def sleep(self, seconds: float) -> None:
        """Be silent."""
        await asyncio.sleep(seconds)
