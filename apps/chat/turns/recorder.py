"""Keeps rows and event log of a running turn in step: the row first, then its event.

Deltas are the exception: they travel as they come and are stored when their step's model call ends. What a step stores
is what `fold` makes of the chunks it published.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from apps.chat.models import SUMMARY
from apps.chat.stream import chunks as c
from apps.chat.stream.fold import (
    Folder,
    Row,
    drained_chunk,
    error_row,
    fold,
    parse_object,
    reasoning_end,
    row_chunks,
    stopped_row,
    usage_chunk,
)
from apps.chat.stream.publisher import Publisher
from apps.chat.turns.metering import MeteredCall
from apps.chat.turns.route import Route
from apps.chat.turns.rows import Write, commit
from apps.chat.turns.state import TurnState
from apps.chat.usage.costs import ModelCall
from apps.engines import base as engine
from apps.runtime.db import db_until_done
from apps.runtime.eventlog import EventLogWriter
from apps.runtime.leases import Claim

STOPPED = "stopped"
INTERRUPTED = "interrupted"


def clean(text: str) -> str:
    """Return text without what a database can't hold: NUL characters, and surrogates that belong to no pair."""
    if "\x00" not in text and (text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)):
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\x00", "")


def storable(blocks: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return a provider's blocks, or none of them where a database can't hold them: changed ones would be refused."""
    text = json.dumps(blocks, ensure_ascii=False)
    return () if "\\u0000" in text or clean(text) != text else blocks


class Recorder:
    """The one hand that writes an attempt at a turn."""

    def __init__(self, claim: Claim, turn: TurnState, publisher: Publisher, writer: EventLogWriter) -> None:
        """Go on after the turn's last finished step."""
        self.step = turn.step
        self.has_spoken = False  # whether the open step has shown anything but status lines
        self.text_since_tools = turn.text_since_tools  # whether people got text after the last tool result
        self._claim = claim
        self._session_id = turn.session_id
        self._publisher = publisher
        self._writer = writer
        self._writes = 0
        self._writing = asyncio.Lock()
        self._is_ending = False
        self._step_is_open = False
        self._stored = 0  # chunks of the open step whose rows are stored
        self._block: tuple[str, str] | None = None  # the open block: text or reasoning, and its id
        self._block_began = 0.0
        self._calls: dict[int, str] = {}  # the open step's calls by the engine's index
        self._open_call: int | None = None
        self._waiting: list[engine.EngineEvent] = []  # what came while another call's input was being written
        self._known_calls: Sequence[str] = ()  # calls that an earlier attempt stored in the open step
        self._provider_blocks: Sequence[dict[str, Any]] = ()  # of the open step
        self._call: MeteredCall | None = None  # the newest model call
        self._unbooked: list[ModelCall] = []
        self._used = turn.used
        self._told = engine.Usage()  # what this attempt's chunks told of it

    # The model's part of a step -------------------------------------------------------------------------------

    def begin_step(self) -> None:
        """Open the next step."""
        self._publisher.begin(self.step + 1)
        self._stored = 0
        self._calls = {}
        self._known_calls = ()
        self._provider_blocks = ()
        self.has_spoken = False
        self._step_is_open = True
        self._publisher.emit(c.StartStep())

    def reopen_step(self, open_calls: Sequence[str], replay: Sequence[Row]) -> None:
        """Open a step anew that an earlier attempt stored in part.

        Args:
            open_calls: Its calls that wait for a result.
            replay: Its rows that readers must be shown again.
        """
        self.begin_step()
        self._known_calls = open_calls
        for row in replay:
            for chunk in row_chunks(row):
                self._publisher.emit(chunk)
        self._publisher.flush()
        self._stored = len(self._publisher.published)

    def announce(self, *chunks: c.Chunk) -> None:
        """Publish chunks that no row holds, before the next step."""
        self._publisher.begin(self.step + 1)
        for chunk in chunks:
            self._publisher.emit(chunk)

    def take_row(self, row: Row) -> None:
        """Publish text or reasoning anew that another runner had published and not stored."""
        for chunk in row_chunks(replace(row, id=str(uuid.uuid4()), tool_calls=[])):
            self._publisher.emit(chunk)

    def status(self, message: str) -> None:
        """Show what is being done right now."""
        if not self._is_ending:
            self._publisher.emit(c.DataStatus(data=c.StatusData(message=clean(message)[:200]), transient=True))

    def show_run(self, execution_id: UUID, progress: c.ExecutionData) -> None:
        """Show where a run stands that a tool of the open step started."""
        if not self._is_ending:
            self._publisher.emit(c.DataExecution(id=str(execution_id), data=progress))

    def take(self, event: engine.EngineEvent) -> None:
        """Publish what the model said. Calls that it writes at the same time follow one another."""
        if self._is_ending:
            return  # a tool or stream that ignores its cancellation has nothing more to say
        if self._open_call is not None and getattr(event, "index", None) != self._open_call:
            self._waiting.append(event)
            return
        match event:
            case engine.TextDelta(text=text) if said := clean(text):
                self.text_since_tools = self.text_since_tools or not said.isspace()
                self._publisher.emit(c.TextDelta(id=self._in_block("text"), delta=said))
            case engine.ReasoningDelta(text=text) if thought := clean(text):
                self._publisher.emit(c.ReasoningDelta(id=self._in_block("reasoning"), delta=thought))
            case engine.ToolInputStart(index=index, name=name):
                self._close_block()
                self.has_spoken = True
                self._open_call = index
                self._calls[index] = str(uuid.uuid4())
                self._publisher.emit(c.ToolInputStart(tool_call_id=self._calls[index], tool_name=clean(name)))
            case engine.ToolInputDelta(index=index, delta=delta):
                self._publisher.emit(c.ToolInputDelta(tool_call_id=self._calls[index], input_text_delta=clean(delta)))
            case engine.ToolInputEnd(index=index, name=name, arguments=arguments):
                value = parse_object(clean(arguments) or "{}")
                call = self._calls[index]
                self._publisher.emit(c.ToolInputAvailable(tool_call_id=call, tool_name=clean(name), input=value))
                self._open_call = None
                waiting, self._waiting = self._waiting, []
                for earlier in waiting:
                    self.take(earlier)
            case engine.StepEnd(provider_blocks=blocks):
                self._provider_blocks = storable(blocks)

    def _in_block(self, kind: str) -> str:
        """Return the id of the open block of this kind; opening one closes another."""
        if self._block is None or self._block[0] != kind:
            self._close_block()
            self.has_spoken = True
            self._block = (kind, str(uuid.uuid4()))
            self._block_began = time.monotonic()
            start = c.TextStart if kind == "text" else c.ReasoningStart
            self._publisher.emit(start(id=self._block[1]))
        return self._block[1]

    def _close_block(self) -> None:
        if self._block is not None:
            kind, block = self._block
            self._block = None
            self._publisher.emit(c.TextEnd(id=block) if kind == "text" else reasoning_end(block, self._block_ms))

    @property
    def _block_ms(self) -> int:
        """How long the newest block is open."""
        return round((time.monotonic() - self._block_began) * 1000)

    # Storing --------------------------------------------------------------------------------------------------

    async def store_model_part(self) -> list[dict[str, str]]:
        """Store the step's rows and its calls as planned; returns the calls. Without calls nothing is stored yet."""
        self._close_block()
        self._publisher.flush()
        rows = self._unstored_rows()
        calls = [call for row in rows for call in row.tool_calls]
        if calls:
            blocks = self._provider_blocks
            await self._write(
                Write(rows=rows, step=self.step + 1, model_calls=self._take_calls(), provider_blocks=blocks)
            )
            self._provider_blocks = ()
            self._stored = len(self._publisher.published)
        return calls

    async def start_call(self, tool_call_id: str) -> None:
        """Note that a call is about to run, before it does."""
        await self._write(Write(started=UUID(tool_call_id)))

    async def end_call(self, row: Row) -> None:
        """Store a call's result and then publish it."""
        await self._write(Write(rows=[row]))
        self.text_since_tools = False
        output = parse_object(row.content)
        chunk: c.Chunk = c.ToolOutputAvailable(tool_call_id=row.tool_call_id or "", output=output)
        if row.kind:
            chunk = c.ToolOutputError(tool_call_id=row.tool_call_id or "", error_text=row.content)
        self._publisher.emit(chunk)
        self._stored = len(self._publisher.published)

    async def store_summary(self, text: str, *, through: int, kept: Sequence[int]) -> None:
        """Store what models are given from now on instead of the rows up to a place; see `compaction`."""
        facts = {"through_sequence": through, "kept": list(kept)}
        row = Row(role="system", step=0, kind=SUMMARY, content=text, metadata=facts)
        await self._write(Write(rows=[row], model_calls=self._take_calls()))

    async def finish_step(self, *, drains: bool = False) -> None:
        """Store what the step still holds back, and that it is whole; then publish its end.

        Args:
            drains: Whether messages that wait enter the turn here.
        """
        self._close_block()
        planned = self._publisher.plan([*self._usage_chunks(), c.FinishStep()])
        last = planned[-1][0]
        write = Write(
            rows=self._unstored_rows(),
            step=self.step + 1,
            resume_after=str(last),
            provider_blocks=self._provider_blocks,
            model_calls=self._take_calls(),
            drained_until=str(last.next) if drains else "",
        )
        drained = await self._write(write)
        self._publisher.send(planned)
        if drained:
            self._publisher.emit(drained_chunk(drained))
        self.step += 1
        self._step_is_open = False
        self._writer.forget(self._publisher.last_id)
        await self._writer.trim_if_long(self._publisher.first_id)

    async def complete(self) -> None:
        """End the turn well: the last step's rows and the status in one transaction, then the terminal chunks."""
        await self._end("completed", [], [])

    async def stop(self) -> None:
        """End the turn because a person stopped it; keeps what was written so far."""
        await self._end("cancelled", [stopped_row()], [c.Abort()])

    async def fail(self, code: str, sentence: str) -> None:
        """End the turn because it can't go on; keeps what was written so far."""
        row = error_row(code, sentence)
        await self._end("failed", [row], [c.Error(error_text=f"[code:{code}] {sentence}")], (code, sentence))

    async def hand_over(self) -> None:
        """Give the turn back to the queue; another runner goes on after the last stored step."""
        await self._settle()
        await self._write(Write(handed_over=True, model_calls=self._take_calls()))

    @property
    def _last_step(self) -> int:
        return self.step + 1 if self._step_is_open else self.step

    async def _end(
        self, status: str, notes: list[Row], terminal: list[c.Chunk], error: tuple[str, str] = ("", "")
    ) -> None:
        """Store what is open, the notes and the status in one transaction; then publish the end."""
        await self._settle()
        closing = self._closing_chunks()
        planned = self._publisher.plan(closing)
        rows = [*self._unstored_rows(closing), *notes]
        resume_after = str(planned[-1][0]) if planned else ""
        write = Write(
            rows=rows,
            step=self._last_step,
            resume_after=resume_after,
            provider_blocks=self._provider_blocks,
            model_calls=self._take_calls(),
            ended=status,
            error=error,
        )
        await self._write(write)
        self._publisher.send(planned)
        self._publisher.begin_end()
        for chunk in [*terminal, c.Finish()]:
            self._publisher.emit(chunk)

    def _closing_chunks(self) -> list[c.Chunk]:
        if not self._step_is_open:
            return []
        self._publisher.flush()
        self._block = None
        folder = Folder(self.step, calls=self._known_calls)
        for chunk in self._publisher.published:
            folder.add(chunk)
        *rest, finish = folder.closing_chunks(STOPPED, duration_ms=self._block_ms)
        return [*rest, *self._usage_chunks(), finish]

    def _unstored_rows(self, closing: Sequence[c.Chunk] = ()) -> list[Row]:
        """Return the open step's rows that no write has stored yet."""
        if not self._step_is_open:
            return []
        published, calls = self._publisher.published, self._known_calls
        stored = len(fold(published[: self._stored], step=self.step, calls=calls))
        return fold([*published, *closing], step=self.step, calls=calls)[stored:]

    def metered(self, route: Route, request: engine.StepRequest) -> MeteredCall:
        """Return a model call whose use the next write books, however it ends; one call runs at a time."""
        self._call = MeteredCall(route, request, self._count)
        return self._call

    def _count(self, call: ModelCall) -> None:
        self._unbooked.append(call)
        self._used += call.usage

    def _take_calls(self) -> list[ModelCall]:
        calls, self._unbooked = self._unbooked, []
        return calls

    def _usage_chunks(self) -> list[c.Chunk]:
        """Return the tokens used so far as a chunk, if there is news."""
        if self._used == self._told:
            return []
        self._told = used = self._used
        return [usage_chunk(used)]

    async def _settle(self) -> None:
        """Let a write that was under way when its task was cancelled come to its end, and let nothing else begin."""
        self._is_ending = True
        if self._call is not None:
            self._call.end()  # its task may take its time to close it
        async with self._writing:
            return

    async def _write(self, write: Write) -> list[Row]:
        async with self._writing:
            self._writes += 1
            return await db_until_done(commit, self._claim, self._writes, self._session_id, write)
