"""Actions on the wire of Anthropic's Messages API, streamed or whole."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from apps.engines.demo.openai_wire import Answer, StreamCut, perform
from apps.engines.demo.prompt_cache import PromptCache
from apps.engines.demo.script import (
    Action,
    Delta,
    ErrorChunk,
    Finish,
    Interleaved,
    Raw,
    Reasoning,
    Redacted,
    UsageReport,
)
from apps.engines.demo.signatures import redact, sign

_STOP_REASONS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}
_FIGURES = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
_CHARACTERS_PER_TOKEN = 4


@dataclass(slots=True)
class _Blocks:
    """The content blocks of one answer, and the events that tell of them."""

    blocks: list[dict[str, Any]] = field(default_factory=list)
    is_open: bool = False

    def take(self, delta: Mapping[str, Any], turn: int) -> Iterator[dict[str, Any]]:
        """Yield the events of a delta of chat completions."""
        for part in delta.get("tool_calls") or ():
            yield from self._call(part, turn)
        thought = delta.get("reasoning") or delta.get("reasoning_content")
        for detail in delta.get("reasoning_details") or ():
            thought = (thought or "") + detail.get("text", "")
        if thought:
            yield from self._open({"type": "thinking", "thinking": "", "signature": ""})
            yield self._change("thinking_delta", "thinking", thought)
        if delta.get("content"):
            yield from self._open({"type": "text", "text": ""})
            yield self._change("text_delta", "text", delta["content"])

    def redacted(self, text: str) -> Iterator[dict[str, Any]]:
        """Yield the events of a redacted thought."""
        yield from self.close()
        yield from self._open({"type": "redacted_thinking", "data": redact(text)})
        yield from self.close()

    def close(self) -> Iterator[dict[str, Any]]:
        """Yield what ends the open block."""
        if not self.is_open:
            return
        self.is_open = False
        last = self.blocks[-1]
        if last["type"] == "thinking":
            signature = sign(last["thinking"])
            for piece in (signature[:20], signature[20:]):
                yield self._change("signature_delta", "signature", piece)
        yield {"type": "content_block_stop", "index": len(self.blocks) - 1}

    def _call(self, part: Mapping[str, Any], turn: int) -> Iterator[dict[str, Any]]:
        function = part.get("function", {})
        if function.get("name"):
            yield from self.close()
            number = sum(block["type"] == "tool_use" for block in self.blocks)
            call = {"type": "tool_use", "id": f"toolu_{turn}_{number}", "name": function["name"], "input": {}}
            yield from self._open(call)
            self.blocks[-1]["partial_json"] = ""
        if function.get("arguments"):
            yield self._change("input_json_delta", "partial_json", function["arguments"])

    def _open(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if self.is_open and self.blocks[-1]["type"] == block["type"]:
            return
        yield from self.close()
        self.blocks.append(block)
        self.is_open = True
        yield {"type": "content_block_start", "index": len(self.blocks) - 1, "content_block": dict(block)}

    def _change(self, kind: str, key: str, text: str) -> dict[str, Any]:
        self.blocks[-1][key] += text
        return {"type": "content_block_delta", "index": len(self.blocks) - 1, "delta": {"type": kind, key: text}}

    def whole(self) -> list[dict[str, Any]]:
        """Return the blocks as an answer that isn't streamed has them."""
        found = []
        for block in self.blocks:
            arguments = block.get("partial_json")
            rest = {key: value for key, value in block.items() if key != "partial_json"}
            found.append(rest if arguments is None else {**rest, "input": json.loads(arguments or "{}")})
        return found


async def stream(answer: Answer, actions: Sequence[Action], cache: PromptCache) -> AsyncGenerator[bytes]:
    """Yield the bytes of a streamed answer, paced.

    Raises:
        StreamCut: The script ends the answer early.
    """
    usage = _usage(answer, actions, cache)
    start = {**_envelope(answer), "content": [], "stop_reason": None, "usage": usage}
    opening = _event({"type": "message_start", "message": start}) + _event({"type": "ping"})
    blocks = _Blocks()
    async for event in _events(answer, actions, blocks):
        if not isinstance(event, bytes):  # silence and literal bytes may come before the answer begins
            yield opening
            opening = b""
        yield event if isinstance(event, bytes) else _event(event)
    if not answer.finishes:
        return
    yield opening
    total = {**usage, "output_tokens": _output(answer, blocks, usage)} if usage else {}
    delta = {"stop_reason": _stop_reason(answer, blocks), "stop_sequence": None}
    yield _event({"type": "message_delta", "delta": delta, "usage": total})
    yield _event({"type": "message_stop"})


async def whole(answer: Answer, actions: Sequence[Action], cache: PromptCache) -> bytes:
    """Return the body of an answer that isn't streamed. Literal bytes replace it, an error becomes it."""
    usage = _usage(answer, actions, cache)
    blocks = _Blocks()
    raw = b""
    try:
        async for event in _events(answer, actions, blocks):
            if isinstance(event, bytes):
                raw += event
            elif event["type"] == "error":
                raw = _json(event)
    except StreamCut as cut:
        if cut.is_abrupt:
            raise
    message = {**_envelope(answer), "content": blocks.whole(), "stop_reason": _stop_reason(answer, blocks)}
    return raw or _json({**message, "usage": {**usage, "output_tokens": _output(answer, blocks, usage)}})


async def _events(answer: Answer, actions: Sequence[Action], blocks: _Blocks) -> AsyncGenerator[dict[str, Any] | bytes]:
    for action in _flat(actions):
        match action:
            case Raw(text):
                yield text.encode()
            case ErrorChunk(error):
                yield {"type": "error", "error": dict(error)}
                raise StreamCut(is_abrupt=False)
            case Redacted(text):
                for event in blocks.redacted(text) if _thinks(answer) else ():
                    yield event
            case Delta(delta) if "type" in delta:
                yield dict(delta)
            case Reasoning(shape=shape) if shape != "think_tag" and not _thinks(answer):
                pass  # a model that may not think doesn't
            case _:
                async for delta in perform(answer, action):
                    for event in blocks.take(delta, answer.turn):
                        yield event
                if not isinstance(action, Finish | UsageReport):
                    for event in blocks.close():
                        yield event


def _flat(actions: Sequence[Action]) -> Iterator[Action]:
    """Yield actions; parallel calls follow one another on this wire."""
    for action in actions:
        yield from action.calls if isinstance(action, Interleaved) else (action,)


def _thinks(answer: Answer) -> bool:
    return (answer.body.get("thinking") or {}).get("type") in {"enabled", "adaptive"}


def _usage(answer: Answer, actions: Sequence[Action], cache: PromptCache) -> dict[str, Any]:
    """Return the figures at the answer's beginning, with the script's over them."""
    counted = {**asdict(cache.count(answer.body)), "output_tokens": 1}
    for action in actions:
        if isinstance(action, UsageReport):
            if action.usage is None:
                return {}
            named = {_FIGURES.get(key, key): value for key, value in action.usage.items()}
            counted |= {key: value for key, value in named.items() if key != "output_tokens"}
    return counted


def _output(answer: Answer, blocks: _Blocks, usage: Mapping[str, Any]) -> Any:
    named = {_FIGURES.get(key, key): value for key, value in (answer.usage or {}).items()}
    if not usage or "output_tokens" in named:
        return named.get("output_tokens", 0)
    return max(1, len(json.dumps(blocks.blocks, ensure_ascii=False)) // _CHARACTERS_PER_TOKEN)


def _stop_reason(answer: Answer, blocks: _Blocks) -> str:
    if answer.finish_reason:
        return _STOP_REASONS.get(answer.finish_reason, "end_turn")
    return "tool_use" if any(block["type"] == "tool_use" for block in blocks.blocks) else "end_turn"


def _envelope(answer: Answer) -> dict[str, Any]:
    return {"id": f"msg_demo_{answer.turn}", "type": "message", "role": "assistant", "model": answer.model}


def _event(data: Mapping[str, Any]) -> bytes:
    return b"event: " + str(data["type"]).encode() + b"\ndata: " + _json(data) + b"\n\n"


def _json(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False).encode()
