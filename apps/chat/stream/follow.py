"""What readers follow: a turn's events from any place on, and a session's turns one after another.

A reader never takes part for whole. What the log lacks comes from rows; where that can't be, the reader is told to read
the rows itself (`stream_expired`) and to come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple
from uuid import UUID

import redis.asyncio

from apps.chat import queries
from apps.chat.stream import chunks as c
from apps.chat.stream.fold import rows_to_chunks, usage_chunk
from apps.chat.stream.publisher import RELOAD, TERMINAL_MAJOR, log_key
from apps.engines.base import Usage
from apps.runtime import eventlog
from apps.runtime.db import db_until_done
from apps.runtime.eventlog import BEGINNING, Entry, EventId
from apps.runtime.hub import Follower, Hub
from apps.runtime.redis import RedisError

#: A log that is silent for so long is compared with its turn's row.
SILENCE_SECONDS = 5.0
#: How often a reader looks whether rows have passed a gap in the log.
GAP_SECONDS = 0.5
#: How long the end of a turn that its row calls over may take to reach its log, and how often readers look for it.
END_SECONDS = 0.5
END_CHECK_SECONDS = 0.02
#: Chunks of stored rows carry ids with this major, and the last of them the id of the step that they end with.
STORED_MAJOR = 0


class StreamExpired(Exception):
    """The log no longer holds what this reader lacks; the rows do."""


class Event(NamedTuple):
    """One chunk on its way to a reader."""

    id: EventId
    data: bytes
    is_end: bool


async def follow_turn(hub: Hub, turn_id: UUID, after: EventId) -> AsyncGenerator[Event]:
    """Yield a turn's events one by one; see `turn_batches`.

    Raises:
        StreamExpired: When something between `after` and now can't be had as events.
    """
    async with aclosing(turn_batches(hub, turn_id, after)) as batches:
        async for batch in batches:
            for event in batch:
                yield event


async def turn_batches(hub: Hub, turn_id: UUID, after: EventId) -> AsyncGenerator[list[Event]]:
    """Yield a turn's events after a place, in order, without gaps or repeats, until its `finish`.

    All that are there at a time come together: a step through generators for each costs more than the event.

    Args:
        hub: This process's reader.
        turn_id: The turn; the caller has checked whose it is.
        after: The last event that the reader has; `BEGINNING` for none.

    Raises:
        StreamExpired: When something between `after` and now can't be had as events.
    """
    last = after
    if stored := await stored_part(hub, turn_id, after):
        yield stored
        if stored[-1].is_end:
            return
        last = stored[-1].id
    follower = Follower(hub, log_key(turn_id), BEGINNING if last.major == STORED_MAJOR else last)
    async with aclosing(follower.batches(SILENCE_SECONDS)) as batches:
        async for entries in batches:
            if not entries:
                await check_for_missed_end(hub, turn_id, last)
                continue
            events, last, unfit = next_events(last, entries)
            if events:
                yield events
                if events[-1].is_end:
                    return
            if unfit is not None:
                if unfit.kind != RELOAD:
                    await wait_for_rows(turn_id, unfit.id)
                raise StreamExpired


def next_events(last: EventId, entries: list[Entry]) -> tuple[list[Event], EventId, Entry | None]:
    """Return what of some entries follows on what a reader has, up to the turn's end.

    Returns:
        The events, the reader's place after them, and the entry that they ended before, since the reader lacks
        something that comes before it.
    """
    events: list[Event] = []
    for entry in entries:
        place, kind, data = entry
        if kind == RELOAD:
            if last < EventId.parse(data.decode()):
                return events, last, entry
        elif is_next(last, place):
            events.append(Event(place, data, kind == "finish"))
        else:
            return events, last, entry
        last = place
        if kind == "finish":
            break
    return events, last, None


def is_next(last: EventId, found: EventId) -> bool:
    """Return whether an entry follows what a reader has, as ids tell it."""
    return found.number == 1 if last.major == STORED_MAJOR else last.is_followed_by(found)


async def stored_part(hub: Hub, turn_id: UUID, after: EventId) -> list[Event]:
    """Return finished steps as events, for a reader that needs them and doesn't find them in the log.

    Raises:
        StreamExpired: When the reader is in the middle of a step that the log no longer holds.
    """
    turn = await db_until_done(queries.turn_place, turn_id)
    if turn is None:
        raise StreamExpired
    resume = EventId.parse(turn.resume_after) if turn.resume_after else BEGINNING
    try:
        first = await eventlog.read_after(hub.client, log_key(turn_id), BEGINNING, 1)
        newest = await (last_of_ended if turn.is_over else eventlog.last_id)(hub.client, log_key(turn_id))
    except RedisError:
        return []  # the reader waits, and is served when Redis is back
    if turn.is_over and newest.major != TERMINAL_MAJOR:
        if after.major != STORED_MAJOR:
            raise StreamExpired
        return await events_of_rows(turn_id, after, resume, ended_with=queries.tokens_of(turn))
    if after.major != STORED_MAJOR:
        if after > max(newest, resume):
            raise StreamExpired  # an event that this log never had, or has no more
        if after < resume and not await holds(hub, turn_id, after, first):
            raise StreamExpired
        return []
    if after == BEGINNING and first and first[0].kind == "start":
        return []  # the log has everything from its beginning
    if resume == BEGINNING:
        return []
    return await events_of_rows(turn_id, after, resume)


async def last_of_ended(client: redis.asyncio.Redis, key: str) -> EventId:
    """Return the newest id in the log of a turn that is over, once its end is there.

    The end is published after the row says so; a reader who comes in between would be given rows for nothing. A log
    that is empty, or whose runner died at that moment, gets no end any more.
    """
    for _ in range(round(END_SECONDS / END_CHECK_SECONDS)):
        newest = await eventlog.last_id(client, key)
        if newest == BEGINNING or newest.major == TERMINAL_MAJOR:
            return newest
        await asyncio.sleep(END_CHECK_SECONDS)
    return await eventlog.last_id(client, key)


async def holds(hub: Hub, turn_id: UUID, after: EventId, first: list[Entry]) -> bool:
    """Return whether the log still holds what follows an id."""
    if not first or first[0].id > after:
        return False
    following = await eventlog.read_after(hub.client, log_key(turn_id), after, 1)
    return bool(following) and after.is_followed_by(following[0].id)


async def events_of_rows(
    turn_id: UUID, after: EventId, resume: EventId, *, ended_with: Usage | None = None
) -> list[Event]:
    """Return what rows hold as events, without those that a reader with `after` has.

    Args:
        turn_id: The turn.
        after: The reader's place among such events.
        resume: The id that the last one of the finished steps is given, so that the log goes on after it.
        ended_with: The tokens that a turn used which is over; both are told. A part tells none: in a longer one, what
            comes after them would have other places.
    """
    rows = await db_until_done(queries.answer_rows, turn_id)
    chunks: list[c.Chunk] = [c.Start(message_id=str(turn_id)), *rows_to_chunks(rows)]
    if ended_with is not None:
        step_ends = [place for place, chunk in enumerate(chunks) if isinstance(chunk, c.FinishStep)]
        if ended_with != Usage() and step_ends:
            chunks.insert(step_ends[-1], usage_chunk(ended_with))
        chunks.append(c.Finish())
    events = [
        Event(EventId(STORED_MAJOR, place), c.encode(chunk), isinstance(chunk, c.Finish))
        for place, chunk in enumerate(chunks, start=1)
    ]
    if ended_with is None:
        events[-1] = events[-1]._replace(id=resume)
    return [event for event in events if event.id > after]


async def check_for_missed_end(hub: Hub, turn_id: UUID, last: EventId) -> None:
    """Compare a silent log with its turn's row.

    Raises:
        StreamExpired: When the turn is over, and its last events never came.
    """
    turn = await db_until_done(queries.turn_place, turn_id)
    if turn is not None and not turn.is_over:
        return
    try:
        newest = await eventlog.last_id(hub.client, log_key(turn_id))
    except RedisError:
        return
    if newest <= last:
        raise StreamExpired


async def wait_for_rows(turn_id: UUID, gap: EventId) -> None:
    """Wait until finished steps reach past a gap in the log, so that a reader who then reads rows isn't sent back."""
    while True:
        turn = await db_until_done(queries.turn_place, turn_id)
        if turn is None or turn.is_over:
            return
        if turn.resume_after and EventId.parse(turn.resume_after) >= gap:
            return
        await asyncio.sleep(GAP_SECONDS)
