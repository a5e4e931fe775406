"""This web process's live part: the hub, who follows which session, and which sockets belong to whom."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError

from apps.chat import announce, queries
from apps.chat.stream.follow import Event, StreamExpired, turn_batches
from apps.runtime.db import db
from apps.runtime.eventlog import BEGINNING, EventId
from apps.runtime.hub import ControlFields, Hub
from apps.runtime.loop import end_tasks

logger = structlog.get_logger(__name__)

#: How often followed sessions without a turn are compared with the rows, for turns that nobody announced here.
CHECK_SECONDS = 5.0

SidebarListener = Callable[[dict[str, Any]], None]


class SessionFeed:
    """One reader's view of a session: the events of its turns, one turn after another."""

    def __init__(self, live: Live, session_id: UUID) -> None:
        """Hear of new turns from now on; `begin` says where, `events` does the work, and `close` ends the hearing."""
        self.session_id = session_id
        self.newest: UUID | None = None
        self.is_idle = False
        self.is_closed = False
        self._live = live
        self._turns: deque[UUID] = deque()
        self._known: set[UUID] = set()
        self._expired = False
        self._news = asyncio.Event()
        live.feeds[session_id].add(self)

    def begin(self, turns: Sequence[UUID], newest: UUID | None) -> None:
        """Follow these turns before those that were heard of while the rows were read.

        Args:
            turns: What the reader lacks, oldest first.
            newest: The session's newest turn, as the rows told; None when it had none.
        """
        heard = [turn_id for turn_id in self._turns if turn_id not in turns]
        self._turns = deque([*turns, *heard])
        self._known.update(turns)
        if newest is not None:
            self._known.add(newest)
        self.newest = heard[-1] if heard else newest

    def close(self) -> None:
        """Stop hearing of new turns, and tell no more of those that are known."""
        self.is_closed = True
        self._live.drop_feed(self)

    def hear(self, turn_id: UUID) -> None:
        """Follow a turn after those that are being followed; one that is known already is passed over."""
        if turn_id not in self._known:
            self._known.add(turn_id)
            self._turns.append(turn_id)
            self.newest = turn_id
            self._news.set()

    def expire(self) -> None:
        """What is told besides turns may have been missed: when none runs any more, the reader must read the rows."""
        self._expired = True
        self._news.set()

    async def events(self, after: EventId) -> AsyncGenerator[tuple[UUID, list[Event]]]:
        """Yield the events of the turns heard of, as they come; those of the first begin after a place.

        Raises:
            StreamExpired: When the reader must read the rows and come back.
        """
        while True:
            while self._turns:
                turn_id = self._turns.popleft()
                async with aclosing(turn_batches(self._live.hub, turn_id, after)) as batches:
                    async for events in batches:
                        if self.is_closed:
                            return
                        yield turn_id, events
                after = BEGINNING
            if self._expired:
                raise StreamExpired
            self.is_idle = True
            await self._news.wait()
            self.is_idle = False
            self._news.clear()


class Live:
    """One a web process, on the loop that serves its connections."""

    def __init__(self) -> None:
        """Make it; `start` begins to read."""
        self.hub = Hub(announce.CONTROL_KEY)
        self.hub.on_control.append(self._heard)
        self.hub.on_reconnected.append(self._reconnected)
        self.feeds: dict[UUID, set[SessionFeed]] = defaultdict(set)
        self.sidebars: dict[UUID, set[SidebarListener]] = defaultdict(set)
        self.sockets: dict[UUID, int] = defaultdict(int)
        self._checker: asyncio.Task[None] | None = None
        self._tellers: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to read, on the running loop."""
        self.hub.start()
        self._checker = asyncio.create_task(self._check_for_ever(), name="session feeds")

    async def aclose(self) -> None:
        """Stop reading."""
        await end_tasks(*self._tellers, self._checker)
        await self.hub.aclose()

    def drop_feed(self, feed: SessionFeed) -> None:
        """Forget a feed that was closed."""
        feeds = self.feeds.get(feed.session_id)
        if feeds is not None:
            feeds.discard(feed)
            if not feeds:
                del self.feeds[feed.session_id]

    def listen(self, user_id: UUID, listener: SidebarListener) -> None:
        """Tell a listener of changed sessions of a person."""
        self.sidebars[user_id].add(listener)

    def unlisten(self, user_id: UUID, listener: SidebarListener) -> None:
        """Stop telling a listener."""
        listeners = self.sidebars.get(user_id)
        if listeners is not None:
            listeners.discard(listener)
            if not listeners:
                del self.sidebars[user_id]

    def _heard(self, told: ControlFields) -> None:
        try:
            user_id, session_id = UUID(told["user_id"]), UUID(told["session_id"])
            turn_id = UUID(told["turn_id"]) if told.get("turn_id") else None
        except (KeyError, ValueError):
            logger.warning("announcement_unreadable")
            return
        if told.get("what") == announce.STARTED and turn_id is not None:
            for feed in list(self.feeds.get(session_id, ())):
                feed.hear(turn_id)
        if user_id in self.sidebars:
            tell = self._tell_waiting if told.get("what") == announce.PENDING else self._tell_sidebars
            task = asyncio.create_task(tell(user_id, session_id))
            self._tellers.add(task)
            task.add_done_callback(self._tellers.discard)

    async def _tell_sidebars(self, user_id: UUID, session_id: UUID) -> None:
        try:
            session = await db(queries.session_row, session_id)
        except (OperationalError, InterfaceError):
            return  # only a sidebar; the next change tells it again
        frame: dict[str, Any] = {"type": "session", "session_id": str(session_id)}
        if session is None:
            frame["deleted"] = True
        else:
            frame["title"] = session.title
            frame["updated_at"] = session.updated_at.isoformat()
            frame["is_processing"] = getattr(session, "is_processing", False)
        for listener in list(self.sidebars.get(user_id, ())):
            listener(frame)

    async def _tell_waiting(self, user_id: UUID, session_id: UUID) -> None:
        try:
            waiting = await db(queries.waiting, session_id)
        except (OperationalError, InterfaceError):
            return  # a tab that subscribes anew is told
        frame: dict[str, Any] = {"type": "pending", "session_id": str(session_id), **waiting}
        for listener in list(self.sidebars.get(user_id, ())):
            listener(frame)

    def _reconnected(self) -> None:
        for feeds in list(self.feeds.values()):
            for feed in list(feeds):
                feed.expire()

    async def _check_for_ever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            idle = {feed: feed.newest for feeds in self.feeds.values() for feed in feeds if feed.is_idle}
            if not idle:
                continue
            try:
                newest = await db(queries.newest_turns, {feed.session_id for feed in idle})
                for feed, known in idle.items():
                    if newest.get(feed.session_id) not in {None, known}:
                        missed = await db(queries.turns_after, feed.session_id, known)
                        if feed.newest == known:  # else it heard of a turn meanwhile; the next look finds the rest
                            for turn_id in missed:
                                feed.hear(turn_id)
            except (OperationalError, InterfaceError) as error:
                logger.warning("session_check_failed", error=type(error).__name__)


_live: Live | None = None


def live() -> Live:
    """Return this process's live part; it is made at first use, on the loop that serves connections."""
    global _live
    if _live is None:
        _live = Live()
        _live.start()
    return _live


async def close_live() -> None:
    """Close this process's live part, if there is one."""
    global _live
    if _live is not None:
        closing, _live = _live, None
        await closing.aclose()
