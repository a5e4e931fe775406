"""What a stream means: `fold` makes rows of chunks, `rows_to_chunks` makes chunks of rows.

The recorder stores what `fold` says, a forced finish folds the log that a dead runner left, and a late reader is given
stored steps by `rows_to_chunks`; so a live view, a replay and a reload can't differ.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import msgspec

from apps.chat.stream import chunks as c
from apps.engines.base import Usage

STOPPED_SENTENCE = "You stopped this answer."
#: A tool row of this kind holds a reason instead of a result.
NO_RESULT = "no_result"
#: The kind of a user row that entered a running turn between two steps.
FOLLOW_UP = "follow_up"
#: Errors that the same request would meet again.
HOPELESS = frozenset({"context_too_long"})
ERROR_CODE = re.compile(r"\[code:([a-z0-9_]+)\] ")


@dataclass(slots=True, kw_only=True)
class Row:
    """One stored row of an answer. `id` is None where no block carries it (tool rows, calls without text)."""

    role: str
    step: int
    id: str | None = None
    kind: str = ""
    content: str = ""
    tool_calls: list[dict[str, str]] = field(default_factory=list)
    tool_call_id: str | None = None
    is_error: bool = False
    metadata: dict[str, Any] | None = None
    duration_ms: int | None = None


def parse_object(text: str) -> dict[str, Any] | str:
    """Return JSON text as the object it holds, or the text itself when it holds none that can travel."""
    try:
        value = msgspec.json.decode(text)
        msgspec.json.encode(value)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def object_text(value: Any) -> str:
    """Return the one text of a value that `parse_object` gave, so that going back and forth changes nothing."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def error_row(code: str, sentence: str) -> Row:
    """Return the note that people see where a turn failed; it belongs to no step."""
    facts = {"code": code, "retryable": code not in HOPELESS}
    return Row(role="system", step=0, kind="error", content=sentence, metadata=facts)


def stopped_row() -> Row:
    """Return the note that people see where they stopped a turn; it belongs to no step."""
    return Row(role="system", step=0, kind="stopped", content=STOPPED_SENTENCE)


def follow_up_row(step: int, message_id: str, content: str) -> Row:
    """Return the row of a message that entered the turn after a step."""
    return Row(role="user", step=step, kind=FOLLOW_UP, id=message_id, content=content)


def drained_chunk(rows: Sequence[Row]) -> c.DataPendingDrained:
    """Return the chunk that tells of messages which entered the turn."""
    messages = [c.DrainedMessage(id=row.id or "", content=row.content) for row in rows]
    return c.DataPendingDrained(data=c.DrainedData(count=len(messages), messages=messages))


def usage_chunk(used: Usage) -> c.MessageMetadata:
    """Return the chunk that tells the tokens which a turn used so far."""
    usage = c.UsageData(
        prompt_tokens=used.prompt_tokens,
        completion_tokens=used.completion_tokens,
        total_tokens=used.prompt_tokens + used.completion_tokens,
        cache_read_tokens=used.cache_read_tokens,
        cache_creation_tokens=used.cache_write_tokens,
    )
    return c.MessageMetadata(message_metadata=c.MetadataBody(usage=usage))


def reasoning_end(block: str, duration_ms: int | None) -> c.ReasoningEnd:
    """Return the end of a block of reasoning, which tells how long it took where that is known."""
    if duration_ms is None:
        return c.ReasoningEnd(id=block)
    return c.ReasoningEnd(id=block, provider_metadata=c.ReasoningMetadata(c.ReasoningFacts(duration_ms)))


def no_result_row(step: int, tool_call_id: str, reason: str) -> Row:
    """Return the row of a call that has no result, and why."""
    return Row(role="tool", step=step, kind=NO_RESULT, content=reason, tool_call_id=tool_call_id, is_error=True)


class Folder:
    """Folds chunks one at a time; `rows` is what they mean so far."""

    def __init__(self, step: int = 0, *, calls: Iterable[str] = ()) -> None:
        """Begin after a finished step; `calls` are those of the next one that are stored and wait for a result."""
        self.step = step
        self.step_is_open = False
        self.rows: list[Row] = []
        self._open_block: tuple[str, str] | None = None  # what is open: text, reasoning or tool, and its id
        self._parts: list[str] = []
        self._calls = dict.fromkeys(calls, True)  # begun calls, and whether their input is whole
        self._answered: set[str] = set()

    def add(self, chunk: c.Chunk) -> None:
        """Take the next chunk."""
        match chunk:
            case c.StartStep():
                self.step += 1
                self.step_is_open = True
            case c.FinishStep():
                self.step_is_open = False
            case c.TextStart(id=block):
                self._open("text", block, Row(role="assistant", step=self.step, id=block))
            case c.ReasoningStart(id=block):
                self._open("reasoning", block, Row(role="reasoning", step=self.step, id=block))
            case c.TextDelta(delta=delta) | c.ReasoningDelta(delta=delta):
                self._parts.append(delta)
            case c.ReasoningEnd(provider_metadata=metadata):
                if metadata is not None and self._open_block is not None:
                    self.rows[-1].duration_ms = metadata.flightdeck.duration_ms
                self._close()
            case c.TextEnd():
                self._close()
            case c.ToolInputStart(tool_call_id=call):
                self._calls[call] = False
                self._open_block = ("tool", call)
            case c.ToolInputAvailable():
                self._call(chunk)
            case c.ToolOutputAvailable(tool_call_id=call, output=output):
                failed = isinstance(output, dict) and output.get("type") == "error"
                self._answer(
                    Row(role="tool", step=self.step, content=object_text(output), tool_call_id=call, is_error=failed)
                )
            case c.ToolOutputError(tool_call_id=call, error_text=reason):
                self._answer(no_result_row(self.step, call, reason))
            case c.DataPendingDrained(data=drained):
                self.rows += [follow_up_row(self.step, message.id, message.content) for message in drained.messages]
            case c.DataRewind(data=data):
                self._rewind(data.step, set(data.keep))
            case c.Error(error_text=text):
                code = ERROR_CODE.match(text)
                self.rows.append(error_row(code[1] if code else "error", text[code.end() if code else 0 :]))
            case c.Abort():
                self.rows.append(stopped_row())

    def end(self) -> list[Row]:
        """Take an open block as it stands and return all rows."""
        self._close()
        return self.rows

    def closing_chunks(
        self, reason: str, *, going_on: Collection[str] = (), duration_ms: int | None = None
    ) -> list[c.Chunk]:
        """Return what must follow, by the order rules, when nothing more of this step will come.

        Args:
            reason: Why calls without a result have none.
            going_on: Calls that get their result later, in the step opened anew.
            duration_ms: How long open reasoning took, if that is known.
        """
        closing: list[c.Chunk] = []
        if self._open_block is not None and self._open_block[0] != "tool":
            kind, block = self._open_block
            closing.append(c.TextEnd(id=block) if kind == "text" else reasoning_end(block, duration_ms))
        unanswered = [call for call in self._calls if call not in self._answered and call not in going_on]
        if self.step_is_open:
            closing += [c.ToolOutputError(tool_call_id=call, error_text=reason) for call in unanswered]
            closing.append(c.FinishStep())
        return closing

    def _open(self, kind: str, block: str, row: Row) -> None:
        self.rows.append(row)
        self._open_block = (kind, block)
        self._parts = []

    def _close(self) -> None:
        if self._open_block is not None and self._open_block[0] != "tool":
            self.rows[-1].content = "".join(self._parts)
        self._open_block = None

    def _call(self, chunk: c.ToolInputAvailable) -> None:
        self._calls[chunk.tool_call_id] = True
        self._open_block = None
        last = self.rows[-1] if self.rows else None
        if last is None or last.role != "assistant" or last.step != self.step:
            last = Row(role="assistant", step=self.step)
            self.rows.append(last)
        last.tool_calls.append(
            {"id": chunk.tool_call_id, "name": chunk.tool_name, "arguments": object_text(chunk.input)}
        )

    def _answer(self, row: Row) -> None:
        call = row.tool_call_id or ""
        if call in self._answered:
            return  # a repeated result is dropped
        self._answered.add(call)
        if self._calls.get(call):  # a call that never became whole has no row, and so no result
            self.rows.append(row)

    def _rewind(self, step: int, keep: set[str]) -> None:
        """Forget what was begun after a stored step, except what is stored too."""
        self._close()
        kept = []
        for row in self.rows:
            if row.step > step and row.role != "system":
                row.tool_calls = [call for call in row.tool_calls if call["id"] in keep]
                if not (row.id in keep or row.tool_call_id in keep or row.tool_calls):
                    continue
            kept.append(row)
        self.rows = kept
        self._calls = {call: whole for call, whole in self._calls.items() if call in keep}
        self._answered &= set(self._calls)
        self.step = step
        self.step_is_open = False


def fold(stream: Iterable[c.Chunk], *, step: int = 0, calls: Iterable[str] = ()) -> list[Row]:
    """Return the rows that a stream of chunks means.

    Args:
        stream: The chunks in order.
        step: The number of the finished step after which they begin.
        calls: The ids of calls of the next step that are stored and wait for a result.
    """
    folder = Folder(step, calls=calls)
    for chunk in stream:
        folder.add(chunk)
    return folder.end()


def rows_to_chunks(rows: Sequence[Row]) -> Iterator[c.Chunk]:
    """Yield chunks that mean exactly these rows; the inverse of `fold`."""
    past = 0
    for step, of_step in groupby((row for row in rows if row.role != "system"), key=lambda row: row.step):
        for _ in range(past + 1, step):  # steps that left nothing to show
            yield c.StartStep()
            yield c.FinishStep()
        past = step
        yield c.StartStep()
        drained = []
        for row in of_step:
            if row.role == "user":
                drained.append(row)
            yield from row_chunks(row)
        yield c.FinishStep()
        if drained:
            yield drained_chunk(drained)
    for row in rows:
        if row.role == "system" and row.kind == "error":
            yield c.Error(error_text=f"[code:{(row.metadata or {}).get('code', 'error')}] {row.content}")
        elif row.role == "system" and row.kind == "stopped":
            yield c.Abort()


def row_chunks(row: Row) -> Iterator[c.Chunk]:
    """Yield the chunks of one row, without the step around it."""
    match row.role:
        case "assistant":
            if row.content and row.id:
                yield c.TextStart(id=row.id)
                yield c.TextDelta(id=row.id, delta=row.content)
                yield c.TextEnd(id=row.id)
            for call in row.tool_calls:
                yield c.ToolInputStart(tool_call_id=call["id"], tool_name=call["name"])
                value = parse_object(call["arguments"])
                yield c.ToolInputAvailable(tool_call_id=call["id"], tool_name=call["name"], input=value)
        case "reasoning" if row.id:
            yield c.ReasoningStart(id=row.id)
            yield c.ReasoningDelta(id=row.id, delta=row.content)
            yield reasoning_end(row.id, row.duration_ms)
        case "tool" if row.tool_call_id:
            if row.kind == NO_RESULT:
                yield c.ToolOutputError(tool_call_id=row.tool_call_id, error_text=row.content)
            else:
                yield c.ToolOutputAvailable(tool_call_id=row.tool_call_id, output=parse_object(row.content))
