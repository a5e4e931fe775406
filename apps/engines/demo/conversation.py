"""Reading a chat request: which script and step it asks for, what the person said, what the tools answered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.engines.demo.script import MARKER

# Blocks that the product puts around a person's words; the demo answers the words only.
_SERVER_BLOCK = re.compile(
    r"<(user_context|memory_context|env_context|builder_context|builder_session)>.*?</\1>\s*", re.DOTALL
)
_FOLLOW_UP_TAG = re.compile(r"</?user_follow_up>")


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """A tool's answer to the model's last call."""

    name: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A chat request, whatever wire it came over.

    Attributes:
        system: The system prompt.
        question: The last user message without the product's own blocks.
        answers: The tools' answers since that message, oldest first.
        tools: The names of the tools that may be called.
        script: The script that the conversation is marked for, if any.
        step: Which of its steps is asked for, counted from 0.
        turn: How many messages there are; makes ids that are unique within the conversation.
    """

    system: str = ""
    question: str = ""
    answers: list[ToolAnswer] = field(default_factory=list)
    tools: frozenset[str] = frozenset()
    script: str | None = None
    step: int = 0
    turn: int = 0


def from_openai(body: Mapping[str, Any]) -> Conversation:
    """Read the body of a chat completions request, skipping what can't be understood."""
    raw = body.get("messages")
    messages = [message for message in raw if isinstance(message, Mapping)] if isinstance(raw, list) else []
    script, step = find_script(messages)
    users = [place for place, message in enumerate(messages) if message.get("role") == "user"]
    question = message_text(messages[users[-1]]) if users else ""
    return Conversation(
        system="\n".join(message_text(m) for m in messages if m.get("role") in ("system", "developer")),
        question=plain_question(question),
        answers=list(_answers(messages[users[-1] :] if users else messages)),
        tools=frozenset(_tool_names(body.get("tools"))),
        script=script,
        step=step,
        turn=len(messages),
    )


def from_anthropic(body: Mapping[str, Any]) -> Conversation:
    """Read the body of a request of the Messages API."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": body.get("system", "")}]
    for message in body["messages"]:
        content = message["content"]
        messages += _unfolded(message["role"], content) if isinstance(content, list) else [message]
    tools = [{"function": {"name": tool.get("name")}} for tool in body.get("tools") or ()]
    return from_openai({"messages": messages, "tools": tools})


def _unfolded(role: str, blocks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a message of the Messages API as chat completions would have it: tool results are messages of their own."""
    for block in blocks:
        if block["type"] == "tool_result":
            yield {"role": "tool", "tool_call_id": block["tool_use_id"], "content": block.get("content")}
    texts = [block for block in blocks if block["type"] == "text"]
    calls = [
        {"id": block["id"], "function": {"name": block["name"]}} for block in blocks if block["type"] == "tool_use"
    ]
    if texts or calls or role == "assistant":
        yield {"role": role, "content": texts, "tool_calls": calls}


def find_script(messages: list[Mapping[str, Any]]) -> tuple[str | None, int]:
    """Find the script that the latest marked user message names, and its step.

    The step is the number of assistant messages since the first user message with that marker, so that the server
    needs no memory: a retry or a resumed turn asks for the same step again, and further user messages in between
    don't start it anew.
    """
    marks = [
        (place, MARKER.findall(message_text(message))[-1:])
        for place, message in enumerate(messages)
        if message.get("role") == "user"
    ]
    marked = [(place, names[0]) for place, names in marks if names]
    if not marked:
        return None, 0
    name = marked[-1][1]
    first = next(place for place, other in marked if other == name)
    return name, sum(message.get("role") == "assistant" for message in messages[first:])


def message_text(message: Mapping[str, Any]) -> str:
    """Return a message's text, from either form of `content`."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "\n".join(text for text in texts if isinstance(text, str))


def plain_question(text: str) -> str:
    """Return a user message without the product's own blocks and without script markers."""
    return MARKER.sub("", _FOLLOW_UP_TAG.sub("", _SERVER_BLOCK.sub("", text))).strip()


def _answers(messages: list[Mapping[str, Any]]) -> Iterator[ToolAnswer]:
    names: dict[object, str] = {}
    for message in messages:
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, Mapping) and isinstance(call.get("function"), Mapping):
                names[call.get("id")] = str(call["function"].get("name", ""))
        if message.get("role") == "tool":
            yield ToolAnswer(names.get(message.get("tool_call_id"), "tool"), message_text(message))


def _tool_names(tools: object) -> Iterator[str]:
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            yield function["name"]
