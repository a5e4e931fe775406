"""Titles: the cheap model names a session after its first message, beside the turn that answers it.

A session is called by the beginning of that message from the start, so whatever goes wrong here leaves it with a name.
"""

from __future__ import annotations

import asyncio
import re
from functools import cache, partial
from uuid import UUID

import structlog
from django.contrib.auth import get_user_model
from django.db import transaction

from apps.chat import announce
from apps.chat.models import Message, Session, Turn
from apps.chat.turns.cheap import ask_cheap
from apps.chat.turns.history import PROMPTS
from apps.chat.turns.metering import MeteredCall
from apps.chat.turns.recorder import clean
from apps.chat.turns.route import Router
from apps.chat.turns.start import first_title
from apps.chat.turns.state import TurnState
from apps.chat.usage.costs import ModelCall, book
from apps.engines.base import EngineError
from apps.runtime.db import db
from apps.runtime.loop import end_tasks

logger = structlog.get_logger(__name__)

TITLE_SECONDS = 20.0
#: Characters of the first message that are read, and of a title that are kept.
MOST_READ = 4_000
MOST_KEPT = 80
#: What some models put around a title though they are told not to.
WRAPPING = re.compile(r"^(?:#+\s*)?(?:title:\s*)?|\.$", re.IGNORECASE)
QUOTES = " \t\"'`*_“”„«»‘’"


@cache
def title_prompt() -> str:
    """Return what the model is told to do."""
    return (PROMPTS / "title.md").read_text(encoding="utf-8").strip()


class TitleMaker:
    """Makes titles as tasks of a worker's loop; its owner ends them with `aclose`."""

    def __init__(self, router: Router) -> None:
        """Make it idle."""
        self._router = router
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, turn: TurnState) -> None:
        """Begin to make the title of the session whose first turn this is; returns at once."""
        task = asyncio.create_task(self._make(turn), name="title")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Give up what isn't done; those sessions keep the name they have."""
        await end_tasks(*self._tasks)

    async def _make(self, turn: TurnState) -> None:
        try:
            async with asyncio.timeout(TITLE_SECONDS):
                await make_title(self._router, turn)
        except (EngineError, TimeoutError) as error:
            logger.info("title_not_made", error=type(error).__name__)
        except Exception:
            logger.exception("title_broke")


async def make_title(router: Router, turn: TurnState) -> None:
    """Name a session after its first message, unless a person named it.

    Raises:
        EngineError: When the model can't be asked.
    """
    message = await db(unnamed_message, turn.session_id)
    if message is None:
        return
    calls: list[ModelCall] = []
    try:
        metered = partial(MeteredCall, count=calls.append)
        answer = await ask_cheap(router, title_prompt(), message[:MOST_READ], metered)
        title = tidy(answer)
        if title:
            await db(name_session, turn.session_id, first_title(message), title)
    finally:
        for call in calls:
            await db(book_title, turn, call)


@transaction.atomic
def book_title(turn: TurnState, call: ModelCall) -> None:
    """Book the call on the session's owner; the session may have gone meanwhile, the cost has not."""
    if not get_user_model().objects.filter(pk=turn.user_id).exists():
        return
    is_there = Turn.objects.filter(pk=turn.id).exists()
    session_id, turn_id = (turn.session_id, turn.id) if is_there else (None, None)
    book(user_id=turn.user_id, session_id=session_id, turn_id=turn_id, call=call)


def unnamed_message(session_id: UUID) -> str | None:
    """Return the first message of a session that is called by it; None where a person named it, or it is gone."""
    session = Session.objects.filter(pk=session_id).first()
    said = Message.objects.filter(session=session_id, role=Message.Role.USER).order_by("sequence")
    message = said.values_list("content", flat=True).first()
    if session is None or message is None or session.title != first_title(message):
        return None
    return message


def name_session(session_id: UUID, automatic: str, title: str) -> None:
    """Give a session a title if it still has the automatic one, and tell all tabs after commit."""
    with transaction.atomic():
        if not Session.objects.filter(pk=session_id, title=automatic).update(title=title):
            return
        user_id = Session.objects.values_list("user_id", flat=True).get(pk=session_id)
        told = partial(announce.announce, announce.CHANGED, user_id=user_id, session_id=session_id)
        transaction.on_commit(told)


def tidy(answer: str) -> str:
    """Return a model's answer as a title: one line without wrapping, at most `MOST_KEPT` characters; may be empty."""
    line = next((line for line in clean(answer).splitlines() if line.strip()), "")
    line = WRAPPING.sub("", " ".join(line.split()).strip(QUOTES)).strip(QUOTES)
    return line if len(line) <= MOST_KEPT else f"{line[: MOST_KEPT - 1].rstrip()}…"
