"""Reading the chunks of a streamed chat completion: decoded JSON in, engine events out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from apps.engines.base import BrokenStream, EngineEvent, ReasoningDelta, StepEnd, Usage
from apps.engines.cost import parse_usage
from apps.engines.provider_errors import from_error_object
from apps.engines.reasoning import ReasoningReader, ThinkTagSplitter
from apps.engines.tool_parts import ToolParts

logger = logging.getLogger(__name__)

_FINISH_REASONS = {
    "stop": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "tool_calls": "tool-calls",
    "tool_use": "tool-calls",
    "function_call": "tool-calls",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content-filter",
}


class ChunkReader:
    """Reads one answer. Chunks come from many kinds of servers, so nothing about their shape is taken for granted."""

    def __init__(self) -> None:
        """Start before the first chunk."""
        self._reasoning = ReasoningReader()
        self._splitter = ThinkTagSplitter()
        self._tools = ToolParts()
        self._finish_reason: str | None = None
        self.usage: Usage | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the model said that it finished; at most usage may follow."""
        return self._finish_reason is not None

    @property
    def told_all(self) -> bool:
        """Whether `usage` is what the whole call used: some servers tell a running total before the end."""
        return self.is_finished and self.usage is not None

    def feed(self, chunk: object) -> Iterator[EngineEvent]:
        """Take one chunk and yield what it adds.

        Raises:
            EngineError: The chunk says that the answer failed.
        """
        if not isinstance(chunk, Mapping):
            logger.warning("a chunk that is not an object skipped", extra={"shape": type(chunk).__name__})
            return
        if chunk.get("usage") is not None:
            # Some servers repeat a running total with each chunk: the last one counts.
            self.usage = parse_usage(chunk["usage"]) or self.usage
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(choice, Mapping):
            yield from self._feed_choice(choice)

    def finish(self) -> Iterator[EngineEvent]:
        """Yield what remains at the end of a stream that came to its end, without usage and `StepEnd`.

        Raises:
            BrokenStream: The model hadn't finished, or left a tool call without a name.
        """
        if self._finish_reason is None:
            raise BrokenStream
        yield from self._splitter.flush()
        yield from self._tools.finish()

    def end(self) -> StepEnd:
        """Return how the model finished."""
        reason = _FINISH_REASONS.get(self._finish_reason or "", "other")
        # Some servers say "stop" although the model waits for its tools.
        return StepEnd("tool-calls" if reason == "stop" and self._tools else reason)

    def _feed_choice(self, choice: Mapping[str, Any]) -> Iterator[EngineEvent]:
        if choice.get("error"):
            raise from_error_object(choice["error"])
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            yield from self._feed_delta(delta)
        reason = choice.get("finish_reason")
        if reason == "error":
            raise BrokenStream
        if isinstance(reason, str) and reason:
            self._finish_reason = reason

    def _feed_delta(self, delta: Mapping[str, Any]) -> Iterator[EngineEvent]:
        thought = self._reasoning.read(delta)
        if thought:
            yield ReasoningDelta(thought)
        # A refusal is what the model says instead of an answer, so people must see it.
        for text in (_content_text(delta.get("content")), _content_text(delta.get("refusal"))):
            yield from self._splitter.feed(text)
        parts = delta.get("tool_calls")
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, Mapping):
                yield from self._splitter.flush()
                yield from self._tools.feed(part)


def _content_text(content: object) -> str:
    """Return the text of a delta's content, which some servers send as a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))
