"""What a model is given: pure functions from rows to a provider's messages; here those for chat completions."""

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

#: A user row of this kind was sent while its turn ran, and read between two tool rounds.
FOLLOW_UP = "follow_up"
PROMPTS = Path(__file__).resolve().parent.parent / "prompts"
#: Tags that only the server may write; a copy in anybody's text is made harmless. So is a bracket at a text's end, of
#: which the next text could make one.
TRUSTED_TAGS = re.compile(
    r"<(?=/?\s*(?:(?:user_context|memory_context|env_context|builder_context|builder_session|user_follow_up)\b|\Z))",
    re.IGNORECASE,
)
UNUSUAL = re.compile(r"[^a-zA-Z0-9_-]")
LONGEST_NAME = 64  # characters of a tool's name, at OpenAI


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


def row_text(row: Message) -> str:
    """Return what a model reads of a user row: what the server says of the person, then what the person says."""
    parts = (row.model_prefix, user_text(row.content, row.context), files_text(row))
    return "\n\n".join(part for part in parts if part.strip())


def files_text(row: Message) -> str:
    """Return what a model reads of a row's files; empty where it has none."""
    if not row.attachments:
        return ""
    lines = "\n".join(neutralised(file.line) for file in row.attachments)
    return f"[Attached files]\n{lines}\nRead them with read_workspace_file."


def images_of(row: Message) -> list[Any]:
    """Return the images of a row that the model is to see, as `Attachment`s."""
    return [file for file in row.attachments if file.data]


def rows_for_model(rows: Iterable[Message]) -> list[Message]:
    """Return the rows that a model's messages are made of, sound and in order.

    Reasoning, notes to people and user rows without a word are left out. Within a finished turn, an assistant row with
    an unresolved call is left out together with what follows it in that turn; results follow their calls directly.

    Args:
        rows: The session's rows in order, each with `turn` loaded (or None).
    """
    kept: list[Message] = []
    for _, group in groupby(rows, key=lambda row: row.turn_id):
        of_turn = [row for row in group if row.role not in {Message.Role.REASONING, Message.Role.SYSTEM}]
        kept += with_results(whole_rows(of_turn))
    return [row for row in kept if row.role != Message.Role.USER or row_text(row)]


def whole_rows(rows: Sequence[Message]) -> Sequence[Message]:
    """Return a turn's rows up to its first call without a result."""
    turn = rows[0].turn if rows else None
    if turn is not None and turn.status in Turn.IN_FLIGHT:
        return rows
    kept = rows
    while True:  # a cut may take the results of earlier calls with it
        results = {str(row.tool_call_id) for row in kept if row.role == Message.Role.TOOL}
        unresolved = (place for place, row in enumerate(kept) if call_ids(row) - results)
        place = next(unresolved, None)
        if place is None:
            break
        kept = kept[:place]
    if len(kept) < len(rows):
        logger.info("history_cut", turn_id=str(rows[0].turn_id), rows=len(rows) - len(kept))
    return kept


def with_results(rows: Iterable[Message]) -> list[Message]:
    """Return a turn's rows with each step's results right after its calls, without results that nobody asked for."""
    rows = list(rows)
    results = {str(row.tool_call_id): row for row in rows if row.role == Message.Role.TOOL}
    found: list[Message] = []
    for is_answer, group in groupby(
        (row for row in rows if row.role != Message.Role.TOOL),
        key=lambda row: row.step if row.role == Message.Role.ASSISTANT else None,
    ):
        of_step = list(group)
        found += of_step
        if is_answer is not None:
            called = (call["id"] for row in of_step for call in row.tool_calls or ())
            found += (results.pop(call) for call in called if call in results)
    return found


def call_ids(row: Message) -> set[str]:
    """Return the ids of a row's calls."""
    return {call["id"] for call in row.tool_calls or ()}


def openai_messages(rows: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the conversation as chat-completions messages; neighbouring user rows are one message.

    Args:
        rows: The session's rows in order, each with `turn` loaded (or None).
    """
    messages: list[dict[str, Any]] = []
    for row in rows_for_model(rows):
        add_row(messages, row)
    return messages


def add_row(messages: list[dict[str, Any]], row: Message) -> None:
    """Append a row, or merge it into the message that it continues."""
    last = messages[-1] if messages else {}
    if row.role == Message.Role.USER:
        if last.get("role") == "user":
            last["content"] = user_content(row, before=last["content"])
        else:
            messages.append({"role": "user", "content": user_content(row)})
    elif row.role == Message.Role.TOOL:
        messages.append({"role": "tool", "tool_call_id": str(row.tool_call_id), "content": result_text(row)})
    elif row.tool_calls or row.content.strip():
        if last.get("role") != "assistant":  # else these are further blocks of the same step
            last = {"role": "assistant", "content": ""}
            messages.append(last)
        last["content"] = "\n\n".join(text for text in (last["content"], row.content) if text.strip())
        calls = [*last.get("tool_calls", ()), *(provider_call(call) for call in row.tool_calls or ())]
        if calls:
            last["tool_calls"] = calls


def user_content(row: Message, before: str | list[dict[str, Any]] = "") -> str | list[dict[str, Any]]:
    """Return a user message's content: plain text, or parts where somebody sees images.

    Args:
        row: What is said.
        before: The content that it goes on with.
    """
    text = row_text(row)
    images = [
        {"type": "image_url", "image_url": {"url": f"data:{image.mime_type};base64,{image.data}"}}
        for image in images_of(row)
    ]
    if isinstance(before, str):
        text = f"{before}\n\n{text}" if before else text
        return [{"type": "text", "text": text}, *images] if images else text
    return [*before, {"type": "text", "text": text}, *images]


def result_text(row: Message) -> str:
    """Return what a model reads of a tool's result."""
    return neutralised(row.content) or "{}"


def call_name(call: dict[str, str]) -> str:
    """Return the name of a stored call; models make up names that their providers refuse to read again."""
    return UNUSUAL.sub("_", call["name"])[:LONGEST_NAME] or "unnamed"


def provider_call(call: dict[str, str]) -> dict[str, Any]:
    """Return a stored call in the provider's shape; arguments that are no JSON object would be refused there."""
    arguments = call["arguments"] if isinstance(parse_object(call["arguments"]), dict) else "{}"
    return {"id": call["id"], "type": "function", "function": {"name": call_name(call), "arguments": arguments}}
