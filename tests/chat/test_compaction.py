"""Conversations that outgrow their model: through the product, through a crash, and the pure functions."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from apps.chat.models import SUMMARY, Message, Session, Turn
from apps.chat.queries import latest_sequence
from apps.chat.tools.registry import ToolRegistry
from apps.chat.turns.compaction import HEADING, plan, request_tokens, transcript_parts, weight, with_summary
from apps.chat.turns.context import STATUS, summary_prompt
from apps.chat.turns.history import openai_messages
from apps.chat.turns.route import Route
from apps.chat.turns.start import start_turn
from apps.chat.turns.worker import TurnKind
from apps.engines import base as engine
from apps.engines.catalog import ModelFacts
from apps.runtime.db import db
from apps.runtime.worker import Signals
from tests.chat.clients import detail, new_session, say, text_of
from tests.chat.served import broker  # noqa: F401 -- a fixture
from tests.chat.test_fork import fork
from tests.chat.test_order import FakeRouter, SimulatedCrash

TOKENS = 6_000  # the context of the model in these tests
TODO = {"content": "t" * 3_000, "activeForm": "Doing it", "status": "pending"}


@pytest.fixture
def small_model(settings):
    settings.CHAT_MODEL_FACTS = {"flightdeck-demo": ModelFacts(context_tokens=TOKENS)}


def asked(model: Any, name: str) -> list[dict[str, Any]]:
    return model.requests(name)


def summaries_asked(model: Any) -> list[str]:
    bodies = [request["body"]["messages"] for request in model.requests()]
    return [messages[1]["content"] for messages in bodies if messages[0]["content"] == summary_prompt()]


def check_pairs(messages: list[dict[str, Any]]) -> None:
    """Fail unless every call is followed by its result, and every result follows its call."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting
        waiting = [call["id"] for call in message.get("tool_calls", ())]
    assert not waiting


def add_past(session: str, pairs: int, size: int = 500) -> None:
    """Store earlier questions and answers."""
    rows = [
        Message(session_id=session, sequence=n, role=role, content=f"{role} {n} ".ljust(size, "x"))
        for n, role in enumerate(["user", "assistant"] * pairs, start=1)
    ]
    Message.objects.bulk_create(rows)
    Session.objects.filter(pk=session).update(next_sequence=len(rows) + 1)


# Through the product --------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_session_of_five_times_the_context_keeps_answering(live, model, small_model):
    marker = model.script("long", [{"text": "answer " * 220}], repeat_last=True, context=TOKENS * 4)
    session = new_session(live)

    for number in range(28):
        frames = say(live, session, f"{marker} question {number} ".ljust(2_900, "q"))
        assert text_of([chunk for _, chunk in frames][:-1]) == "answer " * 220

    rows = detail(live, session, limit=200)["messages"]
    assert [row["role"] for row in rows] == ["user", "assistant"] * 28
    assert sum(len(row["content"]) for row in rows) > 5 * TOKENS * 4
    assert all(row["kind"] != SUMMARY for row in rows)
    stored = Message.objects.filter(session=session, kind=SUMMARY)
    assert stored.count() >= 3
    assert latest_sequence(uuid.UUID(session)) == rows[-1]["sequence"]

    requests = asked(model, "long")
    assert {request["status"] for request in requests} == {200}, "nothing was too long"
    last = requests[-1]["body"]["messages"]
    prefix = Message.objects.get(session=session, sequence=1).model_prefix
    assert last[1]["content"].startswith(f"{prefix}\n\n{marker} question 0 ")
    assert HEADING + stored.order_by("-sequence")[0].content in last[1]["content"]
    assert last[-1]["content"].startswith(f"{marker} question 27 ")
    bodies = [request["body"]["messages"] for request in requests]
    changes = 0
    for earlier, later in pairwise(bodies):
        if later[: len(earlier)] != earlier:  # only a new summary changes what was said before
            changes += 1
            assert later[1] != earlier[1]
    assert changes == stored.count() <= len(summaries_asked(model))  # some are made in two parts


def test_later_summaries_are_made_from_earlier_ones(live, model, small_model):
    marker = model.script("again", [{"text": "answer " * 300}], repeat_last=True)
    session = new_session(live)
    for number in range(14):
        say(live, session, f"{marker} question {number} ".ljust(1_500, "q"))
    texts = summaries_asked(model)
    assert len(texts) >= 2
    assert all(text.startswith("[Earlier summary]\n") for text in texts[1:])
    assert not texts[0].startswith("[Earlier summary]")


def test_what_the_provider_calls_too_long_is_compacted(live, model):
    marker = model.script("refused", [{"text": "Still here."}], repeat_last=True, context=40_000)
    session = new_session(live)
    add_past(session, 60)

    chunks = [chunk for _, chunk in say(live, session, f"{marker} Go on")][:-1]

    assert text_of(chunks) == "Still here."
    assert {"type": "data-status", "data": {"message": STATUS}, "transient": True} in chunks
    first, second = asked(model, "refused")
    assert (first["status"], second["status"]) == (400, 200)
    assert Message.objects.filter(session=session, kind=SUMMARY).count() == 1
    say(live, session, "And on")
    third = asked(model, "refused")[2]["body"]["messages"]
    assert third[: len(second["body"]["messages"])] == second["body"]["messages"]
    used = detail(live, session)
    assert used["total_prompt_tokens"] > 0


def test_an_answer_that_turns_out_too_long_half_way_is_not_begun_anew(live, model):
    failure = {"code": "context_length_exceeded", "message": "too long"}
    marker = model.script("half", [{"text": "Half an answer"}, {"error_chunk": failure}], [{"text": "Again."}])
    session = new_session(live)
    add_past(session, 60)

    chunks = [chunk for _, chunk in say(live, session, marker)][:-1]

    assert text_of(chunks) == "Half an answer"
    assert chunks[-2]["errorText"].startswith("[code:context_too_long] ")
    assert len(asked(model, "half")) == 1
    assert not Message.objects.filter(session=session, kind=SUMMARY).exists()


def test_targets_halve_three_times_and_then_there_is_a_clear_error(live, model):
    marker = model.script("tiny", [{"text": "never"}], context=10)
    session = new_session(live)
    add_past(session, 40)

    chunks = [chunk for _, chunk in say(live, session, f"{marker} Go on")][:-1]

    error = next(chunk for chunk in chunks if chunk["type"] == "error")
    assert error["errorText"].startswith("[code:context_too_long] ")
    requests = asked(model, "tiny")
    assert [request["status"] for request in requests] == [400] * 5
    sizes = [weight(request["body"]["messages"]) for request in requests]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 5
    assert Message.objects.filter(session=session, kind=SUMMARY).count() == 4
    rows = detail(live, session, limit=200)["messages"]
    assert len(rows) == 82
    assert rows[-1]["metadata"] == {"code": "context_too_long", "retryable": False}


def test_one_turn_that_outgrows_the_context_goes_on(live, model, small_model, settings):
    settings.CHAT_MAX_TOOL_ROUNDS = 12
    call = {"tool": "todo_write", "arguments": {"todos": [TODO]}}
    marker = model.script("endless", [call], repeat_last=True, context=TOKENS * 4)
    session = new_session(live)
    say(live, session, "Hello")

    chunks = [chunk for _, chunk in say(live, session, f"{marker} Do it all")][:-1]

    assert "12 tool rounds" in text_of(chunks)
    requests = asked(model, "endless")
    assert len(requests) == 12
    assert {request["status"] for request in requests} == {200}
    assert any(HEADING in request["body"]["messages"][1]["content"] for request in requests)
    for request in requests:
        messages = request["body"]["messages"]
        check_pairs(messages)
        assert any(f"{marker} Do it all" in message["content"] for message in messages if message["role"] == "user")
    results = [row for row in detail(live, session, limit=200)["messages"] if row["role"] == "tool"]
    assert len(results) == 12


def test_a_fork_goes_on_from_the_summary(live, model, small_model):
    marker = model.script("both", [{"text": "answer " * 300}], repeat_last=True)
    session = new_session(live)
    for number in range(8):
        say(live, session, f"{marker} question {number} ".ljust(1_500, "q"))
    assert Message.objects.filter(session=session, kind=SUMMARY).exists()
    place = detail(live, session)["messages"][-1]["sequence"]

    made = fork(live.owner, session, place).json()["id"]
    say(live, made, "Go on")
    say(live, session, "Go on")

    assert [row["content"] for row in detail(live, made)["messages"]] == [
        row["content"] for row in detail(live, session)["messages"]
    ]
    copy, original = (request["body"]["messages"] for request in asked(model, "both")[-2:])
    assert HEADING in copy[1]["content"]
    assert copy == original


# Through a crash, and without a summariser ----------------------------------------------------------------------


class Summariser:
    """An engine whose answers and summaries each follow a list and then repeat its last; what is asked is noted."""

    def __init__(self, answers: list[Any], summaries: list[Any]) -> None:
        self.answers = answers
        self.summaries = summaries
        self.asked: list[engine.StepRequest] = []

    async def step(self, request: engine.StepRequest) -> AsyncGenerator[Any]:
        self.asked.append(request)
        left = self.summaries if request.system == (summary_prompt(),) else self.answers
        said = left.pop(0) if len(left) > 1 else left[0]
        yield engine.Usage(prompt_tokens=3, completion_tokens=2)
        if isinstance(said, BaseException):
            raise said
        yield engine.TextDelta(said)
        yield engine.StepEnd("stop")

    @property
    def answers_asked(self) -> int:
        return sum(request.system != (summary_prompt(),) for request in self.asked)


class CheapRouter(FakeRouter):
    def cheap(self) -> Route:
        return self.route("fast", "standard")


@pytest.fixture
async def kind(settings):
    settings.CHAT_MODEL_FACTS = {"scripted": ModelFacts(context_tokens=TOKENS)}
    made = TurnKind()
    made.tools = ToolRegistry()
    yield made
    await made.redis.aclose()


@pytest.fixture
def session(transactional_db, owner) -> Session:
    made = Session.objects.create(user=owner.user)
    add_past(str(made.pk), 20, size=1_000)
    return made


async def play(kind: TurnKind, session: Session, scripted: Summariser) -> Turn:
    """Run a turn until it is over, whatever its runners die of."""
    kind.router = CheapRouter(scripted)  # type: ignore[assignment,arg-type]
    started = await db(start_turn, session=session, message="go")
    while claim := await db(kind.claim, started.turn_id, "test"):
        with suppress(SimulatedCrash):
            await kind.run(claim, Signals())
        running = Turn.objects.filter(pk=started.turn_id, status=Turn.RUNNING)
        await db(running.update, lease_expires_at=timezone.now() - timedelta(seconds=60))
    return await db(Turn.objects.get, pk=started.turn_id)


async def test_a_crash_between_summary_and_answer_loses_nothing(kind, session):
    scripted = Summariser([SimulatedCrash(), "Here."], ["In short."])

    turn = await play(kind, session, scripted)

    assert (turn.status, turn.attempt) == ("completed", 2)
    died, answered = [request for request in scripted.asked if request.system != (summary_prompt(),)]
    assert scripted.asked[-2:] == [died, answered], "nothing was summarised twice"
    assert died.messages == answered.messages
    assert f"{HEADING}In short." in answered.messages[0]["content"]
    rows = await db(list, Message.objects.filter(session=session).order_by("sequence"))
    assert [row.kind for row in rows].count(SUMMARY) == 1
    assert rows[-1].content == "Here."
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert turn.prompt_tokens == 3 * (len(scripted.asked) - 1)  # the dead runner took that of one call along


async def test_without_a_summariser_the_model_gets_the_whole_conversation(kind, session):
    scripted = Summariser(["Here."], [engine.ModelUnreachable()])
    turn = await play(kind, session, scripted)
    assert turn.status == "completed"
    assert scripted.asked[1].messages[0]["content"].startswith("user 1 ")
    assert not await db(Message.objects.filter(kind=SUMMARY).exists)


@pytest.mark.parametrize("nothing", [engine.BrokenStream(), " "])
async def test_without_a_summariser_a_refused_conversation_fails_with_its_reason(kind, session, settings, nothing):
    settings.CHAT_MODEL_FACTS = {}
    turn = await play(kind, session, Summariser([engine.ContextTooLong()], [nothing]))
    assert (turn.status, turn.error_code) == ("failed", "broken_stream")


async def test_a_summariser_with_a_smaller_context_gets_less_to_read(kind, session, settings):
    settings.CHAT_MODEL_FACTS = {}
    too_long = engine.ContextTooLong()
    scripted = Summariser([too_long, "Here."], [too_long, too_long, *[f"Part {n}." for n in range(20)]])
    turn = await play(kind, session, scripted)
    assert turn.status == "completed"
    sizes = [request_tokens(request) for request in scripted.asked if request.system == (summary_prompt(),)]
    assert sizes[0] > sizes[1] > 1.5 * sizes[2]
    told = scripted.asked[4].messages[0]["content"]
    assert told.startswith("[Earlier summary]\nPart 0.\n\n")


async def test_a_conversation_that_cant_be_shortened_is_asked_once(kind, session):
    await db(Message.objects.filter(session=session).delete)
    scripted = Summariser([engine.ContextTooLong()], [])
    turn = await play(kind, session, scripted)
    assert (turn.status, turn.error_code) == ("failed", "context_too_long")
    assert scripted.answers_asked == 1


# The pure functions ---------------------------------------------------------------------------------------------

STEP = st.tuples(st.integers(0, 3), st.integers(0, 40), st.booleans())  # calls, characters, whether people see thoughts
TURN = st.tuples(st.integers(1, 3), st.lists(STEP, max_size=5), st.booleans())  # messages, steps, whether it failed


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Return the rows of a conversation; its last turn may still run, and wait for results."""
    rows: list[Message] = []
    turns = draw(st.lists(TURN, min_size=1, max_size=5))
    runs, waits = draw(st.booleans()), draw(st.booleans())
    for number, (messages, steps, failed) in enumerate(turns):
        is_last = number == len(turns) - 1
        turn = Turn(id=uuid.uuid4(), status="running" if is_last and runs else "completed")
        rows += [Message(turn=turn, role="user", content=f"q{number}") for _ in range(messages)]
        for step, (calls, size, thinks) in enumerate(steps, start=1):
            ids = [uuid.uuid4() for _ in range(calls)]
            if thinks:
                rows.append(Message(turn=turn, step=step, role="reasoning", content="hm"))
            made = [{"id": str(call), "name": "x", "arguments": "{}"} for call in ids]
            rows.append(Message(turn=turn, step=step, role="assistant", content="a" * size, tool_calls=made or None))
            is_open = is_last and runs and waits and step == len(steps)
            answered = ids[:-1] if is_open else ids
            rows += [Message(turn=turn, step=step, role="tool", content="{}", tool_call_id=call) for call in answered]
        if failed and not (is_last and runs):
            rows.append(Message(turn=turn, role="system", kind="error", content="oops"))
    for place, row in enumerate(rows, start=1):
        row.sequence = place
    return rows


def shape(rows: list[Message]) -> list[tuple[Any, ...]]:
    return [(row.sequence, row.role, row.kind, row.content) for row in rows]


def steps_of(rows: list[Message]) -> list[tuple[Any, int]]:
    found = [(row.turn_id, row.step) for row in rows if row.role in {"assistant", "tool"}]
    return list(dict.fromkeys(found))


def test_a_step_that_waits_for_results_stays_however_little_room_there_is():
    turn = Turn(id=uuid.uuid4(), status="running")
    calls = [{"id": str(uuid.uuid4()), "name": "x", "arguments": "{}"} for _ in range(2)]
    rows = [
        Message(turn=turn, role="user", content="q"),
        Message(turn=turn, step=1, role="assistant", content="a" * 900),
        Message(turn=turn, step=2, role="assistant", content="b" * 900, tool_calls=calls),
        Message(turn=turn, step=2, role="tool", content="{}", tool_call_id=uuid.UUID(calls[0]["id"])),
    ]
    for place, row in enumerate(rows, start=1):
        row.sequence = place

    found = plan(rows, keep_steps=0, keep_bytes=0)

    assert found is not None
    assert [row.sequence for row in found.rows] == [2]
    assert found.through == 2


@given(rows=conversations(), keep_steps=st.integers(0, 4), keep_bytes=st.integers(0, 300))
def test_what_stays_is_whole_and_what_goes_is_in_the_summary(rows, keep_steps, keep_bytes):
    stored = list(rows)
    while found := plan(with_summary(stored), keep_steps=keep_steps, keep_bytes=keep_bytes):
        before = with_summary(stored)
        facts = {"through_sequence": found.through, "kept": list(found.kept)}
        summary = Message(role="system", kind=SUMMARY, content="s", metadata=facts, sequence=len(stored) + 1)
        stored.append(summary)
        left = with_summary(stored)
        assert shape(left)[0] == shape(rows)[0], "the first user message stays"
        assert shape(with_summary(left)) == shape(left), "once is enough"
        assert set(steps_of(rows)[len(steps_of(rows)) - keep_steps :]) <= set(steps_of(left)), "the last steps stay"
        places = {row.sequence for row in [*left, *found.rows] if row.kind != SUMMARY}
        assert all(row.sequence in places for row in before if row.role not in {"system", "reasoning"})
        for turn_id, step in steps_of(left):
            whole = [row for row in rows if (row.turn_id, row.step) == (turn_id, step)]
            assert shape(whole) == shape([row for row in left if (row.turn_id, row.step) == (turn_id, step)])
        said = [row for row in rows if row.turn_id == rows[-1].turn_id and row.role == "user"]
        if not rows[-1].turn.is_over:
            assert set(shape(said)) <= set(shape(left)), "what the running turn is to answer stays"
        messages = openai_messages(left)
        check_pairs(messages if not waits(rows) else messages[: -len(left_open(messages))])
        assert len(stored) < len(rows) + 20, "this comes to an end"
    later = [*stored, Message(role="user", content="more", sequence=len(stored) + 1)]
    given_then, given_now = openai_messages(with_summary(stored)), openai_messages(with_summary(later))
    if given_then and given_then[-1]["role"] != "user":
        assert given_now[: len(given_then)] == given_then, "nothing before the newest rows changes"


def waits(rows: list[Message]) -> bool:
    results = {str(row.tool_call_id) for row in rows if row.role == "tool"}
    return any(call["id"] not in results for row in rows for call in row.tool_calls or ())


def left_open(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the open step: the last message with calls, and what follows it."""
    start = max(place for place, message in enumerate(messages) if message.get("tool_calls"))
    return messages[start:]


@given(rows=conversations(), most=st.integers(100, 400))
def test_a_transcript_has_bounded_parts(rows, most):
    parts = list(transcript_parts(rows, most))
    assert all(weight(part) <= 1.5 * most for part in parts)
    assert parts[0].startswith("[User]\nq0")


def test_images_weigh_the_same_whatever_their_encoding():
    small = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    large = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    assert weight(small) == weight(large)
    assert weight("ä" * 10) == 20
