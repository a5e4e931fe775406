"""Actions on the wire of OpenAI's chat completions, streamed or whole."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from apps.engines.demo.pacing import Pacer
from apps.engines.demo.script import (
    Action,
    Delta,
    Disconnect,
    ErrorChunk,
    Finish,
    Interleaved,
    Pace,
    Raw,
    Reasoning,
    Redacted,
    Sleep,
    Text,
    ToolCall,
    UsageReport,
)
from apps.engines.demo.signatures import redact

DONE = b"data: [DONE]\n\n"
_CHARACTERS_PER_TOKEN = 4  # a rule of thumb for English


class StreamCut(Exception):
    """The script says that the stream ends here: in the middle of the connection (`is_abrupt`), or politely."""

    def __init__(self, *, is_abrupt: bool) -> None:
        """Say how."""
        super().__init__("the script ends the stream here")
        self.is_abrupt = is_abrupt


@dataclass(slots=True)
class Answer:
    """One answer while it is made: its deltas (for the whole form) and how it will end."""

    body: Mapping[str, Any]
    turn: int
    pacer: Pacer
    deltas: list[Mapping[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    finishes: bool = True
    usage: Mapping[str, Any] | None = field(default_factory=dict)
    calls: int = 0

    @property
    def model(self) -> str:
        """The model as it was asked for."""
        return str(self.body.get("model", "flightdeck-demo"))

    @property
    def answer_id(self) -> str:
        """An id that is the same for the same request."""
        return f"chatcmpl-demo-{self.turn}"

    def how_it_finished(self) -> str | None:
        """Return the finish reason: the script's, or what fits what was said."""
        if not self.finishes:
            return None
        return self.finish_reason or ("tool_calls" if any("tool_calls" in delta for delta in self.deltas) else "stop")

    def usage_report(self) -> dict[str, Any] | None:
        """Return the usage: counted from the texts' lengths, with the script's figures over it."""
        if self.usage is None:
            return None
        prompt = _tokens(json.dumps(self.body.get("messages", ""), ensure_ascii=False))
        completion = _tokens("".join(_spoken(delta) for delta in self.deltas))
        report = {"prompt_tokens": prompt, "completion_tokens": completion, **self.usage}
        if "total_tokens" not in report:
            counts = (report["prompt_tokens"], report["completion_tokens"])
            report["total_tokens"] = sum(count for count in counts if isinstance(count, int))
        return report


async def stream(answer: Answer, actions: Sequence[Action]) -> AsyncGenerator[bytes]:
    """Yield the bytes of a streamed answer, paced.

    Raises:
        StreamCut: The script ends the answer early.
    """
    for action in actions:
        match action:
            case Raw(text):
                yield text.encode()
            case ErrorChunk(error):
                yield _event({**_envelope(answer), "choices": [], "error": error})
                raise StreamCut(is_abrupt=False)
            case _:
                async for delta in perform(answer, action):
                    if len(answer.deltas) == 1:
                        yield _chunk(answer, {"role": "assistant", "content": ""})
                    yield _chunk(answer, delta)
    if not answer.finishes:
        return
    yield _chunk(answer, {}, answer.how_it_finished())
    report = answer.usage_report()
    if report is not None and _wants_usage(answer.body):
        yield _event({**_envelope(answer), "choices": [], "usage": report})
    yield DONE


async def whole(answer: Answer, actions: Sequence[Action]) -> bytes:
    """Return the body of an answer that isn't streamed. Literal bytes replace it, an error object becomes it."""
    raw = ""
    for action in actions:
        match action:
            case Raw(text):
                raw += text
            case ErrorChunk(error):
                return _json({"error": error})
            case _:
                async for _ in perform(answer, action):
                    pass
    if raw:
        return raw.encode()
    choice = {"index": 0, "message": _message(answer.deltas), "finish_reason": answer.how_it_finished()}
    completion = {**_envelope(answer), "object": "chat.completion", "choices": [choice]}
    return _json({**completion, "usage": answer.usage_report()})


async def perform(answer: Answer, action: Action) -> AsyncGenerator[Mapping[str, Any]]:
    """Yield the deltas of one action and note what it says about the answer's end."""
    deltas: Iterable[tuple[Pace, Mapping[str, Any]]]
    match action:
        case Text(text, pace):
            deltas = ((pace, {"content": piece}) for piece in answer.pacer.pieces(text, pace))
        case Reasoning(text, shape, pace):
            deltas = ((pace, delta) for delta in _reasoning_deltas(answer.pacer, text, shape, pace))
        case Redacted(text):
            deltas = [(Pace(), {"reasoning_details": [{"type": "reasoning.encrypted", "data": redact(text)}]})]
        case ToolCall():
            deltas = _call_deltas(answer, [action])
        case Interleaved(calls):
            deltas = _call_deltas(answer, calls)
        case Delta(delta):
            deltas = [(Pace(), delta)]
        case _:
            await _note(answer, action)
            return
    for pace, delta in deltas:
        await answer.pacer.wait(pace)
        answer.deltas.append(delta)
        yield delta


async def _note(answer: Answer, action: Action) -> None:
    match action:
        case Sleep(seconds):
            await answer.pacer.sleep(seconds)
        case Finish(None):
            answer.finishes = False
        case Finish(reason):
            answer.finish_reason = reason
        case UsageReport(usage):
            answer.usage = usage
        case Disconnect():
            raise StreamCut(is_abrupt=True)
        case _:
            raise TypeError(f"{type(action).__name__} is not for the wire")


def _reasoning_deltas(pacer: Pacer, text: str, shape: str, pace: Pace) -> Iterator[dict[str, Any]]:
    if shape == "think_tag":
        for piece in pacer.pieces(f"<think>{text}</think>", pace):
            yield {"content": piece}
    elif shape == "reasoning_details":
        for piece in pacer.pieces(text, pace):
            yield {"reasoning_details": [{"type": "reasoning.text", "text": piece}]}
    else:
        for piece in pacer.pieces(text, pace):
            yield {shape: piece}


def _call_deltas(answer: Answer, calls: Sequence[ToolCall]) -> Iterator[tuple[Pace, dict[str, Any]]]:
    streams = []
    for call in calls:
        streams.append(list(_call_parts(call, answer.turn, answer.calls)))
        answer.calls += 1
    for row in zip_longest(*streams):
        for call, part in zip(calls, row, strict=True):
            if part is not None:
                yield Pace(delay=call.delay), {"tool_calls": [part]}


def _call_parts(call: ToolCall, turn: int, number: int) -> Iterator[dict[str, Any]]:
    """Cut a call: one part says all, of several the first says the name and the others the arguments."""
    labels = {"index": number, "id": f"call_{turn}_{number}", **call.labels}
    labels = {key: value for key, value in labels.items() if value is not None}
    first = {**labels, "type": "function"}
    if call.parts == 1:
        yield {**first, "function": {"name": call.name, "arguments": call.arguments}}
        return
    yield {**first, "function": {"name": call.name, "arguments": ""}}
    rest = {key: value for key, value in labels.items() if key == "index"}
    for piece in _cut(call.arguments, call.parts - 1):
        yield {**rest, "function": {"arguments": piece}}


def _cut(text: str, parts: int) -> list[str]:
    """Cut a text into (at most) so many pieces of about one length."""
    size = max(1, -(-len(text) // parts))
    return [text[place : place + size] for place in range(0, len(text), size)]


def _message(deltas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put an answer's deltas together to the whole message."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        for key, value in delta.items():
            if key == "tool_calls":
                for part in value:
                    _add_part(calls, part)
            else:
                message[key] = value if message.get(key) is None else message[key] + value
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return message


def _add_part(calls: dict[int, dict[str, Any]], part: Mapping[str, Any]) -> None:
    index = part.get("index", len(calls))
    call = calls.setdefault(index, {"type": "function", "function": {"name": "", "arguments": ""}})
    call["id"] = call.get("id") or part.get("id")
    function = part.get("function", {})
    call["function"]["name"] = call["function"]["name"] or function.get("name", "")
    call["function"]["arguments"] += function.get("arguments") or ""


def _spoken(delta: Mapping[str, Any]) -> str:
    """Return all the text in a delta, for counting."""
    values = (value if isinstance(value, str) else json.dumps(value) for value in delta.values())
    return "".join(values)


def _tokens(text: str) -> int:
    return max(1, len(text) // _CHARACTERS_PER_TOKEN)


def _wants_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return "usage" in body or (isinstance(options, Mapping) and bool(options.get("include_usage")))


def _envelope(answer: Answer) -> dict[str, Any]:
    # `created` is constant: the same request gets the same bytes.
    return {"id": answer.answer_id, "object": "chat.completion.chunk", "created": 0, "model": answer.model}


def _chunk(answer: Answer, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _event({**_envelope(answer), "choices": [choice]})


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + _json(data) + b"\n\n"


def _json(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False).encode()
