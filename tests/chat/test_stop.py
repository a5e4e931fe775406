"""Stop: seen within a second, whatever the turn waits for; the next message starts at once."""

from __future__ import annotations

import asyncio
import time

import httpx2
import pytest

from apps.chat.models import Message, ToolCall, Turn
from apps.chat.turns.runner import RETRY_SECONDS
from apps.chat.usage.models import CostEntry
from apps.runtime.db import db
from tests.chat.clients import detail, new_session, say, socket_of, text_of


@pytest.fixture(autouse=True)
def slow_tools(settings):
    settings.CHAT_TOOL_MODULES = ["tests.chat.slow_tools"]


SCRIPTS = {
    "silent model": [[{"text": "I begin"}, {"sleep": 60}, {"text": "never"}]],
    "model silent from the start": [[{"sleep": 60}, {"text": "never"}]],
    "streaming model": [[{"text": "word " * 2000, "chunk": 5, "delay": 0.02}]],
    "sleeping tool": [[{"text": "I begin"}, {"tool": "sleep", "arguments": {"seconds": 60}}]],
    "flooding tool": [[{"text": "I begin"}, {"tool": "flood", "arguments": {}}]],
    "deaf tool": [[{"text": "I begin"}, {"tool": "deaf", "arguments": {"seconds": 4}}]],
    "second call of three": [
        [{"tool": "sleep", "arguments": {"seconds": n}} for n in (0, 60, 0)],
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_stop_is_seen_within_a_second_and_the_next_message_starts_at_once(live, model, name):
    script = name.replace(" ", "-")
    marker = model.script(script, *SCRIPTS[name])
    quick = model.script("quick", [{"text": "Here I am."}])
    session = await db(new_session, live)
    async with socket_of(live) as socket:
        await socket.send(type="subscribe", session_id=session)
        await socket.say(session, marker)
        await wait_until_busy(socket, name)

        stopped_at = time.monotonic()
        await socket.send(type="stop", session_id=session)
        await socket.until_chunk("finish", timeout=5)
        took = time.monotonic() - stopped_at
        await socket.say(session, quick)
        await socket.until_chunk("finish", timeout=5)

    assert took < 5, f"{name}: {took:.2f} s"
    chunks = [event["chunk"] for event in socket.events()]
    assert [chunk["type"] for chunk in chunks].count("abort") == 1
    assert text_of(chunks).endswith("Here I am.")
    turns = await db(lambda: list(Turn.objects.order_by("created_at")))
    assert [turn.status for turn in turns] == ["cancelled", "completed"]
    rows = (await db(detail, live, session))["messages"]
    assert [row["kind"] for row in rows if row["role"] == "system"] == ["stopped"]
    await check_every_call_has_its_result(turns[0])
    if "model" in name:
        await check_connection_closed(model, script)


async def wait_until_busy(socket, name):
    if "tool" in name or "call" in name:
        await socket.until_chunk("tool-input-available")
        await asyncio.sleep(0.3)
    elif "start" in name:
        await socket.until_chunk("start-step")
        await asyncio.sleep(0.3)
    else:
        await socket.until_chunk("text-delta")


async def check_every_call_has_its_result(turn):
    calls = await db(lambda: list(ToolCall.objects.filter(turn=turn)))
    results = await db(lambda: list(Message.objects.filter(turn=turn, role="tool")))
    assert all(call.state == "done" for call in calls)
    assert {row.tool_call_id for row in results} == {call.pk for call in calls}


async def check_connection_closed(model, script):
    async with asyncio.timeout(3):
        while True:
            request = (await db(model.requests, script))[0]
            if request["closed_early"]:
                return
            await asyncio.sleep(0.02)


def test_what_was_written_before_a_stop_is_kept_and_no_model_is_given_the_note(live, model):
    marker = model.script("kept", [{"reasoning": "Hm."}, {"text": "Half an ans"}, {"sleep": 60}])
    session = new_session(live)
    url = f"{live.url}/api/chat/sessions/{session}"
    with httpx2.stream("POST", f"{url}/stream", headers=live.owner.headers, json={"message": marker}) as answer:
        lines = answer.iter_lines()
        while "Half" not in next(lines):
            pass
        assert httpx2.post(f"{url}/cancel", headers=live.owner.headers).json() == {"cancelled": True}
        rest = "".join(lines)
    assert '"abort"' in rest

    say(live, session, f"Go on {model.script('next', [{'text': 'Fine.'}])}")

    rows = [(row["role"], row["content"]) for row in detail(live, session)["messages"]]
    assert rows[1:4] == [
        ("reasoning", "Hm."),
        ("assistant", "Half an ans"),
        ("system", "You stopped this answer."),
    ]
    given = model.requests("next")[0]["body"]["messages"]
    assert [message["role"] for message in given] == ["system", "user", "assistant", "user"]
    assert "stopped" not in str(given)


def test_stopping_nothing_says_so(live):
    session = new_session(live)
    answer = httpx2.post(f"{live.url}/api/chat/sessions/{session}/cancel", headers=live.owner.headers)

    assert answer.json() == {"cancelled": True, "reason": "no_active_turn"}


def test_a_turn_that_runs_out_of_rounds_says_so(live, model, settings):
    settings.CHAT_MAX_TOOL_ROUNDS = 3
    marker = model.script("loop", [{"tool": "sleep", "arguments": {"seconds": 0}}], repeat_last=True)
    session = new_session(live)

    chunks = [chunk for _, chunk in say(live, session, marker)][:-1]

    assert "all 3 tool rounds" in text_of(chunks)
    assert len(model.requests("loop")) == 3


def test_a_tool_that_takes_too_long_is_ended(live, model, settings):
    live.turns.process.kind.tools._call_limit_seconds = 0.2
    marker = model.script("slow", [{"tool": "sleep", "arguments": {"seconds": 60}}], [{"text": "It took too long."}])

    chunks = [chunk for _, chunk in say(live, new_session(live), marker)][:-1]

    output = next(chunk["output"] for chunk in chunks if chunk["type"] == "tool-output-available")
    assert output["error"] == "timeout"
    assert text_of(chunks) == "It took too long."


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ({"status": 500}, "model_unreachable"),
        ({"status": 401}, "model_refused"),
        ({"raw": "data: {broken\n\n"}, "broken_stream"),
        ({"disconnect": True}, "broken_stream"),
    ],
)
def test_a_failing_model_ends_the_turn_with_a_sentence(live, model, action, code, monkeypatch):
    monkeypatch.setattr("apps.chat.turns.runner.RETRY_SECONDS", (0.01, 0.01, 0.01))
    marker = model.script(
        f"fail-{code}-{len(str(action))}", [{"text": "Some words "}, action] if "raw" in action else [action]
    )
    session = new_session(live)

    chunks = [chunk for _, chunk in say(live, session, marker)][:-1]

    assert [chunk["type"] for chunk in chunks[-2:]] == ["error", "finish"]
    assert chunks[-2]["errorText"].startswith(f"[code:{code}] ")
    row = detail(live, session)["messages"][-1]
    assert (row["role"], row["kind"], row["metadata"]["retryable"]) == ("system", "error", True)
    assert row["content"] in chunks[-2]["errorText"]
    assert say(live, session, f"again {model.script('ok', [{'text': 'Better.'}])}")[-1][1] == "[DONE]"


def test_a_passing_fault_is_tried_again_before_anything_was_shown(live, model, monkeypatch):
    monkeypatch.setattr("apps.chat.turns.runner.RETRY_SECONDS", (0.01, 0.01, 0.01))
    marker = model.script("busy", [{"status": 429, "times": 2}, {"text": "At last."}])

    chunks = [chunk for _, chunk in say(live, new_session(live), marker)][:-1]

    assert text_of(chunks) == "At last."
    assert len(model.requests("busy")) == 3
    assert [chunk["data"]["message"] for chunk in chunks if chunk["type"] == "data-status"][1:] == [
        "The model is busy; trying again…"
    ] * 2


def test_a_fault_that_stays_is_tried_again_three_times(live, model, monkeypatch):
    monkeypatch.setattr("apps.chat.turns.runner.RETRY_SECONDS", tuple(second / 100 for second in RETRY_SECONDS))
    marker = model.script("away", [{"status": 503}], repeat_last=True)

    chunks = [chunk for _, chunk in say(live, new_session(live), marker)][:-1]

    assert chunks[-2]["errorText"].startswith("[code:model_unreachable] ")
    assert len(model.requests("away")) == 4


def test_a_fault_that_will_not_pass_is_not_tried_again(live, model):
    marker = model.script("refused", [{"status": 400, "body": {"error": {"message": "no"}}}], repeat_last=True)

    say(live, new_session(live), marker)

    assert len(model.requests("refused")) == 1


def test_a_fault_after_something_was_shown_is_not_tried_again(live, model):
    marker = model.script("half", [{"text": "Half an"}, {"disconnect": True}])

    chunks = [chunk for _, chunk in say(live, new_session(live), marker)][:-1]

    assert chunks[-2]["errorText"].startswith("[code:broken_stream] ")
    assert len(model.requests("half")) == 1


def test_a_model_that_falls_silent_for_too_long_is_given_up(live, model, settings):
    settings.CHAT_TOOL_TIMEOUT_SECONDS = 0.2
    marker = model.script("mute", [{"text": "Well"}, {"sleep": 60}])

    chunks = [chunk for _, chunk in say(live, new_session(live), marker)][:-1]

    assert chunks[-2]["errorText"].startswith("[code:model_silent] ")


def test_five_empty_calls_in_a_row_end_the_turn(live, model):
    marker = model.script("stuck", [{"tool": "todo_write", "arguments": {}}], repeat_last=True)

    chunks = [chunk for _, chunk in say(live, new_session(live), marker)][:-1]

    assert chunks[-2]["errorText"].startswith("[code:empty_tool_calls] ")
    assert len(model.requests("stuck")) == 5


def test_empty_calls_that_do_not_follow_one_another_are_borne(live, model):
    empty = [{"tool": "todo_write", "arguments": {}}]
    good = [{"tool": "sleep", "arguments": {"seconds": 0}}]
    marker = model.script("clumsy", *[empty] * 4, good, *[empty] * 4, [{"text": "There."}])

    chunks = [chunk for _, chunk in say(live, new_session(live), marker)][:-1]

    assert text_of(chunks) == "There."
    assert len(model.requests("clumsy")) == 10


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([[{"tool": "sleep", "arguments": {"seconds": 0}}], [{"reasoning": "Hm."}, {"text": "Well."}]], "Well."),
        ([[{"text": "First."}, {"tool": "sleep", "arguments": {"seconds": 0}}], [{"text": "Then."}]], "First.Then."),
        ([[{"reasoning": "Hm."}, {"text": "At once."}]], "At once."),
    ],
)
def test_where_something_was_said_there_is_no_closing_line(live, model, steps, said):
    chunks = [chunk for _, chunk in say(live, new_session(live), model.script("said", *steps))][:-1]

    assert text_of(chunks) == said
    assert [chunk["type"] for chunk in chunks].count("start-step") == len(steps)


def test_thoughts_alone_without_a_tool_and_an_error_have_no_closing_line(live, model):
    for name, steps in (
        ("thoughts", [[{"reasoning": "Hm."}]]),
        ("refused-later", [[{"tool": "sleep", "arguments": {"seconds": 0}}], [{"reasoning": "Hm."}, {"status": 400}]]),
    ):
        chunks = [chunk for _, chunk in say(live, new_session(live), model.script(name, *steps))][:-1]
        assert text_of(chunks) == ""
        assert [chunk["type"] for chunk in chunks[-2:]] == ["error", "finish"], name


def test_reasoning_alone_after_tools_gets_a_closing_line(live, model):
    marker = model.script(
        "mute", [{"tool": "sleep", "arguments": {"seconds": 0}}], [{"reasoning": "That is all I wanted."}]
    )

    chunks = [chunk for _, chunk in say(live, new_session(live), marker)][:-1]

    assert text_of(chunks) == "Done: nothing more to add."
    kinds = [chunk["type"] for chunk in chunks]
    assert kinds.count("start-step") == 3, "it has a step of its own"


@pytest.mark.parametrize("actions", [[], [{"text": " \n "}], [{"reasoning": "Nothing to say to that."}]])
@pytest.mark.parametrize("mode", ["fast", "extended_thinking"])
def test_an_answer_without_a_word_is_an_error_that_says_so(live, model, mode, actions):
    marker = model.script(f"wordless-{mode}-{len(str(actions))}", [*actions, {"finish": "stop"}])
    session = new_session(live)

    chunks = [chunk for _, chunk in say(live, session, marker, mode=mode)][:-1]

    assert chunks[-2]["errorText"].startswith("[code:empty_answer] ")
    row = detail(live, session)["messages"][-1]
    assert (row["role"], row["kind"]) == ("system", "error")
    assert CostEntry.objects.count() == 1
