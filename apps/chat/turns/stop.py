"""Stopping a turn: a request in its row that the runner, or else the sweep, carries out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Coalesce, Now

from apps.chat import announce
from apps.chat.models import Session, Turn
from apps.chat.stream import chunks as c
from apps.chat.stream.fold import stopped_row
from apps.chat.stream.publisher import TERMINAL_MAJOR, log_key
from apps.chat.turns.places import append_messages, lock_session
from apps.chat.turns.rows import message_of
from apps.runtime.errors import NotFound
from apps.runtime.eventlog import Entry, EventId, append_now
from apps.runtime.redis import RedisError, sync_client

logger = structlog.get_logger(__name__)

NO_ACTIVE_TURN = "no_active_turn"


@dataclass(frozen=True, slots=True)
class StopAnswer:
    """What became of a wish to stop; `reason` says why there was nothing to do."""

    cancelled: bool = True
    reason: str = ""


@transaction.atomic
def cancel_turn(*, session: Session) -> StopAnswer:
    """Stop the session's turn: one that never ran ends at once, a running one within a second.

    Raises:
        NotFound: When the session went meanwhile.
    """
    if not lock_session(session.pk):
        raise NotFound
    turn = Turn.objects.in_flight().filter(session=session).first()
    if turn is None:
        return StopAnswer(reason=NO_ACTIVE_TURN)
    waiting = Turn.objects.filter(pk=turn.pk, status=Turn.QUEUED, attempt=0)
    if waiting.update(status=Turn.Status.CANCELLED, cancel_requested_at=Now(), ended_at=Now()):
        append_messages(session.pk, [message_of(stopped_row(), session.pk, turn.pk)])
        transaction.on_commit(partial(end_log, turn.pk))
        transaction.on_commit(partial(tell_end, session, turn.pk))
        return StopAnswer()
    request_stop(turn.pk)
    return StopAnswer()


def request_stop(turn_id: UUID) -> None:
    """Write down that a turn is to be stopped, and wake its runner after commit."""
    asked = Turn.objects.in_flight().filter(pk=turn_id)
    asked.update(cancel_requested_at=Coalesce("cancel_requested_at", Now()))
    transaction.on_commit(partial(announce.wake_stop, turn_id))


def tell_end(session: Session, turn_id: UUID) -> None:
    """Tell the web processes that a turn has ended."""
    announce.announce(announce.ENDED, user_id=session.user_id, session_id=session.pk, turn_id=turn_id)


def end_log(turn_id: UUID) -> None:
    """Write the end of a turn that has no runner, or none that may still write, for those who follow it."""
    chunks = [
        (EventId(1, 1), c.Start(message_id=str(turn_id))),  # refused where a runner has begun the log
        (EventId(TERMINAL_MAJOR, 1), c.Abort()),
        (EventId(TERMINAL_MAJOR, 2), c.Finish()),
    ]
    entries = [Entry(event_id, c.kind_of(chunk), c.encode(chunk)) for event_id, chunk in chunks]
    try:
        append_now(sync_client(), log_key(turn_id), entries, ttl_seconds=settings.STREAM_TTL_SECONDS)
    except RedisError as error:
        logger.warning("log_not_ended", turn_id=str(turn_id), error=type(error).__name__)
