"""How a new runner takes up what another left: in the log, in the rows, and before the eyes of readers."""

from __future__ import annotations

from apps.chat.stream import chunks as c
from apps.chat.stream.fold import Folder, Row
from apps.chat.turns.recorder import INTERRUPTED
from apps.chat.turns.state import TurnState
from apps.runtime.eventlog import BEGINNING, Entry, EventId

#: So many runners of one turn may die before it is given up.
MOST_LOST_LEASES = 3


def tail_folder(turn: TurnState, entries: list[Entry]) -> Folder:
    """Return the log's unfinished part, folded; `entries` are those after `turn.resume_after`."""
    folder = Folder(turn.step)
    for entry in entries:
        folder.add(c.decode(entry.data))
    return folder


def rewind_chunks(turn: TurnState, tail: Folder) -> list[c.Chunk]:
    """Return what brings readers of the dead runner back to what is stored."""
    kept = set(turn.stored_blocks)
    shown = [row.id for row in tail.rows if row.id] + [call["id"] for row in tail.rows for call in row.tool_calls]
    void = [block for block in shown if block not in kept]
    rewind = c.RewindData(step=turn.step, drop=void, keep=turn.stored_blocks)
    return [*tail.closing_chunks(INTERRUPTED), c.DataRewind(data=rewind)]


def unstored_rows(turn: TurnState, tail: Folder) -> list[Row]:
    """Return text and reasoning of the open step that only the log holds, for a turn that ends here and now."""
    kept = set(turn.stored_blocks)
    return [row for row in tail.end() if row.role in {"assistant", "reasoning"} and row.content and row.id not in kept]


def resume_id(turn: TurnState) -> EventId:
    """Return the id of the last event of the last stored step."""
    return EventId.parse(turn.resume_after) if turn.resume_after else BEGINNING
