"""The one primitive that starts every turn, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from apps.chat import announce
from apps.chat.errors import TurnInFlight
from apps.chat.models import Message, Session, Turn
from apps.chat.turns.rows import append_messages, lock_session
from apps.runtime.errors import NotFound

TITLE_LENGTH = 60  # characters of the first message that a session is called by


@dataclass(frozen=True, slots=True)
class Started:
    """The turn that answers a message; `is_new` is False when the message had been taken before."""

    turn_id: UUID
    is_new: bool


@transaction.atomic
def start_turn(
    *,
    session: Session,
    message: str,
    file_ids: list[str] | None = None,
    context: dict[str, Any] | None = None,
    client_message_id: UUID | None = None,
    mode: str = Turn.Mode.FAST,
    tier: str = Turn.Tier.STANDARD,
    origin: str = Turn.Origin.USER,
) -> Started:
    """Store a user's message and the turn that answers it, and wake a worker after commit.

    Args:
        session: The conversation; the caller has checked whose it is.
        message: What the person wrote, trimmed, 1..64 000 characters.
        file_ids: Files of the person's workspace, at most 20.
        context: The page it was sent from: `url`, `content`.
        client_message_id: The sender's own id; the same one never makes a second message or turn.
        mode: Which engine answers.
        tier: Which of its models.
        origin: Who asks.

    Raises:
        TurnInFlight: When a turn is queued or running; nothing is stored then.
        NotFound: When the session went meanwhile.
    """
    if not lock_session(session.pk):
        raise NotFound
    if client_message_id is not None:
        known = Message.objects.filter(session=session, client_message_id=client_message_id).first()
        if known is not None and known.turn_id is not None:
            return Started(known.turn_id, is_new=False)
    if Turn.objects.in_flight().filter(session=session).exists():
        raise TurnInFlight
    turn = Turn.objects.create(id=uuid4(), session=session, mode=mode, tier=tier, origin=origin)
    row = Message(
        session=session,
        turn=turn,
        role=Message.Role.USER,
        content=message,
        file_ids=file_ids or [],
        context=context,
        client_message_id=client_message_id,
    )
    append_messages(session.pk, [row])
    Session.objects.filter(pk=session.pk, title="").update(title=first_title(message))
    told = partial(announce.announce, announce.STARTED, user_id=session.user_id, session_id=session.pk)
    transaction.on_commit(partial(announce.wake_worker, turn.pk))
    transaction.on_commit(partial(told, turn_id=turn.pk))
    return Started(turn.pk, is_new=True)


def first_title(message: str) -> str:
    """Return what a session is called after its first message."""
    line = " ".join(message.split())
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1].rstrip()}…"
