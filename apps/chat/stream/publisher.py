"""A runner's voice: gives chunks their ids, joins deltas that come close together, and hands them to the event log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from apps.chat.stream import chunks as c
from apps.runtime.eventlog import Entry, EventId, EventLogWriter

#: Steps of one attempt have their own majors; a turn has far fewer steps than this.
STEPS_AN_ATTEMPT = 1000
#: The major of what ends a turn: nothing can come after it, whatever attempt wrote it.
TERMINAL_MAJOR = 999_999_999

#: The kind of an entry that is no chunk: whoever hasn't read up to the id it holds must read the rows.
RELOAD = "reload"

Planned = Sequence[tuple[EventId, c.Chunk]]


def log_key(turn_id: UUID | str) -> str:
    """Return the Redis key of a turn's log."""
    return f"chat:stream:{turn_id}"


class Publisher:
    """Publishes the chunks of one attempt at one turn, step by step."""

    def __init__(self, writer: EventLogWriter, *, attempt: int, window_seconds: float) -> None:
        """Make a publisher; `begin` must name a step before the first chunk.

        Args:
            writer: Where entries go; stays its owner's.
            attempt: The attempt that speaks.
            window_seconds: Deltas of one block within this time become one.
        """
        self._writer = writer
        self._attempt = attempt
        self._window_seconds = window_seconds
        self._major = 0
        self._number = 0
        self._left_out = False
        self._held: c.Delta | None = None
        self._block: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: What was published since `begin`, for whoever folds it into rows.
        self.published: list[c.Chunk] = []

    @property
    def last_id(self) -> EventId:
        """The id of the newest chunk."""
        return EventId(self._major, self._number)

    @property
    def first_id(self) -> EventId:
        """The id that the present step's first chunk has."""
        return EventId(self._major, 1)

    def begin(self, step: int) -> None:
        """Publish as the given step from now on; what the last one published is forgotten here."""
        self._begin_major(self._attempt * STEPS_AN_ATTEMPT + step)

    def begin_end(self) -> None:
        """Publish the terminal chunks from now on."""
        self._begin_major(TERMINAL_MAJOR)

    def _begin_major(self, major: int) -> None:
        self.flush()
        self.published = []
        if major == self._major:
            return
        self._major = major
        # Where the last step's end is missing from the log, the next one begins with a hole, so that readers see it.
        self._number = 1 if self._left_out else 0
        self._left_out = False

    def emit(self, chunk: c.Chunk) -> None:
        """Publish a chunk: a block's first delta and all that is no delta at once, further deltas within the window."""
        if not isinstance(chunk, c.TextDelta | c.ReasoningDelta | c.ToolInputDelta):
            self.flush()
            self._block = None
            self._append(chunk)
            return
        block = chunk.tool_call_id if isinstance(chunk, c.ToolInputDelta) else chunk.id
        if block != self._block:
            self.flush()
            self._block = block
            self._append(chunk)
        elif self._held is None:
            self._held = chunk
            self._timer = asyncio.get_running_loop().call_later(self._window_seconds, self.flush)
        else:
            self._held = c.merged(self._held, chunk)

    def demand_reload(self, after: EventId) -> None:
        """Tell readers who don't have everything up to an id that the log lacks some of it, so that they read rows."""
        self._number += 1
        self._writer.append(Entry(self.last_id, RELOAD, str(after).encode()))

    def flush(self) -> None:
        """Publish a delta that is held back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held is not None:
            held, self._held = self._held, None
            self._append(held)

    def plan(self, chunks: Sequence[c.Chunk]) -> Planned:
        """Give chunks the ids that they will have when they are sent next, after the rows that they speak of."""
        self.flush()
        return [(EventId(self._major, self._number + place), chunk) for place, chunk in enumerate(chunks, start=1)]

    def send(self, planned: Planned) -> None:
        """Publish what was planned."""
        for _, chunk in planned:
            self._append(chunk)

    def _append(self, chunk: c.Chunk) -> None:
        self._number += 1
        self.published.append(chunk)
        entry = Entry(self.last_id, c.kind_of(chunk), c.encode(chunk))
        if not self._writer.append(entry):
            self._left_out = True
