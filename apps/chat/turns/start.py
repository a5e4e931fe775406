"""The one primitive that starts every turn, whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.utils import timezone

from apps.accounts.queries import find_user
from apps.chat import announce
from apps.chat.errors import SpendLimitReached
from apps.chat.models import Message, PendingMessage, Session, Turn
from apps.chat.prompts.context import first_prefix
from apps.chat.turns import pending
from apps.chat.turns.places import FIRST_MESSAGE, append_messages, lock_session
from apps.chat.usage import limits
from apps.runtime.errors import NotFound

TITLE_LENGTH = 60  # characters of the first message that a session is called by


@dataclass(frozen=True, slots=True)
class Started:
    """The turn that answers a message; `is_new` is False when the message had been taken before."""

    turn_id: UUID
    is_new: bool


@dataclass(frozen=True, slots=True)
class Queued:
    """A message waits for the turn in flight, since now if `is_new`; `buffer_length` messages wait now."""

    buffer_length: int
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
    permissions: dict[str, Any] | None = None,
) -> Started | Queued:
    """Store a user's message and the turn that answers it, and wake a worker after commit.

    While a turn is in flight the message waits for it instead. What still waits when a turn starts comes first in it.

    Args:
        session: The conversation; the caller has checked whose it is.
        message: What the person wrote, trimmed, 1..64 000 characters.
        file_ids: Files of the person's workspace, at most 20.
        context: The page it was sent from: `url`, `content`.
        client_message_id: The sender's own id; the same one never makes a second message or turn.
        mode: Which engine answers.
        tier: Which of its models.
        origin: Who asks.
        permissions: What the turn may use, where that is less than everything.

    Raises:
        PendingFull: When too many messages wait already; nothing is stored then.
        SpendLimitReached: When the session's owner has used up an allowance; nothing is stored then.
        NotFound: When the session went meanwhile.
    """
    if not lock_session(session.pk):
        raise NotFound
    new_id = uuid4()
    waited = pending.waiting_rows(session.pk, new_id)
    if (known := taken_before(session, client_message_id, waited)) is not None:
        return known
    if Turn.objects.in_flight().filter(session=session).exists():
        count = pending.push(
            session,
            content=message,
            file_ids=file_ids or [],
            context=context,
            client_message_id=client_message_id,
        )
        return Queued(count, is_new=True)
    limits.check_spend(session.user_id)
    # Read under the lock, so that neither can change until both are written.
    place, title = Session.objects.values_list("next_sequence", "title").get(pk=session.pk)
    turn = Turn.objects.create(id=new_id, session=session, mode=mode, tier=tier, origin=origin, permissions=permissions)
    row = Message(
        session=session,
        turn=turn,
        role=Message.Role.USER,
        content=message,
        file_ids=file_ids or [],
        context=context,
        client_message_id=client_message_id,
        model_prefix=model_prefix(session.user_id) if place == FIRST_MESSAGE else "",
    )
    if waited:
        pending.clear(session)
    named: dict[str, Any] = {} if title else {"title": first_title(message)}
    append_messages(session.pk, [*waited, row], first=place, **named)
    tell_start(session, turn.pk)
    return Started(turn.pk, is_new=True)


def taken_before(
    session: Session, client_message_id: UUID | None, waited: Sequence[Message | PendingMessage] | None = None
) -> Started | Queued | None:
    """Return what became of a message that its sender sent before, or None when it is new.

    Args:
        session: Where it was sent.
        client_message_id: The sender's own id of it, if it has one.
        waited: The messages that wait there, where the caller has read them.
    """
    if client_message_id is None:
        return None
    known = Message.objects.filter(session=session, client_message_id=client_message_id, turn__isnull=False)
    if (turn_id := known.values_list("turn_id", flat=True).first()) is not None:
        return Started(turn_id, is_new=False)
    if waited is None:
        waited = list(PendingMessage.objects.filter(session=session))
    if any(row.client_message_id == client_message_id for row in waited):
        return Queued(len(waited), is_new=False)
    return None


def model_prefix(user_id: UUID) -> str:
    """Return what models read before a session's first message, of the person who writes it."""
    person = find_user(user_id=user_id)
    return first_prefix(name=person.name, about=person.about, time_zone=person.time_zone, now=timezone.now())


def auto_continue(session_id: UUID, ended: UUID) -> None:
    """Start the turn that answers what still waits when a turn completed; the session must be locked.

    Over the spend limit nothing starts: the messages keep waiting for the next one that a person sends.
    """
    turn_id = uuid4()
    if not (waited := pending.waiting_rows(session_id, turn_id)):
        return
    session = Session.objects.get(pk=session_id)
    last = Turn.objects.get(pk=ended)
    turn = Turn(
        id=turn_id,
        session=session,
        mode=last.mode,
        tier=last.tier,
        permissions=last.permissions,
        origin=Turn.Origin.AUTO_CONTINUE,
    )
    try:
        limits.check_spend(session.user_id)
    except SpendLimitReached:
        return
    turn.save(force_insert=True)
    append_messages(session_id, waited)
    pending.clear(session)
    tell_start(session, turn.pk)


def tell_start(session: Session, turn_id: UUID) -> None:
    """Wake a worker and tell the web processes, after commit, that a turn waits for its runner."""
    told = partial(announce.announce, announce.STARTED, user_id=session.user_id, session_id=session.pk)
    transaction.on_commit(partial(announce.wake_worker, turn_id))
    transaction.on_commit(partial(told, turn_id=turn_id))


def first_title(message: str) -> str:
    """Return what a session is called after its first message."""
    line = " ".join(message.split())
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1].rstrip()}…"
