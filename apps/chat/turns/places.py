"""A session's places: who writes locks it first, and rows get the next free ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Now

from apps.chat.models import Message, Session

FIRST_MESSAGE = 1  # the place of a session's first message


def lock_session(session_id: UUID) -> bool:
    """Make everything that starts, queues, drains or ends something in a session follow one another.

    Returns:
        False when the session is gone.
    """
    return bool(Session.objects.filter(pk=session_id).update(lock_version=F("lock_version") + 1))


def append_messages(session_id: UUID, messages: Sequence[Message], *, first: int | None = None, **changes: Any) -> None:
    """Store messages at the session's next places; the session must be locked.

    Args:
        session_id: The session.
        messages: What to store, in order.
        first: The session's next place, for a caller who has read it since it locked the session.
        changes: Columns of the session to set with it.
    """
    if not messages:
        return
    if first is None:
        first = Session.objects.values_list("next_sequence", flat=True).get(pk=session_id)
    for place, message in enumerate(messages):
        message.sequence = first + place
    Message.objects.bulk_create(messages)
    Session.objects.filter(pk=session_id).update(next_sequence=first + len(messages), updated_at=Now(), **changes)
