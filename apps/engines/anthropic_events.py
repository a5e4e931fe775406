"""Reading the events of a streamed answer of Anthropic's Messages API: decoded JSON in, engine events out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.engines.base import (
    BrokenStream,
    EngineEvent,
    ReasoningDelta,
    StepEnd,
    TextDelta,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
)
from apps.engines.cost import parse_anthropic_usage
from apps.engines.provider_errors import from_error_object
from apps.engines.reasoning import ThinkTagSplitter

logger = logging.getLogger(__name__)

ORIGIN = "origin"
_THOUGHTS = {"thinking", "redacted_thinking"}
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool-calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content-filter",
}


@dataclass(slots=True)
class _Block:
    """A content block while it comes in; `call` is the tool call's place among the calls."""

    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    call: int = -1
    parts: list[str] = field(default_factory=list)
    shown: int = 0  # characters of visible text


class EventReader:
    """Reads one answer. Servers other than Anthropic speak this protocol, too: no shape is taken for granted."""

    def __init__(self, origin: str = "") -> None:
        """Start before the first event; `origin` names who signs the thinking blocks."""
        self._origin = origin
        self._splitter = ThinkTagSplitter()
        self._blocks: dict[int, _Block] = {}
        self._order: list[_Block] = []
        self._calls: list[_Block] = []
        self._usage: dict[str, Any] = {}
        self._stop_reason: str | None = None
        self._stopped = False
        self._complained = False

    @property
    def is_finished(self) -> bool:
        """Whether the model said that it finished; nothing follows."""
        return self._stopped

    @property
    def usage(self) -> Usage | None:
        """What is known by now of what was used; None before anything is."""
        return parse_anthropic_usage(self._usage) if self._usage else None

    @property
    def told_all(self) -> bool:
        """Whether `usage` is what the whole call used: at first only the input is known."""
        return self._stop_reason is not None and self.usage is not None

    def feed(self, event: object) -> Iterator[EngineEvent]:
        """Take one event and yield what it adds; what can't be understood is skipped.

        Raises:
            EngineError: The event says that the answer failed.
        """
        if not isinstance(event, Mapping):
            self._complain(event)
            return
        match event.get("type"):
            case "message_start":
                message = event.get("message")
                self._count(message.get("usage") if isinstance(message, Mapping) else None)
            case "content_block_start":
                yield from self._start(event)
            case "content_block_delta":
                yield from self._delta(event)
            case "content_block_stop":
                yield from self._show(self._splitter.flush(), self._block(event))
            case "message_delta":
                self._count(event.get("usage"))
                delta = event.get("delta")
                reason = delta.get("stop_reason") if isinstance(delta, Mapping) else None
                self._stop_reason = reason if isinstance(reason, str) else self._stop_reason
            case "message_stop":
                self._stopped = True
            case "error":
                raise from_error_object(event)

    def finish(self) -> Iterator[EngineEvent]:
        """Yield what remains at the end of a stream that came to its end, without usage and `StepEnd`.

        Raises:
            BrokenStream: The model hadn't finished, or called a tool without saying which.
        """
        if not self._stopped:
            raise BrokenStream
        yield from self._show(self._splitter.flush(), None)
        if any(not call.data["name"] for call in self._calls):
            raise BrokenStream("The model called a tool without saying which.")
        for call in self._calls:
            yield ToolInputEnd(call.call, call.data["name"], "".join(call.parts))

    def end(self) -> StepEnd:
        """Return how the model finished, with its blocks where they must be sent back unchanged."""
        reason = _FINISH_REASONS.get(self._stop_reason or "", "other")
        if reason == "stop" and self._calls:
            reason = "tool-calls"
        return StepEnd(reason, self._provider_blocks())

    def _provider_blocks(self) -> list[dict[str, Any]]:
        """Return thinking blocks as they came, between places for what the rows hold already.

        The places are `{"type": "text", "length": characters}` and `{"type": "tool_use", "index": number}`; the first
        entry tells whose signatures they are.
        """
        thoughts = [block for block in self._order if _is_whole_thought(block)]
        if not thoughts:
            return []
        kept: list[dict[str, Any]] = [{"type": ORIGIN, "name": self._origin}]
        for block in self._order:
            if block.kind == "text" and block.shown:
                kept.append({"type": "text", "length": block.shown})
            elif block.kind == "tool_use":
                kept.append({"type": "tool_use", "index": block.call})
            elif block in thoughts:
                kept.append(block.data)
        return kept

    def _start(self, event: Mapping[str, Any]) -> Iterator[EngineEvent]:
        content = event.get("content_block")
        if not isinstance(content, Mapping) or not isinstance(event.get("index"), int):
            self._complain(content)
            return
        block = _Block(_text(content.get("type")))
        self._blocks[event["index"]] = block
        self._order.append(block)
        if block.kind != "text":
            yield from self._show(self._splitter.flush(), None)
        match block.kind:
            case "text":
                yield from self._say(block, _text(content.get("text")))
            case "thinking":
                block.data = {"type": "thinking", "thinking": "", "signature": _text(content.get("signature"))}
                yield from self._think(block, _text(content.get("thinking")))
            case "redacted_thinking":
                block.data = {"type": "redacted_thinking", "data": _text(content.get("data"))}
            case "tool_use":
                block.data = {"name": _text(content.get("name"))}
                block.call = len(self._calls)
                self._calls.append(block)
                if block.data["name"]:
                    yield ToolInputStart(block.call, block.data["name"])

    def _delta(self, event: Mapping[str, Any]) -> Iterator[EngineEvent]:
        block, delta = self._block(event), event.get("delta")
        if block is None or not isinstance(delta, Mapping):
            self._complain(delta)
            return
        match block.kind, delta.get("type"):
            case "text", "text_delta":
                yield from self._say(block, _text(delta.get("text")))
            case "thinking", "thinking_delta":
                yield from self._think(block, _text(delta.get("thinking")))
            case "thinking", "signature_delta":
                block.data["signature"] += _text(delta.get("signature"))
            case "tool_use", "input_json_delta":
                part = _text(delta.get("partial_json"))
                if part and block.data["name"]:
                    block.parts.append(part)
                    yield ToolInputDelta(block.call, part)

    def _think(self, block: _Block, text: str) -> Iterator[EngineEvent]:
        if text:
            block.data["thinking"] += text
            yield ReasoningDelta(text)

    def _say(self, block: _Block, text: str) -> Iterator[EngineEvent]:
        return self._show(self._splitter.feed(text), block)

    def _show(self, found: list[TextDelta | ReasoningDelta], block: _Block | None) -> Iterator[EngineEvent]:
        """Pass text on, and count what of it a text block showed."""
        for event in found:
            if isinstance(event, TextDelta):
                owner = block if block is not None and block.kind == "text" else self._last_text()
                owner.shown += len(event.text)
            yield event

    def _last_text(self) -> _Block:
        return next(block for block in reversed(self._order) if block.kind == "text")

    def _block(self, event: Mapping[str, Any]) -> _Block | None:
        index = event.get("index")
        return self._blocks.get(index) if isinstance(index, int) else None

    def _count(self, usage: object) -> None:
        """Take figures over; later ones are totals, and what they leave out stays as it was."""
        if isinstance(usage, Mapping):
            self._usage |= {key: value for key, value in usage.items() if value is not None}

    def _complain(self, value: object) -> None:
        """Log what was skipped by its kind only: the value may be someone's words."""
        if not self._complained:
            self._complained = True
            logger.warning("malformed event skipped", extra={"shape": type(value).__name__})


def _is_whole_thought(block: _Block) -> bool:
    """Tell whether a block can be sent back: one without its signature would be refused."""
    return block.kind in _THOUGHTS and bool(block.data.get("signature") or block.data.get("data"))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
