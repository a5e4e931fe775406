"""The websocket, against a real server: frames, closes, and several tabs."""

import asyncio
import json
import logging
import socket as sockets
import uuid
from contextlib import suppress

import pytest
import websockets
from channels.db import database_sync_to_async

from apps.accounts.models import User
from apps.chat import announce, consumers, outbox
from apps.chat import live as live_module
from apps.chat.live import live as live_part
from apps.chat.stream import follow
from apps.runtime.db import db
from tests.chat.clients import detail, new_session, say, socket_of, text_of
from tests.chat.served import broker, eventually, signed_in, stop  # noqa: F401 -- a fixture

LIMIT = 1024 * 1024
HELD = [{"text": "One two three four five six", "chunk": 4, "delay": 0.01}, {"sleep": 60}]


async def closed(socket, timeout=10):
    """Read until the socket closes and return the code."""
    async with asyncio.timeout(timeout):
        try:
            while True:
                await socket.receive(timeout)
        except websockets.ConnectionClosed as end:
            return end.rcvd.code


async def call(function, *args, **kwargs):
    return await db(function, *args, **kwargs)


async def quiet(socket):
    """Return what comes before the answer to a ping."""
    before = len(socket.frames)
    await socket.send(type="ping")
    await socket.until("pong")
    return socket.frames[before:-1]


async def subscribe(socket, session, **fields):
    await socket.send(type="subscribe", session_id=session, **fields)
    return await socket.until("subscribed", session_id=session)


def shown(events):
    return [(event["event_id"], event["chunk"]) for event in events]


# Frames ---------------------------------------------------------------------------------------------------------


async def test_a_ping_is_answered(live):
    async with socket_of(live) as socket:
        await socket.send(type="ping")
        assert await socket.receive() == {"type": "pong"}


async def test_subscribed_tells_what_is_there(live, model):
    session = new_session(live)
    async with socket_of(live) as socket:
        assert await subscribe(socket, session) == {
            "type": "subscribed",
            "session_id": session,
            "turn": None,
            "latest_sequence": 0,
            "pending": {"count": 0, "messages": [], "items": []},
        }
        turn = await socket.say(session, model.script("held", HELD))
        await socket.until_chunk("text-delta")
        async with socket_of(live) as other:
            facts = await subscribe(other, session)
        assert facts["turn"] == {"id": turn, "status": "running"}
        assert facts["latest_sequence"] == 1
        await socket.send(type="stop", session_id=session)
        await socket.until_chunk("finish")
    assert (await call(detail, live, session))["messages"][-1]["kind"] == "stopped"


async def test_a_message_is_accepted_and_answered(live, model):
    session = new_session(live)
    client_id = str(uuid.uuid4())
    message = {"type": "message", "session_id": session, "client_message_id": client_id}
    async with socket_of(live) as socket:
        await subscribe(socket, session)
        await socket.send(**message, message=model.script("once", [{"text": "Hi"}]))
        accepted = await socket.until("accepted")
        assert accepted == {
            "type": "accepted",
            "client_message_id": client_id,
            "session_id": session,
            "turn_id": accepted["turn_id"],
        }
        await socket.until_chunk("finish")
        await socket.send(**message, message="again")
        assert (await socket.until("accepted"))["turn_id"] == accepted["turn_id"]
        assert [frame for frame in await quiet(socket) if frame["type"] == "event"] == []
    events = socket.events()
    assert [event["chunk"]["type"] for event in events].count("finish") == 1
    assert set(events[0]) == {"type", "session_id", "turn_id", "event_id", "chunk"}
    assert len([row for row in (await call(detail, live, session))["messages"] if row["role"] == "user"]) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"message": " "},
        {"message": "x" * 64_001},
        {"message": 1.5, "mode": "x"},
        {"message": ["x"]},
        {"message": "x", "client_message_id": "1"},
        {"message": "x", "context": {"url": [1]}},
        {"message": "x", "file_ids": [{}]},
    ],
)
async def test_a_bad_message_is_an_error_and_stores_nothing(live, fields):
    session = new_session(live)
    async with socket_of(live) as socket:
        await socket.send(type="message", session_id=session, **fields)
        error = await socket.until("error")
        assert error["code"] == "invalid"
        assert await quiet(socket) == []
    assert (await call(detail, live, session))["messages"] == []


async def test_stop_with_nothing_to_stop_is_quiet(live):
    session = new_session(live)
    async with socket_of(live) as socket:
        await socket.send(type="stop", session_id=session)
        assert await quiet(socket) == []


async def test_unsubscribe_ends_the_events(live, model):
    session = new_session(live)
    async with socket_of(live) as socket, socket_of(live) as watcher:
        await subscribe(watcher, session)
        await subscribe(socket, session)
        await socket.say(session, model.script("left", HELD))
        await socket.until_chunk("text-delta")
        await socket.send(type="unsubscribe", session_id=session)
        await quiet(socket)
        seen = len(socket.events())
        await call(stop, live, session)
        await watcher.until_chunk("finish")
        await quiet(socket)
        assert len(socket.events()) == seen


async def test_a_subscription_that_can_not_be_cancelled_is_silent_once_it_was_replaced(live, model, monkeypatch):
    """As when it ends while a Redis client connects, which swallows the cancellation."""
    real, deaf = follow.stored_part, asyncio.Event()

    async def busy(*args):
        if not deaf.is_set():
            deaf.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(30)
        return await real(*args)

    session = new_session(live)
    spoken = [{"text": "One two three four five six seven eight", "chunk": 4, "delay": 0.2}]
    async with socket_of(live) as socket:
        turn = await socket.say(session, model.script("deaf", spoken))
        monkeypatch.setattr(follow, "stored_part", busy)
        await subscribe(socket, session, turn_id=turn)
        await call(eventually, deaf.is_set)
        await subscribe(socket, session, turn_id=turn)  # it may be over by then
        await socket.until_chunk("finish")
        await quiet(socket)
        places = [event["event_id"] for event in socket.events() if event["turn_id"] == turn]
        assert places == list(dict.fromkeys(places))
        assert len(live_part().feeds) == 1


# Foreign ids ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["subscribe", "message", "stop"])
async def test_foreign_and_unknown_sessions_are_the_same_error(live, teammate, kind):
    theirs, gone = new_session(live, teammate), str(uuid.uuid4())
    bodies = [{"message": "x"}, {"message": ""}, {"message": [1]}] if kind == "message" else [{}]
    async with socket_of(live) as socket:
        for body in bodies:
            for session in (theirs, gone):
                await socket.send(type=kind, session_id=session, **body)
                assert await socket.receive() == {"type": "error", "detail": "Not found.", "code": "not_found"}


async def test_a_turn_of_another_session_is_not_followed(live, teammate, model):
    session = new_session(live)
    async with socket_of(live, teammate) as other:
        theirs = new_session(live, teammate)
        await subscribe(other, theirs)
        turn = await other.say(theirs, model.script("private", [{"text": "A secret"}]))
        await other.until_chunk("finish")
    async with socket_of(live) as socket:
        await subscribe(socket, session, turn_id=turn)
        assert await quiet(socket) == []


# Bad frames -----------------------------------------------------------------------------------------------------

SUBSCRIBE = {"type": "subscribe", "session_id": str(uuid.UUID(int=1))}
BAD_FRAMES = {
    "empty": "",
    "words": "hello",
    "half": '{"type": "ping"',
    "array": '[{"type": "ping"}]',
    "null": "null",
    "number": "1",
    "string": '"ping"',
    "no type": "{}",
    "unknown type": '{"type": "shout"}',
    "type list": '{"type": ["ping"]}',
    "type object": '{"type": {"a": 1}}',
    "session list": '{"type": "subscribe", "session_id": []}',
    "session number": '{"type": "subscribe", "session_id": 7}',
    "session missing": '{"type": "subscribe"}',
    "session no uuid": '{"type": "message", "session_id": "x", "message": "x"}',
    "unsubscribe": '{"type": "unsubscribe", "session_id": {}}',
    "stop": '{"type": "stop", "session_id": true}',
    "turn": json.dumps({**SUBSCRIBE, "turn_id": 1}),
    "after": json.dumps({**SUBSCRIBE, "after": "x"}),
    "after number": json.dumps({**SUBSCRIBE, "after": 1}),
    "after huge": json.dumps({**SUBSCRIBE, "after": "99999999999999999999-1"}),
    "binary": b'{"type": "ping"}',
    "binary noise": b"\xff\x00",
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep object": '{"type":' * 50_000,
    "nul": '{"type": "ping", "x": "\\u0000"}',
    "surrogate": '{"type": "ping", "x": "\\ud800"}',
    "not a number": '{"type": NaN}',
    "under the limit": json.dumps({"x": "a" * (LIMIT - 9)}),
}


async def test_bad_frames_are_answered_and_the_socket_stays_open(live, monkeypatch):
    monkeypatch.setattr(consumers, "MOST_BAD_FRAMES", 1000)
    async with socket_of(live) as socket:
        for name, frame in BAD_FRAMES.items():
            await socket.connection.send(frame)
            error = await socket.receive()
            assert (error["type"], error["code"]) == ("error", "bad_frame"), name
            assert len(error["detail"]) < 200
        await socket.send(type="ping")
        assert await socket.receive() == {"type": "pong"}


async def test_a_frame_at_the_limit_is_carried_out(live):
    async with socket_of(live) as socket:
        await socket.send(type="ping", x="a" * (LIMIT - 25))
        assert await socket.receive() == {"type": "pong"}


async def test_a_frame_over_the_limit_gets_an_error_frame_and_one_far_over_it_ends_the_connection(live):
    async with socket_of(live) as socket:
        await socket.connection.send("a" * (LIMIT + 1))
        assert (await socket.receive())["code"] == "bad_frame"
        with suppress(websockets.ConnectionClosed):  # it may be told while it still sends
            await socket.connection.send("a" * (4 * LIMIT + 1))
        assert await closed(socket) == 1009


async def test_ten_bad_frames_in_a_minute_close_the_socket(live):
    async with socket_of(live) as socket:
        for _ in range(9):
            await socket.connection.send("x")
            assert (await socket.receive())["code"] == "bad_frame"
        await socket.send(type="ping")
        await socket.until("pong")
        await socket.connection.send("x")
        assert await closed(socket) == 4400


async def test_bad_frames_are_forgotten_after_a_while(live, monkeypatch):
    monkeypatch.setattr(consumers, "BAD_FRAMES_SECONDS", 0.0)
    async with socket_of(live) as socket:
        for _ in range(15):
            await socket.connection.send("x")
            assert (await socket.receive())["code"] == "bad_frame"


async def test_refused_wishes_are_no_bad_frames(live):
    async with socket_of(live) as socket:
        for _ in range(15):
            await socket.send(type="stop", session_id=str(uuid.uuid4()))
            assert (await socket.receive())["code"] == "not_found"


# Who may come in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cookie", ["", "sessionid=nobody", "sessionid=", "sessionid=\xff;;;="])
async def test_who_is_not_signed_in_gets_4401(live, cookie):
    async with socket_of(live, cookie=cookie) as socket:
        assert await closed(socket) == 4401


async def test_signing_out_closes_the_sockets_of_that_browser_only(live):
    def browsers():
        return signed_in(live.owner), signed_in(live.owner)

    leaving, staying = await call(browsers)
    cookies = [f"sessionid={browser.cookies['sessionid'].value}" for browser in (leaving, staying)]
    async with socket_of(live, cookie=cookies[0]) as first, socket_of(live, cookie=cookies[1]) as second:
        await quiet(first)
        await quiet(second)
        await call(eventually, lambda: len(live_part().sidebars[live.owner.user.pk]) == 2)
        await asyncio.sleep(0.1)  # joining the group has no sign of its own
        assert (await call(leaving.post, "/accounts/logout/")).status_code == 302
        assert await closed(first, timeout=5) == 4401
        await quiet(second)


async def test_a_deactivated_person_is_put_out(live, settings):
    settings.SOCKET_RECHECK_SECONDS = 0.1
    async with socket_of(live) as socket:
        await quiet(socket)
        await database_sync_to_async(User.objects.filter(pk=live.owner.user.pk).update)(is_active=False)
        assert await closed(socket, timeout=5) == 4401


async def test_a_changed_password_puts_out(live, settings):
    settings.SOCKET_RECHECK_SECONDS = 0.1

    def change():
        live.owner.user.set_password("another long password")
        live.owner.user.save()

    async with socket_of(live) as socket:
        await quiet(socket)
        await call(change)
        assert await closed(socket, timeout=5) == 4401


def with_key(live, key):
    return socket_of(live, cookie="", origin=None, authorization=f"Token {key}")


async def test_a_program_comes_in_with_its_key_until_it_is_revoked(live, teammate, model):
    tokens = "/api/accounts/tokens"
    made = await call(live.owner.client.post, tokens, {"name": "program"}, format="json")
    session = new_session(live)
    async with with_key(live, made.json()["key"]) as program, with_key(live, live.owner.key) as other:
        await subscribe(program, session)
        await program.say(session, model.script("program", [{"text": "Hello, program"}]))
        await program.until_chunk("finish")
        assert text_of([event["chunk"] for event in program.events()]) == "Hello, program"
        await quiet(other)
        await asyncio.sleep(0.1)  # joining the group has no sign of its own
        assert (await call(live.owner.client.delete, f"{tokens}/{made.json()['id']}")).status_code == 204
        assert await closed(program, timeout=5) == 4401
        await quiet(other)
    async with with_key(live, teammate.key) as theirs:
        await theirs.send(type="subscribe", session_id=session)
        assert (await theirs.receive())["code"] == "not_found"


@pytest.mark.parametrize("key", ["", "nobodys", "fd_\xff", "Token x"])
async def test_a_key_that_opens_nothing_gets_4401_even_beside_a_good_cookie(live, key):
    for cookie in ("", None):
        async with socket_of(live, cookie=cookie, authorization=f"Token {key}") as socket:
            assert await closed(socket) == 4401


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://127.0.0.1.evil.example", "file://"]
)
async def test_a_foreign_page_gets_4403(live, origin):
    async with socket_of(live, origin=origin) as socket:
        assert await closed(socket) == 4403


async def test_a_trusted_page_and_a_program_come_in(live, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example"]
    for origin in ("https://app.example", None):
        async with socket_of(live, origin=origin) as socket:
            assert await quiet(socket) == []


async def test_too_many_sockets_of_one_person_get_4429(live, teammate, settings):
    settings.SOCKETS_PER_USER = 2
    async with socket_of(live) as first, socket_of(live) as second:
        await quiet(first)
        await quiet(second)
        async with socket_of(live) as third:
            assert await closed(third) == 4429
        async with socket_of(live, teammate) as other:
            await quiet(other)
        await first.connection.close()
        await call(eventually, lambda: live_part().sockets[live.owner.user.pk] == 1)
        async with socket_of(live) as fourth:
            await quiet(fourth)


async def test_a_closed_socket_leaves_nothing(live, model):
    session = new_session(live)
    async with socket_of(live) as socket:
        await subscribe(socket, session)
        await socket.say(session, model.script("leaves", HELD))
        await socket.until_chunk("text-delta")
        assert live_part().hub.followed == 1
    part = live_part()
    await call(eventually, lambda: not (part.hub.followed or part.feeds or part.sidebars or part.sockets))
    await call(stop, live, session)


async def test_a_cut_connection_is_no_error(live, model, caplog):
    session = new_session(live)
    async with socket_of(live) as socket:
        await subscribe(socket, session)
        await socket.say(session, model.script("cut", [{"text": "word " * 100, "chunk": 5, "delay": 0.002}]))
        await socket.until_chunk("text-delta")
        socket.connection.transport.abort()
    await call(eventually, lambda: not live_part().sockets)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# A client that doesn't read -------------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_gets_4408_and_can_come_back(live, model, monkeypatch, caplog):
    monkeypatch.setattr(outbox, "MOST_QUEUED_BYTES", 50_000)
    monkeypatch.setattr(outbox, "SLOW_SECONDS", 0.2)
    listener = live.server.server.servers[0].sockets[0]
    listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 8192)  # what the server's kernel takes off its hands
    marker = model.script("flood", [{"text": "x" * 1_000_000, "chunk": 20_000, "delay": 0.03}, {"text": "the end"}])
    session = new_session(live)
    small = sockets.socket()
    small.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    small.connect(("127.0.0.1", live.server.port))
    small.setblocking(False)
    try:
        async with socket_of(live, sock=small, max_queue=1) as slow, socket_of(live) as quick:
            await subscribe(quick, session)
            await subscribe(slow, session)
            turn = await quick.say(session, marker)
            await quick.until_chunk("finish")
            await call(eventually, lambda: len(live_part().feeds.get(uuid.UUID(session), ())) == 1)
            assert await closed(slow) == 4408
    finally:
        listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 1 << 20)
    missed = shown(slow.events())
    async with socket_of(live) as back:
        await subscribe(back, session, turn_id=turn, after=missed[-1][0] if missed else None)
        await back.until_chunk("finish")
    assert missed + shown(back.events()) == shown(quick.events())
    assert len(missed) < len(quick.events())
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_client_that_asks_without_reading_gets_4408(live, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_QUEUED_FRAMES", 20)
    monkeypatch.setattr(outbox, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(consumers, "MOST_BAD_FRAMES", 10**6)
    outboxes = []
    made = outbox.Outbox.__init__
    monkeypatch.setattr(outbox.Outbox, "__init__", lambda self: (made(self), outboxes.append(self))[0])

    async def stuck(self, texts):
        await asyncio.Event().wait()

    monkeypatch.setattr(consumers.ChatConsumer, "send_texts", stuck)
    async with socket_of(live) as socket:
        for _ in range(100):
            await socket.send(type="ping")
        await call(eventually, lambda: outboxes and not live_part().feeds and len(outboxes[0]._frames) >= 20)
        assert await closed(socket) == 4408
        assert len(outboxes[0]._frames) <= 21


# Tabs -----------------------------------------------------------------------------------------------------------


async def test_two_tabs_see_the_same(live, model):
    session = new_session(live)
    async with socket_of(live) as first, socket_of(live) as second:
        await subscribe(first, session)
        await subscribe(second, session)
        await first.say(session, model.script("tabs", [{"reasoning": "Hm."}, {"text": "Both see this", "chunk": 3}]))
        await first.until_chunk("finish")
        await second.until_chunk("finish")
    assert shown(first.events()) == shown(second.events())
    assert text_of([event["chunk"] for event in first.events()]) == "Both see this"


async def test_a_turn_begun_over_http_shows_up_in_another_tab(live, model):
    session = new_session(live)
    async with socket_of(live) as socket:
        await subscribe(socket, session)
        frames = await call(say, live, session, model.script("http", [{"text": "Over there", "chunk": 3}]))
        await socket.until_chunk("finish")
    tab, client = [event["chunk"] for event in socket.events()], [chunk for _, chunk in frames[:-1]]
    assert (tab[0], tab[-1]) == (client[0], client[-1])  # all alike but how text is cut: one may be given stored rows
    assert text_of(tab) == text_of(client) == "Over there"


async def test_turns_that_nobody_announced_are_found_in_the_rows(live, model, monkeypatch):
    monkeypatch.setattr(live_module, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(announce, "announce", lambda *args, **kwargs: None)
    session = new_session(live)
    async with socket_of(live) as socket:
        await subscribe(socket, session)
        told = []
        for word in ("one", "two"):
            told += (await call(say, live, session, model.script(word, [{"text": f"Number {word}"}])))[:-1]
        await socket.until_chunk("finish")
        await socket.until_chunk("finish")
        last = await call(say, live, session, model.script("three", [{"text": "Number three"}]))
        await socket.until_chunk("finish")
    assert shown(socket.events()) == [*told, *last[:-1]]


async def test_later_turns_follow_on_the_same_subscription(live, model):
    session = new_session(live)
    async with socket_of(live) as socket:
        await subscribe(socket, session)
        turns = []
        for word in ("first", "second", "third"):
            turns.append(await socket.say(session, model.script(word, [{"text": f"The {word}"}])))
            await socket.until_chunk("finish")
    assert list(dict.fromkeys(event["turn_id"] for event in socket.events())) == turns
    assert text_of([event["chunk"] for event in socket.events()]) == "The firstThe secondThe third"


async def test_two_sessions_share_one_socket(live, model):
    one, two = new_session(live), new_session(live)
    async with socket_of(live) as socket:
        await subscribe(socket, one)
        await subscribe(socket, two)
        await socket.say(one, model.script("s1", [{"text": "Alpha", "chunk": 1}]))
        await socket.say(two, model.script("s2", [{"text": "Omega", "chunk": 1}]))
        # Events of the first may have come while the second was being accepted.
        while sum(event["chunk"]["type"] == "finish" for event in socket.events()) < 2:
            await socket.receive()
        for session, text in ((one, "Alpha"), (two, "Omega")):
            mine = [event["chunk"] for event in socket.events() if event["session_id"] == session]
            assert text_of(mine) == text


async def test_coming_back_after_any_event_leaves_no_gap_and_no_repeat(live, model):
    session = new_session(live)
    async with socket_of(live) as socket:
        await subscribe(socket, session)
        marker = model.script("again", [{"text": "a b c d e f g h i j", "chunk": 2, "delay": 0.03}, {"sleep": 60}])
        turn = await socket.say(session, marker)
        while (await socket.until_chunk("text-delta"))["chunk"]["delta"] != "j":
            pass
        known = shown(socket.events())
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read_after(live, session, turn, event_id)) for event_id, _ in known[::2]]
            await call(eventually, lambda: len(live_part().feeds.get(uuid.UUID(session), ())) == len(readers) + 1)
            await socket.send(type="stop", session_id=session)
            await socket.until_chunk("finish")
        whole = shown(socket.events())
        for position, reader in zip(range(0, len(known), 2), readers, strict=True):
            assert reader.result() == whole[position + 1 :]
        for event_id, _ in (whole[0], whole[-2]):
            again = await read_after(live, session, turn, event_id)
            assert again == [entry for entry in whole if whole.index(entry) > [e for e, _ in whole].index(event_id)]


async def read_after(live, session, turn, event_id):
    async with socket_of(live) as socket:
        await subscribe(socket, session, turn_id=turn, after=event_id)
        await socket.until_chunk("finish")
        return shown(socket.events())


async def test_subscribing_anew_replaces_the_subscription(live, model):
    session = new_session(live)
    async with socket_of(live) as socket:
        for _ in range(3):
            await subscribe(socket, session)
        await socket.say(session, model.script("anew", [{"text": "Just once"}]))
        await socket.until_chunk("finish")
        await quiet(socket)
    assert text_of([event["chunk"] for event in socket.events()]) == "Just once"


# The sidebar ----------------------------------------------------------------------------------------------------


async def test_the_sidebar_of_every_own_tab_hears_of_changes(live, teammate, model):
    async with socket_of(live) as first, socket_of(live) as second, socket_of(live, teammate) as other:
        for socket in (first, second, other):
            await quiet(socket)
        session = await call(new_session, live)
        await call(say, live, session, model.script("side", [{"text": "x"}]))
        for socket in (first, second):
            begun = await socket.until("session", session_id=session, is_processing=True)
            assert set(begun) == {"type", "session_id", "title", "updated_at", "is_processing"}
            assert begun["title"] == "[script:side]"
            await socket.until("session", session_id=session, is_processing=False)
        await call(owner_does, live, "patch", f"/{session}/title", {"title": "Renamed"})
        for socket in (first, second):
            await socket.until("session", session_id=session, title="Renamed")
        await call(owner_does, live, "delete", f"/{session}", None)
        for socket in (first, second):
            gone = await socket.until("session", session_id=session, deleted=True)
            assert set(gone) == {"type", "session_id", "deleted"}
        await quiet(other)
        assert [frame for frame in other.frames if frame["type"] != "pong"] == []


def owner_does(live, method, tail, body):
    answer = getattr(live.owner.client, method)(f"/api/chat/sessions{tail}", body, format="json")
    assert answer.status_code in {200, 204}
