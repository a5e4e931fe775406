"""What people are shown of the runs that a tool started."""

from __future__ import annotations

import asyncio

import pytest

from apps.chat.models import Message
from tests.chat.clients import detail, new_session, say, socket_of, text_of
from tests.chat.served import stop
from tests.chat.slow_tools import Gate, Runs

FIRST, SECOND = map(str, Runs.ids)


@pytest.fixture(autouse=True)
def _tools(settings):
    settings.CHAT_TOOL_MODULES = ["tests.chat.slow_tools"]
    Gate.opened.clear()
    yield
    Gate.opened.set()


def test_runs_are_told_within_their_step_and_not_stored(live, model):
    marker = model.script("runs", [{"tool": "runs", "arguments": {"seconds": 0}}], [{"text": "Both ran."}])
    session = new_session(live)

    chunks = [chunk for _, chunk in say(live, session, marker)][:-1]

    told = [chunk for chunk in chunks if chunk["type"] == "data-execution"]
    begun = [{"status": status, "node_count": 3} for status in ("QUEUED", "RUNNING")]
    assert [chunk["data"] for chunk in told if chunk["id"] == SECOND] == begun
    assert [chunk["data"] for chunk in told if chunk["id"] == FIRST] == [
        *begun,
        {"status": "COMPLETED", "node_count": 4, "node_error_count": 1},
    ]
    assert all(set(chunk) == {"type", "id", "data"} for chunk in told)
    kinds = [chunk["type"] for chunk in chunks]
    places = [place for place, kind in enumerate(kinds) if kind == "data-execution"]
    assert kinds.index("tool-input-available") < places[0] <= places[-1] < kinds.index("tool-output-available")
    assert text_of(chunks) == "Both ran."
    rows = detail(live, session)["messages"]
    assert [row["role"] for row in rows] == ["user", "assistant", "tool", "assistant"]
    assert not Message.objects.filter(content__contains=FIRST).exists()
    assert FIRST not in str(model.requests("runs")[1]["body"])


async def test_a_late_reader_is_told_the_same_and_a_stop_ends_it(live, model):
    marker = model.script("endless", [{"tool": "runs", "arguments": {"seconds": 60}}])
    session = await asyncio.to_thread(new_session, live)
    async with socket_of(live) as socket, socket_of(live) as late:
        await socket.send(type="subscribe", session_id=session)
        await socket.say(session, marker)
        await socket.until_chunk("data-execution")
        await late.send(type="subscribe", session_id=session)
        await late.until_chunk("data-execution")
        await asyncio.to_thread(stop, live, session)
        for tab in (socket, late):
            await tab.until_chunk("finish")
    first, second = ([(event["event_id"], event["chunk"]) for event in tab.events()] for tab in (socket, late))
    assert first == second
    kinds = [chunk["type"] for _, chunk in first]
    assert "data-execution" not in kinds[kinds.index("tool-output-error") :]
    rows = (await asyncio.to_thread(detail, live, session))["messages"]
    assert [(row["role"], row["kind"]) for row in rows[1:]] == [
        ("assistant", ""),
        ("tool", "no_result"),
        ("system", "stopped"),
    ]
