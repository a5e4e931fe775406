"""What readers of a run follow: its rows as they are, then what changes; after any gap, the rows anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple
from uuid import UUID

import msgspec

from apps.library.executor import queries
from apps.library.executor.events import END, RELOAD, log_key
from apps.runtime import eventlog
from apps.runtime.db import db_until_done
from apps.runtime.eventlog import BEGINNING, EventId
from apps.runtime.hub import Follower, Hub
from apps.runtime.redis import RedisError

#: A log that is silent for so long is compared with its run's row.
SILENCE_SECONDS = 5.0
AWAY_SECONDS = 0.5


class RunEvent(NamedTuple):
    """Something that a run tells: where a reader goes on after it (nowhere after the end), and a line of JSON."""

    id: str
    data: bytes


async def follow_run(hub: Hub, execution_id: UUID, after: EventId | None) -> AsyncGenerator[RunEvent]:
    """Yield what a run tells until its end.

    Args:
        hub: This process's reader.
        execution_id: The run; the caller has checked whose it is.
        after: The last event that the reader has; None for none.
    """
    place = after
    if place is None or not await holds(hub, execution_id, place):
        place = None
    while True:
        if place is None:
            place = await newest(hub, execution_id)
            found = await db_until_done(queries.snapshot, execution_id)
            if found is None:
                return
            yield RunEvent(str(place), msgspec.json.encode(found))
        if await db_until_done(queries.is_over, execution_id):
            yield await last_event(execution_id)
            return
        follower = Follower(hub, log_key(execution_id), place)
        async with aclosing(follower.entries(SILENCE_SECONDS)) as entries:
            async for entry in entries:
                if entry is None:
                    if await db_until_done(queries.is_over, execution_id):
                        break
                    continue
                if entry.kind in {END, RELOAD} or not place.is_followed_by(entry.id):
                    break
                place = entry.id
                yield RunEvent(str(entry.id), entry.data)
        place = None  # the rows are told anew, and the end after them


async def last_event(execution_id: UUID) -> RunEvent:
    """Return the end of a run, by its row."""
    found = await db_until_done(queries.snapshot, execution_id)
    run = found["run"] if found is not None else {"status": "TERMINATED"}
    return RunEvent("", msgspec.json.encode({"type": END, "run": run}))


async def newest(hub: Hub, execution_id: UUID) -> EventId:
    """Return the newest event of a run's log; rows that are read afterwards are at least as new."""
    while True:
        try:
            return await eventlog.last_id(hub.client, log_key(execution_id))
        except RedisError:
            await asyncio.sleep(AWAY_SECONDS)


async def holds(hub: Hub, execution_id: UUID, after: EventId) -> bool:
    """Return whether the log still has what follows an event."""
    if after == BEGINNING:
        return False
    try:
        found = await eventlog.last_id(hub.client, log_key(execution_id))
        following = await eventlog.read_after(hub.client, log_key(execution_id), after, 1)
    except RedisError:
        return False
    return found == after or bool(following and after.is_followed_by(following[0].id))
