"""Forking: a new session that begins with a copy of another one's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from apps.chat import announce
from apps.chat.errors import NoSuchPlace
from apps.chat.models import Message, Session, Turn
from apps.chat.turns.places import lock_session
from apps.runtime.errors import NotFound

#: Columns of a row that its copy has too; the rest is new, or belongs to the sender of the original.
COPIED = (
    "step",
    "role",
    "kind",
    "content",
    "is_error",
    "file_ids",
    "context",
    "model_prefix",
    "duration_ms",
    "created_at",
)


@transaction.atomic
def fork(session: Session, from_sequence: int) -> Session:
    """Copy a session up to and including one of its shown messages.

    Args:
        session: The conversation; the caller has checked whose it is.
        from_sequence: The place of the last message to copy.

    Returns:
        The new session. Its turns are over and cost nothing; calls that have no result in the copy are left out.

    Raises:
        NoSuchPlace: When no message is shown there.
        NotFound: When the session went meanwhile.
    """
    if not lock_session(session.pk):  # nobody writes into it while it is read
        raise NotFound
    past = Message.objects.filter(session=session, sequence__lte=from_sequence).of_finished_steps()
    rows = list(past.select_related("turn").order_by("sequence"))
    if not rows or rows[-1].sequence != from_sequence or rows[-1].is_summary:
        raise NoSuchPlace
    copy = Session.objects.create(
        user_id=session.user_id,
        title=session.title,
        is_dry_run=session.is_dry_run,
        builder_graph_id=session.builder_graph_id,
    )
    turns = {row.turn_id: row.turn for row in rows if row.turn is not None}
    new_turns = {turn_id: turn_copy(turn, copy) for turn_id, turn in turns.items()}
    messages = copied_rows(rows, copy, new_turns)
    Turn.objects.bulk_create(new_turns.values())
    Message.objects.bulk_create(messages)
    Session.objects.filter(pk=copy.pk).update(next_sequence=len(messages) + 1)
    told = partial(announce.announce, announce.CHANGED, user_id=copy.user_id, session_id=copy.pk)
    transaction.on_commit(told)
    copy.refresh_from_db()
    return copy


def turn_copy(turn: Turn, session: Session) -> Turn:
    """Return a turn that is over for a copied session; what the original used isn't used twice."""
    return Turn(
        id=uuid4(),
        session=session,
        status=turn.status if turn.is_over else Turn.Status.COMPLETED,
        mode=turn.mode,
        tier=turn.tier,
        origin=turn.origin,
        permissions=turn.permissions,
        step=turn.step,
        error_code=turn.error_code,
        error=turn.error,
        created_at=turn.created_at,
        started_at=turn.started_at,
        ended_at=turn.ended_at,
    )


def copied_rows(rows: Sequence[Message], session: Session, turns: Mapping[Any, Turn]) -> list[Message]:
    """Return copies of rows with ids, calls and places of their own.

    Args:
        rows: The rows in order.
        session: Where the copies belong.
        turns: The copies of the rows' turns by the originals' ids.
    """
    answered = {str(row.tool_call_id) for row in rows if row.tool_call_id is not None}
    new_calls = {call: str(uuid4()) for call in answered}
    places: dict[int, int] = {}
    copies: list[Message] = []
    for row in rows:
        calls = [call for call in row.tool_calls or () if call["id"] in answered]
        if row.tool_calls and not calls and not row.content:
            continue  # nothing but calls whose results come after the fork
        places[row.sequence] = len(copies) + 1
        copies.append(
            Message(
                session=session,
                turn=turns.get(row.turn_id),
                sequence=places[row.sequence],
                tool_calls=renamed(calls, new_calls) or None,
                tool_call_id=row.tool_call_id and UUID(new_calls[str(row.tool_call_id)]),
                provider_blocks=None if calls != (row.tool_calls or []) else renamed(row.provider_blocks, new_calls),
                metadata=moved(row.metadata, places) if row.is_summary else row.metadata,
                **{name: getattr(row, name) for name in COPIED},
            )
        )
    return copies


def moved(facts: Any, places: Mapping[int, int]) -> dict[str, Any]:
    """Return what a summary covers in terms of the copies' places; see `turns.compaction`."""
    through = max(new for old, new in places.items() if old <= facts["through_sequence"])
    return {"through_sequence": through, "kept": [places[old] for old in facts["kept"] if old in places]}


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return JSON in which texts that are a key of `names` are replaced, and nothing else is."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {key: renamed(item, names) for key, item in value.items()}
    return [renamed(item, names) for item in value] if isinstance(value, list) else value
