"""Marks for the prompt cache: where they are, who gets them, and that nothing shared is changed."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from apps.engines import prompt_cache
from apps.engines.base import StepRequest
from apps.engines.clients import OpenAIClients
from apps.engines.demo.running import DemoHandle
from apps.engines.openai_chat import OpenAIChat
from apps.engines.prompt_cache import Beginnings

from .conftest import Collect, request_of, tool

MARK = {"type": "ephemeral", "ttl": "5m"}


def marks(blocks: Any) -> list[bool]:
    return ["cache_control" in block for block in blocks]


@pytest.mark.parametrize(
    ("system", "system_marks", "tool_marks"),
    [
        ([], [], [False, True]),
        (["static", ""], [True], [False, True]),
        (["static", "session"], [True, True], [False, False]),
        (["static", "middle", "session"], [True, False, True], [False, False]),
    ],
)
def test_anthropic_gets_four_marks_at_most(system: list[str], system_marks: list[bool], tool_marks: list[bool]) -> None:
    made = prompt_cache.anthropic_beginning(system, [tool("a"), tool("b")], ttl="5m")

    assert (marks(made.system), marks(made.tools)) == (system_marks, tool_marks)
    assert sum([*system_marks, *tool_marks]) + prompt_cache.MARKED_USER_MESSAGES <= prompt_cache.MOST_MARKS


def test_the_last_blocks_of_the_last_two_user_messages_are_marked() -> None:
    text = {"type": "text", "text": "x"}
    roles = ("user", "assistant", "user", "assistant", "user")
    messages = [{"role": role, "content": [text, text]} for role in roles]
    before = deepcopy(messages)

    found = prompt_cache.mark_last_user_messages(messages, ttl="5m")

    assert [marks(message["content"]) for message in found] == [
        [False, False],
        [False, False],
        [False, True],
        [False, False],
        [False, True],
    ]
    assert found[-1]["content"][-1]["cache_control"] == MARK
    assert messages == before
    assert found[0] is messages[0]


@pytest.mark.parametrize("make", [prompt_cache.anthropic_beginning, prompt_cache.openai_beginning])
def test_what_many_requests_share_can_not_be_changed(make: Callable[..., Any]) -> None:
    offered = tool()
    made = make(["s"], [offered], ttl="1h")
    (sent,) = made.tools
    schema = sent.get("input_schema") or sent["function"]["parameters"]
    assert schema == offered.parameters
    for shared in (made.system[0], sent, schema, schema["properties"], schema["properties"]["q"]):
        assert shared
        with pytest.raises(TypeError, match="frozen"):
            shared["cache_control"] = {}
    offered.parameters["properties"]["q"]["type"] = "integer"
    assert schema["properties"]["q"]["type"] == "string"


def test_a_beginning_is_made_once_for_the_same_inputs() -> None:
    known = Beginnings(most=2)
    made: list[str] = []

    def ask(system: str, tools: list[Any]) -> object:
        request = StepRequest(model="m", system=[system], messages=[], tools=tools)
        begin = prompt_cache.anthropic_beginning
        return known.get("", request, lambda: made.append(system) or begin([system], tools, ttl="5m"))  # type: ignore[func-returns-value]

    assert ask("a", [tool()]) is ask("a", [tool()])
    assert ask("a", [tool("other")]) is not ask("a", [tool()])
    assert made == ["a", "a", "a"]
    for system in ("b", "c", "a"):
        ask(system, [tool()])
    assert made == ["a", "a", "a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("provider", "model", "is_marked"),
    [
        ("openrouter", "anthropic/claude-sonnet-4-6", True),
        ("openrouter", "openai/gpt-4o-mini", False),
        ("openai", "anthropic/claude-sonnet-4-6", False),
    ],
)
async def test_only_anthropics_models_on_openrouter_get_marks(
    demo: DemoHandle, collect: Collect, clients: OpenAIClients, provider: str, model: str, is_marked: bool
) -> None:
    engine = OpenAIChat(
        base_url=demo.base_url, api_key="k", provider=provider, thinking_tokens=2000, cache_ttl="1h", clients=clients
    )
    marker = demo.script("marks", [{"text": "x"}])
    request = request_of(marker, model=model, tools=[tool("a"), tool("b")])
    parts = StepRequest(model=model, system=["static", "session"], messages=request.messages, tools=request.tools)

    _, error = await collect(parts, using=engine)

    assert error is None
    (sent,) = demo.requests("marks")
    body = sent["body"]
    mark = {"type": "ephemeral", "ttl": "1h"}
    if is_marked:
        assert body["messages"][0]["content"] == [
            {"type": "text", "text": "static", "cache_control": mark},
            {"type": "text", "text": "session"},
        ]
        assert [each.get("cache_control") for each in body["tools"]] == [None, mark]
        assert sent["beta"] == "extended-cache-ttl-2025-04-11"
    else:
        assert body["messages"][0]["content"] == "static\n\nsession"
        assert "cache_control" not in repr(body)
        assert "reasoning" not in body
        assert sent["beta"] == ""


def test_five_minutes_need_no_header() -> None:
    assert prompt_cache.headers("5m") == {}
