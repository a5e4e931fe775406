"""What a runner reads before it works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from apps.chat.models import Message, ToolCall, Turn
from apps.chat.queries import folded, tokens_of
from apps.chat.stream.fold import Row
from apps.chat.tools.permissions import Permissions
from apps.chat.turns.compaction import with_summary
from apps.chat.turns.places import FIRST_MESSAGE
from apps.engines.base import Usage


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
        open_rows: Rows of the next step, whose model call ended, but not all that follows it.
        open_calls: Calls of that step that wait for a result.
        text_since_tools: Whether visible text is stored after the last tool result.
        used: Tokens of the model calls that are booked on it; their cost is not told.
        lost_leases: How many runners of this turn died.
        was_stopped: Whether a person asked it to stop.
        permissions: What it may use.
        is_first: Whether the session holds nothing yet but the message that this turn answers.
    """

    id: UUID
    session_id: UUID
    user_id: UUID
    mode: str
    tier: str
    is_dry_run: bool
    step: int
    resume_after: str
    open_rows: list[Row]
    open_calls: list[StoredCall]
    text_since_tools: bool
    used: Usage
    lost_leases: int
    was_stopped: bool
    permissions: Permissions = field(default_factory=Permissions)
    is_first: bool = False


def load(turn_id: UUID, *, is_new: bool = False) -> TurnState | None:
    """Return a turn's state, or None when it is gone; one that `is_new` had no runner yet that left rows or calls."""
    turn = Turn.objects.select_related("session").filter(pk=turn_id).first()
    if turn is None:
        return None
    rows: Sequence[Message] = ()
    calls: Sequence[ToolCall] = ()
    if not is_new:
        rows = list(Message.objects.filter(turn=turn).of_the_answer().order_by("sequence"))
        calls = list(ToolCall.objects.filter(turn=turn, step=turn.step + 1).exclude(state=ToolCall.State.DONE))
    return TurnState(
        id=turn.pk,
        session_id=turn.session_id,
        user_id=turn.session.user_id,
        mode=turn.mode,
        tier=turn.tier,
        is_dry_run=turn.session.is_dry_run,
        step=turn.step,
        resume_after=turn.resume_after,
        open_rows=[folded(row) for row in rows if row.step > turn.step],
        open_calls=[
            StoredCall(call.pk, call.name, call.arguments, call.state == ToolCall.State.STARTED) for call in calls
        ],
        text_since_tools=ends_with_text(rows),
        used=tokens_of(turn),
        lost_leases=turn.lost_leases,
        was_stopped=turn.cancel_requested_at is not None,
        permissions=Permissions.of(turn.permissions),
        is_first=turn.session.next_sequence == FIRST_MESSAGE + 1,
    )


def ends_with_text(rows: Sequence[Message]) -> bool:
    """Return whether the last row that is either text or a tool's result is text."""
    telling = [row for row in rows if row.role == Message.Role.TOOL or (row.role == "assistant" and row.content)]
    return bool(telling) and telling[-1].role == Message.Role.ASSISTANT


def conversation(session_id: UUID) -> list[Message]:
    """Return what the history is made of, oldest first, with a summary instead of the rows that it covers."""
    return with_summary(list(Message.objects.filter(session=session_id).select_related("turn").order_by("sequence")))
