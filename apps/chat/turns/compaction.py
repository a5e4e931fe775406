"""What is left out of a conversation that outgrows its model, and what stands for it: pure functions over rows.

A summary is a stored `system` row whose `metadata` says what it stands for: `through_sequence`, the place of the last
row that it covers, and `kept`, the places of covered rows that are given to models all the same. Rows are never
deleted: people see them all. As a stored summary never changes, what precedes the newest rows stays the same, byte for
byte, until the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import groupby
from typing import Any

from apps.chat.models import SUMMARY, Message
from apps.engines.base import StepRequest

HEADING = "[Summary of the earlier conversation]\n"
#: UTF-8 bytes of a token: right for English, and on the safe side for most other scripts.
BYTES_A_TOKEN = 4
#: What an image is taken for, whatever its size.
IMAGE_BYTES = 1_600 * BYTES_A_TOKEN
#: What the marks around one part of a message are taken for.
PART_BYTES = 12
#: How much of one row the summariser is given, in characters.
MOST_OF_A_ROW = 4_000
OF_STEPS = {Message.Role.ASSISTANT, Message.Role.TOOL, Message.Role.REASONING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a new summary is to cover.

    Attributes:
        rows: What it is made from, oldest first; an earlier summary may be the first of them.
        through: The place of the last row that it covers.
        kept: The places of covered rows that stay: the running turn's own messages.
    """

    rows: Sequence[Message]
    through: int
    kept: Sequence[int]


def with_summary(rows: Sequence[Message]) -> list[Message]:
    """Return what models are given of a conversation: the newest summary instead of the rows that it covers.

    Args:
        rows: The session's rows in order.

    Returns:
        The first user message, the summary as a user's row, what the summary says to keep, and all later rows; the
        same rows where nothing was summarised.
    """
    summary = next((row for row in reversed(rows) if row.is_summary), None)
    if summary is None or summary.metadata is None:
        return list(rows)
    through = summary.metadata["through_sequence"]
    kept = set(summary.metadata["kept"])
    later = [row for row in rows if row.sequence > through and not row.is_summary]
    early = [row for row in rows if row.sequence <= through and not row.is_summary]
    first = next((row for row in early if row.role == Message.Role.USER), None)
    note = Message(
        session_id=summary.session_id,
        sequence=through,
        role=Message.Role.USER,
        kind=SUMMARY,
        content=HEADING + summary.content,
    )
    others = [row for row in early if row.sequence in kept and row is not first]
    return [*([first] if first else []), note, *others, *later]


def plan(rows: Sequence[Message], *, keep_steps: int, keep_bytes: int) -> Plan | None:
    """Decide what to summarise.

    Args:
        rows: What models are given now, as `with_summary` returns it.
        keep_steps: The last so many steps stay, however large they are.
        keep_bytes: More of them stay as long as all that stays is no larger than this.

    Returns:
        The plan, which never covers the first user message, what was said after the last step, or a part of a step;
        None when there is nothing to summarise.
    """
    first = next((place for place, row in enumerate(rows) if row.role == Message.Role.USER), None)
    if first is None:
        return None
    units = list(units_of(rows[first + 1 :]))
    cut = len(units)
    steps = size = 0
    while cut:
        unit = units[cut - 1]
        size += sum(row_bytes(row) for row in unit)
        is_last_word = steps == 0 and unit[0].role not in OF_STEPS
        if steps >= keep_steps and size > keep_bytes and not is_last_word:
            break
        steps += unit[0].role in OF_STEPS
        cut -= 1
    still_open = next((place for place, unit in enumerate(units) if waits_for_results(unit)), cut)
    covered = [row for unit in units[: min(cut, still_open)] for row in unit]
    kept = [row for row in covered if row.role == Message.Role.USER and is_in_flight(row)]
    told = [row for row in covered if row not in kept and row.role not in {Message.Role.SYSTEM, Message.Role.REASONING}]
    if all(row.kind == SUMMARY for row in told):
        return None
    through = max(row.sequence for row in covered)
    return Plan(rows=told, through=through, kept=[row.sequence for row in kept])


def units_of(rows: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield what may not be torn apart: the rows of one step, or one other row."""

    def unit(row: Message) -> tuple[Any, ...]:
        return (row.turn_id, row.step) if row.role in OF_STEPS else (row.role, row.sequence, row.kind)

    for _, group in groupby(rows, key=unit):
        yield list(group)


def is_in_flight(row: Message) -> bool:
    """Whether the row's turn still goes on."""
    return row.turn is not None and not row.turn.is_over


def waits_for_results(unit: Sequence[Message]) -> bool:
    """Whether a step of a running turn has calls without a result."""
    results = {str(row.tool_call_id) for row in unit if row.role == Message.Role.TOOL}
    calls = {call["id"] for row in unit for call in row.tool_calls or ()}
    return bool(calls - results) and any(is_in_flight(row) for row in unit)


def row_bytes(row: Message) -> int:
    """Return about how many bytes of a request a row is."""
    if row.role in {Message.Role.REASONING, Message.Role.SYSTEM}:
        return 0
    files = IMAGE_BYTES * len(row.file_ids or ())
    return files + weight([row.model_prefix, row.content, row.context or "", row.tool_calls or ""])


def request_tokens(request: StepRequest) -> int:
    """Return about how many tokens a request has."""
    return weight([request.model, request.system, request.messages, request.tools]) // BYTES_A_TOKEN


def weight(value: Any) -> int:
    """Return about how many bytes of a request a value is; images count alike, whatever their encoding."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if isinstance(value, dict):
        if value.get("type") in {"image", "image_url"}:
            return IMAGE_BYTES
        return PART_BYTES + sum(len(key) + weight(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(weight(item) for item in value)
    if is_dataclass(value):
        return sum(weight(getattr(value, field.name)) for field in fields(value))
    return PART_BYTES


def transcript_parts(rows: Sequence[Message], most: int) -> Iterator[str]:
    """Yield what was said as plain text, in parts of at most about `most` bytes; long rows are shortened."""
    part: list[str] = []
    size = 0
    for row in rows:
        for text in row_texts(row, min(MOST_OF_A_ROW, most // 2)):
            if part and size + weight(text) > most:
                yield "\n\n".join(part)
                part, size = [], 0
            part.append(text)
            size += weight(text)
    if part:
        yield "\n\n".join(part)


def row_texts(row: Message, most: int) -> Iterator[str]:
    """Yield what a summariser reads of one row, in pieces of about `most` characters at most."""
    if row.kind == SUMMARY:
        yield f"[Earlier summary]\n{shortened(row.content.removeprefix(HEADING), most)}"
        return
    who = {Message.Role.USER: "User", Message.Role.TOOL: "Result"}.get(Message.Role(row.role), "Assistant")
    if row.content:
        yield f"[{who}]\n{shortened(row.content, most)}"
    for call in row.tool_calls or ():
        yield f"[Call of {call['name']}]\n{shortened(call['arguments'], most)}"


def shortened(text: str, most: int) -> str:
    """Return the beginning and the end of a text that is too long."""
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end]}\n[…]\n{text[len(text) - end :]}"
