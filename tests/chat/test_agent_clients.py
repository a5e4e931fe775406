"""Model clients live as long as an agent or a step holds them, and no longer."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import pytest

from apps.engines.clients import SharedClients, anthropic_clients, openai_clients
from tests.chat.clients import new_session, say, text_of
from tests.chat.served import broker, eventually  # noqa: F401 -- a fixture

FAST, THINKING = "fast", "extended_thinking"
CLIENTS = {FAST: openai_clients, THINKING: anthropic_clients}


def held(live: Any, clients: SharedClients[Any]) -> list[Any]:
    """Return the clients of the worker's loop."""

    async def look() -> list[Any]:
        return [one.client for one in clients._mine().values()]

    return live.turns.thread.call(look())


def ask(live: Any, session: str, message: str, mode: str) -> str:
    return text_of([chunk for _, chunk in say(live, session, message, mode=mode)][:-1])


@pytest.mark.parametrize("mode", [FAST, THINKING])
def test_the_last_agent_that_lets_go_closes_the_client_and_a_step_works_after_that(live, model, mode):
    marker = model.script(f"held-{mode}", [{"text": "Hello."}], repeat_last=True)
    sessions = [new_session(live) for _ in range(2)]
    for session in sessions:
        ask(live, session, marker, mode)
    agents, clients = live.turns.process.kind.agents, CLIENTS[mode]
    (client,) = held(live, clients)

    agents.reset_session(UUID(sessions[0]))
    ask(live, sessions[1], "Again", mode)
    assert held(live, clients) == [client], "between steps the other agent holds it"
    assert not client.is_closed()

    agents.reset_session(UUID(sessions[1]))
    eventually(client.is_closed)
    assert held(live, clients) == []

    assert ask(live, sessions[0], "Once more", mode) == "Hello."
    (anew,) = held(live, clients)
    assert anew is not client


@pytest.mark.parametrize("mode", [FAST, THINKING])
def test_a_running_step_keeps_the_client_of_an_agent_that_was_dropped(live, model, mode):
    marker = model.script(f"running-{mode}", [{"text": "A long answer. ", "chunk": 1, "delay": 0.05}])
    session = new_session(live)
    said: list[str] = []
    turn = threading.Thread(target=lambda: said.append(ask(live, session, marker, mode)))
    turn.start()
    (client,) = eventually(lambda: held(live, CLIENTS[mode]))
    eventually(lambda: model.requests(f"running-{mode}"))

    live.turns.process.kind.agents.end_session(UUID(session))
    assert not client.is_closed()
    turn.join(20)

    assert said == ["A long answer. "]
    eventually(client.is_closed)
    assert held(live, CLIENTS[mode]) == []


@pytest.fixture
def two_models(settings, model):
    """A server with a model for each tier."""
    settings.OPENAI_BASE_URL = model.base_url
    settings.CHAT_MODEL, settings.CHAT_ADVANCED_MODEL = "own/standard", "own/advanced"


def test_a_conversation_keeps_its_agent_until_another_model_answers(two_models, live, model):
    marker = model.script("switching", [{"text": "Hello."}], repeat_last=True)
    session = new_session(live)
    agents = []
    for tier in ("standard", "standard", "advanced", "advanced"):
        say(live, session, marker, mode=FAST, model=tier)
        (kept,) = live.turns.process.kind.agents.cache._entries.values()
        agents.append(kept.agent)

    assert [request["body"]["model"] for request in model.requests("switching")] == [
        *["own/standard"] * 2,
        *["own/advanced"] * 2,
    ]
    first, again, other, still = agents
    assert first is again
    assert other is still
    assert other is not first
    assert eventually(lambda: first.client is None)
    assert other.client is not None
    gauges = live.turns.process.kind.agents.gauges()
    assert (gauges.entries, gauges.hits, gauges.misses, gauges.evictions["signature"]) == (1, 2, 2, 1)


def test_a_worker_that_stops_leaves_no_client_open(live, model):
    ask(live, new_session(live), "Hello", FAST)
    (client,) = held(live, openai_clients)

    live.turns.thread.call(live.turns.process.stop(2))

    assert client.is_closed()
