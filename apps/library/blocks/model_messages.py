"""Conversations with models, in the shape of chat completions, and what makes them fit for every provider."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from apps.library.errors import BlockError

ROLES: Final = frozenset({"system", "user", "assistant", "tool"})
#: What stands for the result of a tool call that nobody answered.
NO_RESULT: Final = "(There is no result.)"
MOST_MESSAGES: Final = 2_000

Messages = list[dict[str, Any]]


def clean_messages(given: Iterable[Any]) -> Messages:
    """Return the messages of a pin: roles that models know, contents that are texts.

    Raises:
        BlockError: When one is no message.
    """
    found: Messages = []
    for number, message in enumerate(given):
        if number >= MOST_MESSAGES:
            raise BlockError(f"A conversation has {MOST_MESSAGES} messages at most.")
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            raise BlockError(f"Message {number + 1} of the conversation has no role that models know.")
        kept: dict[str, Any] = {"role": message["role"], "content": as_text(message.get("content"))}
        calls = [call for call in message.get("tool_calls") or () if _is_call(call)]
        if calls and kept["role"] == "assistant":
            kept["tool_calls"] = calls
        if kept["role"] == "tool":
            kept["tool_call_id"] = str(message.get("tool_call_id", ""))
        found.append(kept)
    return found


def as_text(value: Any) -> str:
    """Return a value as a model reads it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def open_calls(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the ids of tool calls that have no result yet, in order."""
    calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    answered = {message.get("tool_call_id") for message in messages if message["role"] == "tool"}
    return [call for call in calls if call not in answered]


def sound(messages: Iterable[Mapping[str, Any]]) -> Messages:
    """Return a conversation that every provider takes: results follow their calls, and nothing is empty."""
    listed = list(messages)
    results = {message["tool_call_id"]: message for message in listed if message["role"] == "tool"}
    found: Messages = []
    for message in listed:
        if message["role"] == "tool" or not (message["content"] or message.get("tool_calls")):
            continue
        found.append(dict(message))
        for call in message.get("tool_calls", ()):
            result = results.get(call["id"], {}).get("content") or NO_RESULT
            found.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    return found


def for_anthropic(messages: Iterable[Mapping[str, Any]]) -> Messages:
    """Return a sound conversation without system messages in the shape of Anthropic's Messages API."""
    found: Messages = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = list(_blocks(message))
        if found and found[-1]["role"] == role:
            found[-1]["content"] += blocks
        else:
            found.append({"role": role, "content": blocks})
    if not found or found[0]["role"] != "user":
        found.insert(0, {"role": "user", "content": [{"type": "text", "text": "(The conversation goes on.)"}]})
    return found


def _blocks(message: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    if message["role"] == "tool":
        yield {"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": message["content"]}
        return
    if message["content"]:
        yield {"type": "text", "text": message["content"]}
    for call in message.get("tool_calls", ()):
        function = call["function"]
        yield {"type": "tool_use", "id": call["id"], "name": function["name"], "input": _object(function["arguments"])}


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, Mapping) else None
    return (
        isinstance(function, Mapping)
        and isinstance(call.get("id"), str)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), str)
    )
