"""Agents that ask the copilot, by the real turn worker and the scripted model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from apps.chat import announce, autopilot
from apps.chat.models import Message, Session, Turn
from apps.library.blocks.special import AutoPilot
from apps.library.executor.outputs import grouped, values_by_name
from apps.library.executor.start import start_execution
from apps.library.models import Execution, NodeExecution
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent, until, wait_for


@pytest.fixture
def copilot(turns, runs, monkeypatch):
    """Both workers in this process."""
    monkeypatch.setattr(autopilot, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(
        announce,
        "wake_worker",
        lambda turn_id: asyncio.run_coroutine_threadsafe(turns.worker.offer(turn_id), turns.thread.loop),
    )
    return turns


def asking(person: Any, **values: Any) -> Any:
    return make_agent(
        person,
        {
            "ask": (AutoPilot.id, {"prompt": "hello", **values}),
            "response": (b.GIVE, {"name": "response"}),
            "session": (b.GIVE, {"name": "session"}),
            "usage": (b.GIVE, {"name": "usage"}),
            "history": (b.GIVE, {"name": "history"}),
        },
        [
            ("ask.response", "response.value"),
            ("ask.session_id", "session.value"),
            ("ask.token_usage", "usage.value"),
            ("ask.conversation_history", "history.value"),
        ],
    )


def run_of(agent: Any, **fields: Any) -> Execution:
    return wait_for(start_execution(user_id=agent.user_id, graph=agent.graph, inputs={}, **fields).pk)


def failure(run: Execution) -> str:
    return NodeExecution.objects.get(execution=run, status="FAILED").error


def test_the_copilot_answers_in_a_turn_of_its_own(owner, copilot):
    run = run_of(asking(owner, system_context="Be short."))

    given = grouped(values_by_name(run))
    turn = Turn.objects.get()
    assert (turn.origin, turn.permissions["autopilot_depth"]) == ("autopilot_block", 1)
    assert given["session"] == [str(turn.session_id)]
    said = Message.objects.get(turn=turn, role="user").content
    assert said == "[System Context: Be short.]\n\nhello"
    [response] = given["response"]
    assert response == Message.objects.filter(turn=turn, role="assistant").last().content
    assert given["usage"][0]["total_tokens"] > 0
    assert [line["role"] for line in json.loads(given["history"][0])] == ["user", "assistant"]


def test_it_asks_only_so_deep_and_only_in_own_conversations(owner, teammate, copilot):
    deep = run_of(asking(owner, max_recursion_depth=1), autopilot_depth=1)
    assert "at most 1 deep" in failure(deep)

    foreign = Session.objects.create(user=teammate.user)
    other = run_of(asking(owner, session_id=str(foreign.pk)))
    assert failure(other) == f"There is no conversation {foreign.pk}."
    assert not Turn.objects.exists()


def test_a_stop_of_the_run_stops_the_turn(owner, copilot, monkeypatch):
    monkeypatch.setattr(announce, "wake_worker", lambda turn_id: None)  # the turn stays queued
    agent = asking(owner)
    run = start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={})
    until(Turn.objects.exists)
    owner.client.post(f"/api/library/executions/{run.pk}/cancel")

    assert wait_for(run.pk).status == "TERMINATED"
    until(lambda: Turn.objects.get().cancel_requested_at is not None)
