from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from contextlib import aclosing
from itertools import count
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engines.base import (
    BrokenStream,
    ContextTooLong,
    EngineError,
    EngineEvent,
    ModelRefused,
    ModelUnreachable,
    ReasoningDelta,
    StepEnd,
    TextDelta,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
)
from apps.engines.clients import OpenAIClients
from apps.engines.demo.running import DemoHandle
from apps.engines.openai_chat import OpenAIChat
from apps.engines.openai_chunks import ChunkReader

from .conftest import Collect, request_of, tool

_names = (f"engine-{number}" for number in count())


def scripted(demo: DemoHandle, *actions: dict[str, Any]) -> str:
    return demo.script(next(_names), list(actions))


def text_of(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def reasoning_of(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


async def test_text_streams_and_ends_with_usage(demo: DemoHandle, collect: Collect) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 90, "cache_write_tokens": 4},
        "cost": 0.00123,
    }
    events, error = await collect(scripted(demo, {"text": "Hello", "chunk": 2}, {"usage": usage}))
    assert error is None
    assert events == [
        TextDelta("He"),
        TextDelta("ll"),
        TextDelta("o"),
        Usage(prompt_tokens=6, completion_tokens=5, cache_read_tokens=90, cache_write_tokens=4, cost_microdollars=1230),
        StepEnd("stop"),
    ]


async def test_no_usage_is_no_event(demo: DemoHandle, collect: Collect) -> None:
    events, error = await collect(scripted(demo, {"text": "Hello"}, {"usage": None}))
    assert (events, error) == ([TextDelta("Hello"), StepEnd("stop")], None)


@pytest.mark.parametrize("shape", ["reasoning", "reasoning_content", "reasoning_details", "think_tag"])
@pytest.mark.parametrize("chunk", [0, 1, 7])
async def test_reasoning_in_every_shape(demo: DemoHandle, collect: Collect, shape: str, chunk: int) -> None:
    script = scripted(demo, {"reasoning": "Let me think.", "shape": shape, "chunk": chunk}, {"text": "\n\nDone"})
    events, error = await collect(script)
    assert error is None
    assert reasoning_of(events) == "Let me think."
    assert text_of(events).strip() == "Done"
    assert isinstance(events[0], ReasoningDelta)


async def test_malformed_reasoning_does_not_stop_text_and_tools(
    demo: DemoHandle, collect: Collect, caplog: pytest.LogCaptureFixture
) -> None:
    script = scripted(
        demo,
        {"delta": {"reasoning": {"very": "secret"}}},
        {"delta": {"reasoning_details": [{"type": "reasoning.encrypted", "data": "secret"}, 5], "content": "Hi"}},
        {"tool": "search", "arguments": {}},
    )
    events, error = await collect(script)
    assert error is None
    assert reasoning_of(events) == ""
    assert text_of(events) == "Hi"
    assert ToolInputEnd(0, "search", "{}") in events
    assert any(record.levelno == logging.WARNING for record in caplog.records)
    assert "secret" not in caplog.text


async def test_parallel_tool_calls_in_parts(demo: DemoHandle, collect: Collect) -> None:
    calls = [{"tool": "a", "arguments": {"q": 1}, "parts": 3}, {"tool": "b", "raw_arguments": "{oops", "parts": 2}]
    events, error = await collect(scripted(demo, {"text": "I look <"}, {"interleave": calls}, {"usage": None}))
    assert error is None
    assert events == [
        TextDelta("I look "),
        TextDelta("<"),
        ToolInputStart(0, "a"),
        ToolInputStart(1, "b"),
        ToolInputDelta(0, '{"q"'),
        ToolInputDelta(1, "{oops"),
        ToolInputDelta(0, ": 1}"),
        ToolInputEnd(0, "a", '{"q": 1}'),
        ToolInputEnd(1, "b", "{oops"),
        StepEnd("tool-calls"),
    ]


async def test_tool_calls_without_labels(demo: DemoHandle, collect: Collect) -> None:
    call = {"tool": "a", "arguments": {"q": 1}, "index": None, "id": None}
    events, error = await collect(scripted(demo, call, call, {"finish": "stop"}))
    assert error is None
    ends = [event for event in events if isinstance(event, ToolInputEnd)]
    assert ends == [ToolInputEnd(0, "a", '{"q": 1}'), ToolInputEnd(1, "a", '{"q": 1}')]
    assert events[-1] == StepEnd("tool-calls")


@pytest.mark.parametrize(
    ("wire", "ours"), [("stop", "stop"), ("length", "length"), ("content_filter", "content-filter")]
)
async def test_finish_reasons(demo: DemoHandle, collect: Collect, wire: str, ours: str) -> None:
    events, _ = await collect(scripted(demo, {"text": "x"}, {"finish": wire}))
    assert events[-1] == StepEnd(ours)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, None, ModelUnreachable),
        (429, {"error": {"code": "insufficient_quota", "message": "quota"}}, ModelRefused),
        (500, None, ModelUnreachable),
        (503, None, ModelUnreachable),
        (529, None, ModelUnreachable),
        (408, None, ModelUnreachable),
        (400, None, ModelRefused),
        (401, {"error": {"message": "Incorrect API key: sk-secret"}}, ModelRefused),
        (402, None, ModelRefused),
        (403, None, ModelRefused),
        (404, None, ModelRefused),
        (422, None, ModelRefused),
        (413, None, ContextTooLong),
        (400, {"error": {"code": "context_length_exceeded", "message": "x"}}, ContextTooLong),
        (400, {"error": {"message": "This model's maximum context length is 8192 tokens."}}, ContextTooLong),
        (400, {"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}, ContextTooLong),
        (
            400,
            {"error": {"message": "Provider returned error", "metadata": {"raw": "prompt is too long"}}},
            ContextTooLong,
        ),
    ],
)
async def test_http_errors(
    demo: DemoHandle, collect: Collect, status: int, body: dict[str, Any] | None, kind: type[EngineError]
) -> None:
    events, error = await collect(scripted(demo, {"status": status, "body": body}))
    assert events == []
    assert type(error) is kind
    assert error.status == status
    assert error.transient == (kind is ModelUnreachable)


async def test_failures_that_pass(demo: DemoHandle, collect: Collect) -> None:
    marker = scripted(demo, {"status": 429, "times": 1}, {"status": 500, "times": 1}, {"text": "at last"})
    kinds = [(await collect(marker))[1] for _ in range(3)]
    assert [error.status if error else None for error in kinds] == [429, 500, None]


async def test_the_sdk_does_not_retry(demo: DemoHandle, collect: Collect) -> None:
    await collect(demo.script("no-retries", [{"status": 500}]))
    assert len(demo.requests("no-retries")) == 1


@pytest.mark.parametrize(
    "actions",
    [
        [{"text": "half"}, {"disconnect": True}],
        [{"disconnect": True}],
        [{"text": "half"}, {"raw": "data: {broken\n\n"}],
        [{"text": "half"}, {"finish": None}],
        [{"text": "half"}, {"finish": "error"}],
        [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}],
        [{"tool": "a", "parts": 3}, {"disconnect": True}],
        [{"error_chunk": {"message": "who knows"}}],
    ],
)
async def test_broken_streams(demo: DemoHandle, collect: Collect, actions: list[dict[str, Any]]) -> None:
    events, error = await collect(scripted(demo, *actions))
    assert type(error) is BrokenStream
    assert not [event for event in events if isinstance(event, StepEnd | ToolInputEnd)]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ({"code": 502, "message": "Provider disconnected"}, ModelUnreachable, 502),
        ({"code": 429, "message": "x"}, ModelUnreachable, 429),
        ({"code": "server_error", "message": "x"}, ModelUnreachable, None),
        ({"type": "overloaded_error", "message": "x"}, ModelUnreachable, None),
        ({"code": 403, "message": "flagged"}, ModelRefused, 403),
        ({"code": 400, "message": "maximum context length is 10 tokens"}, ContextTooLong, 400),
        ({"code": "invalid_request_error", "message": "x"}, ModelRefused, None),
    ],
)
async def test_error_objects_within_the_stream(
    demo: DemoHandle, collect: Collect, body: dict[str, Any], kind: type[EngineError], status: int | None
) -> None:
    events, error = await collect(scripted(demo, {"text": "so far"}, {"error_chunk": body}))
    assert events == [TextDelta("so far")]
    assert type(error) is kind
    assert error.status == status


async def test_usage_is_known_although_the_stream_broke(demo: DemoHandle, collect: Collect) -> None:
    report = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "cost": 0.5}}
    request = request_of(
        scripted(demo, {"text": "half"}, {"raw": f"data: {json.dumps(report)}\n\n"}, {"disconnect": True})
    )
    events, error = await collect(request)
    assert type(error) is BrokenStream
    assert events == [TextDelta("half")]
    assert request.meter.told == Usage(prompt_tokens=9, completion_tokens=2, cost_microdollars=500_000)
    assert (request.meter.told_all, request.meter.may_cost, request.meter.came_whole) == (False, True, False)


@pytest.mark.parametrize(
    ("actions", "may_cost", "came_whole"),
    [
        ([{"text": "x"}], True, True),
        ([{"text": "x"}, {"finish": None}], True, False),
        ([{"text": "x"}, {"disconnect": True}], True, False),
        ([{"disconnect": True}], False, False),
        ([{"status": 400}], False, False),
        ([{"status": 500}], False, False),
        ([{"error_chunk": {"code": 502, "message": "x"}}], False, False),
    ],
)
async def test_the_meter_tells_what_may_cost(
    demo: DemoHandle, collect: Collect, actions: list[dict[str, Any]], may_cost: bool, came_whole: bool
) -> None:
    request = request_of(scripted(demo, *actions))
    await collect(request)
    assert (request.meter.may_cost, request.meter.came_whole) == (may_cost, came_whole)


async def test_a_request_that_went_out_may_cost_before_anything_came(demo: DemoHandle, engine: OpenAIChat) -> None:
    request = request_of(scripted(demo, {"sleep": 60}))
    async with aclosing(engine.step(request)) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        deadline = time.monotonic() + 5
        while not request.meter.may_cost:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert (request.meter.may_cost, request.meter.told) == (True, None)


async def test_what_breaks_after_the_end_breaks_nothing(demo: DemoHandle, collect: Collect) -> None:
    end = {"choices": [{"index": 0, "delta": {"content": "whole"}, "finish_reason": "stop"}]}
    events, error = await collect(scripted(demo, {"raw": f"data: {json.dumps(end)}\n\n"}, {"disconnect": True}))
    assert (events, error) == ([TextDelta("whole"), StepEnd("stop")], None)


async def test_nobody_answers(clients: OpenAIClients, collect: Collect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    lonely = OpenAIChat(base_url=f"http://127.0.0.1:{port}/v1", api_key="k", clients=clients)
    request = request_of("hello")
    events, error = await collect(request, using=lonely)
    assert (events, request.meter.may_cost) == ([], False)
    assert type(error) is ModelUnreachable
    assert error.status is None


async def test_no_secret_leaks_into_errors_and_logs(
    demo: DemoHandle, collect: Collect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    body = {"error": {"message": "Incorrect API key provided: sk-secret. Prompt: my diary"}}
    for actions in ([{"status": 401, "body": body}], [{"text": "x"}, {"error_chunk": body["error"]}]):
        _, error = await collect("my diary " + scripted(demo, *actions))
        assert error is not None
        assert error.__cause__ is None
        assert error.__context__ is None
        assert "sk-secret" not in f"{error!r} {error} {error.detail}"
        assert "diary" not in f"{error!r} {error} {error.detail}"
    assert "sk-secret" not in caplog.text
    assert "diary" not in caplog.text


async def test_what_is_sent_to_any_server(demo: DemoHandle, collect: Collect, clients: OpenAIClients) -> None:
    plain = OpenAIChat(base_url=demo.base_url, api_key="k", thinking_tokens=100, clients=clients)
    marker = scripted(demo, {"text": "x"})
    await collect(request_of(marker, tools=[tool()], system="Be kind.", model="anthropic/claude"), using=plain)
    (request,) = demo.requests()
    assert request["body"] == {
        "model": "anthropic/claude",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": marker}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "search",
                    "description": "Looks things up.",
                    "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
                },
            }
        ],
    }


@pytest.mark.parametrize(
    ("model", "budget", "reasoning"),
    [
        ("anthropic/claude-sonnet-4-6", 8192, {"max_tokens": 8192}),
        ("some-claude", 1024, {"max_tokens": 1024}),
        ("anthropic/claude-sonnet-4-6", 0, None),
        ("openai/gpt-4o-mini", 8192, None),
    ],
)
async def test_what_only_openrouter_is_sent(
    demo: DemoHandle, collect: Collect, clients: OpenAIClients, model: str, budget: int, reasoning: object
) -> None:
    router = OpenAIChat(
        base_url=demo.base_url, api_key="k", provider="openrouter", thinking_tokens=budget, clients=clients
    )
    await collect(request_of(scripted(demo, {"text": "x"}), model=model), using=router)
    body = demo.requests()[0]["body"]
    assert body["usage"] == {"include": True}
    assert body.get("reasoning") == reasoning


@pytest.mark.parametrize("actions", [[{"sleep": 30}], [{"text": "a"}, {"sleep": 30}]])
async def test_cancelling_closes_the_connection_at_once(
    demo: DemoHandle, collect: Collect, actions: list[dict[str, Any]]
) -> None:
    task = asyncio.ensure_future(collect(scripted(demo, *actions)))
    async with asyncio.timeout(10):
        while not await asyncio.to_thread(demo.requests):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # by now the answer has begun, where it has a beginning
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _closed_early(demo)
    assert time.monotonic() - started < 10


async def test_closing_the_generator_closes_the_connection(demo: DemoHandle, engine: OpenAIChat) -> None:
    marker = scripted(demo, {"text": "abc" * 100, "chunk": 1, "delay": 0.05})
    async with aclosing(engine.step(request_of(marker))) as stream:
        assert await anext(stream) == TextDelta("a")
    await _closed_early(demo)


async def _closed_early(demo: DemoHandle) -> None:
    """Wait until the model server has seen the only request's connection close."""
    deadline = time.monotonic() + 10
    while demo.requests()[0]["closed_at"] is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    (request,) = demo.requests()
    assert (request["finished"], request["closed_early"]) == (False, True)


async def test_a_whole_answer_is_not_closed_early(demo: DemoHandle, collect: Collect) -> None:
    await collect(scripted(demo, {"text": "x"}))
    (request,) = demo.requests()
    assert (request["finished"], request["closed_early"]) == (True, False)


async def test_many_steps_at_once_share_a_client(demo: DemoHandle, engine: OpenAIChat, clients: OpenAIClients) -> None:
    marker = scripted(demo, {"text": "abc", "chunk": 1, "delay": 0.1})

    async def one() -> str:
        async with aclosing(engine.step(request_of(marker))) as stream:
            return text_of([event async for event in stream])

    steps = asyncio.gather(*(one() for _ in range(50)))
    while not (kept := clients.count()):
        await asyncio.sleep(0.01)
    assert await steps == ["abc"] * 50
    assert (kept, clients.count()) == (1, 0)


async def test_a_step_leaves_a_client_open_that_somebody_holds(
    demo: DemoHandle, engine: OpenAIChat, clients: OpenAIClients, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, connections = aiohttp.TCPConnector._create_connection, []

    async def counted(*args: Any, **kwargs: Any) -> Any:
        connections.append(await connect(*args, **kwargs))
        return connections[-1]

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", counted)
    client = await clients.acquire(demo.base_url, "sk-secret")
    for _ in range(2):
        await collect(scripted(demo, {"text": "x"}))
    assert (len(connections), clients.count()) == (1, 1), "the second step used the first one's connection"
    await clients.release(demo.base_url, "sk-secret")
    assert client.is_closed()
    assert (await collect(scripted(demo, {"text": "x"})))[1] is None
    assert clients.count() == 0


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "content",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "usage",
                    "reasoning_details",
                    "reasoning",
                    "error",
                    "finish_reason",
                    "index",
                    "id",
                    "text",
                    "type",
                    "message",
                    "code",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_chunks = _json | st.builds(lambda delta: {"choices": [{"delta": delta}]}, _json)


@given(st.lists(_chunks, max_size=4))
def test_no_chunk_breaks_anything_but_the_stream(chunks: list[object]) -> None:
    reader = ChunkReader()
    try:
        for chunk in chunks:
            list(reader.feed(chunk))
        list(reader.finish())
    except EngineError:
        return
    assert isinstance(reader.end(), StepEnd)
