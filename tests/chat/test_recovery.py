"""What readers and rows look like after logs were trimmed, emptied or holed, and after runners were replaced."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from apps.chat import announce, queries
from apps.chat.models import Session, ToolCall, Turn
from apps.chat.stream import chunks as c
from apps.chat.stream import follow
from apps.chat.stream.follow import StreamExpired, follow_turn
from apps.chat.stream.publisher import TERMINAL_MAJOR, log_key
from apps.chat.tools.registry import ToolRegistry
from apps.chat.turns import runner as runner_module
from apps.chat.turns import worker as worker_module
from apps.chat.turns.runner import TurnRunner
from apps.chat.turns.start import start_turn
from apps.chat.turns.state import StoredCall
from apps.chat.turns.worker import TurnKind
from apps.engines import base as engine
from apps.runtime import eventlog
from apps.runtime.db import db
from apps.runtime.eventlog import BEGINNING, EventId, EventLogWriter
from apps.runtime.hub import Hub
from apps.runtime.redis import sync_client
from apps.runtime.worker import RunWorker, Signals
from tests.chat.test_order import FakeRouter, ScriptedEngine, Step, watch


@pytest.fixture
def session(transactional_db, owner) -> Session:
    return Session.objects.create(user=owner.user)


@pytest.fixture
async def hub():
    made = Hub(announce.CONTROL_KEY)
    made.start()
    yield made
    await made.aclose()


@pytest.fixture
async def kind():
    made = TurnKind()
    made.tools = ToolRegistry()
    made.tools.register(Step("step", idempotent=False))
    yield made
    await made.redis.aclose()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("apps.chat.stream.follow.SILENCE_SECONDS", 0.2)
    monkeypatch.setattr("apps.chat.stream.follow.GAP_SECONDS", 0.02)
    monkeypatch.setattr("apps.chat.stream.follow.END_SECONDS", 0.1)
    monkeypatch.setattr(worker_module, "FLUSH_SECONDS", 1.0)


def script(kind: TurnKind, steps: list[list[Any]]) -> ScriptedEngine:
    scripted = ScriptedEngine(steps)
    kind.router = FakeRouter(scripted)
    return scripted


async def start(session: Session) -> Turn:
    started = await db(start_turn, session=session, message="go")
    return await db(Turn.objects.get, pk=started.turn_id)


async def run(kind: TurnKind, turn: Turn, signals: Signals | None = None) -> None:
    claim = await db(kind.claim, turn.pk, "test")
    assert claim is not None
    await kind.run(claim, signals or Signals())


def words(count: int) -> list[Any]:
    return [engine.TextDelta(f"w{number} ") for number in range(count)]


async def test_an_answer_of_ten_thousand_chunks_is_trimmed_and_readers_at_any_point_end_right(
    hub, kind, session, settings
):
    settings.CHAT_DELTA_WINDOW_SECONDS = 0.000_001  # one chunk for every word or two
    script(kind, [[*words(12_000), ("step", "a")], [*words(8_000), ("step", "b")], words(2_000)])
    turn = await start(session)
    live = asyncio.create_task(watch(hub, turn.pk))
    await run(kind, turn)

    async with asyncio.timeout(30):
        shown = await live
        rows = await db(queries.answer_rows, turn.pk)
        first = await eventlog.read_after(kind.redis, log_key(turn.pk), BEGINNING, 1)
        assert len(shown.chunks) > 10_000
        assert first[0].id.major > 1001, "what is stored was trimmed"
        assert shown.rows == rows
        assert shown.reloads == 0
        places = [BEGINNING, *shown.ids[:: max(1, len(shown.ids) // 12)], EventId(0, 3)]
        for place in places:
            late = await watch(hub, turn.pk, place)
            told = late.rows if late.reloads or place.major == 0 else None
            if told is not None and place != EventId(0, 3):
                assert told == rows, place
    assert (await watch(hub, turn.pk)).rows == rows


async def test_a_reader_in_a_trimmed_step_is_told_to_load_the_rows(hub, kind, session, monkeypatch):
    monkeypatch.setattr(eventlog, "MOST_ENTRIES", 5)
    script(kind, [[*words(30), ("step", "a")], [*words(30), ("step", "b")], words(3)])
    turn = await start(session)
    await run(kind, turn)

    async with aclosing(follow_turn(hub, turn.pk, EventId(1001, 3))) as events:
        with pytest.raises(StreamExpired):
            await anext(events)


async def test_an_emptied_redis_in_mid_turn_loses_nothing(hub, kind, session):
    scripted = script(kind, [[*words(5), ("step", "a")], words(20)])
    turn = await start(session)
    live = asyncio.create_task(watch(hub, turn.pk))
    real = scripted.step

    async def step(request):
        count = 0
        async for event in real(request):
            count += 1
            if count == 8:
                await asyncio.sleep(0.1)
                await kind.redis.flushdb()
            yield event

    scripted.step = step
    await run(kind, turn)

    async with asyncio.timeout(10):
        rows = await db(queries.answer_rows, turn.pk)
        assert (await live).rows == rows
        assert (await watch(hub, turn.pk)).rows == rows


async def test_a_hole_sends_readers_to_the_rows_and_never_back_again(hub, kind, session, monkeypatch):
    script(kind, [[*words(5), ("step", "a")], words(40), []])
    turn = await start(session)
    live = asyncio.create_task(watch(hub, turn.pk))
    real = EventLogWriter.append

    def leaky(self, entry):
        if entry.id.major == 1002 and 5 <= entry.id.number <= 8:
            return False
        return real(self, entry)

    monkeypatch.setattr(EventLogWriter, "append", leaky)
    await run(kind, turn)

    async with asyncio.timeout(10):
        rows = await db(queries.answer_rows, turn.pk)
        shown = await live
    assert shown.rows == rows
    assert shown.reloads <= 2


async def test_an_end_that_never_came_is_noticed(hub, kind, session, monkeypatch):
    script(kind, [words(5)])
    turn = await start(session)
    live = asyncio.create_task(watch(hub, turn.pk))
    real = EventLogWriter.append
    monkeypatch.setattr(
        EventLogWriter, "append", lambda self, entry: entry.id.major != TERMINAL_MAJOR and real(self, entry)
    )
    await run(kind, turn)

    async with asyncio.timeout(5):
        shown = await live
    assert shown.rows == await db(queries.answer_rows, turn.pk)


async def test_readers_who_come_between_a_turns_end_in_its_row_and_in_its_log_are_given_events(
    hub, kind, session, monkeypatch
):
    monkeypatch.setattr(follow, "END_SECONDS", 5.0)
    script(kind, [[*words(3), ("step", "a")], words(5)])
    turn = await start(session)
    held = []
    real = EventLogWriter.append

    def hold_back(self, entry):
        if entry.id.major != TERMINAL_MAJOR:
            return real(self, entry)
        held.append(entry)
        return True

    monkeypatch.setattr(EventLogWriter, "append", hold_back)
    await run(kind, turn)
    assert held, "the row says it is over, its log doesn't"

    looks = 0
    last_id = eventlog.last_id

    async def looked(*args):
        nonlocal looks
        looks += 1
        return await last_id(*args)

    monkeypatch.setattr(eventlog, "last_id", looked)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        reads = [group.create_task(watch(hub, turn.pk, place)) for place in (BEGINNING, EventId(1001, 2))]
        while looks < 4:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(append_end, turn, held)
    whole, rest = [read.result() for read in reads]
    assert whole.ids[-len(rest.ids) :] == rest.ids
    assert (whole.reloads, rest.reloads) == (0, 0)
    assert [place.major for place in (whole.ids[0], whole.ids[-1])] == [1001, TERMINAL_MAJOR]
    assert whole.rows == await db(queries.answer_rows, turn.pk)


def append_end(turn: Turn, entries: list[eventlog.Entry]) -> None:
    """Append to a turn's log what was held back from it."""
    eventlog.append_now(sync_client(), log_key(turn.pk), entries, ttl_seconds=60)


async def test_a_stopping_worker_hands_its_turn_over_before_the_next_call(hub, kind, session):
    script(kind, [[*words(3), ("step", "a")], words(3)])
    turn = await start(session)
    live = asyncio.create_task(watch(hub, turn.pk))
    signals = Signals()
    signals.hand_over.set()

    await run(kind, turn, signals)
    await db(turn.refresh_from_db)
    assert (turn.status, turn.step, turn.lost_leases) == (Turn.QUEUED, 0, 0)
    assert (await db(ToolCall.objects.get)).state == "planned"

    await run(kind, turn)
    await db(turn.refresh_from_db)
    assert (turn.status, turn.attempt, turn.lost_leases) == ("completed", 2, 0)
    async with asyncio.timeout(5):
        assert (await live).rows == await db(queries.answer_rows, turn.pk)


async def test_the_tokens_used_are_told_whole_whoever_ran_the_turn_and_however_it_is_read(hub, kind, session):
    script(kind, [[*words(3), ("step", "a")], words(3)])
    turn = await start(session)
    signals = Signals()
    signals.hand_over.set()
    await run(kind, turn, signals)
    await run(kind, turn)
    whole = {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}
    whole |= {"cache_read_tokens": 0, "cache_creation_tokens": 0}

    async with asyncio.timeout(5):
        from_log = await watch(hub, turn.pk)
        await kind.redis.delete(log_key(turn.pk))
        from_rows = await watch(hub, turn.pk)
    assert from_log.ids[0].major > from_rows.ids[0].major, "one read events, the other one rows"
    for shown in (from_log, from_rows):
        told = [chunk for chunk in shown.chunks if isinstance(chunk, c.MessageMetadata)]
        assert msgspec.to_builtins(told[-1].message_metadata.usage) == whole
        kinds = [type(chunk) for chunk in shown.chunks]
        assert kinds[-3:] == [c.MessageMetadata, c.FinishStep, c.Finish]


async def test_a_worker_that_may_not_wait_hands_over_in_mid_step(hub, kind, session):
    scripted = script(kind, [[*words(3)]])
    turn = await start(session)
    live = asyncio.create_task(watch(hub, turn.pk))
    hang = asyncio.Event()
    real = scripted.step

    async def step(request):
        async for event in real(request):
            yield event
            await hang.wait()

    scripted.step = step
    worker = RunWorker(kind, concurrency=2)
    worker.start()
    await worker.offer(turn.pk)
    await asyncio.sleep(0.3)
    await worker.shut_down(0.05)
    await db(turn.refresh_from_db)
    assert (turn.status, turn.attempt) == (Turn.QUEUED, 1)

    scripted.step = real
    await run(kind, turn)
    async with asyncio.timeout(5):
        assert (await live).rows == await db(queries.answer_rows, turn.pk)
    await db(turn.refresh_from_db)
    assert (turn.status, turn.lost_leases) == ("completed", 0)


async def test_a_turn_whose_runners_keep_dying_is_given_up_with_a_sentence(hub, kind, session):
    script(kind, [words(3)])
    turn = await start(session)
    for _ in range(4):
        assert await db(kind.claim, turn.pk, "dies") is not None
        await db(Turn.objects.update, lease_expires_at=timezone.now() - timedelta(seconds=1))

    await run(kind, turn)

    await db(turn.refresh_from_db)
    assert (turn.status, turn.error_code) == ("failed", "lost_runners")
    async with asyncio.timeout(5):
        shown = await watch(hub, turn.pk)
    assert shown.rows == await db(queries.answer_rows, turn.pk)


async def test_a_stop_that_no_runner_hears_is_carried_out_by_the_next_one(hub, kind, session):
    script(kind, [words(3)])
    turn = await start(session)
    assert await db(kind.claim, turn.pk, "dies") is not None
    await db(
        Turn.objects.update,
        lease_expires_at=timezone.now() - timedelta(seconds=1),
        cancel_requested_at=timezone.now(),
    )

    await run(kind, turn)

    await db(turn.refresh_from_db)
    assert turn.status == "cancelled"
    async with asyncio.timeout(5):
        assert [row.kind for row in (await watch(hub, turn.pk)).rows] == ["stopped"]


async def test_a_queued_turn_without_a_wake_up_is_run_by_the_sweep(kind, session, monkeypatch):
    monkeypatch.setattr(announce, "wake_worker", lambda turn_id: None)
    script(kind, [words(3)])
    kind.sweep_seconds = 0.05
    turn = await start(session)
    await db(Turn.objects.update, queued_at=timezone.now() - timedelta(seconds=6))
    worker = RunWorker(kind, concurrency=2)
    worker.start()
    async with asyncio.timeout(10):
        while (await db(Turn.objects.get, pk=turn.pk)).status != "completed":
            await asyncio.sleep(0.02)
    await worker.shut_down(1)


async def test_a_hint_and_the_wake_up_after_it_claim_a_turn_once(kind, session, monkeypatch):
    monkeypatch.setattr(announce, "wake_worker", lambda turn_id: None)
    script(kind, [words(3)])
    turn = await start(session)
    claims: list[Any] = []
    real = kind.claim

    def counted(run_id, runner):
        claims.append(run_id)
        return real(run_id, runner)

    monkeypatch.setattr(kind, "claim", counted)
    full, worker = RunWorker(kind, concurrency=0), RunWorker(kind, concurrency=2)
    full.hint(turn.pk)  # has no room, and leaves it to others
    worker.hint(turn.pk)
    worker.hint(turn.pk)
    await worker.offer(turn.pk)
    assert claims == [turn.pk]
    assert worker.running == 1
    async with asyncio.timeout(10):
        while worker.running:
            await asyncio.sleep(0.02)
    assert (await db(Turn.objects.get, pk=turn.pk)).status == "completed"

    worker.hint(turn.pk)
    await worker.offer(turn.pk)  # both too late: there is nothing to be had
    assert worker.running == 0
    await worker.shut_down(1)


async def test_a_place_that_never_was_harms_no_other_reader(hub, kind, session):
    script(kind, [words(20)])
    turn = await start(session)
    with pytest.raises(StreamExpired):
        await anext(follow_turn(hub, turn.pk, EventId(TERMINAL_MAJOR, 500)))

    live = asyncio.create_task(watch(hub, turn.pk))
    await run(kind, turn)

    async with asyncio.timeout(5):
        assert (await live).rows == await db(queries.answer_rows, turn.pk)


async def test_a_database_that_is_away_between_two_steps_fails_no_turn(hub, kind, session, monkeypatch):
    script(kind, [[*words(3), ("step", "a")], words(3)])
    turn = await start(session)
    real = runner_module.conversation
    away = [OperationalError("the server closed the connection"), InterfaceError("connection already closed")]

    def flaky(session_id):
        if away and Turn.objects.get(pk=turn.pk).step == 1:
            raise away.pop()
        return real(session_id)

    monkeypatch.setattr(runner_module, "conversation", flaky)
    await run(kind, turn)

    await db(turn.refresh_from_db)
    assert (turn.status, away) == ("completed", [])


async def test_a_call_that_was_noted_too_slowly_is_noted_again_before_it_runs(settings):
    """As when the process was frozen meanwhile: the second note is refused where another runner has taken over."""
    settings.LEASE_SECONDS = 0.05
    pauses, noted = [0.2, 0.1, 0.0], []

    class Recorder:
        async def start_call(self, call_id):
            noted.append(call_id)
            await asyncio.sleep(pauses.pop(0))

    call = StoredCall(uuid.uuid4(), "sleep", "{}", started=False)
    parts = dict.fromkeys(("turn", "router", "route", "agent", "tools", "signals", "take_up"))
    await TurnRunner(recorder=Recorder(), **parts).start_call(call)
    assert noted == [str(call.id)] * 3
