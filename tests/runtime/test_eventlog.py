"""The rules of the log: retried, outdated and late appends change nothing, and a hole is never passed over."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
import structlog

from apps.runtime import eventlog
from apps.runtime.eventlog import BEGINNING, Entry, EventId, EventLogWriter, read_all_after
from apps.runtime.hub import Follower, Hub
from apps.runtime.redis import async_client
from apps.runtime.round_trips import RoundTrips
from tests.services import PrivateRedis


@pytest.fixture
async def client() -> AsyncIterator[redis.asyncio.Redis]:
    made = async_client()
    yield made
    await made.aclose()


@pytest.fixture
def key() -> str:
    return f"log:{uuid.uuid4()}"


def entry(number: int, major: int = 1001, text: str = "x") -> Entry:
    return Entry(EventId(major, number), "text-delta", f'{{"n":{number},"t":"{text}"}}'.encode())


def writer_of(client: redis.asyncio.Redis, key: str, replaced: list[int] | None = None) -> EventLogWriter:
    return EventLogWriter(
        RoundTrips(client),
        key,
        ttl_seconds=60,
        on_replaced=lambda: replaced.append(1) if replaced is not None else None,
    )


async def test_entries_arrive_in_order(client, key):
    writer = writer_of(client, key)
    entries = [entry(number) for number in range(1, 600)]
    for one in entries:
        assert writer.append(one)
    assert await writer.flush(5)
    await writer.aclose()

    assert await read_all_after(client, key, BEGINNING) == entries
    assert 0 < await client.ttl(key) <= 60


async def test_an_append_that_is_retried_after_a_lost_reply_changes_nothing(client, key, monkeypatch):
    writer = writer_of(client, key, replaced := [])
    real = writer._send
    lost = []

    async def lossy(batch):
        await real(batch) if lost else await send_and_lose(batch)

    async def send_and_lose(batch):
        lost.append(1)
        pipe = client.pipeline(transaction=False)
        for one in batch:
            pipe.xadd(key, {"t": one.kind, "d": one.data}, id=str(one.id))
        await pipe.execute()
        raise redis.ConnectionError("the reply was lost")

    monkeypatch.setattr(writer, "_send", lossy)
    for number in range(1, 6):
        writer.append(entry(number))
    assert await writer.flush(5)
    await writer.aclose()

    assert lost
    assert not replaced
    assert await read_all_after(client, key, BEGINNING) == [entry(number) for number in range(1, 6)]


async def test_an_append_of_an_old_attempt_changes_nothing(client, key):
    new = writer_of(client, key)
    new.append(entry(1, major=2001, text="new"))
    assert await new.flush(5)
    old = writer_of(client, key, replaced := [])

    old.append(entry(7, major=1003, text="old"))
    await old.flush(1)

    assert replaced
    assert not old.append(entry(8, major=1003))
    assert await read_all_after(client, key, BEGINNING) == [entry(1, major=2001, text="new")]
    await old.aclose()
    await new.aclose()


async def test_an_append_after_the_end_changes_nothing(client, key):
    first = writer_of(client, key)
    first.append(entry(1, major=999_999_999, text="finish"))
    assert await first.flush(5)
    late = writer_of(client, key, replaced := [])

    late.append(entry(1, major=5001, text="late"))
    late.append(entry(1, major=999_999_999, text="another end"))
    await late.flush(1)

    assert replaced
    assert [one.data for one in await read_all_after(client, key, BEGINNING)] == [b'{"n":1,"t":"finish"}']
    await late.aclose()
    await first.aclose()


async def test_an_emptied_redis_gets_the_present_step_again(client, key):
    writer = writer_of(client, key)
    for number in (1, 2, 3):
        writer.append(entry(number))
    assert await writer.flush(5)
    writer.forget(EventId(1001, 3))
    writer.append(entry(1, major=1002))
    assert await writer.flush(5)
    await client.delete(key)

    writer.append(entry(2, major=1002))
    assert await writer.flush(5)
    await writer.aclose()

    assert await read_all_after(client, key, BEGINNING) == [entry(1, major=1002), entry(2, major=1002)]


async def test_what_cannot_be_sent_waits_for_redis_and_beyond_a_mebibyte_leaves_a_hole(key, monkeypatch, settings):
    server = PrivateRedis()
    settings.REDIS_URL = server.url
    client = async_client()
    writer = writer_of(client, key)
    writer.append(entry(1))
    assert await writer.flush(5)
    server.stop()

    big = "y" * 400_000
    taken = [writer.append(entry(number, text=big)) for number in (2, 3, 4, 5)]
    assert taken == [True, True, False, False]
    server.start()
    assert await writer.flush(10)

    found = await read_all_after(client, key, BEGINNING)
    assert [one.id.number for one in found] == [1, 2, 3], "what the emptied Redis had of this step comes again"
    await writer.aclose()
    await client.aclose()
    server.stop()


async def test_a_redis_that_is_away_is_told_of_with_a_trace_once(key):
    server = PrivateRedis()
    client = redis.asyncio.Redis.from_url(server.url)
    writer = writer_of(client, key)
    server.stop()
    with structlog.testing.capture_logs() as logs:
        writer.append(entry(1))
        async with asyncio.timeout(10):
            while len(logs) < 3:
                await asyncio.sleep(0.02)
        await writer.aclose()
    await client.aclose()

    failures = [line for line in logs if line["event"] == "event_log_unreachable"]
    assert [line["exc_info"] for line in failures] == [True] + [False] * (len(failures) - 1)
    assert {line["log_level"] for line in failures} == {"warning"}


async def test_the_hub_loses_nothing_while_it_follows_many_logs(client):
    """`$` in a repeated XREAD loses what comes between two calls; real ids don't."""
    hub = Hub(f"control:{uuid.uuid4()}")
    hub.start()
    keys = [f"log:{uuid.uuid4()}" for _ in range(20)]
    got: dict[str, list[int]] = {key: [] for key in keys}

    async def follow(key: str) -> None:
        async for one in Follower(hub, key, BEGINNING).entries(5):
            assert one is not None
            got[key].append(one.id.number)
            if one.id.number == 200:
                return

    readers = [asyncio.create_task(follow(key)) for key in keys]
    await asyncio.sleep(0.05)
    writers = [writer_of(client, key) for key in keys]
    for number in range(1, 201):
        for writer in writers:
            writer.append(entry(number))
        if number % 10 == 0:
            await asyncio.sleep(0.002)
    async with asyncio.timeout(20):
        await asyncio.gather(*readers)
    for writer in writers:
        await writer.aclose()

    assert all(numbers == list(range(1, 201)) for numbers in got.values())
    assert hub.followed == 0
    await hub.aclose()


async def test_a_log_that_is_added_while_a_wake_up_is_on_its_way_is_not_forgotten(client, monkeypatch):
    monkeypatch.setattr("apps.runtime.hub.BLOCK_SECONDS", 60)  # without its own wake-up it would wait for so long
    hub = Hub(f"control:{uuid.uuid4()}")
    hub.start()
    answered = asyncio.Event()
    make = hub.client.pipeline

    def slow(**options):
        pipe = make(**options)
        execute = pipe.execute

        async def execute_slowly():
            await execute()
            await answered.wait()

        pipe.execute = execute_slowly
        return pipe

    monkeypatch.setattr(hub.client, "pipeline", slow)
    keys = [f"log:{uuid.uuid4()}" for _ in range(2)]
    for key in keys:
        await client.xadd(key, {"t": "text-delta", "d": "{}"}, id="1001-1")
    readers = [Follower(hub, key, BEGINNING).entries(60) for key in keys]

    async with asyncio.timeout(20):
        assert (await anext(readers[0])).id.number == 1
        await asyncio.sleep(0.1)  # until the next read blocks
        second = asyncio.create_task(anext(readers[1]))
        await asyncio.sleep(0.1)
        answered.set()
        assert (await second).id.number == 1
    for reader in readers:
        await reader.aclose()
    await hub.aclose()


FIELDS = {"t": "text-delta", "d": "{}"}


def hold_answer(hub, key, monkeypatch):
    """Have the hub get its answer with a log's third entry late; returns when it is held, and what lets it through."""
    read, holds, may_answer = hub._reading.xread, asyncio.Event(), asyncio.Event()

    async def slow(places, **options):
        answer = await read(places, **options)
        if any(raw_key.decode() == key and rows[-1][0] == b"1001-3" for raw_key, rows in answer or ()):
            holds.set()
            await may_answer.wait()
        return answer

    monkeypatch.setattr(hub._reading, "xread", slow)
    return holds, may_answer


async def test_a_second_reader_whose_own_read_came_too_early_lacks_nothing(client, key, monkeypatch):
    hub = Hub(f"control:{uuid.uuid4()}")
    hub.start()
    holds, may_answer = hold_answer(hub, key, monkeypatch)
    first = Follower(hub, key, BEGINNING).entries(5)
    began = asyncio.create_task(anext(first))
    await asyncio.sleep(0)
    read, has_read, may_go_on = eventlog.read_after, asyncio.Event(), asyncio.Event()

    async def slow(*args):
        page = await read(*args)
        has_read.set()
        await may_go_on.wait()
        return page

    monkeypatch.setattr(eventlog, "read_after", slow)
    second = Follower(hub, key, BEGINNING).entries(5)
    joined = asyncio.create_task(anext(second))
    await asyncio.wait_for(has_read.wait(), 10)  # it has found nothing yet
    await client.xadd(key, FIELDS, id="1001-1")
    assert (await began).id.number == 1
    await client.xadd(key, FIELDS, id="1001-2")
    assert (await anext(first)).id.number == 2
    await client.xadd(key, FIELDS, id="1001-3")
    await asyncio.wait_for(holds.wait(), 10)
    may_go_on.set()
    await asyncio.sleep(0.05)
    may_answer.set()

    assert [(await joined).id.number, *[(await anext(second)).id.number for _ in range(2)]] == [1, 2, 3]
    assert (await anext(first)).id.number == 3
    for reader in (first, second):
        await reader.aclose()
    await hub.aclose()


async def test_an_answer_to_an_earlier_reader_is_not_taken_for_a_later_ones(client, key, monkeypatch):
    hub = Hub(f"control:{uuid.uuid4()}")
    hub.start()
    holds, may_answer = hold_answer(hub, key, monkeypatch)
    for number in (1, 2):
        await client.xadd(key, FIELDS, id=f"1001-{number}")
    early = Follower(hub, key, BEGINNING).entries(5)
    assert [(await anext(early)).id.number for _ in range(2)] == [1, 2]
    await client.xadd(key, FIELDS, id="1001-3")
    await asyncio.wait_for(holds.wait(), 10)
    await early.aclose()
    late = Follower(hub, key, EventId(1001, 1)).entries(5)  # as after a reload
    second = asyncio.create_task(anext(late))
    await asyncio.sleep(0.05)
    may_answer.set()

    assert [(await second).id.number, (await anext(late)).id.number] == [2, 3]
    await late.aclose()
    await hub.aclose()


async def test_a_reader_that_joins_late_misses_and_repeats_nothing(client, key):
    hub = Hub(f"control:{uuid.uuid4()}")
    hub.start()
    writer = writer_of(client, key)

    async def follow(after: EventId) -> list[int]:
        numbers = []
        async for one in Follower(hub, key, after).entries(5):
            assert one is not None
            numbers.append(one.id.number)
            if one.id.number == 900:
                return numbers
        return numbers

    early = asyncio.create_task(follow(BEGINNING))
    late = []
    for number in range(1, 901):
        writer.append(entry(number))
        if number % 60 == 0:
            late.append((number - 30, asyncio.create_task(follow(EventId(1001, number - 30)))))
            await asyncio.sleep(0.001)
    async with asyncio.timeout(20):
        assert await early == list(range(1, 901))
        for after, reader in late:
            assert await reader == list(range(after + 1, 901))
    await writer.aclose()
    await hub.aclose()


async def test_a_reader_that_falls_behind_is_cut_off_and_then_catches_up(client, key, monkeypatch):
    monkeypatch.setattr("apps.runtime.hub.MOST_QUEUED_EVENTS", 10)
    hub = Hub(f"control:{uuid.uuid4()}")
    hub.start()
    follower = Follower(hub, key, BEGINNING)
    entries = follower.entries(5)
    writer = writer_of(client, key)
    writer.append(entry(1))
    assert (await anext(entries)).id.number == 1

    for number in range(2, 301):
        writer.append(entry(number))
    assert await writer.flush(5)
    await asyncio.sleep(0.1)
    assert len(follower._queue) <= 10
    rest = [(await anext(entries)).id.number for _ in range(299)]

    assert rest == list(range(2, 301))
    await entries.aclose()
    await writer.aclose()
    await hub.aclose()


async def test_the_hub_comes_back_after_redis_was_away(key, settings):
    server = PrivateRedis("--appendonly", "yes", "--dir", os.environ.get("TMPDIR", "/tmp"), "--appenddirname", key[4:])
    settings.REDIS_URL = server.url
    client = async_client()
    hub = Hub("control")
    hub.start()
    back = asyncio.Event()
    entries = Follower(hub, key, BEGINNING).entries(0.5)
    writer = writer_of(client, key)
    writer.append(entry(1))
    async with asyncio.timeout(20):
        assert (await anext(entries)).id.number == 1
        hub.on_reconnected.append(back.set)
        server.stop()
        writer.append(entry(2))
        server.start()
        while (one := await anext(entries)) is None:
            pass
        await back.wait()

    assert one.id.number == 2
    await entries.aclose()
    await writer.aclose()
    await hub.aclose()
    await client.aclose()
    server.stop()


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "a-b", "1-2-3", "1.5-2", "1 -2", "9" * 50 + "-1", "١-١"])
def test_what_is_no_event_id_is_refused(text):
    with pytest.raises(ValueError, match="event id"):
        EventId.parse(text)


def test_ids_compare_as_pairs_of_numbers():
    assert EventId.parse("1001-9") < EventId.parse("1001-10") < EventId.parse("1002-1")
    assert eventlog.EventId(1001, 3).is_followed_by(EventId(1001, 4))
    assert not EventId(1001, 3).is_followed_by(EventId(1001, 5))
    assert EventId(1001, 3).is_followed_by(EventId(2001, 1))
    assert not EventId(1001, 3).is_followed_by(EventId(1002, 2))
