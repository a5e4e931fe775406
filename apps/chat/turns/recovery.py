"""How a new runner takes up what another left: in the log, in the rows, and before the eyes of readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.chat.stream import chunks as c
from apps.chat.stream.fold import Folder, Row
from apps.chat.stream.publisher import RELOAD
from apps.chat.turns.recorder import INTERRUPTED
from apps.chat.turns.state import TurnState
from apps.runtime.eventlog import BEGINNING, Entry, EventId

#: So many runners of one turn may die before it is given up.
MOST_LOST_LEASES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeUp:
    """What a new runner tells readers and keeps.

    Attributes:
        chunks: End what the dead runner left open and void what isn't stored.
        replay: Rows of the open step that readers must be shown again, as the log lacks some of them.
        unstored: Text and reasoning of the open step that only the log holds.
    """

    chunks: Sequence[c.Chunk] = ()
    replay: Sequence[Row] = ()
    unstored: Sequence[Row] = ()


def take_up(turn: TurnState, entries: Sequence[Entry]) -> TakeUp:
    """Compare the rows of a turn's open step with what the log tells of it.

    Args:
        turn: The turn as its rows tell it.
        entries: The log after `turn.resume_after`.
    """
    tail = Folder(turn.step)
    for entry in entries:
        if entry.kind != RELOAD:
            tail.add(c.decode(entry.data))
    going_on = {str(call.id) for call in turn.open_calls}
    closing = tail.closing_chunks(INTERRUPTED, going_on=going_on)
    shown = tail.end()
    stored = block_ids(turn.open_rows)
    is_whole = [row for row in shown if block_ids([row]) & stored] == turn.open_rows
    keep = stored if is_whole else set()
    void = [block for row in shown for block in sorted(block_ids([row]) - keep)]
    return TakeUp(
        chunks=[*closing, c.DataRewind(data=c.RewindData(step=turn.step, drop=void, keep=sorted(keep)))],
        replay=() if is_whole else turn.open_rows,
        unstored=[row for row in shown if row.content and row.id is not None and row.id not in stored],
    )


def block_ids(rows: Sequence[Row]) -> set[str]:
    """Return the ids by which readers know rows: those of blocks and of calls."""
    blocks = {row.id for row in rows if row.id is not None}
    calls = {call["id"] for row in rows for call in row.tool_calls}
    return blocks | calls | {row.tool_call_id for row in rows if row.tool_call_id is not None}


def resume_id(turn: TurnState) -> EventId:
    """Return the id of the last event of the last stored step."""
    return EventId.parse(turn.resume_after) if turn.resume_after else BEGINNING
