"""Where a person's allowance is used up: what is refused, what waits, and what goes on when there is some again."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import httpx2

from apps.chat.models import Turn
from apps.chat.usage.models import UsageWindow
from apps.chat.usage.windows import resets_at
from apps.runtime.db import db
from tests.chat.clients import detail, new_session, socket_of
from tests.chat.served import stream_url
from tests.chat.usage_tools import pay

EVERYTHING = 10**12  # microdollars


def post(live, session, message, **fields):
    body = {"message": message, **fields}
    return httpx2.post(stream_url(live, session), headers=live.owner.headers, json=body, timeout=30)


def waiting(live, session):
    url = f"{live.url}/api/chat/sessions/{session}/messages/pending"
    return httpx2.get(url, headers=live.owner.headers).json()["messages"]


def use_up(person):
    pay(person, EVERYTHING)


def give_back():
    UsageWindow.objects.all().delete()


async def test_a_new_turn_is_refused_with_window_and_end_and_nothing_is_stored(live, teammate, model):
    session = await asyncio.to_thread(new_session, live)
    await db(use_up, live.owner)
    mine = str(uuid.uuid4())

    refused = await asyncio.to_thread(post, live, session, "Hello", client_message_id=mine)
    async with socket_of(live) as socket:
        await socket.send(type="message", session_id=session, message="Hello", client_message_id=mine)
        error = await socket.receive()

    body = refused.json()
    assert refused.status_code == 429
    assert set(body) == {"detail", "code", "window", "resets_at"}
    assert (body["code"], body["window"]) == ("rate_limited", "weekly")
    now = datetime.now(UTC)
    assert datetime.fromisoformat(body["resets_at"]) == resets_at("weekly", now)
    assert resets_at("weekly", now) - now <= timedelta(days=7)
    assert error == {"type": "error", **body, "client_message_id": mine}
    assert (await asyncio.to_thread(detail, live, session))["messages"] == []
    assert not await db(Turn.objects.exists)
    # It was not stored, so its id is free; and nobody else is concerned.
    await db(give_back)
    marker = model.script("after", [{"text": "Hello."}])
    again = await asyncio.to_thread(post, live, session, marker, client_message_id=mine)
    assert again.status_code == 200
    await db(use_up, live.owner)
    async with socket_of(live, teammate) as other:
        theirs = await asyncio.to_thread(new_session, live, teammate)
        await other.say(theirs, model.script("theirs", [{"text": "Hello."}]))
    repeated = await asyncio.to_thread(post, live, session, marker, client_message_id=mine)
    assert repeated.status_code == 200, "what was taken stays taken"


async def test_what_waits_is_taken_over_the_limit_and_stays_when_the_turn_ends(live, model):
    async with socket_of(live) as socket:
        session = await asyncio.to_thread(new_session, live)
        await socket.send(type="subscribe", session_id=session)
        await socket.say(session, model.script("last", [{"text": "One. "}, {"sleep": 1.0}, {"text": "Two."}]))
        await socket.until_chunk("text-delta")
        await db(use_up, live.owner)
        waits = await asyncio.to_thread(post, live, session, "Waits")
        assert waits.status_code == 202, "a turn in flight comes before the limit"
        await socket.until_chunk("finish")

        assert await db(lambda: list(Turn.objects.values_list("status", flat=True))) == ["completed"]
        assert await asyncio.to_thread(waiting, live, session) == ["Waits"]
        assert (await asyncio.to_thread(post, live, session, "More")).status_code == 429
        assert await asyncio.to_thread(waiting, live, session) == ["Waits"]

        await db(give_back)
        marker = model.script("on", [{"text": "Both."}])
        await socket.say(session, marker)
        await socket.until_chunk("finish")
    rows = (await asyncio.to_thread(detail, live, session))["messages"]
    assert [row["content"] for row in rows if row["role"] == "user"][1:] == ["Waits", marker]
    assert await asyncio.to_thread(waiting, live, session) == []


async def test_what_goes_on_by_itself_keeps_mode_tier_and_permissions(live, model):
    permissions = {"tools": ["todo_write"], "tools_exclude": False}
    async with socket_of(live) as socket:
        session = await asyncio.to_thread(new_session, live)
        await socket.send(type="subscribe", session_id=session)
        marker = model.script("advanced", [{"text": "One. "}, {"sleep": 0.8}, {"text": "Two."}], [{"text": "Three."}])
        turn = await socket.say(session, marker, mode="extended_thinking", model="advanced")
        await socket.until_chunk("text-delta")
        await db(Turn.objects.filter(pk=turn).update, permissions=permissions)
        waits = await asyncio.to_thread(post, live, session, "More", mode="fast", model="standard")
        assert waits.status_code == 202
        for _ in range(2):
            await socket.until_chunk("finish")
    turns = await db(lambda: list(Turn.objects.order_by("created_at")))
    assert [(turn.mode, turn.tier, turn.permissions) for turn in turns] == [
        ("extended_thinking", "advanced", permissions)
    ] * 2
    assert [turn.origin for turn in turns] == ["user", "auto_continue"]
    offered = [tool["name"] for tool in model.requests("advanced")[1]["body"]["tools"]]
    assert offered == ["todo_write"]


async def test_token_totals_are_those_of_finished_steps(live, model):
    async with socket_of(live) as socket:
        session = await asyncio.to_thread(new_session, live)
        await socket.send(type="subscribe", session_id=session)
        todo = {"todos": [{"content": "a", "activeForm": "a", "status": "pending"}]}
        await socket.say(
            session,
            model.script(
                "counted",
                [{"tool": "todo_write", "arguments": todo}, {"usage": {"prompt_tokens": 100, "completion_tokens": 7}}],
                [{"text": "Half"}, {"sleep": 1.0}, {"usage": {"prompt_tokens": 200, "completion_tokens": 9}}],
            ),
        )
        await socket.until_chunk("text-delta")
        half = await asyncio.to_thread(detail, live, session)
        await socket.until_chunk("finish")
        whole = await asyncio.to_thread(detail, live, session)
        told = [event["chunk"] for event in socket.events() if event["chunk"]["type"] == "message-metadata"]
    assert (half["total_prompt_tokens"], half["total_completion_tokens"]) == (100, 7)
    assert [row["role"] for row in half["messages"]] == ["user", "assistant", "tool"]
    assert half["active_stream"]["status"] == "running"
    assert half["active_stream"]["resume_after"] == next(
        event["event_id"] for event in socket.events() if event["chunk"]["type"] == "finish-step"
    )
    assert (whole["total_prompt_tokens"], whole["total_completion_tokens"]) == (300, 16)
    assert whole["active_stream"] is None
    assert told[-1]["messageMetadata"]["usage"]["total_tokens"] == 316
