"""Marks for Anthropic's prompt cache: what a request's beginning looks like, and up to where it may be kept.

A mark says "keep all that came up to here", in the order tools, system, messages. The API takes at most four. All
functions are pure: they return marked copies and change nothing that they are given.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.engines.base import StepRequest, ToolSpec
from apps.engines.frozen import frozen

MOST_MARKS = 4
MARKED_USER_MESSAGES = 2  # what the request before this one wrote is found by the first, and the second writes
HOUR = "1h"
BETA_HEADER = "anthropic-beta"
HOUR_BETA = "extended-cache-ttl-2025-04-11"

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Beginning:
    """A request's system prompt and tools on a provider's wire: frozen copies, as many requests share them."""

    system: str | tuple[Block, ...]
    tools: tuple[Block, ...]

    @classmethod
    def of(cls, system: str | Sequence[Block], tools: Sequence[Block]) -> Beginning:
        """Return frozen copies."""
        return cls(frozen(system), frozen(tools))


def marked(block: Mapping[str, Any], ttl: str) -> Block:
    """Return a copy of a block with the mark; `ttl` is `5m` or `1h`."""
    return {**block, "cache_control": {"type": "ephemeral", "ttl": ttl}}


def headers(ttl: str) -> dict[str, str]:
    """Return the headers that marks of this duration need."""
    return {BETA_HEADER: HOUR_BETA} if ttl == HOUR else {}


def anthropic_beginning(system: Sequence[str], tools: Sequence[ToolSpec], *, ttl: str) -> Beginning:
    """Return system blocks and tools for Anthropic's own API.

    Each part of the system prompt ends with a mark, as the first one is shared by all users. Two marks are left for
    the messages; so the tools have one of their own only where the system prompt needs no second: the mark of the
    first system block keeps them too.
    """
    parts = [part for part in system if part.strip()]
    free = MOST_MARKS - MARKED_USER_MESSAGES
    blocks: list[Block] = [{"type": "text", "text": part} for part in parts]
    at = set(range(len(blocks))) if len(blocks) <= free else {0, len(blocks) - 1}
    offered = [{"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in tools]
    if offered and len(at) < free:
        offered[-1] = marked(offered[-1], ttl)
    return Beginning.of([marked(block, ttl) if place in at else block for place, block in enumerate(blocks)], offered)


def openai_beginning(system: Sequence[str], tools: Sequence[ToolSpec], *, ttl: str = "") -> Beginning:
    """Return the system message's content and the tools for chat completions.

    Args:
        system: The parts of the system prompt.
        tools: What the model may call.
        ttl: `5m` or `1h` for Anthropic's models behind OpenRouter, which are given marks; empty for all others, which
            would refuse them.
    """
    parts = [part for part in system if part.strip()]
    offered: list[Block] = [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]
    if not ttl:
        return Beginning.of("\n\n".join(parts), offered)
    if offered:
        offered[-1] = marked(offered[-1], ttl)
    blocks: list[Block] = [{"type": "text", "text": part} for part in parts]
    return Beginning.of([marked(blocks[0], ttl), *blocks[1:]] if blocks else "", offered)


def mark_last_user_messages(messages: Sequence[Mapping[str, Any]], *, ttl: str) -> list[Mapping[str, Any]]:
    """Return messages of Anthropic's shape, the last block of the last two user messages marked."""
    users = [place for place, message in enumerate(messages) if message["role"] == "user" and message["content"]]
    found = list(messages)
    for place in users[-MARKED_USER_MESSAGES:]:
        *before, last = messages[place]["content"]
        found[place] = {**messages[place], "content": [*before, marked(last, ttl)]}
    return found


class Beginnings:
    """The last requests' beginnings, so that they are made once a conversation and not once a round."""

    def __init__(self, *, most: int = 256) -> None:
        """Start empty; beyond `most` the one that wasn't used for longest is forgotten."""
        self._most = most
        self._made: OrderedDict[tuple[str, tuple[str, ...]], tuple[list[ToolSpec], Beginning]] = OrderedDict()

    def get(self, kind: str, request: StepRequest, make: Callable[[], Beginning]) -> Beginning:
        """Return what was made for the same system prompt and tools, or make it.

        Args:
            kind: What else it depends on.
            request: Whose beginning it is.
            make: Makes it.
        """
        key = (kind, tuple(request.system))
        known = self._made.get(key)
        if known is None or known[0] != list(request.tools):
            self._made[key] = known = (list(request.tools), make())
            if len(self._made) > self._most:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return known[1]
