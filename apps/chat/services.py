"""Writes and decisions about sessions; starting and stopping turns is in `turns`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.chat import announce, queries
from apps.chat.errors import TooManyQueued
from apps.chat.fork import fork
from apps.chat.models import Session, Turn
from apps.chat.turns import pending
from apps.chat.turns.places import lock_session
from apps.chat.turns.start import Queued, Started, start_turn, taken_before
from apps.chat.turns.stop import StopAnswer, cancel_turn, end_log, request_stop
from apps.library import services as library
from apps.runtime.errors import NotFound
from apps.workspace import queries as workspace


def create_session(*, user: Any, dry_run: bool = False) -> Session:
    """Make a session.

    Args:
        user: Whose it is.
        dry_run: True where tools may change nothing.
    """
    session = Session.objects.create(user=user, is_dry_run=dry_run)
    session.refresh_from_db()
    return session


@transaction.atomic
def builder_session(*, user: Any, graph_id: str) -> tuple[Session, bool]:
    """Return the one session that belongs to a graph of a person's library, and whether it was made just now.

    Args:
        user: Whose library.
        graph_id: The id that the graph's versions share.

    Raises:
        NotFound: When the graph isn't in the person's library.
    """
    try:
        shared_id = UUID(graph_id)
    except ValueError:
        raise NotFound from None
    # Whoever else asks for it waits here, and then finds what is made below.
    agent = library.lock_agent(user_id=user.pk, touches=False, graph_id=shared_id)
    if (session_id := library.builder_session_id(agent)) is not None:
        named = Session.objects.of(user).with_state().filter(pk=session_id, builder_graph_id=str(shared_id))
        if (found := named.first()) is not None:
            return found, False
    made = Session.objects.create(user=user, builder_graph_id=str(shared_id))
    library.remember_builder_session(agent, made.pk)
    made.refresh_from_db()
    return made, True


def rename_session(*, user: Any, session_id: UUID, title: str) -> None:
    """Give a session a title.

    Raises:
        NotFound: When the person has no such session.
    """
    session = queries.access_session(user, session_id)
    with transaction.atomic():
        Session.objects.filter(pk=session.pk).update(title=title)
        transaction.on_commit(partial(announce_change, session))


def fork_session(*, user: Any, session_id: UUID, from_sequence: int) -> Session:
    """Make a session that holds a copy of another one's history, up to and including a message.

    Raises:
        NotFound: When the person has no such session.
        NoSuchPlace: When no message is shown at that place.
    """
    return fork(queries.access_session(user, session_id), from_sequence)


def delete_session(*, user: Any, session_id: UUID) -> None:
    """Delete a session with all that belongs to it; a running turn is stopped first.

    Raises:
        NotFound: When the person has no such session.
    """
    session = queries.access_session(user, session_id)
    with transaction.atomic():
        if not lock_session(session.pk):
            raise NotFound
        for turn_id in Turn.objects.in_flight().filter(session=session).values_list("pk", flat=True):
            request_stop(turn_id)
            transaction.on_commit(partial(end_log, turn_id))
        session_pk = session.pk
        session.delete()
        session.pk = session_pk
        transaction.on_commit(partial(announce_change, session))
        transaction.on_commit(partial(announce.tell_gone, session_pk))


def announce_change(session: Session) -> None:
    """Tell the sidebars of the session's owner that it changed or went."""
    announce.announce(announce.CHANGED, user_id=session.user_id, session_id=session.pk)


def send_message(*, user: Any, session_id: UUID, data: dict[str, Any]) -> Started | Queued:
    """Start the turn that answers a message, or queue it for the one in flight.

    Args:
        user: Who sends it.
        session_id: To which session.
        data: The validated fields of `SendMessageSerializer`.

    Raises:
        NotFound: When the person has no such session.
        PendingFull: When too many messages wait there already.
        SpendLimitReached: When the person has used up an allowance.
        TooManyQueued: When the person queued too many within a minute.
    """
    session = queries.access_session(user, session_id)
    allowance = pending.QueueAllowance(user.pk)
    if Turn.objects.in_flight().filter(session=session).exists():
        try:
            allowance.take()
        except TooManyQueued:
            # One that was taken already is never refused: its sender would take it for lost.
            if (known := taken_before(session, data.get("client_message_id"))) is not None:
                return known
            raise
    taken: Started | Queued | None = None
    try:
        taken = start_turn(
            session=session,
            message=data["message"],
            file_ids=own_files(user.pk, data.get("file_ids") or ()),
            context=dict(data["context"]) if data.get("context") else None,
            client_message_id=data.get("client_message_id"),
            mode=data.get("mode", settings.CHAT_DEFAULT_MODE),
            tier=data.get("model", Turn.Tier.STANDARD),
        )
    finally:
        if not (isinstance(taken, Queued) and taken.is_new):
            allowance.give_back()
    return taken


def own_files(user_id: UUID, file_ids: Sequence[UUID]) -> list[str]:
    """Return those of the ids that are files of the person, each once and in order; others are dropped silently."""
    if not file_ids:
        return []
    known = workspace.files_by_ids(user_id, file_ids)
    return [str(file_id) for file_id in dict.fromkeys(file_ids) if file_id in known]


def stop(*, user: Any, session_id: UUID) -> StopAnswer:
    """Stop what the copilot does in a session.

    Raises:
        NotFound: When the person has no such session.
    """
    return cancel_turn(session=queries.access_session(user, session_id))


def change_pending(
    *, user: Any, session_id: UUID, item_id: UUID, content: str | None = None, position: int | None = None
) -> None:
    """Give a message that waits another text or place; see `pending.change`."""
    pending.change(user=user, session_id=session_id, item_id=item_id, content=content, position=position)


def delete_pending(*, user: Any, session_id: UUID, item_id: UUID) -> None:
    """Take a message that waits back; see `pending.delete`."""
    pending.delete(user=user, session_id=session_id, item_id=item_id)
