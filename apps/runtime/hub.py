"""One reader of Redis for everything that this web process's sockets and SSE answers follow.

A single `XREAD BLOCK` covers every followed log, a control stream on which other processes announce what begins and
ends, and a private stream that wakes the call when a log is added. Start ids are always real ones: `$` is evaluated
anew at each call and loses what came in between. A log that nobody here follows costs this process nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio
import structlog

from apps.runtime import eventlog
from apps.runtime.eventlog import BEGINNING, Entry, EventId
from apps.runtime.loop import end_tasks
from apps.runtime.redis import RedisError, async_client

logger = structlog.get_logger(__name__)

BLOCK_SECONDS = 2.0
READ_COUNT = 500
#: With so many logs, a short pause between reads lets one answer carry entries of several.
MANY_LOGS = 16
GATHER_SECONDS = 0.005
MOST_QUEUED_EVENTS = 1000
MOST_QUEUED_BYTES = 4 * 1024 * 1024
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0

ControlFields = dict[str, str]

#: Gives this process's one hub; whoever owns it puts itself in when Django starts.
_provider: Callable[[], Hub] | None = None


def provide_hub(provider: Callable[[], Hub]) -> None:
    """Say how this process's hub is had; it is asked for on the loop that serves connections."""
    global _provider
    _provider = provider


def shared_hub() -> Hub:
    """Return this process's hub, for whoever follows logs; call on the loop that serves connections."""
    assert _provider is not None, "nobody provides a hub"
    return _provider()


@dataclass(eq=False, slots=True)
class _Watch:
    """A followed log: how far it was read, and who gets it."""

    at: EventId
    followers: set[Follower] = field(default_factory=set)


class Follower:
    """One reader's place in one log.

    While it keeps up it is handed entries as the hub reads them. When too much waits for it, it is taken off that path
    and later reads what it missed from the log itself, so a slow reader costs bounded memory and slows nobody.
    """

    def __init__(self, hub: Hub, key: str, after: EventId) -> None:
        """Note where to begin; `entries` does the work."""
        self.key = key
        self.last = after
        self._hub = hub
        self._queue: deque[Entry] = deque()
        self._queued_bytes = 0
        self._pushed = after
        self._live = False
        self._news = asyncio.Event()

    def push(self, entries: list[Entry]) -> None:
        """Take entries that the hub read; those before this reader's place are passed over."""
        if not self._live:
            return
        for entry in entries:
            if entry.id <= self._pushed:
                continue
            if len(self._queue) >= MOST_QUEUED_EVENTS or self._queued_bytes > MOST_QUEUED_BYTES:
                self._live = False
                break
            self._queue.append(entry)
            self._queued_bytes += len(entry.data)
            self._pushed = entry.id
        self._news.set()

    async def entries(self, silence_seconds: float) -> AsyncGenerator[Entry | None]:
        """Yield entries in order without gaps or repeats, for ever; None at each `silence_seconds` without one."""
        async with aclosing(self.batches(silence_seconds)) as batches:
            async for batch in batches:
                for entry in batch or (None,):
                    yield entry

    async def batches(self, silence_seconds: float) -> AsyncGenerator[list[Entry]]:
        """Like `entries`, all that are there at a time; an empty list at each `silence_seconds` without one."""
        watch = self._hub.watch(self)
        try:
            while True:
                if self._queue:
                    batch = list(self._queue)
                    self._queue.clear()
                    self._queued_bytes = 0
                    self.last = batch[-1].id
                    yield batch
                    continue
                if not self._live:
                    try:
                        await self._catch_up(watch)
                    except RedisError:
                        await asyncio.sleep(FIRST_PAUSE_SECONDS)
                        yield []
                    continue
                self._news.clear()
                try:
                    async with asyncio.timeout(silence_seconds):
                        await self._news.wait()
                except TimeoutError:
                    yield []
        finally:
            self._hub.unwatch(self)

    def go_live(self, after: EventId) -> None:
        """Take entries after an id as the hub reads them."""
        self._pushed = after
        self._live = True

    async def _catch_up(self, watch: _Watch) -> None:
        """Read a page for this reader alone; when it reaches the hub's place, go live."""
        page = await eventlog.read_after(self._hub.client, self.key, self.last, READ_COUNT)
        self._queue.extend(page)
        self._queued_bytes += sum(len(entry.data) for entry in page)
        if not page or page[-1].id >= watch.at:
            # No await lies between this comparison and the switch, so nothing can slip through.
            if not page and self.last < watch.at:
                # The log ends before the hub's place: it was emptied, or that place was never real.
                watch.at = self.last
                self._hub.wake_up()
            self.go_live(page[-1].id if page else self.last)


class Hub:
    """This process's reader; it lives on one loop, and is started and closed by the web server's life."""

    def __init__(self, control_key: str) -> None:
        """Make a hub that doesn't read yet.

        Args:
            control_key: The stream on which processes announce things.
        """
        self._control_key = control_key
        self._control_at = BEGINNING
        self._wake_key = f"hub:wake:{uuid.uuid4()}"
        self._wake_at = BEGINNING
        self._watches: dict[str, _Watch] = {}
        self._reader: asyncio.Task[None] | None = None
        self._waker: asyncio.Task[None] | None = None
        self._wake_wanted = False
        self.on_control: list[Callable[[ControlFields], None]] = []
        self.on_reconnected: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin to read, on the running loop."""
        self._client = async_client()
        self._reading = async_client(answer_seconds=BLOCK_SECONDS + 3)  # of its own: it must never wait for others
        self._reader = asyncio.create_task(self._read_for_ever(), name="hub")

    async def aclose(self) -> None:
        """Stop reading and close the connections."""
        await end_tasks(self._reader, self._waker)
        await self._client.aclose()
        await self._reading.aclose()

    @property
    def client(self) -> redis.asyncio.Redis:
        """The hub's Redis client, for reads besides the common one."""
        return self._client

    @property
    def followed(self) -> int:
        """How many logs are followed here."""
        return len(self._watches)

    def watch(self, follower: Follower) -> _Watch:
        """Read a follower's log from now on."""
        watch = self._watches.get(follower.key)
        if watch is None:
            watch = self._watches[follower.key] = _Watch(at=follower.last)
            follower.go_live(follower.last)  # the common read begins at this reader's own place
            self.wake_up()
        watch.followers.add(follower)
        return watch

    def unwatch(self, follower: Follower) -> None:
        """Stop reading a log that nobody follows any more."""
        watch = self._watches.get(follower.key)
        if watch is None:
            return
        watch.followers.discard(follower)
        if not watch.followers:
            del self._watches[follower.key]

    def wake_up(self) -> None:
        """Have the blocked read begin anew with the places as they are now."""
        self._wake_wanted = True
        if self._waker is None or self._waker.done():
            self._waker = asyncio.create_task(self._send_wake_ups(), name="hub wake-up")

    async def _send_wake_ups(self) -> None:
        while self._wake_wanted:
            self._wake_wanted = False  # what is wanted from here on may come too late for this one
            try:
                pipe = self._client.pipeline(transaction=False)
                pipe.xadd(self._wake_key, {"t": "wake"}, maxlen=1, approximate=False)
                pipe.expire(self._wake_key, 60)
                await pipe.execute()
            except RedisError:
                logger.debug("hub_wake_up_failed")  # the blocked call ends by itself within BLOCK_SECONDS

    async def _read_for_ever(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        is_placed = was_away = False
        while True:
            try:
                if was_away or not is_placed:
                    newest = await eventlog.last_id(self._client, self._control_key)
                    # Only the first time: what was announced while we were away is still to be read.
                    if not is_placed:
                        self._control_at, is_placed = newest, True
                    if was_away:
                        for listener in self.on_reconnected:
                            listener()
                    was_away = False
                await self._read_once()
                if len(self._watches) > MANY_LOGS:
                    await asyncio.sleep(GATHER_SECONDS)
                pause = FIRST_PAUSE_SECONDS
            except RedisError as error:
                logger.warning("hub_disconnected", error=type(error).__name__)
                was_away = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _read_once(self) -> None:
        places: dict[Any, Any] = {self._control_key: str(self._control_at), self._wake_key: str(self._wake_at)}
        asked = {key: (watch, watch.at) for key, watch in self._watches.items()}
        places.update((key, str(at)) for key, (_, at) in asked.items())
        reply: Any = await self._reading.xread(places, block=int(BLOCK_SECONDS * 1000), count=READ_COUNT)
        for raw_key, rows in reply or ():
            key = raw_key.decode()
            if key == self._control_key:
                self._control_at = EventId.parse(rows[-1][0].decode())
                self._announce([fields for _, fields in rows])
            elif key == self._wake_key:
                self._wake_at = EventId.parse(rows[-1][0].decode())
            # A log whose readers changed meanwhile is read again from the place of those who are there now.
            elif (watch := self._watches.get(key)) and asked.get(key) == (watch, watch.at):
                entries = [eventlog.read_entry(raw_id, fields) for raw_id, fields in rows]
                watch.at = entries[-1].id
                for follower in list(watch.followers):
                    follower.push(entries)

    def _announce(self, rows: list[dict[bytes, bytes]]) -> None:
        for fields in rows:
            told = {name.decode(): value.decode() for name, value in fields.items()}
            for listener in list(self.on_control):
                listener(told)
