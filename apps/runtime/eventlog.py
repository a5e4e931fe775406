"""The event log of a run: a Redis stream whose ids its writer sets itself.

An id is `<major>-<number>`: the writer's attempt and step in `major`, and a number from 1 without holes within it.
Redis refuses an id that is not above the last one, so a retried append, an append of a replaced runner and an append
after the end change nothing. A hole in the numbers says that something is missing, and a reader never takes part for
whole.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple, Self

import redis
import redis.asyncio
import structlog

from apps.runtime.loop import end_tasks
from apps.runtime.redis import RedisError
from apps.runtime.round_trips import Command, RoundTrips

logger = structlog.get_logger(__name__)

MOST_UNSENT_BYTES = 1024 * 1024
MOST_KEPT_BYTES = 1024 * 1024
#: Above either, what rows hold is trimmed after a step's commit.
MOST_ENTRIES = 5000
MOST_BYTES = 4 * 1024 * 1024
BATCH = 256
EXPIRE_EVERY_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
REFUSED = "equal or smaller"


class EventId(NamedTuple):
    """An event's place in its log; compares as a pair of whole numbers."""

    major: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<major>-<number>`.

        Raises:
            ValueError: When it isn't one.
        """
        major, dash, number = text.partition("-")
        if not (dash and text.isascii() and major.isdecimal() and number.isdecimal() and len(text) <= 40):
            raise ValueError("an event id is two whole numbers with a dash between them")
        return cls(int(major), int(number))

    def __str__(self) -> str:
        return f"{self.major}-{self.number}"

    @property
    def next(self) -> EventId:
        """The id of the event after this one in the same step."""
        return EventId(self.major, self.number + 1)

    def is_followed_by(self, later: EventId) -> bool:
        """Return whether nothing lies between this event and `later`, as their ids tell it."""
        if later.major == self.major:
            return later.number == self.number + 1
        return later.major > self.major and later.number == 1


BEGINNING = EventId(0, 0)


class Entry(NamedTuple):
    """One event as it travels: `data` is a line of JSON, `kind` its type, so that few need to parse it."""

    id: EventId
    kind: str
    data: bytes


def read_entry(raw_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """Read one row of Redis's answer, whose ids need no checking."""
    major, _, number = raw_id.partition(b"-")
    return Entry(EventId(int(major), int(number)), fields.get(b"t", b"").decode(), fields.get(b"d", b""))


async def read_after(client: redis.asyncio.Redis, key: str, after: EventId, count: int = 500) -> list[Entry]:
    """Return up to `count` entries of a log that come after an id, oldest first."""
    rows: Any = await client.xrange(key, min=f"({after}", max="+", count=count)
    return [read_entry(raw_id, fields) for raw_id, fields in rows]


async def read_all_after(client: redis.asyncio.Redis, key: str, after: EventId) -> list[Entry]:
    """Return every entry of a log after an id, oldest first."""
    entries: list[Entry] = []
    while page := await read_after(client, key, entries[-1].id if entries else after):
        entries += page
    return entries


async def last_id(client: redis.asyncio.Redis, key: str) -> EventId:
    """Return the newest id of a log, or `BEGINNING` when it is empty or gone."""
    rows: Any = await client.xrevrange(key, count=1)
    return EventId.parse(rows[0][0].decode()) if rows else BEGINNING


def append_now(client: redis.Redis, key: str, entries: Sequence[Entry], *, ttl_seconds: int) -> None:
    """Append entries from a thread, for whoever ends a run that has no runner; refused ones are there already."""
    with client.pipeline(transaction=False) as pipe:
        for entry in entries:
            pipe.xadd(key, {"t": entry.kind, "d": entry.data}, id=str(entry.id))
        pipe.expire(key, ttl_seconds)
        pipe.execute(raise_on_error=False)


class EventLogWriter:
    """Sends a runner's entries in order, whatever Redis does meanwhile.

    Nothing here stops a run: what can't be sent waits (up to 1 MiB; beyond, it is left out and the hole shows), and
    goes out when Redis is back. When Redis was emptied, what the present step has sent so far is sent again, so that
    late readers see the whole step.
    """

    def __init__(
        self,
        round_trips: RoundTrips,
        key: str,
        *,
        ttl_seconds: int,
        on_replaced: Callable[[], None],
    ) -> None:
        """Start sending.

        Args:
            round_trips: On the running loop, and shared with other writers; stays its owner's.
            key: The stream.
            ttl_seconds: The log is gone this long after its last write.
            on_replaced: Called once when the log holds entries of a newer runner.
        """
        self._round_trips = round_trips
        self._client = round_trips.client
        self._key = key
        self._ttl_seconds = ttl_seconds
        self._on_replaced = on_replaced
        self._unsent: deque[Entry] = deque()
        self._unsent_bytes = 0
        self._kept: deque[Entry] = deque()
        self._kept_bytes = 0
        self._may_create = True
        self._expire_at = 0.0
        self._failures = 0
        self._entries = 0  # what the log holds, and what of it is of the newest major
        self._bytes = 0
        self._newest_major = 0
        self._newest_entries = 0
        self._newest_bytes = 0
        self._wake = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._replaced = False
        self._sender = asyncio.create_task(self._send_for_ever(), name=f"eventlog {key}")

    def append(self, entry: Entry) -> bool:
        """Queue an entry; never waits.

        Returns:
            False when it was left out, because too much waits for Redis already.
        """
        size = len(entry.data)
        if self._replaced or (self._unsent and self._unsent_bytes + size > MOST_UNSENT_BYTES):
            return False
        self._unsent.append(entry)
        self._unsent_bytes += size
        self._measure(entry.id.major, size)
        self._all_sent.clear()
        self._wake.set()
        return True

    def _measure(self, major: int, size: int) -> None:
        """Count an entry, in all and of its major."""
        if major != self._newest_major:
            self._newest_major, self._newest_entries, self._newest_bytes = major, 0, 0
        self._newest_entries += 1
        self._newest_bytes += size
        self._entries += 1
        self._bytes += size

    def forget(self, up_to: EventId) -> None:
        """Stop keeping entries that a commit made replaceable by rows."""
        while self._kept and self._kept[0].id <= up_to:
            self._kept_bytes -= len(self._kept.popleft().data)

    async def trim_if_long(self, first: EventId) -> None:
        """Drop what comes before an id, which rows hold by now, once the log has grown long.

        A failure only leaves it longer.
        """
        if self._entries <= MOST_ENTRIES and self._bytes <= MOST_BYTES:
            return
        try:
            await self._client.xtrim(self._key, minid=str(first), approximate=False)
        except RedisError as error:
            self._note_failure(error)
        else:
            self._entries, self._bytes = self._newest_entries, self._newest_bytes

    async def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything is sent; False when it wasn't in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._all_sent.wait()
        except TimeoutError:
            return False
        return not self._unsent

    async def aclose(self) -> None:
        """Stop sending; what is unsent is given up."""
        await end_tasks(self._sender)

    async def _send_for_ever(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            await self._wake.wait()
            if not self._unsent:
                self._wake.clear()
                self._all_sent.set()
                continue
            try:
                await self._send(list(islice(self._unsent, BATCH)))
            except RedisError as error:
                self._note_failure(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                self._failures = 0
                pause = FIRST_PAUSE_SECONDS

    async def _send(self, batch: Sequence[Entry]) -> None:
        """Append a batch in one round trip, then settle each entry by its reply."""
        add = ("XADD", self._key) if self._may_create else ("XADD", self._key, "NOMKSTREAM")
        commands: list[Command] = [(*add, str(entry.id), "t", entry.kind, "d", entry.data) for entry in batch]
        expire = time.monotonic() >= self._expire_at or self._may_create
        if expire:
            commands.append(("EXPIRE", self._key, self._ttl_seconds))
        replies = await self._round_trips.send(commands)
        for entry, reply in zip(batch, replies, strict=False):
            if reply is None:
                self._send_step_again()
                return
            if isinstance(reply, Exception) and not await self._is_there_already(entry, reply):
                self._be_replaced()
                return
            self._settle(entry)
        self._may_create = False
        if expire:
            self._expire_at = time.monotonic() + EXPIRE_EVERY_SECONDS

    async def _is_there_already(self, entry: Entry, reply: Exception) -> bool:
        """Read a refused entry back: the same content means that an append's reply was lost."""
        if not (isinstance(reply, redis.ResponseError) and REFUSED in str(reply)):
            raise reply
        rows: Any = await self._client.xrange(self._key, min=str(entry.id), max=str(entry.id))
        return bool(rows) and read_entry(*rows[0]) == entry

    def _settle(self, entry: Entry) -> None:
        self._unsent.popleft()
        self._unsent_bytes -= len(entry.data)
        self._kept.append(entry)
        self._kept_bytes += len(entry.data)
        while self._kept_bytes > MOST_KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft().data)

    def _send_step_again(self) -> None:
        """Redis was emptied: queue what the present step had sent, before what is unsent, and make the log anew."""
        logger.warning("event_log_emptied", log=self._key, again=len(self._kept))
        self._unsent.extendleft(reversed(self._kept))
        self._unsent_bytes += self._kept_bytes
        self._kept.clear()
        self._kept_bytes = 0
        self._may_create = True

    def _be_replaced(self) -> None:
        self._replaced = True
        self._unsent.clear()
        self._unsent_bytes = 0
        self._on_replaced()

    def _note_failure(self, error: BaseException) -> None:
        self._failures += 1
        logger.warning("event_log_unreachable", log=self._key, error=type(error).__name__, exc_info=self._failures == 1)
