"""The extended-thinking engine against the demo server, over real HTTP through the official SDK."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engines.anthropic_events import EventReader
from apps.engines.anthropic_messages import AnthropicMessages, bare_model, may_think, origin
from apps.engines.base import (
    BrokenStream,
    ContextTooLong,
    EngineError,
    EngineEvent,
    ModelRefused,
    ModelUnreachable,
    ReasoningDelta,
    StepEnd,
    StepRequest,
    TextDelta,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
)
from apps.engines.clients import AnthropicClients
from apps.engines.demo.running import DemoHandle
from apps.engines.demo.signatures import redact, sign

from .conftest import tool

SONNET = "anthropic/claude-sonnet-4-6"
_names = (f"thinking-{number}" for number in count())
Found = tuple[list[EngineEvent], EngineError | None]


def scripted(demo: DemoHandle, *actions: dict[str, Any]) -> str:
    return demo.script(next(_names), list(actions))


def asked(text: str, **fields: Any) -> StepRequest:
    messages = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    return StepRequest(**{"model": SONNET, "system": (), "messages": messages, **fields})


@pytest.fixture
async def clients() -> AsyncIterator[AnthropicClients]:
    mine = AnthropicClients()
    yield mine
    assert mine.count() == 0, "whoever acquires a client lets go of it, however a step ends"


@pytest.fixture
def engine(demo: DemoHandle, clients: AnthropicClients) -> AnthropicMessages:
    return AnthropicMessages(
        base_url=demo.anthropic_url, api_key="sk-secret", thinking_tokens=2000, cache_ttl="1h", clients=clients
    )


async def collect(engine: AnthropicMessages, request: StepRequest | str) -> Found:
    events: list[EngineEvent] = []
    try:
        async with aclosing(engine.step(asked(request) if isinstance(request, str) else request)) as stream:
            async for event in stream:
                events.append(event)
    except EngineError as error:
        return events, error
    return events, None


def text_of(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def reasoning_of(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


async def test_text_streams_and_ends_with_usage(demo: DemoHandle, engine: AnthropicMessages) -> None:
    figures = {"input_tokens": 6, "output_tokens": 5, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 4}
    events, error = await collect(engine, scripted(demo, {"text": "Hello", "chunk": 2}, {"usage": figures}))
    assert error is None
    assert events == [
        TextDelta("He"),
        TextDelta("ll"),
        TextDelta("o"),
        Usage(prompt_tokens=6, completion_tokens=5, cache_read_tokens=90, cache_write_tokens=4),
        StepEnd("stop"),
    ]


async def test_thoughts_are_shown_and_kept_with_their_signature(demo: DemoHandle, engine: AnthropicMessages) -> None:
    marker = scripted(
        demo,
        {"reasoning": "Let me think.", "chunk": 3},
        {"redacted": "deep secret"},
        {"text": "I look."},
        {"tool": "search", "arguments": {"q": "é"}, "parts": 4},
        {"tool": "search", "arguments": {"q": 2}},
    )
    events, error = await collect(engine, asked(marker, tools=[tool()]))
    assert error is None
    assert reasoning_of(events) == "Let me think."
    assert text_of(events) == "I look."
    assert "deep secret" not in repr(events[:-1])
    assert events[-1] == StepEnd(
        "tool-calls",
        [
            {"type": "origin", "name": "127.0.0.1/claude-sonnet-4-6"},
            {"type": "thinking", "thinking": "Let me think.", "signature": sign("Let me think.")},
            {"type": "redacted_thinking", "data": redact("deep secret")},
            {"type": "text", "length": 7},
            {"type": "tool_use", "index": 0},
            {"type": "tool_use", "index": 1},
        ],
    )
    parts = [event.delta for event in events if isinstance(event, ToolInputDelta) and event.index == 0]
    assert len(parts) == 3
    assert ToolInputStart(0, "search") in events
    assert [event for event in events if isinstance(event, ToolInputEnd)] == [
        ToolInputEnd(0, "search", '{"q": "é"}'),
        ToolInputEnd(1, "search", '{"q": 2}'),
    ]


async def test_without_thoughts_nothing_is_kept(demo: DemoHandle, engine: AnthropicMessages) -> None:
    events, _ = await collect(engine, scripted(demo, {"text": "Plain."}, {"tool": "search"}))
    assert events[-1] == StepEnd("tool-calls")


async def test_leaked_think_tags_become_reasoning(demo: DemoHandle, engine: AnthropicMessages) -> None:
    marker = scripted(
        demo, {"reasoning": "signed"}, {"reasoning": "leaked", "shape": "think_tag", "chunk": 1}, {"text": "Done"}
    )
    events, _ = await collect(engine, marker)
    assert reasoning_of(events) == "signedleaked"
    assert text_of(events) == "Done"
    end = events[-1]
    assert isinstance(end, StepEnd)
    assert [block for block in end.provider_blocks if block["type"] == "text"] == [{"type": "text", "length": 4}]


@pytest.mark.parametrize(
    ("model", "budget", "thinking"),
    [
        (SONNET, 2000, {"type": "enabled", "budget_tokens": 2000}),
        (SONNET, 1, {"type": "enabled", "budget_tokens": 1024}),
        (SONNET, 0, None),
        ("anthropic/claude-opus-4-7", 2000, {"type": "adaptive", "display": "summarized"}),
        ("somebody/else", 2000, None),
    ],
)
async def test_thinking_is_asked_for_where_the_model_can(
    demo: DemoHandle, clients: AnthropicClients, model: str, budget: int, thinking: object
) -> None:
    engine = AnthropicMessages(
        base_url=demo.anthropic_url, api_key="", thinking_tokens=budget, effort="low", clients=clients
    )
    marker = scripted(demo, {"reasoning": "hm"}, {"text": "x"})
    events, error = await collect(engine, asked(marker, model=model))
    assert error is None
    body = demo.requests()[0]["body"]
    assert body.get("thinking") == thinking
    assert body["max_tokens"] > budget
    assert body["model"] == bare_model(model)
    assert body.get("output_config") == (None if model == "somebody/else" else {"effort": "low"})
    assert bool(reasoning_of(events)) == (thinking is not None)


async def test_marks_and_headers_are_sent(demo: DemoHandle, engine: AnthropicMessages) -> None:
    marker = scripted(demo, {"text": "x"})
    await collect(engine, asked(marker, system=["static"], tools=[tool("a"), tool("b")]))
    (request,) = demo.requests()
    mark = {"type": "ephemeral", "ttl": "1h"}
    assert request["beta"] == "extended-cache-ttl-2025-04-11"
    assert request["wire"] == "anthropic"
    assert request["body"]["system"] == [{"type": "text", "text": "static", "cache_control": mark}]
    assert [each.get("cache_control") for each in request["body"]["tools"]] == [None, mark]
    assert request["body"]["messages"][0]["content"][0]["cache_control"] == mark


async def test_the_cache_is_written_once_and_then_read(demo: DemoHandle, engine: AnthropicMessages) -> None:
    marker = demo.script(next(_names), [{"text": "x"}], repeat_last=True)
    request = asked(marker, system=["A long static prompt. " * 50], tools=[tool("cached")])
    usages = []
    for _ in range(2):
        events, _ = await collect(engine, request)
        usages += [event for event in events if isinstance(event, Usage)]
    first, second = usages
    assert first.cache_read_tokens == 0
    assert first.cache_write_tokens > 200
    assert (second.cache_read_tokens, second.cache_write_tokens) == (first.cache_write_tokens, 0)


TOO_LONG = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8 maximum"}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, None, ModelUnreachable),
        (500, None, ModelUnreachable),
        (529, None, ModelUnreachable),
        (400, None, ModelRefused),
        (401, None, ModelRefused),
        (404, None, ModelRefused),
        (413, None, ContextTooLong),
        (400, TOO_LONG, ContextTooLong),
    ],
)
async def test_http_errors(
    demo: DemoHandle, engine: AnthropicMessages, status: int, body: dict[str, Any] | None, kind: type[EngineError]
) -> None:
    marker = scripted(demo, {"status": status, "body": body})
    events, error = await collect(engine, marker)
    assert events == []
    assert type(error) is kind
    assert error.status == status
    assert len(demo.requests()) == 1  # the SDK doesn't retry


HALF = [{"text": "half"}, {"usage": {"input_tokens": 9}}]


@pytest.mark.parametrize(
    ("actions", "kind"),
    [
        ([*HALF, {"disconnect": True}], BrokenStream),
        ([*HALF, {"finish": None}], BrokenStream),
        ([*HALF, {"raw": "event: content_block_delta\ndata: {broken\n\n"}], BrokenStream),
        ([*HALF, {"tool": "a", "parts": 3}, {"disconnect": True}], BrokenStream),
        ([*HALF, {"error_chunk": {"type": "overloaded_error", "message": "x"}}], ModelUnreachable),
        ([*HALF, {"error_chunk": {"type": "api_error", "message": "x"}}], ModelUnreachable),
        ([*HALF, {"error_chunk": {"type": "invalid_request_error", "message": "x"}}], ModelRefused),
        ([*HALF, {"error_chunk": {"type": "odd", "message": "prompt is too long"}}], ContextTooLong),
        ([*HALF, {"error_chunk": {"type": "odd", "message": "x"}}], BrokenStream),
    ],
)
async def test_streams_that_break_tell_what_was_used(
    demo: DemoHandle, engine: AnthropicMessages, actions: list[dict[str, Any]], kind: type[EngineError]
) -> None:
    request = asked(scripted(demo, *actions))
    events, error = await collect(engine, request)
    assert type(error) is kind
    assert error.status is None
    assert text_of(events) == "half"
    told = request.meter.told
    assert told is not None
    assert told.prompt_tokens == 9
    assert (request.meter.told_all, request.meter.may_cost, request.meter.came_whole) == (False, True, False)
    assert not [event for event in events if isinstance(event, StepEnd | ToolInputEnd | Usage)]


async def test_a_cut_connection_before_anything_came(demo: DemoHandle, engine: AnthropicMessages) -> None:
    events, error = await collect(engine, scripted(demo, {"disconnect": True}))
    assert (events, type(error)) == ([], BrokenStream)


async def test_malformed_events_do_not_stop_text(
    demo: DemoHandle, engine: AnthropicMessages, caplog: pytest.LogCaptureFixture
) -> None:
    odd: list[dict[str, Any]] = [
        {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "secret"}},
        {"type": "content_block_delta", "index": 0, "delta": "secret"},
        {"type": "content_block_start", "index": "x", "content_block": 5},
        {"type": "message_delta", "delta": None, "usage": 5},
        {"type": "new_kind_of_event"},
    ]
    raw = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in odd)
    marker = scripted(demo, *({"delta": event} for event in odd), {"text": "He"}, {"raw": raw}, {"text": "llo"})
    events, error = await collect(engine, marker)
    assert error is None
    assert text_of(events) == "Hello"
    assert "malformed event skipped" in caplog.text
    assert "secret" not in caplog.text


async def test_what_breaks_after_the_end_breaks_nothing(demo: DemoHandle, engine: AnthropicMessages) -> None:
    stop = 'event: message_stop\ndata: {"type": "message_stop"}\n\n'
    events, error = await collect(engine, scripted(demo, {"text": "whole"}, {"raw": stop}, {"disconnect": True}))
    assert error is None
    assert text_of(events) == "whole"
    assert isinstance(events[-1], StepEnd)


async def test_nobody_answers(clients: AnthropicClients) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    lonely = AnthropicMessages(base_url=f"http://127.0.0.1:{port}", api_key="k", clients=clients)
    events, error = await collect(lonely, "hello")
    assert (events, type(error)) == ([], ModelUnreachable)


async def test_no_secret_leaks_into_errors_and_logs(
    demo: DemoHandle, engine: AnthropicMessages, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    body = {"type": "error", "error": {"type": "authentication_error", "message": "bad key sk-secret: my diary"}}
    for actions in ([{"status": 401, "body": body}], [{"text": "x"}, {"error_chunk": body["error"]}]):
        _, error = await collect(engine, "my diary " + scripted(demo, *actions))
        assert error is not None
        assert error.__cause__ is None
        assert error.__context__ is None
        assert "diary" not in f"{error!r} {error} {error.detail}"
    assert "sk-secret" not in caplog.text
    assert "diary" not in caplog.text


async def test_closing_the_generator_closes_the_connection(demo: DemoHandle, engine: AnthropicMessages) -> None:
    marker = scripted(demo, {"text": "abc" * 100, "chunk": 1, "delay": 0.05})
    async with aclosing(engine.step(asked(marker))) as stream:
        assert await anext(stream) == TextDelta("a")
    deadline = time.monotonic() + 5
    while demo.requests()[0]["closed_at"] is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    (request,) = demo.requests()
    assert (request["finished"], request["closed_early"]) == (False, True)


async def test_many_steps_at_once_share_a_client(
    demo: DemoHandle, engine: AnthropicMessages, clients: AnthropicClients
) -> None:
    marker = scripted(demo, {"reasoning": "hm"}, {"text": "abc", "chunk": 1, "delay": 0.05})
    steps = asyncio.gather(*(collect(engine, marker) for _ in range(50)))
    while not (kept := clients.count()):
        await asyncio.sleep(0.01)
    assert [text_of(events) for events, _ in await steps] == ["abc"] * 50
    assert (kept, clients.count()) == (1, 0)


def loop_of(*first: dict[str, Any]) -> list[dict[str, Any]]:
    call = {"type": "tool_use", "id": "c", "name": "search", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": "{}"}
    return [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": [*first, call]},
        {"role": "user", "content": [result]},
    ]


async def test_a_loop_that_began_without_thoughts_goes_on_without(demo: DemoHandle, engine: AnthropicMessages) -> None:
    assert not may_think(loop_of())
    assert may_think([*loop_of(), {"role": "assistant", "content": []}, *loop_of()[:1]])
    events, error = await collect(engine, asked("", messages=loop_of()))
    assert error is None
    assert isinstance(events[-1], StepEnd)
    assert "thinking" not in demo.requests()[0]["body"]


async def test_a_changed_thought_is_refused(demo: DemoHandle, engine: AnthropicMessages) -> None:
    for text, refused in (("True.", False), ("False.", True)):
        thought = {"type": "thinking", "thinking": text, "signature": sign("True.")}
        _, error = await collect(engine, asked("", messages=loop_of(thought)))
        assert (error is not None) == refused
    assert [request["status"] for request in demo.requests()] == [200, 400]


async def test_a_message_may_be_a_plain_text(demo: DemoHandle, engine: AnthropicMessages) -> None:
    marker = scripted(demo, {"text": "x"})
    events, error = await collect(engine, asked("", messages=[{"role": "user", "content": marker}]))
    assert (text_of(events), error) == ("x", None)


def test_signatures_are_those_of_a_server_and_model() -> None:
    assert origin("https://api.anthropic.com", "anthropic/claude-x") == "api.anthropic.com/claude-x"


_scalars = st.none() | st.integers() | st.text(max_size=3)
_blocks = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "thinking", "tool_use", "redacted_thinking", "text_delta", "thinking_delta"]),
        "text": _scalars,
        "thinking": _scalars,
        "signature": _scalars,
        "name": _scalars,
        "partial_json": _scalars,
        "stop_reason": _scalars,
    },
)
_events = _scalars | st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
        )
    },
    optional={
        "index": st.integers(0, 2) | _scalars,
        "message": st.none() | st.builds(lambda usage: {"usage": usage}, _scalars),
        "content_block": _blocks | _scalars,
        "delta": _blocks | _scalars,
        "usage": st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), _scalars) | _scalars,
    },
)


@given(st.lists(_events, max_size=8))
def test_no_event_breaks_anything_but_the_stream(events: list[object]) -> None:
    reader = EventReader("o")
    shown = []
    try:
        for event in [*events, {"type": "message_stop"}]:
            shown += reader.feed(event)
        shown += reader.finish()
    except EngineError:
        return
    end = reader.end()
    lengths = sum(block["length"] for block in end.provider_blocks if block["type"] == "text")
    assert not end.provider_blocks or lengths == len(text_of(shown))
