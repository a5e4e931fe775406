"""What a runner writes. Every write is one fenced transaction, safe to repeat when its answer was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.chat.models import Message, Session, ToolCall, Turn
from apps.chat.stream.fold import FOLLOW_UP, Row, follow_up_row
from apps.chat.turns import pending
from apps.chat.turns.places import append_messages, lock_session
from apps.chat.turns.start import auto_continue
from apps.chat.usage.costs import ModelCall, book
from apps.engines.base import Usage
from apps.runtime.leases import Claim, Replaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One transaction of a runner.

    Attributes:
        rows: Rows to append; the calls in them are stored as planned. A tool row ends its call, and is left out when
            the call has a result already.
        step: The step that the rows belong to, which this write finishes when `resume_after` is given.
        started: A call that is about to run.
        resume_after: The id of the last event of the step that this write finishes.
        provider_blocks: The provider's own blocks of the step, kept with its first assistant row.
        model_calls: Model calls that ended, to be booked.
        ended: The terminal status, in the last write of all.
        error: Code and sentence of a failure.
        handed_over: True when the run goes back into the queue.
        drained_until: Messages that wait enter the turn with this write, which finishes a step; where there are some,
            this is the id of the last event, instead of `resume_after`.
    """

    rows: Sequence[Row] = ()
    step: int = 0
    started: UUID | None = None
    resume_after: str = ""
    provider_blocks: Sequence[dict[str, Any]] = ()
    model_calls: Sequence[ModelCall] = ()
    ended: str = ""
    error: tuple[str, str] = ("", "")
    handed_over: bool = False
    drained_until: str = ""


@transaction.atomic
def commit(claim: Claim, number: int, session_id: UUID, write: Write) -> list[Row]:
    """Do one write of a runner, once.

    Returns:
        The messages that waited and entered the turn.

    Raises:
        Replaced: When the runner lost its lease, the turn has ended, or the session is gone; nothing is written then.
    """
    if not lock_session(session_id):
        raise Replaced
    waited = (
        pending.waiting_rows(session_id, claim.run_id, step=write.step, kind=FOLLOW_UP) if write.drained_until else []
    )
    if waited:
        write = replace(write, resume_after=write.drained_until)
    if not Turn.objects.fenced_write(claim, number, **turn_changes(write)):
        return drained_before(claim.run_id, write) if write.drained_until else []
    book_calls(session_id, claim.run_id, write.model_calls)
    calls = [call for row in write.rows for call in row.tool_calls]
    ToolCall.objects.bulk_create(
        ToolCall(
            id=call["id"],
            turn_id=claim.run_id,
            step=write.step,
            position=position,
            name=call["name"][:128],
            arguments=call["arguments"],
        )
        for position, call in enumerate(calls)
    )
    kept = [row for row in write.rows if row.tool_call_id is None or end_call(row.tool_call_id)]
    messages = [message_of(row, session_id, claim.run_id) for row in kept]
    answer = next((message for message in messages if message.role == Message.Role.ASSISTANT), None)
    if answer is not None and write.provider_blocks:
        answer.provider_blocks = list(write.provider_blocks)
    append_messages(session_id, [*messages, *waited])
    if write.started is not None:
        begun = ToolCall.objects.filter(pk=write.started).exclude(state=ToolCall.State.DONE)
        begun.update(state=ToolCall.State.STARTED, started_at=Now())
    if write.ended:
        used = Turn.objects.values("prompt_tokens", "completion_tokens").get(pk=claim.run_id)
        Session.objects.filter(pk=session_id).update(
            prompt_tokens=F("prompt_tokens") + used["prompt_tokens"],
            completion_tokens=F("completion_tokens") + used["completion_tokens"],
        )
    if waited:
        pending.clear(Session.objects.get(pk=session_id))
    if write.ended == Turn.Status.COMPLETED:
        auto_continue(session_id, claim.run_id)
    return [follow_up_row(write.step, str(row.pk), row.content) for row in waited]


def book_calls(session_id: UUID, turn_id: UUID, calls: Sequence[ModelCall]) -> None:
    """Book model calls on the session's owner and the turn."""
    if not calls:
        return
    user_id = Session.objects.values_list("user_id", flat=True).get(pk=session_id)
    cost = sum(book(user_id=user_id, session_id=session_id, turn_id=turn_id, call=call) for call in calls)
    Turn.objects.filter(pk=turn_id).update(cost_microdollars=F("cost_microdollars") + cost)


def drained_before(turn_id: UUID, write: Write) -> list[Row]:
    """Return what a write that is repeated had let into the turn."""
    rows = Message.objects.filter(turn=turn_id, step=write.step, role=Message.Role.USER, kind=FOLLOW_UP)
    return [follow_up_row(write.step, str(row.pk), row.content) for row in rows.order_by("sequence")]


def turn_changes(write: Write) -> dict[str, Any]:
    """Return the columns of the turn that a write sets."""
    changes: dict[str, Any] = {}
    if write.resume_after:
        changes |= {"step": write.step, "resume_after": write.resume_after}
    if write.model_calls:
        used = sum((call.usage for call in write.model_calls), start=Usage())
        changes |= {
            "prompt_tokens": F("prompt_tokens") + used.prompt_tokens,
            "completion_tokens": F("completion_tokens") + used.completion_tokens,
            "cache_read_tokens": F("cache_read_tokens") + used.cache_read_tokens,
            "cache_creation_tokens": F("cache_creation_tokens") + used.cache_write_tokens,
        }
    if write.ended:
        code, sentence = write.error
        changes |= {"status": write.ended, "ended_at": Now(), "lease_expires_at": None}
        changes |= {"error_code": code, "error": sentence}
    if write.handed_over:
        changes |= {"status": Turn.QUEUED, "queued_at": Now(), "lease_expires_at": None, "runner": ""}
    return changes


def end_call(tool_call_id: str) -> bool:
    """Mark a call as done; False when it was, and a further result must be dropped."""
    calls = ToolCall.objects.filter(pk=tool_call_id).exclude(state=ToolCall.State.DONE)
    return bool(calls.update(state=ToolCall.State.DONE, done_at=Now()))


def message_of(row: Row, session_id: UUID, turn_id: UUID) -> Message:
    """Return the message that a folded row is stored as."""
    message = Message(
        session_id=session_id,
        turn_id=turn_id,
        step=row.step,
        role=row.role,
        kind=row.kind,
        content=row.content,
        tool_calls=row.tool_calls or None,
        tool_call_id=row.tool_call_id,
        is_error=row.is_error,
        metadata=row.metadata,
        duration_ms=row.duration_ms,
    )
    if row.id:
        message.id = UUID(row.id)
    return message
