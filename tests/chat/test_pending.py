"""Messages sent while the copilot works: they wait, enter the turn between two steps, or start the next one."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx2
import pytest
import redis

from apps.chat.models import PendingMessage, Turn
from apps.chat.turns import pending
from apps.runtime.db import db
from tests.chat.clients import detail, new_session, socket_of
from tests.chat.slow_tools import Gate

NOT_FOUND = {"detail": "Not found."}


@pytest.fixture(autouse=True)
def _gate(settings):
    settings.CHAT_TOOL_MODULES = ["tests.chat.slow_tools"]
    Gate.opened.clear()
    yield
    Gate.opened.set()


def address(live: Any, session: str, rest: str = "stream") -> str:
    return f"{live.url}/api/chat/sessions/{session}/{rest}"


def post(live: Any, session: str, message: str, **fields: Any) -> httpx2.Response:
    body = {"message": message, **fields}
    return httpx2.post(address(live, session), headers=live.owner.headers, json=body, timeout=30)


def waiting(live: Any, session: str) -> dict[str, Any]:
    answer = httpx2.get(address(live, session, "messages/pending"), headers=live.owner.headers)
    assert answer.status_code == 200
    return answer.json()


def change(
    live: Any, session: str, item: str, method: str = "PATCH", person: Any = None, **body: Any
) -> httpx2.Response:
    headers = (person or live.owner).headers
    return httpx2.request(
        method, address(live, session, f"messages/pending/{item}"), headers=headers, json=body or None
    )


def users(live: Any, session: str) -> list[str]:
    return [row["content"] for row in detail(live, session)["messages"] if row["role"] == "user"]


async def told_of(socket: Any, kind: str, **fields: Any) -> dict[str, Any]:
    """Return the frame of a type with these fields, which may have come already."""
    for frame in socket.frames:
        if frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items()):
            return frame
    return await socket.until(kind, **fields)


async def at_the_gate(live: Any, model: Any, socket: Any, name: str, *more: list[Any]) -> tuple[str, str]:
    """Start a turn that waits in a tool; returns the session and the turn."""
    session = await asyncio.to_thread(new_session, live)
    await socket.send(type="subscribe", session_id=session)
    await socket.until("subscribed")
    marker = model.script(name, [{"tool": "gate", "arguments": {}}], *(more or ([{"text": "Both, then."}],)))
    turn = await socket.say(session, f"Begin {marker}")
    await socket.until_chunk("tool-input-available")
    return session, turn


async def test_follow_ups_enter_the_turn_after_the_tool(live, model):
    async with socket_of(live) as socket, socket_of(live) as other_tab:
        session, _ = await at_the_gate(live, model, socket, "drain")
        first = await asyncio.to_thread(post, live, session, "Make it blue")
        await socket.send(
            type="message", session_id=session, message="And round", client_message_id=(mine := str(uuid.uuid4()))
        )
        queued = await told_of(socket, "queued")
        told = [await told_of(tab, "pending", count=2) for tab in (socket, other_tab)]
        await other_tab.send(type="subscribe", session_id=session)
        subscribed = await other_tab.until("subscribed")
        asked = await asyncio.to_thread(waiting, live, session)
        Gate.opened.set()
        drained = await socket.until_chunk("data-pending-drained")
        await socket.until_chunk("finish")
        assert (await told_of(other_tab, "pending", count=0))["messages"] == []
        await other_tab.until_chunk("finish")

    body = {"buffer_length": 1, "max_buffer_length": 10, "turn_in_flight": True}
    assert (first.status_code, first.json()) == (202, body)
    assert queued == {"type": "queued", "client_message_id": mine, "session_id": session, **body, "buffer_length": 2}
    for frame in (*told, asked, subscribed["pending"]):
        assert frame["messages"] == ["Make it blue", "And round"]
        assert [item["content"] for item in frame["items"]] == ["Make it blue", "And round"]
    kinds = [event["chunk"]["type"] for event in socket.events()]
    assert kinds[kinds.index("data-pending-drained") - 1] == "finish-step"
    assert kinds.index("tool-output-available") < kinds.index("data-pending-drained")
    rows = (await asyncio.to_thread(detail, live, session))["messages"]
    assert [(row["role"], row["kind"], row["content"]) for row in rows if row["role"] != "tool"][1:] == [
        ("assistant", "", ""),
        ("user", "follow_up", "Make it blue"),
        ("user", "follow_up", "And round"),
        ("assistant", "", "Both, then."),
    ]
    shown = drained["chunk"]["data"]
    assert shown["count"] == 2
    assert [(m["id"], m["content"]) for m in shown["messages"]] == [
        (row["id"], row["content"]) for row in rows if row["kind"] == "follow_up"
    ]
    assert (rows[4]["client_message_id"], rows[3]["client_message_id"]) == (mine, None)
    output = next(row["content"] for row in rows if row["role"] == "tool")
    assert "blue" not in output
    assert "user_follow_up" not in output
    second = model.requests("drain")[1]["body"]["messages"]
    assert [message["role"] for message in second] == ["system", "user", "assistant", "tool", "user"]
    assert second[-1]["content"] == "Make it blue\n\nAnd round"
    replay = [event["chunk"] for event in other_tab.events() if event["chunk"]["type"] == "data-pending-drained"]
    assert replay == [drained["chunk"]]


async def test_what_waits_at_the_end_starts_the_next_turn(live, model):
    async with socket_of(live) as socket:
        session = await asyncio.to_thread(new_session, live)
        await socket.send(type="subscribe", session_id=session)
        marker = model.script(
            "late", [{"text": "One. ", "chunk": 2}, {"sleep": 0.6}, {"text": "Two."}], [{"text": "Three."}]
        )
        first = await socket.say(session, marker)
        await socket.until_chunk("text-delta")
        assert (await asyncio.to_thread(post, live, session, "More")).status_code == 202
        await socket.until_chunk("finish")
        await socket.until_chunk("finish")
    turns = await db(lambda: list(Turn.objects.filter(session=session).order_by("created_at")))
    assert [(turn.origin, turn.status) for turn in turns] == [("user", "completed"), ("auto_continue", "completed")]
    assert turns[0].pk == uuid.UUID(first)
    assert {event["turn_id"] for event in socket.events()} == {str(turn.pk) for turn in turns}
    rows = (await asyncio.to_thread(detail, live, session))["messages"]
    assert [(row["role"], row["kind"], row["content"]) for row in rows] == [
        ("user", "", marker),
        ("assistant", "", "One. Two."),
        ("user", "", "More"),
        ("assistant", "", "Three."),
    ]


async def test_what_was_stopped_never_goes_on_and_the_next_message_takes_it_along(live, model):
    async with socket_of(live) as socket:
        session, _ = await at_the_gate(live, model, socket, "stopped")
        for text in ("Waits", "Waits too"):
            assert (await asyncio.to_thread(post, live, session, text)).status_code == 202
        await socket.send(type="stop", session_id=session)
        await socket.until_chunk("finish")
        assert (await asyncio.to_thread(waiting, live, session))["count"] == 2
        assert await db(Turn.objects.filter(session=session).count) == 1
        marker = model.script("on", [{"text": "All three."}])
        await socket.say(session, f"Now {marker}")
        await socket.until_chunk("finish")
    assert (await asyncio.to_thread(users, live, session))[1:] == ["Waits", "Waits too", f"Now {marker}"]
    assert (await asyncio.to_thread(waiting, live, session))["count"] == 0
    asked = model.requests("on")[0]["body"]["messages"][-1]
    assert asked["content"].endswith(f"Waits\n\nWaits too\n\nNow {marker}")


async def test_after_a_failure_they_wait_for_the_next_message(live, model):
    async with socket_of(live) as socket:
        session = await asyncio.to_thread(new_session, live)
        await socket.send(type="subscribe", session_id=session)
        refusal = {"status": 400, "body": {"error": {"message": "no"}}}
        await socket.say(session, model.script("broken", [{"sleep": 0.6}, refusal]))
        assert (await asyncio.to_thread(post, live, session, "Waits")).status_code == 202
        await socket.until_chunk("error")
        await socket.until_chunk("finish")
        assert (await asyncio.to_thread(waiting, live, session))["messages"] == ["Waits"]
    assert await db(lambda: [turn.status for turn in Turn.objects.filter(session=session)]) == ["failed"]


async def test_the_eleventh_is_refused_and_stored_nowhere(live, model):
    async with socket_of(live) as socket:
        session, _ = await at_the_gate(live, model, socket, "full")
        for number in range(10):
            assert (await asyncio.to_thread(post, live, session, f"{number}")).status_code == 202
        refused = await asyncio.to_thread(post, live, session, "10")
        await socket.send(
            type="message", session_id=session, message="11", client_message_id=(mine := str(uuid.uuid4()))
        )
        error = await socket.until("error")
        Gate.opened.set()
        await socket.until_chunk("finish")
    assert (refused.status_code, refused.json()["code"]) == (429, "pending_full")
    assert (error["code"], error["client_message_id"]) == ("pending_full", mine)
    assert (await asyncio.to_thread(users, live, session))[1:] == [str(number) for number in range(10)]


async def test_more_than_thirty_a_minute_over_all_sessions_are_refused(live, model, monkeypatch):
    monkeypatch.setattr(pending, "MOST_QUEUED_A_MINUTE", 3)
    async with socket_of(live) as socket:
        one, _ = await at_the_gate(live, model, socket, "many")
        two, _ = await at_the_gate(live, model, socket, "many-more")
        taken = [(await asyncio.to_thread(post, live, session, "x")).status_code for session in (one, two, one)]
        refused = await asyncio.to_thread(post, live, two, "one too many")
        assert (await asyncio.to_thread(waiting, live, two))["messages"] == ["x"]
    assert taken == [202, 202, 202]
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_queued")


async def test_what_was_taken_is_never_refused_when_it_is_sent_again(live, model, monkeypatch):
    monkeypatch.setattr(pending, "MOST_QUEUED_A_MINUTE", 2)
    first, second, third = (str(uuid.uuid4()) for _ in range(3))
    async with socket_of(live) as socket:
        session = await asyncio.to_thread(new_session, live)
        marker = model.script("taken", [{"tool": "gate", "arguments": {}}], [{"text": "Done."}])
        await socket.send(type="subscribe", session_id=session)
        await socket.send(type="message", session_id=session, message=marker, client_message_id=first)
        turn = (await socket.until("accepted"))["turn_id"]
        await socket.until_chunk("tool-input-available")

        def again(client_id: str) -> httpx2.Response:
            return post(live, session, "x", client_message_id=client_id)

        waits = [await asyncio.to_thread(again, second) for _ in range(3)]
        assert [(answer.status_code, answer.json()["buffer_length"]) for answer in waits] == [(202, 1)] * 3
        assert (await asyncio.to_thread(again, third)).status_code == 202, "repeats aren't counted"
        assert (await asyncio.to_thread(again, str(uuid.uuid4()))).status_code == 429
        assert (await asyncio.to_thread(again, second)).json()["buffer_length"] == 2
        await socket.send(type="message", session_id=session, message="x", client_message_id=first)
        assert (await socket.until("accepted", client_message_id=first))["turn_id"] == turn
        Gate.opened.set()
        await socket.until_chunk("finish")
    assert (await asyncio.to_thread(users, live, session))[1:] == ["x", "x"]


async def test_without_redis_nobody_counts(live, model, monkeypatch):
    async with socket_of(live) as socket:
        session, _ = await at_the_gate(live, model, socket, "uncounted")

        def away() -> None:
            raise redis.ConnectionError("away")

        monkeypatch.setattr(pending, "sync_client", away)
        assert (await asyncio.to_thread(post, live, session, "x")).status_code == 202


async def test_the_same_message_sent_again_waits_once(live, model):
    mine = str(uuid.uuid4())
    async with socket_of(live) as socket:
        session, turn = await at_the_gate(live, model, socket, "again")
        answers = [await asyncio.to_thread(post, live, session, "x", client_message_id=mine) for _ in range(3)]
        assert [(answer.status_code, answer.json()["buffer_length"]) for answer in answers] == [(202, 1)] * 3
        Gate.opened.set()
        await socket.until_chunk("finish")
        await socket.send(type="message", session_id=session, message="x", client_message_id=mine)
        assert (await socket.until("accepted"))["turn_id"] == turn
    assert (await asyncio.to_thread(users, live, session))[1:] == ["x"]


async def test_their_owner_may_edit_move_and_delete_them(live, model, teammate):
    async with socket_of(live) as socket:
        session, _ = await at_the_gate(live, model, socket, "edit")
        for text in ("a", "b", "c"):
            await asyncio.to_thread(post, live, session, text)
        a, b, c = [item["id"] for item in (await asyncio.to_thread(waiting, live, session))["items"]]
        moved = await asyncio.to_thread(change, live, session, c, position=0)
        assert (moved.status_code, moved.json()["messages"]) == (200, ["c", "a", "b"])
        edited = await asyncio.to_thread(change, live, session, a, content=" A ", position=9)
        assert edited.json()["messages"] == ["c", "b", "A"]
        assert (await asyncio.to_thread(change, live, session, b, "DELETE")).status_code == 204
        assert (await told_of(socket, "pending", messages=["c", "A"]))["count"] == 2
        for body in ({}, {"content": " "}, {"position": -1}, {"content": "x" * 64_001}, {"colour": "red"}):
            assert (await asyncio.to_thread(change, live, session, a, **body)).status_code == 400
        unknown = str(uuid.uuid4())
        for person, place, item in ((teammate, session, a), (live.owner, session, unknown), (live.owner, unknown, a)):
            for method, body in (("PATCH", {"content": "mine"}), ("DELETE", {})):
                answer = await asyncio.to_thread(change, live, place, item, method, person, **body)
                assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
        Gate.opened.set()
        await socket.until_chunk("finish")
        assert (await asyncio.to_thread(change, live, session, a, content="late")).status_code == 404
    assert (await asyncio.to_thread(users, live, session))[1:] == ["c", "A"]


async def test_somebody_elses_list_is_unknown(live, teammate):
    session = await asyncio.to_thread(new_session, live)
    answer = httpx2.get(address(live, session, "messages/pending"), headers=teammate.headers)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize("rows", [1, 3])
def test_looking_takes_a_constant_number_of_queries(owner, rows, django_assert_num_queries):
    session = owner.client.post("/api/chat/sessions", {}, format="json").json()["id"]
    for place in range(rows):
        PendingMessage.objects.create(session_id=session, position=place, content="x")
    with django_assert_num_queries(3):
        answer = owner.client.get(f"/api/chat/sessions/{session}/messages/pending")
    assert answer.json()["count"] == rows
    assert PendingMessage.objects.count() == rows
