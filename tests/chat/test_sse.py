"""Turns as server-sent events: sending, following, coming back."""

import asyncio
import json
from contextlib import aclosing, asynccontextmanager

import httpx2
import msgspec
import pytest

from apps.chat.live import live as live_part
from apps.chat.stream import chunks as c
from apps.chat.stream.fold import fold
from apps.runtime.db import db
from tests.chat.clients import detail, new_session, say, sse_frames, text_of
from tests.chat.served import broker, eventually, place, stop, stream_url  # noqa: F401 -- a fixture

TODO = {"todos": [{"content": "Write it", "activeForm": "Writing it", "status": "pending"}]}
THINK = {"reasoning": "Let me think about it.", "chunk": 6, "delay": 0.03}
WRITE = {"text": "Here is what I wrote, piece by piece.", "chunk": 5, "delay": 0.03}
LONG_STEPS = [[THINK, {"tool": "todo_write", "arguments": TODO, "parts": 3}], [WRITE, {"sleep": 60}]]


def said_all(chunk):
    return chunk["type"] == "text-delta" and chunk["delta"].endswith(".")


@asynccontextmanager
async def client_of(live):
    limits = httpx2.Limits(max_connections=100)
    async with httpx2.AsyncClient(base_url=live.url, headers=live.owner.headers, timeout=20, limits=limits) as client:
        yield client


class Reader:
    """Reads an answer's frames as they come."""

    def __init__(self, answer):
        self.answer = answer
        self.frames = []
        self._blocks = self._read()

    async def _read(self):
        unread = b""
        async with aclosing(self.answer.aiter_raw()) as pieces:
            async for piece in pieces:
                unread += piece
                while b"\n\n" in unread:
                    block, unread = unread.split(b"\n\n", 1)
                    for frame in sse_frames(block.decode()):
                        yield frame

    async def until(self, seen):
        """Read until a frame for whose chunk `seen` is true; None at the end."""
        async for frame in self._blocks:
            self.frames.append(frame)
            if frame[1] != "[DONE]" and seen(frame[1]):
                return frame
        return None

    async def rest(self):
        await self.until(lambda chunk: False)
        return self.frames

    async def aclose(self):
        await self._blocks.aclose()


@asynccontextmanager
async def posted(client, session, message):
    async with client.stream("POST", f"/api/chat/sessions/{session}/stream", json={"message": message}) as answer:
        assert answer.status_code == 200
        async with aclosing(Reader(answer)) as reader:
            yield reader


@asynccontextmanager
async def followed(client, session, headers=None, **query):
    address = f"/api/chat/sessions/{session}/stream"
    async with client.stream("GET", address, headers=headers, params=query) as answer:
        assert answer.status_code == 200, await answer.aread()
        async with aclosing(Reader(answer)) as reader:
            yield reader


def rows_of(frames):
    """Return what frames mean, as REST tells it."""
    chunks = [c.decode(msgspec.json.encode(chunk)) for _, chunk in frames if chunk != "[DONE]"]
    return [(row.role, row.kind, row.content, row.tool_calls or None, row.tool_call_id) for row in fold(chunks)]


def stored_rows(live, session):
    fields = ("role", "kind", "content", "tool_calls", "tool_call_id")
    rows = [tuple(row[field] for field in fields) for row in detail(live, session)["messages"] if row["role"] != "user"]
    return [(role, kind, content, calls or None, call) for role, kind, content, calls, call in rows]


def test_the_answers_headers_are_exact(live, model):
    session = new_session(live)
    answer = httpx2.post(stream_url(live, session), headers=live.owner.headers, json={"message": model.script("h", [])})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert "Content-Length" not in answer.headers
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*", "application/json", "text/html", "nonsense"])
def test_any_accept_header_gets_the_stream(live, model, accept):
    session = new_session(live)
    headers = {**live.owner.headers, "Accept": accept}
    answer = httpx2.post(
        stream_url(live, session), headers=headers, json={"message": model.script("a", [{"text": "x"}])}
    )
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.text.endswith("data: [DONE]\n\n")


def test_frames_have_rising_ids_and_end_with_done(live, model):
    marker = model.script("ids", [{"tool": "todo_write", "arguments": TODO}], [{"text": "One two three", "chunk": 2}])
    frames = say(live, new_session(live), marker)
    assert frames[-1] == ("", "[DONE]")
    places = [place(event_id) for event_id, _ in frames[:-1]]
    assert places == sorted(set(places))
    assert [chunk for _, chunk in frames].count("[DONE]") == 1
    assert frames[-2][1] == {"type": "finish"}


def test_every_frame_is_an_id_and_one_line_of_json(live, model):
    marker = model.script("lines", [{"text": "First\n\nsecond\r\nthird\u2028data: no\nid: 7"}])
    answer = httpx2.post(stream_url(live, new_session(live)), headers=live.owner.headers, json={"message": marker})
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        lines = block.split("\n")
        if lines in ([": keep-alive"], ["data: [DONE]"]):
            continue
        assert [line.partition(": ")[0] for line in lines] == ["id", "data"]
        json.loads(lines[1].removeprefix("data: "))
    assert (
        text_of([chunk for _, chunk in sse_frames(answer.text)][:-1]) == "First\n\nsecond\r\nthird\u2028data: no\nid: 7"
    )


def test_silence_is_filled_with_comments(live, model, monkeypatch):
    monkeypatch.setattr("apps.runtime.sse.KEEP_ALIVE_SECONDS", 0.05)
    marker = model.script("quiet", [{"sleep": 0.5}, {"text": "There."}])
    answer = httpx2.post(stream_url(live, new_session(live)), headers=live.owner.headers, json={"message": marker})
    assert answer.text.count(": keep-alive\n\n") >= 5
    assert text_of([chunk for _, chunk in sse_frames(answer.text)][:-1]) == "There."


async def test_coming_back_from_any_event_gives_exactly_the_rest(live, model):
    marker = model.script("back", *LONG_STEPS)
    session = new_session(live)
    async with client_of(live) as client, posted(client, session, marker) as first:
        await first.until(said_all)
        known = [event_id for event_id, _ in first.frames]
        assert len(known) > 15
        all_follow = asyncio.Barrier(len(known) + 2)

        async def rest_after(number, event_id):
            where = {"headers": {"Last-Event-ID": event_id}} if number % 2 else {"after": event_id}
            async with followed(client, session, **where) as reader:
                await all_follow.wait()
                return await reader.rest()

        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(rest_after(number, event_id)) for number, event_id in enumerate(known)]
            whole = group.create_task(rest_after(0, ""))
            await all_follow.wait()
            await db(stop, live, session)
        frames = await first.rest()
    for position, read in enumerate(reads):
        assert read.result() == frames[position + 1 :], f"after {known[position]}"
    assert whole.result() == frames
    assert rows_of(frames) == await db(stored_rows, live, session)


async def test_the_header_wins_over_the_query(live, model):
    marker = model.script("both", *LONG_STEPS)
    session = new_session(live)
    async with client_of(live) as client, posted(client, session, marker) as first:
        last = await first.until(said_all)
        async with followed(client, session, {"Last-Event-ID": last[0]}, after="0-0") as second:
            await db(stop, live, session)
            frames = await second.rest()
    assert "text-delta" not in [chunk["type"] for _, chunk in frames[:-1]]


async def test_two_readers_get_the_same(live, model):
    marker = model.script("pair", *LONG_STEPS)
    session = new_session(live)
    async with client_of(live) as client, posted(client, session, marker) as first:
        await first.until(lambda chunk: chunk["type"] == "tool-output-available")
        async with followed(client, session) as second:
            await second.until(said_all)
            await db(stop, live, session)
            assert await second.rest() == await first.rest()


async def test_a_client_that_goes_stops_nothing_and_leaves_nothing(live, model):
    marker = model.script("gone", [{"text": "Begun, "}, {"sleep": 0.3}, {"text": "and finished."}])
    session = new_session(live)
    async with client_of(live) as client:
        async with posted(client, session, marker) as reader:
            await reader.until(lambda chunk: chunk["type"] == "text-delta")
        async with followed(client, session) as reader:
            await reader.until(lambda chunk: chunk["type"] == "text-delta")
    await db(eventually, lambda: live_part().hub.followed == 0)
    await db(eventually, lambda: detail(live, session)["active_stream"] is None)
    rows = detail(live, session)["messages"]
    assert [(row["role"], row["content"]) for row in rows[1:]] == [("assistant", "Begun, and finished.")]


def test_a_whole_answer_leaves_nothing(live, model):
    say(live, new_session(live), model.script("tidy", [{"text": "x"}]))
    eventually(lambda: live_part().hub.followed == 0)
    assert not live_part().feeds


async def test_a_reader_that_leaves_takes_nobody_along(live, model):
    marker = model.script("stay", [{"text": "Begun, "}, {"sleep": 0.3}, {"text": "and finished."}])
    session = new_session(live)
    async with client_of(live) as client, posted(client, session, marker) as staying:
        async with followed(client, session) as leaving:
            await leaving.until(lambda chunk: chunk["type"] == "text-delta")
        frames = await staying.rest()
    assert text_of([chunk for _, chunk in frames[:-1]]) == "Begun, and finished."


def test_an_idle_session_has_nothing_to_follow(live, model):
    session = new_session(live)
    say(live, session, model.script("idle", [{"text": "x"}]))
    for query in ({}, {"after": "0-0"}, {"after": "1001-1"}):
        answer = httpx2.get(stream_url(live, session), headers=live.owner.headers, params=query)
        assert (answer.status_code, answer.content) == (204, b"")


BAD_PLACES = [
    "x",
    "1",
    "1-",
    "-1",
    "1-1-1",
    "1_0-1",
    "١-١",
    "1.0-1",
    "+1-1",
    "1 -1",
    "0x1-1",
    "9" * 16 + "-1",
    "1-" + "9" * 40,
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("text", BAD_PLACES)
def test_a_bad_place_is_refused(owner, text):
    session = owner.client.post("/api/chat/sessions", {}, format="json").json()["id"]
    address = f"/api/chat/sessions/{session}/stream"
    by_query = owner.client.get(address, {"after": text})
    by_header = owner.client.get(address, headers={"Last-Event-ID": text})
    for answer in (by_query, by_header):
        assert (answer.status_code, list(answer.json())) == (400, ["after"])


async def test_a_bad_place_harms_no_other_reader(live, model):
    marker = model.script("harm", [{"text": "Begun, "}, {"sleep": 0.4}, {"text": "and finished."}])
    session = new_session(live)
    async with client_of(live) as client, posted(client, session, marker) as good:
        await good.until(lambda chunk: chunk["type"] == "text-delta")
        for text in BAD_PLACES:
            answer = await client.get(stream_url(live, session), params={"after": text})
            assert answer.status_code == 400
        frames = await good.rest()
    assert text_of([chunk for _, chunk in frames[:-1]]) == "Begun, and finished."


def test_a_failed_turn_ends_with_its_reason(live, model):
    marker = model.script("broken", [{"status": 400, "body": {"error": {"message": "secret-of-the-provider"}}}])
    session = new_session(live)
    frames = say(live, session, marker)
    kinds = [chunk["type"] for _, chunk in frames[:-1]]
    assert kinds[-2:] == ["error", "finish"]
    assert frames[-3][1]["errorText"].startswith("[code:")
    assert "secret-of-the-provider" not in json.dumps(frames)
    assert rows_of(frames) == stored_rows(live, session)
    assert say(live, session, model.script("better", [{"text": "Well."}]))[-2][1] == {"type": "finish"}


def test_other_methods_are_refused(live):
    session = new_session(live)
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
        answer = httpx2.request(method, stream_url(live, session), headers=live.owner.headers)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")
