"""What a model is given on Anthropic's wire: messages that alternate, with thinking blocks as they came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import dropwhile, groupby
from typing import Any

from apps.chat.models import Message
from apps.chat.stream.fold import parse_object
from apps.chat.turns.history import FOLLOW_UP, call_name, images_of, result_text, row_text, rows_for_model

Block = dict[str, Any]
FOLLOW_UP_TAG = "<user_follow_up>"


def anthropic_messages(rows: Iterable[Message], *, origin: str = "") -> list[dict[str, Any]]:
    """Return the conversation as messages of the Messages API.

    Tool results are blocks of a user message; what people sent meanwhile follows them in it, wrapped.

    Args:
        rows: The session's rows in order, each with `turn` loaded (or None).
        origin: Whose thinking blocks are sent back (`anthropic_messages.origin`), as others refuse their signatures;
            empty for none.
    """
    messages: list[dict[str, Any]] = []
    sound = dropwhile(lambda row: row.role != Message.Role.USER, rows_for_model(rows))
    for (role, *_), group in groupby(sound, key=_part):
        if role == Message.Role.ASSISTANT:
            blocks = assistant_blocks(list(group), origin)
            if blocks:
                _blocks_of(messages, "assistant").extend(blocks)
        else:
            for row in group:
                _add_to_user(_blocks_of(messages, "user"), row)
    return messages


def assistant_blocks(rows: Sequence[Message], origin: str) -> list[Block]:
    """Return a step's blocks in the order in which the model wrote them; none when there is nothing to show.

    Args:
        rows: The step's assistant rows.
        origin: Whose thinking blocks are sent back.
    """
    stored = next((row.provider_blocks for row in rows if row.provider_blocks), None)
    blocks = _plain_blocks(rows)
    if not (blocks and origin and stored):
        return blocks
    try:
        return _with_thoughts(rows, stored, origin) or blocks
    except (KeyError, TypeError, AttributeError):  # damage: the thoughts are lost, not the conversation
        return blocks


def _part(row: Message) -> tuple[Any, ...]:
    """Return what rows of one message have in common."""
    return (row.role, row.turn_id, row.step) if row.role == Message.Role.ASSISTANT else (row.role,)


def _blocks_of(messages: list[dict[str, Any]], role: str) -> list[Block]:
    """Return the content of the message that goes on; a new one when the other side had the word."""
    if not messages or messages[-1]["role"] != role:
        messages.append({"role": role, "content": []})
    content: list[Block] = messages[-1]["content"]
    return content


def _add_to_user(blocks: list[Block], row: Message) -> None:
    if row.role == Message.Role.TOOL:
        result = {"type": "tool_result", "tool_use_id": str(row.tool_call_id), "content": result_text(row)}
        blocks.append({**result, "is_error": True} if row.is_error else result)
        return
    text = row_text(row)
    last = blocks[-1] if blocks else {}
    if row.kind == FOLLOW_UP and blocks and blocks[0]["type"] == "tool_result":
        blocks.append({"type": "text", "text": f"{FOLLOW_UP_TAG}\n{text}\n</{FOLLOW_UP_TAG[1:]}"})
    elif last.get("type") == "text" and not last["text"].startswith(FOLLOW_UP_TAG):
        last["text"] = f"{last['text']}\n\n{text}"
    else:
        blocks.append({"type": "text", "text": text})
    blocks.extend(_image(image) for image in images_of(row))


def _image(image: Any) -> Block:
    return {"type": "image", "source": {"type": "base64", "media_type": image.mime_type, "data": image.data}}


def _plain_blocks(rows: Sequence[Message]) -> list[Block]:
    blocks: list[Block] = []
    for row in rows:
        blocks += _texts(row.content)
        blocks += (_tool_use(call) for call in row.tool_calls or ())
    return blocks


def _with_thoughts(rows: Sequence[Message], stored: Sequence[Block], origin: str) -> list[Block]:
    """Return a step's blocks with its thoughts among them, or none when these aren't for this model's eyes."""
    whose, *places = stored
    text = "".join(row.content for row in rows)
    calls = [call for row in rows for call in row.tool_calls or ()]
    lengths = [place["length"] for place in places if place["type"] == "text"]
    indexes = [place["index"] for place in places if place["type"] == "tool_use"]
    if whose["name"] != origin or sum(lengths) != len(text) or indexes != list(range(len(calls))):
        return []
    blocks: list[Block] = []
    for place in places:
        if place["type"] == "text":
            blocks += _texts(text[: place["length"]])
            text = text[place["length"] :]
        elif place["type"] == "tool_use":
            blocks.append(_tool_use(calls[place["index"]]))
        else:
            blocks.append(dict(place))
    return blocks


def _texts(text: str) -> list[Block]:
    """Return a text's block; none for white space, which would be refused."""
    return [{"type": "text", "text": text}] if text.strip() else []


def _tool_use(call: dict[str, str]) -> Block:
    arguments = parse_object(call["arguments"])
    return {
        "type": "tool_use",
        "id": call["id"],
        "name": call_name(call),
        "input": arguments if isinstance(arguments, dict) else {},
    }
