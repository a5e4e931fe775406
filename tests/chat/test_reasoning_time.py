"""How long reasoning took: measured once, and the same live, replayed, stored and copied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from apps.chat.models import Message
from apps.chat.stream import chunks as c
from apps.chat.stream.fold import Row, fold, rows_to_chunks
from tests.chat.clients import detail, new_session, say, socket_of
from tests.chat.served import broker, stop  # noqa: F401 -- a fixture
from tests.chat.test_fork import fork

SLOWLY = {"chunk": 1, "delay": 0.05}


def told(chunks: list[Any]) -> list[int]:
    """Return the durations that a stream tells."""
    ends = [chunk for chunk in chunks if chunk["type"] == "reasoning-end"]
    return [end["providerMetadata"]["flightdeck"]["durationMs"] for end in ends]


def stored(live: Any, session: str) -> list[int | None]:
    """Return the durations that the API tells, of reasoning rows; no other row has one."""
    rows = detail(live, session)["messages"]
    assert [row for row in rows if row["duration_ms"] is not None and row["role"] != "reasoning"] == []
    return [row["duration_ms"] for row in rows if row["role"] == "reasoning"]


@pytest.mark.parametrize("mode", ["fast", "extended_thinking"])
def test_it_is_measured_from_the_blocks_start_to_its_end(live, model, mode):
    marker = model.script(
        f"timed-{mode}",
        [{"reasoning": "12345678", **SLOWLY}, {"tool": "todo_write", "arguments": {"todos": []}}],
        [{"reasoning": "Quick."}, {"text": "slow " * 3, **SLOWLY}],
    )
    session = new_session(live)

    long, short = told([chunk for _, chunk in say(live, session, marker, mode=mode)][:-1])

    assert 300 <= long <= 2000
    assert 0 <= short < 300
    assert stored(live, session) == [long, short]


def test_a_copy_keeps_it(live, model):
    session = new_session(live)
    say(live, session, model.script("copied", [{"reasoning": "1234", **SLOWLY}, {"text": "Yes."}]))
    last = detail(live, session)["messages"][-1]["sequence"]

    copy = fork(live.owner, session, last).json()["id"]

    assert stored(live, copy) == stored(live, session) != [None]


async def test_a_stop_ends_it(live, model):
    from apps.runtime.db import db

    marker = model.script("stopped", [{"reasoning": "Hm."}, {"sleep": 60}])
    session = await db(new_session, live)
    async with socket_of(live) as socket:
        await socket.send(type="subscribe", session_id=session)
        await socket.say(session, marker)
        await socket.until_chunk("reasoning-delta")
        await db(stop, live, session)
        await socket.until_chunk("finish")
        (live_view,) = told([event["chunk"] for event in socket.events()])

    assert await db(stored, live, session) == [live_view]


def test_chunks_and_rows_say_the_same_of_it():
    known = Row(role="reasoning", step=1, id="r", content="Hm", duration_ms=1200)
    unknown = replace(known, id="s", duration_ms=None)
    rows = [known, unknown]

    made = list(rows_to_chunks(rows))

    assert fold(made) == rows
    ends = [c.encode(chunk).decode() for chunk in made if isinstance(chunk, c.ReasoningEnd)]
    assert ends == [
        '{"type":"reasoning-end","id":"r","providerMetadata":{"flightdeck":{"durationMs":1200}}}',
        '{"type":"reasoning-end","id":"s"}',
    ]


def test_rows_of_before_have_none(live, model):
    session = new_session(live)
    Message.objects.create(session_id=session, sequence=1, role="reasoning", content="Long ago.")

    assert stored(live, session) == [None]
