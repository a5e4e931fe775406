"""The property that all of streaming rests on.

Whatever a model does, and wherever its runners die or are stopped: the order rules hold, and the live view, a
replay and a reload show the same.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apps.chat import announce, queries
from apps.chat.models import Message, Session, ToolCall, Turn
from apps.chat.stream import chunks as c
from apps.chat.stream.fold import Folder, Row, fold, rows_to_chunks
from apps.chat.stream.follow import StreamExpired, follow_turn
from apps.chat.stream.publisher import log_key
from apps.chat.tools.base import Tool, ToolArguments, ToolContext, ToolResult
from apps.chat.tools.registry import ToolRegistry
from apps.chat.turns import recorder as recorder_module
from apps.chat.turns import worker as worker_module
from apps.chat.turns.route import Route
from apps.chat.turns.runner import CLOSING_LINE
from apps.chat.turns.start import start_turn
from apps.chat.turns.worker import TurnKind
from apps.engines import base as engine
from apps.runtime import eventlog
from apps.runtime.db import db
from apps.runtime.eventlog import BEGINNING, EventId
from apps.runtime.hub import Hub
from apps.runtime.leases import Replaced
from apps.runtime.worker import Signals
from tests.depth import depth

TOOL_RUNS: list[tuple[str, uuid.UUID]] = []


class SimulatedCrash(BaseException):
    """The process died here."""


class Fate:
    """Counts the awaits of one attempt; at a chosen one the process dies, or its owner presses stop."""

    def __init__(self, dies_at: int | None, stops_at: int | None) -> None:
        self.dies_at = dies_at
        self.stops_at = stops_at
        self.count = 0
        self.dead = False
        self.signals = Signals()

    def point(self) -> None:
        self.count += 1
        if self.count == self.stops_at:
            self.signals.stop.set()
        if self.count == self.dies_at:
            self.dead = True
        if self.dead:
            raise SimulatedCrash


class Arguments(ToolArguments):
    key: str


class Step(Tool):
    """Notes that it ran; `safe_step` may run twice."""

    description = "Does one thing."
    arguments = Arguments

    def __init__(self, name: str, *, idempotent: bool) -> None:
        self.name = name  # type: ignore[misc]
        self.idempotent = idempotent  # type: ignore[misc]

    async def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        TOOL_RUNS.append((self.name, context.tool_call_id))
        await context.progress("working")
        return ToolResult(type="step", message=f"did {arguments.key}")


class ScriptedEngine:
    """Plays one list of events a model call; a call is known by the number of finished steps in the conversation."""

    def __init__(self, steps: list[list[Any]]) -> None:
        self.steps = steps
        self.fate = Fate(None, None)

    async def step(self, request: engine.StepRequest) -> AsyncGenerator[Any]:
        asked = sum(message["role"] == "assistant" for message in request.messages)
        events = self.steps[asked] if asked < len(self.steps) else [engine.TextDelta("The end.")]
        index = 0
        for event in events:
            await asyncio.sleep(0)
            self.fate.point()
            if isinstance(event, tuple):
                for part in tool_events(index, *event):
                    self.fate.point()
                    yield part
                index += 1
            elif isinstance(event, Exception):
                raise event
            else:
                yield event
        yield engine.Usage(prompt_tokens=3, completion_tokens=2)
        yield engine.StepEnd("stop")


def tool_events(index: int, name: str, key: str) -> list[Any]:
    arguments = f'{{"key": "{key}"}}' if key != "broken" else '{"key": '
    return [
        engine.ToolInputStart(index, name),
        engine.ToolInputDelta(index, arguments[:4]),
        engine.ToolInputDelta(index, arguments[4:]),
        engine.ToolInputEnd(index, name, arguments),
    ]


class FakeRouter:
    def __init__(self, scripted: ScriptedEngine) -> None:
        self.scripted = scripted

    def route(self, mode: str, tier: str) -> Route:
        return Route(self.scripted, "scripted", "test")

    async def aclose(self) -> None:
        return


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
EVENT = st.one_of(
    st.builds(engine.TextDelta, TEXT),
    st.builds(engine.ReasoningDelta, TEXT),
    st.tuples(st.sampled_from(["step", "safe_step", "missing"]), st.sampled_from(["a", "b", "broken"])),
)
FAILURE = st.sampled_from([engine.ModelUnreachable(), engine.BrokenStream(), RuntimeError("a bug")])
MODEL_STEP = st.builds(
    lambda events, failure: [*events, *([failure] if failure is not None else [])],
    st.lists(EVENT, max_size=6),
    st.one_of(st.none(), st.none(), st.none(), FAILURE),
)
MODEL = st.lists(MODEL_STEP, min_size=1, max_size=4)
POINT = st.integers(1, 60)


@pytest.fixture
def crashable(monkeypatch: pytest.MonkeyPatch) -> dict[str, Fate]:
    """Let the fate of the running attempt strike at every write, read, append and tool call."""
    now: dict[str, Fate] = {"fate": Fate(None, None)}
    real_write = recorder_module.db_until_done
    real_send = eventlog.EventLogWriter._send
    real_read = eventlog.read_all_after
    real_call = ToolRegistry.call

    async def write(*args: Any) -> Any:
        fate = now["fate"]
        fate.point()
        answer = await real_write(*args)
        fate.point()
        return answer

    async def send(self: Any, batch: Any) -> None:
        fate = now["fate"]
        fate.point()
        await real_send(self, batch)
        fate.point()

    async def read(*args: Any) -> Any:
        now["fate"].point()
        return await real_read(*args)

    async def call(self: Any, *args: Any) -> Any:
        now["fate"].point()
        answer = await real_call(self, *args)
        now["fate"].point()
        return answer

    monkeypatch.setattr(recorder_module, "db_until_done", write)
    monkeypatch.setattr(eventlog.EventLogWriter, "_send", send)
    monkeypatch.setattr(eventlog, "read_all_after", read)
    monkeypatch.setattr(ToolRegistry, "call", call)
    monkeypatch.setattr("apps.chat.turns.runner.RETRY_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(worker_module, "FLUSH_SECONDS", 0.3)
    monkeypatch.setattr("apps.chat.stream.follow.SILENCE_SECONDS", 0.2)
    monkeypatch.setattr("apps.chat.stream.follow.GAP_SECONDS", 0.02)
    return now


class Screen:
    """What our own page shows: rows it loaded, then events."""

    def __init__(self) -> None:
        self.chunks: list[c.Chunk] = []
        self.loaded: list[Row] = []
        self.step = 0
        self.ids: list[EventId] = []
        self.reloads = 0

    @property
    def rows(self) -> list[Row]:
        return [*self.loaded, *fold(self.chunks, step=self.step)]


async def watch(hub: Hub, turn_id: uuid.UUID, after: EventId = BEGINNING) -> Screen:
    """Follow a turn to its end as the page does: on `stream_expired` load the rows and go on after them."""
    screen = Screen()
    while True:
        try:
            async with aclosing(follow_turn(hub, turn_id, after)) as events:
                async for event in events:
                    screen.ids.append(event.id)
                    screen.chunks.append(c.decode(event.data))
            return screen
        except StreamExpired:
            screen.reloads += 1
            turn = await db(Turn.objects.get, pk=turn_id)
            rows = await db(queries.answer_rows, turn_id)
            # As REST does: rows that came after the turn was read are left out, their events will bring them.
            screen.loaded = [row for row in rows if turn.is_over or (row.step <= turn.step and row.role != "system")]
            screen.chunks, screen.step, screen.ids = [], turn.step, []
            after = EventId.parse(turn.resume_after) if turn.resume_after else BEGINNING
            if turn.is_over:
                return screen


def check_order(stream: list[c.Chunk], *, one_runner: bool) -> None:
    """Fail when a stream breaks one of the order rules."""
    open_block: str | None = None
    step_is_open = False
    is_empty = False
    seen: set[str] = set()
    calls: set[str] = set()
    answered: set[str] = set()
    over = ending = False
    for chunk in stream:
        assert not over, "nothing follows finish"
        assert not ending or isinstance(chunk, c.Finish), "an error or a stop, and then the finish"
        match chunk:
            case c.StartStep():
                assert not step_is_open
                assert open_block is None
                step_is_open = True
            case c.FinishStep():
                assert step_is_open
                assert open_block is None
                assert not one_runner or calls == answered, "outputs come before their step is over"
                step_is_open = False
            case c.TextStart(id=block) | c.ReasoningStart(id=block):
                assert step_is_open
                assert open_block is None
                assert block not in seen
                seen.add(block)
                open_block = block
                is_empty = True
            case c.TextDelta(id=block, delta=delta) | c.ReasoningDelta(id=block, delta=delta):
                assert open_block == block
                assert delta
                is_empty = False
            case c.TextEnd(id=block) | c.ReasoningEnd(id=block):
                assert open_block == block
                assert not is_empty, "a block without content sends nothing"
                open_block = None
            case c.ToolInputStart(tool_call_id=call):
                assert step_is_open
                assert open_block is None
                assert call not in calls
                calls.add(call)
                open_block = call
            case c.ToolInputDelta(tool_call_id=call):
                assert open_block == call
            case c.ToolInputAvailable(tool_call_id=call):
                assert open_block == call
                open_block = None
            case c.ToolOutputAvailable(tool_call_id=call) | c.ToolOutputError(tool_call_id=call):
                assert step_is_open
                assert call in calls
                assert call not in answered, "a repeated result is dropped"
                answered.add(call)
                if open_block == call:
                    open_block = None
                assert open_block is None
            case c.DataRewind(data=data):
                assert not step_is_open
                seen -= set(data.drop)
                calls -= set(data.drop)
                answered &= calls
            case c.Error() | c.Abort():
                assert not step_is_open
                ending = True
            case c.Finish():
                assert not step_is_open
                over = True
    assert over, "a stream ends with finish"
    assert calls == answered, "every call has a result"


def check_ending(rows: list[Row], status: str) -> None:
    """Fail when a turn ends without a word, or says that it has none although it had."""
    notes = [row.kind for row in rows if row.role == "system"]
    assert notes == {"completed": [], "failed": ["error"], "cancelled": ["stopped"]}[status]
    assert [row.kind for row in rows[len(rows) - len(notes) :]] == notes, "the note comes after all that was said"
    last_result = max((place for place, row in enumerate(rows) if row.role == "tool"), default=-1)
    # White space is no word.
    said = [row.content for row in rows[last_result + 1 :] if row.role == "assistant" and row.content.strip()]
    if status == "completed":
        assert said, "the reader isn't left with nothing"
        assert CLOSING_LINE not in said[1:]
    # A stop may still come while the closing line is stored; an error never has one.
    assert CLOSING_LINE not in said or (status != "failed" and last_result >= 0)


async def play(steps: list[list[Any]], fates: list[Fate], now: dict[str, Fate], session: Session) -> dict[str, Any]:
    """Run a turn through its runners' fates, watched from the beginning, and return what everybody saw."""
    hub = Hub(announce.CONTROL_KEY)
    hub.start()
    session = await db(Session.objects.create, user=session.user)  # without the history of earlier examples
    started = await db(start_turn, session=session, message="go")
    live_view = asyncio.create_task(watch(hub, started.turn_id))
    scripted = ScriptedEngine(steps)
    kind = TurnKind()
    kind.router = FakeRouter(scripted)  # type: ignore[assignment]
    kind.tools = ToolRegistry()
    kind.tools.register(Step("step", idempotent=False))
    kind.tools.register(Step("safe_step", idempotent=True))
    try:
        for fate in [*fates, Fate(None, None)]:
            claim = await db(kind.claim, started.turn_id, "test")
            if claim is None:
                break
            now["fate"] = scripted.fate = fate
            with suppress(SimulatedCrash, Replaced):
                async with asyncio.timeout(10):
                    await kind.run(claim, fate.signals)
            await db(
                Turn.objects.filter(pk=started.turn_id, status=Turn.RUNNING).update,
                lease_expires_at=timezone.now() - timedelta(seconds=60),
            )
        now["fate"] = Fate(None, None)
        async with asyncio.timeout(20):
            shown = await live_view
            replayed = await watch(hub, started.turn_id)
        turn = await db(Turn.objects.get, pk=started.turn_id)
        rows = await db(queries.answer_rows, started.turn_id)
        calls = await db(list, ToolCall.objects.filter(turn=turn))
        late = [await watch(hub, started.turn_id, place) for place in replayed.ids[::7]]
        return {"turn": turn, "rows": rows, "live": shown, "replay": replayed, "late": late, "calls": calls}
    finally:
        live_view.cancel()
        await kind.redis.delete(log_key(started.turn_id))
        await hub.aclose()
        await kind.redis.aclose()


def check(result: dict[str, Any], fates: list[Fate]) -> None:
    """Fail unless all views agree and every rule holds."""
    turn, rows = result["turn"], result["rows"]
    assert turn.is_over
    assert result["live"].rows == rows, "live view != reload"
    assert result["replay"].rows == rows, "replayed view != reload"
    assert fold(rows_to_chunks(rows)) == rows
    if not result["live"].reloads:
        check_order(result["live"].chunks, one_runner=turn.attempt == 1)
    assert all(earlier < later for earlier, later in zip(result["live"].ids, result["live"].ids[1:], strict=False))
    assert all(call.state == ToolCall.State.DONE for call in result["calls"])
    results = [row.tool_call_id for row in rows if row.role == "tool"]
    assert sorted(results) == sorted(str(call.pk) for call in result["calls"]), "one result a call"
    unsafe = [call for name, call in TOOL_RUNS if name == "step"]
    assert len(unsafe) == len(set(unsafe)), "a tool that isn't idempotent ran twice"
    check_ending(rows, turn.status)
    for place, late in zip(range(0, len(result["replay"].ids), 7), result["late"], strict=True):
        if late.reloads:
            assert late.rows == rows, "what a late reader loads != reload"
        else:
            assert late.chunks == result["replay"].chunks[place + 1 :], "a late reader gets exactly the rest"
    if not any(fate.dead for fate in fates) and not any(fate.signals.stop.is_set() for fate in fates):
        assert turn.attempt == 1
    sequences = list(Message.objects.filter(turn=turn).order_by("sequence").values_list("sequence", flat=True))
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


@pytest.fixture
def session(transactional_db, owner) -> Session:
    return Session.objects.create(user=owner.user)


@pytest.mark.long
@given(
    steps=MODEL,
    deaths=st.lists(POINT, max_size=3),
    stop=st.one_of(st.none(), st.none(), POINT),
)
@example(steps=[[("step", "a")], [engine.ReasoningDelta("Hm")]], deaths=[], stop=None)  # ends in thoughts alone
@example(steps=[[("step", "a")], [engine.TextDelta("Hi")]], deaths=[], stop=None)  # ends in a word
@example(steps=[[engine.ReasoningDelta("Hm")]], deaths=[], stop=None)  # thoughts without a tool
@example(steps=[[engine.TextDelta("I do."), ("step", "a")], [engine.ReasoningDelta("Hm")]], deaths=[9], stop=None)
@example(steps=[[("step", "a")], [engine.TextDelta("\r")]], deaths=[], stop=None)  # ends in white space
@example(steps=[[engine.TextDelta("\x00")]], deaths=[], stop=None)  # nothing that can be stored
@example(steps=[[engine.ReasoningDelta("\x00"), engine.TextDelta("Hi\x00")]], deaths=[6], stop=None)
@settings(
    max_examples=depth(quick=20, full=200, deep=3000),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
def test_views_agree_whatever_happens(crashable, session, steps, deaths, stop):
    TOOL_RUNS.clear()
    fates = [Fate(death, None) for death in deaths]
    if stop is not None:
        fates.append(Fate(None, stop))

    result = asyncio.run(play(steps, fates, crashable, session))

    check(result, fates)


def test_fold_and_rows_to_chunks_are_inverse():
    call = str(uuid.uuid4())
    rows = [
        Row(role="reasoning", step=1, id="r", content="Hm"),
        Row(role="assistant", step=1, id="t", content="Hi", tool_calls=[{"id": call, "name": "x", "arguments": "{}"}]),
        Row(role="tool", step=1, content='{"type":"x"}', tool_call_id=call),
        Row(role="assistant", step=2, id="u", content="Bye"),
    ]

    assert fold(rows_to_chunks(rows)) == rows


def test_every_chunk_class_is_in_the_union():
    classes = set(c.Base.__subclasses__())

    assert classes == set(c.Chunk.__args__)
    assert len({cls.__struct_config__.tag for cls in classes}) == len(classes)


def test_a_repeated_result_is_dropped():
    folder = Folder()
    call = "11111111-1111-1111-1111-111111111111"
    for chunk in (
        c.StartStep(),
        c.ToolInputStart(tool_call_id=call, tool_name="x"),
        c.ToolInputAvailable(tool_call_id=call, tool_name="x", input={}),
        c.ToolOutputAvailable(tool_call_id=call, output={"type": "a"}),
        c.ToolOutputAvailable(tool_call_id=call, output={"type": "b"}),
    ):
        folder.add(chunk)

    assert [row.content for row in folder.rows if row.role == "tool"] == ['{"type":"a"}']
