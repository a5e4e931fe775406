"""Messages that wait for a running turn: stored, changed by their sender, and taken by a turn in the order they came.

Everything here is done with the session locked, so that pushing, changing, taking and ending follow one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Max

from apps.chat import announce, queries
from apps.chat.errors import PendingFull, TooManyQueued
from apps.chat.models import MOST_PENDING, Message, PendingMessage, Session
from apps.chat.turns.places import lock_session
from apps.runtime.errors import NotFound
from apps.runtime.redis import RedisError, sync_client

logger = structlog.get_logger(__name__)

MOST_QUEUED_A_MINUTE = 30
MINUTE_SECONDS = 60


def push(
    session: Session,
    *,
    content: str,
    file_ids: list[str],
    context: dict[str, Any] | None,
    client_message_id: UUID | None,
) -> int:
    """Store a message that waits; the session must be locked.

    Returns:
        How many wait now.

    Raises:
        PendingFull: When as many wait as may; nothing is stored then.
    """
    waiting = PendingMessage.objects.filter(session=session)
    count = waiting.count()
    if count >= MOST_PENDING:
        raise PendingFull
    PendingMessage.objects.create(
        session=session,
        position=next_position(session.pk),
        content=content,
        file_ids=file_ids,
        context=context,
        client_message_id=client_message_id,
    )
    tell(session)
    return count + 1


def next_position(session_id: UUID) -> int:
    """Return a place after all that wait."""
    last = PendingMessage.objects.filter(session=session_id).aggregate(last=Max("position"))["last"]
    return (last or 0) + 1


def waiting_rows(session_id: UUID, turn_id: UUID, *, step: int = 0, kind: str = "") -> list[Message]:
    """Return what waits as the user rows that it becomes in a turn, unsaved, in order."""
    return [
        Message(
            session_id=session_id,
            turn_id=turn_id,
            step=step,
            role=Message.Role.USER,
            kind=kind,
            content=waiting.content,
            file_ids=waiting.file_ids,
            context=waiting.context,
            client_message_id=waiting.client_message_id,
        )
        for waiting in PendingMessage.objects.filter(session=session_id).order_by("position")
    ]


def clear(session: Session) -> None:
    """Forget what waits, in the transaction that stores it as user rows; the session must be locked."""
    PendingMessage.objects.filter(session=session).delete()
    tell(session)


def tell(session: Session) -> None:
    """Tell the owner's tabs, after commit, that what waits has changed."""
    transaction.on_commit(partial(announce.announce, announce.PENDING, user_id=session.user_id, session_id=session.pk))


@transaction.atomic
def change(*, user: Any, session_id: UUID, item_id: UUID, content: str | None, position: int | None) -> None:
    """Give a waiting message another text or place.

    Args:
        user: Whose it is.
        session_id: In which session.
        item_id: Which message.
        content: Its new text, 1..64 000 characters; None leaves it.
        position: Its new place, 0 for the first; beyond the end means the last. None leaves it.

    Raises:
        NotFound: When the person has no such message waiting, as when the copilot has read it.
    """
    session = locked(user, session_id)
    items = list(PendingMessage.objects.filter(session=session).order_by("position"))
    item = next((item for item in items if item.pk == item_id), None)
    if item is None:
        raise NotFound
    if content is not None:
        item.content = content
        item.save(update_fields=["content"])
    if position is not None:
        items.remove(item)
        items.insert(position, item)
        renumber(session, items)
    tell(session)


def renumber(session: Session, items: Sequence[PendingMessage]) -> None:
    """Give waiting messages new places in this order: higher ones, as two can't have one place even for a moment."""
    first = next_position(session.pk)
    for place, item in enumerate(items):
        PendingMessage.objects.filter(pk=item.pk).update(position=first + place)


@transaction.atomic
def delete(*, user: Any, session_id: UUID, item_id: UUID) -> None:
    """Take a waiting message back.

    Raises:
        NotFound: When the person has no such message waiting.
    """
    session = locked(user, session_id)
    deleted, _ = PendingMessage.objects.filter(session=session, pk=item_id).delete()
    if not deleted:
        raise NotFound
    tell(session)


def locked(user: Any, session_id: UUID) -> Session:
    """Return a person's session, locked.

    Raises:
        NotFound: When the person has no such session.
    """
    session = queries.access_session(user, session_id)
    if not lock_session(session.pk):
        raise NotFound
    return session


class QueueAllowance:
    """Counts a person's queued messages in a minute, in Redis; where that can't be asked, everything is allowed."""

    def __init__(self, user_id: UUID) -> None:
        """Count for a person; nothing is counted yet."""
        self._key = f"{settings.REDIS_PREFIX}:chat:queued:{user_id}"
        self._counted = False

    def take(self) -> None:
        """Count one.

        Raises:
            TooManyQueued: When there were too many; this one isn't counted.
        """
        try:
            with sync_client().pipeline() as pipeline:
                pipeline.incr(self._key)
                pipeline.expire(self._key, MINUTE_SECONDS, nx=True)
                count, _ = pipeline.execute()
            self._counted = True
        except RedisError as error:
            logger.warning("queued_messages_not_counted", error=type(error).__name__)
            return
        if count > MOST_QUEUED_A_MINUTE:
            self.give_back()
            raise TooManyQueued

    def give_back(self) -> None:
        """Count the last one no longer: it was not queued."""
        if not self._counted:
            return
        self._counted = False
        try:
            sync_client().decr(self._key)
        except RedisError as error:
            logger.warning("queued_messages_not_counted", error=type(error).__name__)
