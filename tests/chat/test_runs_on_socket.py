"""Runs of agents, followed over the websocket: by their owner, to their end, and by nobody else."""

import asyncio
import logging
import uuid
from contextlib import suppress
from types import SimpleNamespace

import pytest
import websockets

from apps.chat import consumers
from apps.chat.live import live as live_part
from apps.library.executor import follow
from apps.library.executor.cancel import cancel_execution
from apps.library.executor.events import log_key
from apps.library.executor.queries import snapshot
from apps.library.executor.start import start_execution
from apps.runtime.db import db
from apps.runtime.redis import sync_client
from tests.chat.clients import socket_of
from tests.chat.served import eventually
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent, runs, test_blocks, until  # noqa: F401 -- two fixtures


@pytest.fixture
def place(web_server, owner, runs):  # noqa: F811 -- the fixture
    """Where people connect to."""
    return SimpleNamespace(url=web_server.url, ws_url=web_server.ws_url, owner=owner)


def gated(person):
    """Return a run that waits until the gate opens, and its agent."""
    agent = make_agent(
        person,
        {"first": (b.ADD, {"a": 1}), "gate": (b.GATED, {}), "out": (b.GIVE, {"name": "out"})},
        [("first.out", "gate.value"), ("gate.out", "out.value")],
    )
    run = start_execution(user_id=person.user.pk, graph=agent.graph, inputs={})
    until(lambda: b.LOG)
    return run, agent


async def end_of(socket, run):
    """Read until a run's end, and return all that was told of it."""
    await socket.until("execution", execution_id=str(run.pk))
    while socket.frames[-1].get("event", {}).get("type") != "end":
        await socket.receive()
    return told(socket, run)


def told(socket, run):
    return [f for f in socket.frames if f["type"] == "execution" and f["execution_id"] == str(run.pk)]


def rising(frames):
    places = [tuple(map(int, frame["event_id"].split("-"))) for frame in frames if "event_id" in frame]
    return places == sorted(set(places))


async def test_a_run_is_told_from_where_it_is_to_its_end(place):
    run, agent = await db(gated, place.owner)
    async with socket_of(place) as first, socket_of(place) as second:
        for socket in (first, second):
            await socket.send(type="subscribe_execution", execution_id=str(run.pk))
            frame = await socket.receive()
            assert set(frame) == {"type", "execution_id", "event_id", "event"}
            assert (frame["type"], frame["execution_id"]) == ("execution", str(run.pk))
            assert frame["event"]["type"] == "snapshot"
            assert {node["node_id"]: node["status"] for node in frame["event"]["nodes"]} == {
                str(agent.node_ids["first"]): "COMPLETED",
                str(agent.node_ids["gate"]): "RUNNING",
            }
        b.GATE.set()
        for socket in (first, second):
            frames = await end_of(socket, run)
            changed = [node for frame in frames[1:] for node in frame["event"].get("nodes", ())]
            assert {node["node_id"] for node in changed} >= {str(agent.node_ids["gate"]), str(agent.node_ids["out"])}
            assert frames[-2]["event"]["outputs"] == {"out": [{"value": 1.0}]}, "the rows once more before the end"
            end = frames[-1]
            assert set(end) == {"type", "execution_id", "event"}
            assert end["event"]["run"]["status"] == "COMPLETED"
            await socket.send(type="ping")
            assert await socket.receive() == {"type": "pong"}, "the socket stays open, and nothing follows the end"
    await db(eventually, lambda: not live_part().hub.followed)


async def test_a_run_that_is_over_is_told_by_its_rows(place):
    run, _ = await db(gated, place.owner)
    b.GATE.set()
    async with socket_of(place) as socket:
        await socket.send(type="subscribe_execution", execution_id=str(run.pk))
        await end_of(socket, run)
        seen = len(socket.frames)
        await socket.send(type="subscribe_execution", execution_id=str(run.pk))
        await socket.until("execution")
        await socket.until("execution")
        assert [frame["event"]["type"] for frame in socket.frames[seen:]] == ["snapshot", "end"]


async def test_foreign_unknown_and_malformed_runs(place, teammate):
    theirs, _ = await db(gated, teammate)
    async with socket_of(place) as socket:
        for execution_id in (str(theirs.pk), str(uuid.uuid4())):
            await socket.send(type="subscribe_execution", execution_id=execution_id)
            assert await socket.receive() == {"type": "error", "detail": "Not found.", "code": "not_found"}
        for frame in ({}, {"execution_id": None}, {"execution_id": 7}, {"execution_id": "x"}):
            await socket.send(type="subscribe_execution", **frame)
            assert (await socket.receive())["code"] == "bad_frame"
    await db(eventually, lambda: not live_part().hub.followed)
    async with socket_of(place, cookie="sessionid=nobody") as stranger:
        with suppress(websockets.ConnectionClosed):  # it may be closed before we ask
            await stranger.send(type="subscribe_execution", execution_id=str(theirs.pk))
        await db(eventually, lambda: stranger.connection.close_code == consumers.NOT_SIGNED_IN)
        assert stranger.frames == []
    b.GATE.set()


async def test_a_run_is_followed_once_a_socket_and_no_more_when_it_is_left(place):
    run, _ = await db(gated, place.owner)
    async with socket_of(place) as watcher, socket_of(place) as socket:
        await watcher.send(type="subscribe_execution", execution_id=str(run.pk))
        await watcher.until("execution")
        for _ in range(3):
            await socket.send(type="subscribe_execution", execution_id=str(run.pk))
            assert (await socket.until("execution"))["event"]["type"] == "snapshot"
        await socket.send(type="unsubscribe", execution_id=str(run.pk))
        await socket.send(type="unsubscribe", execution_id=str(uuid.uuid4()))  # of nothing: nothing happens
        await socket.send(type="ping")
        await socket.until("pong")
        seen = len(socket.frames)
        b.GATE.set()
        await end_of(watcher, run)
        await socket.send(type="ping")
        await socket.until("pong")
        assert [frame["type"] for frame in socket.frames[seen:]] == ["pong"]


async def test_a_subscription_that_was_replaced_is_silent_even_if_it_can_not_be_cancelled(place, monkeypatch):
    real, deaf = follow.newest, asyncio.Event()

    async def busy(*args):
        if not deaf.is_set():
            deaf.set()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                return await real(*args)
        return await real(*args)

    monkeypatch.setattr(follow, "newest", busy)
    run, _ = await db(gated, place.owner)
    async with socket_of(place) as socket:
        await socket.send(type="subscribe_execution", execution_id=str(run.pk))
        await db(eventually, deaf.is_set)
        await socket.send(type="subscribe_execution", execution_id=str(run.pk))
        await socket.until("execution")
        b.GATE.set()
        frames = await end_of(socket, run)
        assert rising(frames[:-2])
        assert [frame["event"]["type"] for frame in frames].count("end") == 1


async def test_a_socket_that_goes_leaves_no_reader_of_runs(place, caplog):
    run, _ = await db(gated, place.owner)
    async with socket_of(place) as socket:
        await socket.send(type="subscribe_execution", execution_id=str(run.pk))
        await socket.until("execution")
        await db(eventually, lambda: live_part().hub.followed == 1)
        socket.connection.transport.abort()
    await db(eventually, lambda: not live_part().hub.followed)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    b.GATE.set()


async def test_a_stopped_run_and_an_emptied_log_end_with_what_the_rows_say(place, monkeypatch):
    monkeypatch.setattr(follow, "SILENCE_SECONDS", 0.3)
    run, _ = await db(gated, place.owner)
    async with socket_of(place) as socket:
        await socket.send(type="subscribe_execution", execution_id=str(run.pk))
        await socket.until("execution")
        sync_client().delete(log_key(run.pk))
        await db(cancel_execution, execution_id=run.pk)
        frames = await end_of(socket, run)
        assert frames[-1]["event"]["run"]["status"] == "TERMINATED"
        assert frames[-2]["event"]["run"] == (await db(snapshot, run.pk))["run"]


async def test_a_socket_follows_only_so_much(place, monkeypatch):
    monkeypatch.setattr(consumers, "MOST_SUBSCRIPTIONS", 1)
    run, _ = await db(gated, place.owner)
    async with socket_of(place) as socket:
        await socket.send(type="subscribe_execution", execution_id=str(run.pk))
        await socket.until("execution")
        for kind, name in (("subscribe", "session_id"), ("subscribe_execution", "execution_id")):
            await socket.send(type=kind, **{name: str(uuid.uuid4())})
            refused = await socket.receive()
            assert (refused["type"], refused["code"]) == ("error", "invalid")
        await socket.send(type="subscribe_execution", execution_id=str(run.pk))  # the same anew is no more
        assert (await socket.until("execution"))["event"]["type"] == "snapshot"
    b.GATE.set()
