"""What a runner reads before it works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from apps.chat.models import Message, ToolCall, Turn


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A call that waits for its result; `started` says that an earlier runner may have run it."""

    id: UUID
    name: str
    arguments: str
    started: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnState:
    """A turn as its rows tell it when a runner takes it.

    Attributes:
        step: The last step that is stored whole.
        resume_after: The id of its last event; empty before the first.
        open_calls: Calls of the next step that are stored and wait for a result.
        stored_blocks: Row and call ids of that next step, for readers who saw them.
        text_since_tools: Whether visible text is stored after the last tool result.
        lost_leases: How many runners of this turn died.
        was_stopped: Whether a person asked it to stop.
    """

    id: UUID
    session_id: UUID
    user_id: UUID
    mode: str
    tier: str
    is_dry_run: bool
    step: int
    resume_after: str
    open_calls: list[StoredCall]
    stored_blocks: list[str]
    text_since_tools: bool
    lost_leases: int
    was_stopped: bool


def load(turn_id: UUID) -> TurnState | None:
    """Return a turn's state, or None when it is gone."""
    turn = Turn.objects.select_related("session").filter(pk=turn_id).first()
    if turn is None:
        return None
    rows = list(Message.objects.filter(turn=turn).exclude(role=Message.Role.USER).order_by("sequence"))
    calls = list(ToolCall.objects.filter(turn=turn).order_by("step", "position"))
    open_step = turn.step + 1
    blocks = [str(row.pk) for row in rows if row.step == open_step and row.role != Message.Role.TOOL]
    return TurnState(
        id=turn.pk,
        session_id=turn.session_id,
        user_id=turn.session.user_id,
        mode=turn.mode,
        tier=turn.tier,
        is_dry_run=turn.session.is_dry_run,
        step=turn.step,
        resume_after=turn.resume_after,
        open_calls=[
            StoredCall(call.pk, call.name, call.arguments, call.state == ToolCall.State.STARTED)
            for call in calls
            if call.step == open_step and call.state != ToolCall.State.DONE
        ],
        stored_blocks=[*blocks, *(str(call.pk) for call in calls if call.step == open_step)],
        text_since_tools=ends_with_text(rows),
        lost_leases=turn.lost_leases,
        was_stopped=turn.cancel_requested_at is not None,
    )


def ends_with_text(rows: Sequence[Message]) -> bool:
    """Return whether the last row that is either text or a tool's result is text."""
    telling = [row for row in rows if row.role == Message.Role.TOOL or (row.role == "assistant" and row.content)]
    return bool(telling) and telling[-1].role == Message.Role.ASSISTANT


def conversation(session_id: UUID) -> list[Message]:
    """Return what the history is made of, oldest first."""
    return list(Message.objects.filter(session=session_id).select_related("turn").order_by("sequence"))
