"""A deleted session's agent goes from every worker, with all that belonged to the conversation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx2
import pytest
import redis

from apps.chat import announce
from apps.chat.models import Session
from apps.chat.turns.worker import TurnProcess
from apps.engines.clients import openai_clients
from tests.agents.doubles import with_resources
from tests.chat.clients import new_session, say
from tests.chat.served import broker, eventually, stream_url  # noqa: F401 -- a fixture


def delete(live: Any, session: str) -> int:
    return httpx2.delete(f"{live.url}/api/chat/sessions/{session}", headers=live.owner.headers).status_code


def begun(live: Any, marker: str) -> tuple[UUID, dict[str, Any]]:
    """Return a session that had a turn, and the resources of its conversation."""
    session = UUID(new_session(live))
    say(live, str(session), marker)
    agents = live.turns.process.kind.agents
    assert session in agents.cache
    return session, with_resources(agents.conversations.of(session))


@pytest.fixture
def marker(model) -> str:
    return model.script("deleted", [{"text": "Hello."}], repeat_last=True)


def test_deleting_a_session_ends_what_a_worker_keeps_of_it_and_of_no_other(live, marker):
    (gone, ended), (stays, kept) = begun(live, marker), begun(live, marker)
    agents = live.turns.process.kind.agents

    assert delete(live, str(gone)) == 204

    eventually(lambda: gone not in agents.cache)
    eventually(lambda: all(resource.closes == 1 for resource in ended.values()))
    assert stays in agents.cache
    assert not any(resource.closes for resource in kept.values())
    assert say(live, str(stays), marker)[-1][1] == "[DONE]"

    delete(live, str(stays))
    eventually(lambda: len(agents.cache) == 0)
    eventually(lambda: live.turns.thread.call(count_clients()) == 0)


def away() -> None:
    raise redis.ConnectionError


async def count_clients() -> int:
    return openai_clients.count()


def test_every_worker_hears_of_it(live, marker):
    session, _ = begun(live, marker)
    other: TurnProcess = live.turns.thread.call(started())
    try:
        resources = with_resources(other.kind.agents.conversations.of(session))
        delete(live, str(session))
        eventually(lambda: all(resource.closes == 1 for resource in resources.values()))
    finally:
        live.turns.thread.call(other.stop(1))


async def started() -> TurnProcess:
    """Return a second worker process's turns, which listen."""
    made = TurnProcess()
    await made.start()
    while (await made.kind.redis.pubsub_numsub(announce.gone_channel()))[0][1] < 2:
        pass
    return made


def test_a_running_turns_session_can_be_deleted(live, model):
    marker = model.script("running", [{"text": "Half"}, {"sleep": 60}])
    session = new_session(live)
    with httpx2.stream(
        "POST", stream_url(live, session), headers=live.owner.headers, json={"message": marker}, timeout=30
    ) as answer:
        lines = answer.iter_lines()
        while "text-delta" not in next(lines):
            pass
        agents = live.turns.process.kind.agents
        resources = with_resources(agents.conversations.of(UUID(session)))
        assert delete(live, session) == 204
        "".join(lines)

    eventually(lambda: UUID(session) not in agents.cache)
    eventually(lambda: all(resource.closes == 1 for resource in resources.values()))
    eventually(lambda: live.turns.thread.call(count_clients()) == 0)


def test_a_session_whose_end_nobody_told_of_is_found_by_the_sweep(live, marker, monkeypatch):
    (gone, ended), (stays, kept) = begun(live, marker), begun(live, marker)
    agents = live.turns.process.kind.agents
    without_agent = with_resources(agents.conversations.of(UUID(int=7)))  # soft evictions leave resources alone
    monkeypatch.setattr(announce, "sync_client", away)
    Session.objects.filter(pk=gone).delete()

    live.turns.thread.call(agents.end_gone())

    eventually(lambda: gone not in agents.cache)
    for resources in (ended, without_agent):
        eventually(lambda owned=resources: all(resource.closes == 1 for resource in owned.values()))
    assert stays in agents.cache
    assert not any(resource.closes for resource in kept.values())


def test_a_redis_that_is_away_keeps_nobody_from_deleting(live, marker, monkeypatch):
    session, _ = begun(live, marker)
    monkeypatch.setattr(announce, "sync_client", away)
    assert delete(live, str(session)) == 204
    assert not Session.objects.filter(pk=session).exists()
