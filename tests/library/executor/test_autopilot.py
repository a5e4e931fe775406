"""Agents that ask the copilot, by the real turn worker and the scripted model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from apps.chat import announce, autopilot
from apps.chat.models import Message, PendingMessage, Session, ToolCall, Turn
from apps.chat.tools.permissions import Permissions
from apps.chat.tools.registry import default_registry
from apps.chat.turns.start import start_turn
from apps.library.blocks.special import AutoPilot
from apps.library.executor.outputs import grouped, values_by_name
from apps.library.executor.start import start_execution
from apps.library.models import Execution, NodeExecution
from tests.chat.slow_tools import Gate
from tests.chat.usage_tools import pay
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent, until, wait_for
from tests.library.executor.test_life import parent_of


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


def started(agent: Any, **fields: Any) -> Execution:
    return start_execution(user_id=agent.user_id, graph=agent.graph, inputs={}, **fields)


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


def test_who_has_used_up_a_limit_is_not_answered(owner, copilot):
    pay(owner, 1_000_000)
    run = run_of(asking(owner))
    assert failure(run) == "The copilot can't be asked: You have reached your usage limit. (rate_limited)"
    assert not Session.objects.exists()


def test_a_stop_of_the_run_stops_the_turn(owner, copilot, monkeypatch):
    monkeypatch.setattr(announce, "wake_worker", lambda turn_id: None)  # the turn stays queued
    agent = asking(owner)
    run = start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={})
    until(Turn.objects.exists)
    owner.client.post(f"/api/library/executions/{run.pk}/cancel")

    assert wait_for(run.pk).status == "TERMINATED"
    until(lambda: Turn.objects.get().cancel_requested_at is not None)


def test_a_turn_that_takes_too_long_fails_the_node_and_is_stopped(owner, copilot, model, monkeypatch):
    monkeypatch.setattr(autopilot, "LONGEST_SECONDS", 0.5)
    marker = model.script("endless", [{"text": "I begin"}, {"sleep": 60}])
    run = run_of(asking(owner, prompt=marker))

    turn = Turn.objects.get()
    assert failure(run) == f"The copilot took longer than 6 hours (session {turn.session_id})."
    until(lambda: Turn.objects.get().status == "cancelled")


def test_a_turn_that_fails_fails_the_node_with_its_session_named(owner, copilot, model):
    marker = model.script("broken", [{"status": 400, "body": {"error": {"message": "no"}}}], repeat_last=True)
    run = run_of(asking(owner, prompt=marker))

    turn = Turn.objects.get()
    assert turn.status == "failed"
    assert failure(run) == f"The copilot gave no answer (session {turn.session_id}): {turn.error}"
    assert turn.error


def test_a_turn_that_a_person_stops_fails_the_node(owner, copilot, model):
    marker = model.script("long", [{"text": "I begin"}, {"sleep": 60}])
    run = started(asking(owner, prompt=marker))
    turn = until(lambda: Turn.objects.filter(status="running").first())
    owner.client.post(f"/api/chat/sessions/{turn.session_id}/cancel")

    assert failure(wait_for(run.pk)) == f"The copilot gave no answer (session {turn.session_id}): It was stopped."


def test_a_stop_of_the_run_stops_a_turn_that_works(owner, copilot, model):
    marker = model.script("works", [{"text": "I begin"}, {"sleep": 60}])
    run = started(asking(owner, prompt=marker))
    until(lambda: Turn.objects.filter(status="running").exists())
    owner.client.post(f"/api/library/executions/{run.pk}/cancel")

    assert wait_for(run.pk).status == "TERMINATED"
    until(lambda: Turn.objects.get().status == "cancelled", timeout=5)


@pytest.fixture
def busy(owner, copilot, model, settings):
    """Return a session whose own turn works until the test opens the gate."""
    settings.CHAT_TOOL_MODULES = ["tests.chat.slow_tools"]
    Gate.opened.clear()
    copilot.process.kind.tools = default_registry(extra_modules=settings.CHAT_TOOL_MODULES)
    marker = model.script("busy", [{"tool": "gate", "arguments": {}}], [{"text": "For both."}])
    session = Session.objects.create(user=owner.user)
    start_turn(session=session, message=marker)
    until(lambda: ToolCall.objects.filter(state="started").exists())
    yield session
    Gate.opened.set()


def test_a_busy_session_answers_by_the_turn_that_runs(owner, busy):
    run = started(asking(owner, session_id=str(busy.pk)))
    until(PendingMessage.objects.exists)
    Gate.opened.set()

    given = grouped(values_by_name(wait_for(run.pk)))
    assert given["response"] == ["For both."]
    turn = Turn.objects.get()
    assert turn.origin == "user"
    said = list(Message.objects.filter(turn=turn, role="user").values_list("content", flat=True))
    assert said[-1] == "hello"


def test_a_run_that_rides_on_a_turn_leaves_it_alone_when_it_is_stopped_or_late(owner, busy, monkeypatch):
    run = started(asking(owner, session_id=str(busy.pk)))
    until(PendingMessage.objects.exists)
    owner.client.post(f"/api/library/executions/{run.pk}/cancel")
    assert wait_for(run.pk).status == "TERMINATED"
    until(lambda: not PendingMessage.objects.exists())

    monkeypatch.setattr(autopilot, "LONGEST_SECONDS", 0.2)
    assert "longer than 6 hours" in failure(run_of(asking(owner, session_id=str(busy.pk))))
    turn = Turn.objects.get()
    assert (turn.status, turn.cancel_requested_at) == ("running", None)
    assert not PendingMessage.objects.exists()


def test_a_message_that_a_busy_turn_did_not_read_is_answered_by_the_next(owner, copilot, model):
    marker = model.script("talks", [{"text": "For one."}, {"sleep": 1.5}])
    session = Session.objects.create(user=owner.user)
    start_turn(session=session, message=marker)
    until(lambda: Turn.objects.filter(status="running").exists())
    following = model.script("follows", [{"text": "For the other."}])
    run = wait_for(started(asking(owner, prompt=following, session_id=str(session.pk))).pk)

    assert grouped(values_by_name(run))["response"] == ["For the other."]
    assert list(Turn.objects.order_by("created_at").values_list("origin", flat=True)) == ["user", "auto_continue"]


def test_who_may_use_less_does_not_ride_on_a_turn_that_may_use_more(owner, busy):
    run = run_of(asking(owner, session_id=str(busy.pk), tools=["web_fetch"]))

    assert "busy, with a copilot that may use more" in failure(run)
    assert not PendingMessage.objects.exists()


def test_a_dry_run_does_not_go_on_with_a_real_conversation(owner, copilot):
    session = Session.objects.create(user=owner.user)
    run = run_of(asking(owner, session_id=str(session.pk), dry_run=True))

    assert failure(run) == f"The conversation {session.pk} isn't a dry run, so a dry run can't go on with it."
    assert run_of(asking(owner, dry_run=True)).status == "COMPLETED"
    assert Turn.objects.get().session.is_dry_run


def test_depth_goes_down_to_runs_below(owner, copilot):
    agent = parent_of(owner, asking(owner, max_recursion_depth=3))
    run = wait_for(start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={"in": 1}, autopilot_depth=2).pk)
    assert Execution.objects.get(parent=run).autopilot_depth == 2
    assert Turn.objects.get().permissions["autopilot_depth"] == 3

    again = wait_for(start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={"in": 1}, autopilot_depth=3).pk)
    assert "at most 3 deep" in failure(Execution.objects.get(parent=again))


# Permissions


def offered_to(model: Any, script: str) -> list[set[str]]:
    """Return the tools that each request of a script offered."""
    return [
        {tool["function"]["name"] for tool in request["body"].get("tools", ())} for request in model.requests(script)
    ]


@pytest.mark.parametrize(
    ("permissions", "is_allowed"),
    [
        ({}, True),
        ({"tools": ["todo_write"]}, False),
        ({"tools": ["web_fetch"]}, True),
        ({"tools": ["todo_write"], "tools_exclude": False}, True),
        ({"tools": ["web_fetch"], "tools_exclude": False}, False),
        ({"tools": [], "tools_exclude": False}, False),
    ],
)
def test_a_tool_that_is_refused_is_neither_offered_nor_called(owner, copilot, model, permissions, is_allowed):
    arguments = {"todos": [{"content": "a", "status": "pending", "activeForm": "a"}]}
    marker = model.script("todo", [{"tool": "todo_write", "arguments": arguments}], [{"text": "Done."}])
    model.clear()
    run = run_of(asking(owner, prompt=marker, **permissions))

    assert grouped(values_by_name(run))["response"] == ["Done."]
    assert [("todo_write" in tools) for tools in offered_to(model, "todo")] == [is_allowed, is_allowed]
    result = json.loads(Message.objects.get(role="tool").content)
    assert (result.get("error") == "unknown_tool") is not is_allowed, result
    if not is_allowed:
        assert "todo_write" not in result["details"]["tools"]


def test_permissions_go_with_the_turn_and_not_with_the_conversation(owner, copilot, model):
    marker = model.script("first", [{"text": "One."}])
    given = grouped(values_by_name(run_of(asking(owner, prompt=marker, tools=["web_fetch"]))))
    session = Session.objects.get(pk=given["session"][0])
    marker = model.script("second", [{"text": "Two."}])
    model.clear()
    start_turn(session=session, message=marker)
    until(lambda: Turn.objects.filter(session=session, status="completed").count() == 2)

    [tools] = offered_to(model, "second")
    assert "web_fetch" in tools


@pytest.mark.parametrize(
    ("permissions", "words"),
    [({"tools": ["web_fetsh"]}, "no tool web_fetsh"), ({"blocks": ["Addd"]}, "no block addd")],
)
def test_permissions_that_name_what_is_not_there_are_refused(owner, copilot, permissions, words):
    run = run_of(asking(owner, **permissions))

    assert words in failure(run)
    assert not Turn.objects.exists()


def test_blocks_are_allowed_by_name_id_or_its_beginning():
    for called in (AutoPilot.name, AutoPilot.id, AutoPilot.id[:8], AutoPilot.name.upper()):
        refusing = Permissions.of({"blocks": [called]})
        only = Permissions.of({"blocks": [called], "blocks_exclude": False})
        assert not refusing.allows_block(AutoPilot.id, AutoPilot.name)
        assert refusing.allows_block(b.ADD, "Add")
        assert only.allows_block(AutoPilot.id, AutoPilot.name)
        assert not only.allows_block(b.ADD, "Add")
