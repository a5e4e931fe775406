"""What one reader's page shows of one turn, and whether its events came without gaps, repeats and disorder."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from apps.chat.stream import chunks as c
from apps.chat.stream.fold import Folder, Row
from apps.chat.stream.publisher import STEPS_AN_ATTEMPT, TERMINAL_MAJOR
from apps.runtime.eventlog import BEGINNING, EventId

Shown = tuple[Any, ...]


def shown_of_row(row: dict[str, Any]) -> Shown:
    """Return what is compared of a row that REST gave."""
    calls = tuple((call["id"], call["name"], call["arguments"]) for call in row["tool_calls"] or ())
    code = (row["metadata"] or {}).get("code", "")
    return (row["step"], row["role"], row["kind"], row["content"], calls, row["tool_call_id"], row["is_error"], code)


def shown_of_fold(row: Row) -> Shown:
    """Return what is compared of a row that `fold` gave."""
    calls = tuple((call["id"], call["name"], call["arguments"]) for call in row.tool_calls)
    code = (row.metadata or {}).get("code", "")
    return (row.step, row.role, row.kind, row.content, calls, row.tool_call_id, row.is_error, code)


def is_next(last: EventId, found: EventId) -> bool:
    """Whether an event may follow another, as a reader of the wire sees it.

    Chunks of stored rows have the major 0, and the last of them the id of the step's end.
    """
    if last != BEGINNING and last.major == 0:
        return found.major > 0 or found.number == last.number + 1
    return last.is_followed_by(found)


def may_hide_reload(last: EventId, found: EventId) -> bool:
    """Whether the one missing number may be a demand to reload, which readers that need none don't see."""
    later_attempt = found.major // STEPS_AN_ATTEMPT > last.major // STEPS_AN_ATTEMPT
    return found.number == 2 and later_attempt and found.major != TERMINAL_MAJOR


@dataclass(slots=True)
class Screen:
    """A turn before one reader's eyes.

    Attributes:
        ended: How the end was learnt: by `finish`, or by `rows`; empty while it isn't.
        suspects: Ids that may be demands to reload; the log is asked about them.
        arrivals: When which event came.
        asked: How its events were asked for, for whoever looks into a failure.
    """

    turn_id: str
    reader: str
    last: EventId = BEGINNING
    ended: str = ""
    ended_at: float = 0.0
    gaps: list[str] = field(default_factory=list)
    repeats: list[str] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)
    suspects: list[EventId] = field(default_factory=list)
    arrivals: list[tuple[float, EventId]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    reloads: int = 0
    torn_reads: int = 0
    _base: list[Shown] = field(default_factory=list)
    _folder: Folder = field(default_factory=Folder)
    _block: str = ""
    _is_replayed: bool = False
    _calls: set[str] = field(default_factory=set)

    def take(self, event_id: str, chunk: Any) -> None:
        """Take an event as it came."""
        found = EventId.parse(event_id)
        if found <= self.last:
            if not self._is_replayed:  # one replay is one fault, however long it is
                self.repeats.append(f"{self.last} then {found}")
            self._is_replayed = True
            return
        if not is_next(self.last, found):
            if may_hide_reload(self.last, found):
                self.suspects.append(EventId(found.major, 1))
            else:
                self.gaps.append(f"{self.last} then {found}")
        self.last = found
        self._is_replayed = False
        self.arrivals.append((time.monotonic(), found))
        typed = c.decode(msgspec.json.encode(chunk))
        self._check_order(typed, found)
        self._folder.add(typed)
        if isinstance(typed, c.Finish):
            self._end("finish")

    def ask(self, how: str) -> None:
        """Note that events after the last one are asked for."""
        self.asked.append(f"{time.monotonic():.1f} {how} after {self.last}")

    def load(self, rows: list[dict[str, Any]], resume_after: str, *, is_active: bool) -> None:
        """Show rows instead, and go on after them."""
        if self.ended:
            return
        if not is_active and not rows:
            # Rows and the turn in flight were read at two moments, and the turn began between them: no turn ends
            # without a row. The page is told so by `subscribed` and reads again.
            self.torn_reads += 1
            return
        self.reloads += 1
        self.last = EventId.parse(resume_after) if resume_after else BEGINNING
        self._base = [shown_of_row(row) for row in rows]
        self._folder = Folder(self.last.major % STEPS_AN_ATTEMPT)
        self._block = ""
        self._calls = set()
        if not is_active:
            self._end("rows")

    def shows(self) -> list[Shown]:
        """Return everything that is on the screen once the turn has ended."""
        return [*self._base, *(shown_of_fold(row) for row in self._folder.end())]

    def first_event_after(self, moment: float, attempt: int = -1) -> float | None:
        """Return when the first sign of life came after a moment, from a runner later than an attempt."""
        for at, found in self.arrivals:
            if at > moment and (found.major in {0, TERMINAL_MAJOR} or found.major // STEPS_AN_ATTEMPT > attempt):
                return at
        return self.ended_at if self.ended_at > moment else None

    def _end(self, how: str) -> None:
        self.ended = how
        self.ended_at = time.monotonic()

    def _check_order(self, chunk: c.Chunk, found: EventId) -> None:
        """Check what a strict parser would stumble over."""
        match chunk:
            case c.TextStart(id=block) | c.ReasoningStart(id=block):
                self._expect(not self._block, found, "a block opens in an open one")
                self._block = block
            case c.TextDelta(id=block) | c.ReasoningDelta(id=block):
                self._expect(block == self._block, found, "a delta without its block")
            case c.TextEnd(id=block) | c.ReasoningEnd(id=block):
                self._expect(block == self._block, found, "an end without its block")
                self._block = ""
            case c.ToolInputStart(tool_call_id=call):
                self._calls.add(call)
            case c.ToolInputDelta(tool_call_id=call):
                self._expect(call in self._calls, found, "input for an unknown call")
            case c.ToolInputAvailable(tool_call_id=call):
                self._calls.add(call)
            case c.ToolOutputAvailable(tool_call_id=call) | c.ToolOutputError(tool_call_id=call):
                self._expect(call in self._calls, found, "output for an unknown call")
            case c.DataRewind():
                # What a log that was lost with its runner held open can't be closed: this voids it.
                self._block = ""
            case c.StartStep():
                self._expect(not self._folder.step_is_open, found, "a step begins in an open one")
            case c.FinishStep():
                self._expect(self._folder.step_is_open and not self._block, found, "a step ends that isn't open")

    def _expect(self, fine: bool, found: EventId, problem: str) -> None:
        if not fine:
            self.disorder.append(f"{found}: {problem}")
