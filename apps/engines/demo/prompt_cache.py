"""The demo's prompt cache: counts honestly which beginnings of requests it has seen marked before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_CHARACTERS_PER_TOKEN = 4  # a rule of thumb for English
_MARK = "cache_control"


@dataclass(frozen=True, slots=True)
class Counted:
    """Input tokens of one request: new ones, those written to the cache, those read from it."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int


class PromptCache:
    """What one server process has cached; it forgets nothing."""

    def __init__(self) -> None:
        """Start empty."""
        self._seen: set[bytes] = set()

    def count(self, body: Mapping[str, Any]) -> Counted:
        """Count a request's input, and remember its beginnings up to each mark."""
        running = hashlib.sha256(str(body.get("model", "")).encode())
        length = read = written = 0
        fresh = []
        for block in _blocks(body):
            text = json.dumps(_without_mark(block), ensure_ascii=False)
            running.update(text.encode("utf-8", "surrogatepass"))
            length += len(text)
            beginning = running.digest()
            if beginning in self._seen:
                read = length
            if _MARK in block:
                written = length
                fresh.append(beginning)
        self._seen.update(fresh)
        read = min(read, written)  # without a mark behind it nothing is looked up
        counts = [tokens // _CHARACTERS_PER_TOKEN for tokens in (length, written, read)]
        return Counted(max(1, counts[0] - counts[1]), counts[1] - counts[2], counts[2])


def _blocks(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a request's blocks in the order in which they are cached."""
    yield from body.get("tools") or ()
    system = body.get("system") or ()
    yield from [{"type": "text", "text": system}] if isinstance(system, str) else system
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks:
            yield {"role": message["role"], **block}


def _without_mark(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != _MARK}
