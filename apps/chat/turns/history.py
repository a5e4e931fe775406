"""What a model is given: one pure function from rows to the provider's messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import structlog

from apps.chat.models import Message, Turn
from apps.chat.stream.fold import parse_object

logger = structlog.get_logger(__name__)

PROMPTS = Path(__file__).resolve().parent.parent / "prompts"
#: Tags that only the server may write; a copy in anybody's text is made harmless.
TRUSTED_TAGS = re.compile(
    r"<(?=/?\s*(?:user_context|memory_context|env_context|builder_context|builder_session|user_follow_up)\b)",
    re.IGNORECASE,
)


@cache
def system_prompt() -> str:
    """Return the static prompt; it is byte-identical for everybody."""
    return (PROMPTS / "system.md").read_text(encoding="utf-8").strip()


def neutralised(text: str) -> str:
    """Return text in which copies of the server's own tags are plain text."""
    return TRUSTED_TAGS.sub("&lt;", text)


def user_text(content: str, context: dict[str, Any] | None) -> str:
    """Return what a model reads of one user message: the text, then the page it was sent from."""
    parts = [neutralised(content)]
    if context and context.get("url"):
        parts.append(f"[Page URL: {neutralised(str(context['url']))}]")
    if context and context.get("content"):
        parts.append(f"[Page content]\n{neutralised(str(context['content']))}")
    return "\n\n".join(parts)


def openai_messages(rows: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the conversation as chat-completions messages.

    Args:
        rows: The session's rows in order, each with `turn` loaded (or None).

    Returns:
        Messages in which every tool call is followed by its result: within a finished turn, an assistant row with an
        unresolved call is left out together with what follows it in that turn. Reasoning and notes to people are left
        out; neighbouring user rows are one message.
    """
    messages: list[dict[str, Any]] = []
    for turn_id, group in groupby(rows, key=lambda row: row.turn_id):
        of_turn = [row for row in group if row.role not in {Message.Role.REASONING, Message.Role.SYSTEM}]
        kept = of_turn if turn_id is None else whole_rows(of_turn)
        for row in kept:
            add_row(messages, row)
    return [message for message in messages if message.get("content") or message.get("tool_calls")]


def whole_rows(rows: Sequence[Message]) -> Sequence[Message]:
    """Return a turn's rows up to its first call without a result."""
    turn = rows[0].turn if rows else None
    if turn is not None and turn.status in Turn.IN_FLIGHT:
        return rows
    results = {str(row.tool_call_id) for row in rows if row.role == Message.Role.TOOL}
    for place, row in enumerate(rows):
        if any(call["id"] not in results for call in row.tool_calls or ()):
            logger.info("history_cut", turn_id=str(row.turn_id), rows=len(rows) - place)
            return rows[:place]
    return rows


def add_row(messages: list[dict[str, Any]], row: Message) -> None:
    """Append a row, or merge it into the message that it continues."""
    last = messages[-1] if messages else {}
    if row.role == Message.Role.USER:
        text = user_text(row.content, row.context)
        if last.get("role") == "user":
            last["content"] = f"{last['content']}\n\n{text}"
        else:
            messages.append({"role": "user", "content": text})
    elif row.role == Message.Role.TOOL:
        content = neutralised(row.content)
        messages.append({"role": "tool", "tool_call_id": str(row.tool_call_id), "content": content or "{}"})
    elif row.role == Message.Role.ASSISTANT:
        calls = [provider_call(call) for call in row.tool_calls or ()]
        if last.get("role") == "assistant":  # further blocks of the same step
            last["content"] = "\n\n".join(text for text in (last.get("content"), row.content) if text)
            calls = [*last.get("tool_calls", ()), *calls]
        else:
            last = {"role": "assistant", "content": row.content}
            messages.append(last)
        if calls:
            last["tool_calls"] = calls


def provider_call(call: dict[str, str]) -> dict[str, Any]:
    """Return a stored call in the provider's shape; arguments that are no JSON object would be refused there."""
    arguments = call["arguments"] if isinstance(parse_object(call["arguments"]), dict) else "{}"
    return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": arguments}}
