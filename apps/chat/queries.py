"""Reads for the API, the pages and the readers of streams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, OuterRef, Q, Subquery
from django.utils.text import Truncator

from apps.chat.models import Message, PendingMessage, Session, Turn
from apps.chat.stream.fold import Row
from apps.engines.base import Usage
from apps.library import queries as library
from apps.runtime.errors import NotFound

MOST_PROMPTS = 4
PROMPTS = (
    "What can you do for me?",
    "Make a plan for my week and keep it as a list",
    "Read https://example.com and tell me what it says",
    "Explain how agents and blocks work here",
)
#: Each is about one agent; somebody with fewer agents gets several about the same.
PROMPTS_ABOUT_AGENTS = (
    "Run my agent “{}” and show me what it gives back",
    "What does my agent “{}” do, step by step?",
    "How could I make my agent “{}” better?",
)
NAME_LENGTH = 60  # characters of an agent's name in a prompt

#: Columns of a message that the API shows; page context and provider blocks stay inside.
SHOWN = (
    "id",
    "sequence",
    "turn_id",
    "step",
    "role",
    "kind",
    "content",
    "tool_calls",
    "tool_call_id",
    "is_error",
    "metadata",
    "duration_ms",
    "file_ids",
    "client_message_id",
    "created_at",
)


def access_session(user: Any, session_id: UUID) -> Session:
    """Return a person's own session.

    Raises:
        NotFound: Alike for one that is unknown, deleted or somebody else's.
    """
    session = Session.objects.of(user).filter(pk=session_id).first()
    if session is None:
        raise NotFound
    return session


def list_sessions(*, user: Any, limit: int, offset: int, search: str = "") -> tuple[list[Session], int]:
    """Return a page of a person's sessions, newest activity first, and how many there are."""
    mine = Session.objects.of(user)
    if search:
        mine = mine.filter(title__icontains=search)
    page = mine.with_state().order_by("-updated_at", "-id")[offset : offset + limit]
    return list(page), mine.count()


def session_row(session_id: UUID) -> Session | None:
    """Return a session with its state for the sidebar, or None when it is gone."""
    return Session.objects.with_state().filter(pk=session_id).first()


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A page of a conversation, oldest first; the newest page comes first."""

    messages: list[dict[str, Any]]
    has_more: bool

    @property
    def oldest_sequence(self) -> int | None:
        """The place from which the next older page goes on."""
        return self.messages[0]["sequence"] if self.messages else None


def message_page(*, session: Session, limit: int, before_sequence: int | None, turn: Turn | None) -> MessagePage:
    """Return up to `limit` rows of finished steps that come before a place.

    Args:
        session: The conversation.
        limit: Rows at most.
        before_sequence: Only rows before this place.
        turn: The turn in flight as the reader is told of it: rows that came after it was read are left out, as the
            reader gets them as events.
    """
    rows = Message.objects.filter(session=session).shown().of_finished_steps().order_by("-sequence")
    unknown = Q(turn__status__in=Turn.IN_FLIGHT)  # a turn that began after the reader was told of none
    if turn is not None:
        unknown &= ~Q(turn=turn.pk)
        rows = rows.exclude(turn=turn.pk, step__gt=turn.step)
    rows = rows.exclude(unknown)
    if before_sequence is not None:
        rows = rows.filter(sequence__lt=before_sequence)
    found = list(rows.values(*SHOWN)[: limit + 1])
    return MessagePage(found[:limit][::-1], len(found) > limit)


def active_turn(session_id: UUID) -> Turn | None:
    """Return the session's turn in flight."""
    return Turn.objects.in_flight().filter(session=session_id).first()


def newest_turn(session_id: UUID) -> Turn | None:
    """Return the session's last turn, in flight or over."""
    return Turn.objects.filter(session=session_id).order_by("-created_at").first()


def newest_turns(session_ids: Iterable[UUID]) -> dict[UUID, UUID | None]:
    """Return the last turns of many sessions: session id → turn id, or None where there is none."""
    newest = Turn.objects.filter(session=OuterRef("pk")).order_by("-created_at").values("id")[:1]
    sessions = Session.objects.filter(pk__in=list(session_ids)).annotate(newest_turn=Subquery(newest))
    return dict(sessions.values_list("pk", "newest_turn"))


def turns_after(session_id: UUID, turn_id: UUID | None) -> list[UUID]:
    """Return the session's turns after one of them, oldest first; all of them after None."""
    turns = Turn.objects.filter(session=session_id)
    if turn_id is not None:
        turns = turns.filter(created_at__gt=Subquery(Turn.objects.filter(pk=turn_id).values("created_at")))
    return list(turns.order_by("created_at").values_list("id", flat=True))


def waiting(session_id: UUID) -> dict[str, Any]:
    """Return the messages that wait in a session, in order, as the API and the sockets tell them."""
    columns = ("id", "client_message_id", "content", "file_ids", "created_at")
    items = list(PendingMessage.objects.filter(session=session_id).order_by("position").values(*columns))
    return {"count": len(items), "messages": [item["content"] for item in items], "items": items}


def turn_of(session_id: UUID, turn_id: UUID) -> Turn | None:
    """Return a turn if it belongs to a session."""
    return Turn.objects.filter(session=session_id, pk=turn_id).first()


def turn_place(turn_id: UUID) -> Turn | None:
    """Return what a reader must know of a turn."""
    place = ("id", "session_id", "status", "step", "resume_after")
    tokens = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_creation_tokens")
    return Turn.objects.only(*place, *tokens).filter(pk=turn_id).first()


def gone_sessions(session_ids: Iterable[UUID]) -> set[UUID]:
    """Return those of the sessions that are no more."""
    asked = set(session_ids)
    return asked - set(Session.objects.filter(pk__in=asked).values_list("pk", flat=True))


def latest_sequence(session_id: UUID) -> int:
    """Return the place of the newest row that may be shown; 0 for none."""
    rows = Message.objects.filter(session=session_id).shown().of_finished_steps().order_by("-sequence")
    return rows.values_list("sequence", flat=True).first() or 0


def tokens_of(turn: Turn) -> Usage:
    """Return the tokens of the model calls that are booked on a turn, without their cost."""
    return Usage(
        prompt_tokens=turn.prompt_tokens,
        completion_tokens=turn.completion_tokens,
        cache_read_tokens=turn.cache_read_tokens,
        cache_write_tokens=turn.cache_creation_tokens,
    )


def answer_rows(turn_id: UUID) -> list[Row]:
    """Return the rows of a turn's finished steps, as `fold` gives them."""
    finished = Q(step__lte=F("turn__step")) | ~Q(turn__status__in=Turn.IN_FLIGHT)
    rows = Message.objects.filter(finished, turn=turn_id).shown().of_the_answer().order_by("sequence")
    return [folded(row) for row in rows]


def folded(message: Message) -> Row:
    """Return a stored message as `fold` gives it."""
    has_block = message.role in {Message.Role.REASONING, Message.Role.USER} or (
        message.role == Message.Role.ASSISTANT and message.content
    )
    return Row(
        role=message.role,
        step=message.step,
        id=str(message.pk) if has_block else None,
        kind=message.kind,
        content=message.content,
        tool_calls=message.tool_calls or [],
        tool_call_id=str(message.tool_call_id) if message.tool_call_id else None,
        is_error=message.is_error,
        metadata=message.metadata,
        duration_ms=message.duration_ms,
    )


def suggested_prompts(user_id: UUID) -> list[str]:
    """Return up to four prompts to begin with: of a person's latest agents first, when there are some."""
    names = [
        Truncator(" ".join(name.split())).chars(NAME_LENGTH) for name in library.latest_agent_names(user_id, limit=3)
    ]
    about = [prompt.format(names[place % len(names)]) for place, prompt in enumerate(PROMPTS_ABOUT_AGENTS) if names]
    return [*about, *PROMPTS][:MOST_PROMPTS]
