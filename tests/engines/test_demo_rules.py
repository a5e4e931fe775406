"""What the demo server refuses, as the real servers do."""

from __future__ import annotations

from typing import Any

import pytest

from apps.engines.demo.rules import anthropic_violation, openai_violation
from apps.engines.demo.signatures import redact, sign

TEXT = {"type": "text", "text": "hi"}
CALL = {"type": "tool_use", "id": "c", "name": "search", "input": {}}
PICTURE = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
IMAGE = {"type": "image", "source": PICTURE}
RESULT = {"type": "tool_result", "tool_use_id": "c", "content": "{}"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": sign("hm")}
BUDGET = {"type": "enabled", "budget_tokens": 1024}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "claude", "max_tokens": 2000, "messages": list(messages), **fields}


@pytest.mark.parametrize(
    "request_body",
    [
        body({"role": "user", "content": "hi"}, system="Be kind."),
        body(user(TEXT), assistant(CALL), user(RESULT, TEXT)),
        body(user(TEXT, IMAGE), assistant(CALL), user(RESULT, IMAGE)),
        body(user(TEXT), assistant(THOUGHT, CALL), user(RESULT), thinking=BUDGET),
        body(user(TEXT), assistant(CALL), user(RESULT), assistant(TEXT), user(TEXT), thinking=BUDGET),
        body(user(TEXT), assistant({"type": "redacted_thinking", "data": redact("x")}, TEXT), user(TEXT)),
    ],
)
def test_sound_requests_are_taken(request_body: dict[str, Any]) -> None:
    assert anthropic_violation(request_body) == ""


@pytest.mark.parametrize(
    ("request_body", "reason"),
    [
        (body(), "first message"),
        (body(assistant(TEXT), user(TEXT)), "first message"),
        (body(user(TEXT), user(TEXT)), "alternate"),
        (body(user(TEXT), assistant(TEXT)), "end with a user"),
        (body(user(), assistant(TEXT), user(TEXT)), "non-empty"),
        (body(user({"type": "text", "text": " \n"})), "non-whitespace"),
        (body(user(TEXT), assistant(CALL), user(TEXT)), "tool_result"),
        (body(user(TEXT), assistant(CALL), user(TEXT, RESULT)), "come first"),
        (body(user(TEXT), assistant(TEXT), user(RESULT)), "tool_result"),
        (body(user(TEXT), assistant(CALL), user(RESULT), assistant(CALL), user(RESULT)), "unique"),
        (body(user(TEXT), assistant(CALL), user(RESULT), thinking=BUDGET), "loop begins"),
        (body(user(TEXT), assistant({**THOUGHT, "thinking": "ha"}, TEXT), user(TEXT)), "signature"),
        (body(user(TEXT), assistant({"type": "redacted_thinking", "data": "x"}, TEXT), user(TEXT)), "redacted"),
        (body(user(TEXT), thinking=BUDGET, max_tokens=1024), "greater"),
        (body(user(TEXT), thinking={"type": "enabled", "budget_tokens": 10}), "at least"),
        (body(user(TEXT), max_tokens=None), "max_tokens"),
        (body(user(*[{**TEXT, "cache_control": {}}] * 5)), "maximum of 4"),
        (body(user(TEXT), assistant({**THOUGHT, "cache_control": {}}, TEXT), user(TEXT)), "cache_control"),
        (body({"role": "user"}), "shape"),
        (body(user(TEXT), assistant(TEXT, IMAGE), user(TEXT)), "belong in user"),
        (body(user(TEXT, *[IMAGE] * 101)), "too many images"),
        (body(user({"type": "image", "source": {**PICTURE, "media_type": "image/svg+xml"}})), "media type"),
        (body(user({"type": "image", "source": {**PICTURE, "media_type": "image/gif"}})), "appear to be image/gif"),
        (body(user({"type": "image", "source": {**PICTURE, "data": "%"}})), "valid base64"),
        (body(user({"type": "image", "source": {**PICTURE, "data": "A" * 5_300_000}})), "5 MB"),
        (body(user({"type": "image", "source": {"type": "url", "url": "http://a"}})), "must be base64"),
    ],
)
def test_what_anthropic_refuses(request_body: dict[str, Any], reason: str) -> None:
    assert reason in anthropic_violation(request_body)


def called(*ids: str) -> dict[str, Any]:
    calls = [{"id": each, "type": "function", "function": {"name": "a", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def answered(call: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": "{}"}


def seen(role: str, url: str) -> dict[str, Any]:
    return {"role": role, "content": [TEXT, {"type": "image_url", "image_url": {"url": url}}]}


MARKED = {"role": "system", "content": [{**TEXT, "cache_control": {}}]}


@pytest.mark.parametrize(
    ("request_body", "reason"),
    [
        ({"model": "gpt", "messages": [called("a", "b"), answered("b"), answered("a")]}, ""),
        ({"model": "anthropic/claude", "messages": [MARKED], "reasoning": {}}, ""),
        ({"model": "gpt", "messages": [seen("user", "data:image/png;base64,iVBORw0KGgo=")]}, ""),
        ({"model": "gpt", "messages": [seen("user", "https://a.example/a.png")]}, ""),
        ({"model": "gpt", "messages": [seen("assistant", "https://a.example/a.png")]}, "role 'user'"),
        ({"model": "gpt", "messages": [seen("user", "file:///a.png")]}, "a URL"),
        ({"model": "gpt", "messages": [seen("user", "data:image/gif;base64,iVBORw0KGgo=")]}, "appear to be"),
        ({"model": "gpt", "messages": [called("a")]}, "no tool messages"),
        ({"model": "gpt", "messages": [called("a", "b"), answered("b"), {"role": "user"}]}, "must be followed"),
        ({"model": "gpt", "messages": [answered("a")]}, "follows no call"),
        ({"model": "gpt", "messages": [{"role": "assistant", "content": ""}]}, "needs content"),
        ({"model": "gpt", "messages": [MARKED]}, "unknown field: cache_control"),
        ({"model": "gpt", "messages": [], "tools": [{"cache_control": {}}]}, "unknown field: cache_control"),
        ({"model": "gpt", "messages": [], "reasoning": {"max_tokens": 5}}, "unknown field: reasoning"),
    ],
)
def test_what_openais_wire_refuses(request_body: dict[str, Any], reason: str) -> None:
    found = openai_violation(request_body)
    assert reason in found
    assert bool(found) == bool(reason)
