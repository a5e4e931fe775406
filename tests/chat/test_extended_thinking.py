"""Turns with the extended-thinking engine, through the whole product."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from apps.chat.models import Message
from apps.chat.turns.recorder import storable
from apps.chat.turns.route import NO_FAST_ENGINE, Router
from apps.engines import providers
from apps.engines.demo.signatures import redact, sign
from tests.chat.clients import detail, new_session, say, text_of
from tests.chat.served import broker  # noqa: F401

TODOS = [{"content": "Write it", "activeForm": "Writing it", "status": "pending"}]
PLAN = {"tool": "todo_write", "arguments": {"todos": TODOS}, "parts": 3}
THINKING = "extended_thinking"


def without_marks(value: Any) -> Any:
    """Return a request's part without cache marks."""
    if isinstance(value, dict):
        return {key: without_marks(each) for key, each in value.items() if key != "cache_control"}
    return [without_marks(each) for each in value] if isinstance(value, list) else value


def chunks_of(live: Any, session: str, message: str, mode: str) -> list[Any]:
    chunks = [chunk for _, chunk in say(live, session, message, mode=mode)][:-1]
    assert not [chunk for chunk in chunks if "error" in chunk["type"]]
    return chunks


def test_thoughts_come_back_unchanged_while_tools_run(live, model):
    marker = model.script(
        "loop",
        [{"reasoning": "First a plan.", "chunk": 4}, {"redacted": "hidden"}, {"text": "I plan."}, PLAN],
        [{"reasoning": "Once more."}, PLAN, PLAN],
        [{"reasoning": "Done now."}, {"text": "There is your plan."}],
        [{"text": "You are welcome."}],
    )
    session = new_session(live)

    chunks = chunks_of(live, session, f"Plan {marker}", THINKING)
    chunks_of(live, session, "Thanks", THINKING)

    requests = model.requests("loop")
    assert [(request["wire"], request["status"], request["finished"]) for request in requests] == [
        ("anthropic", 200, True)
    ] * 4
    third = requests[2]["body"]["messages"]
    assert [block["type"] for block in third[1]["content"]] == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert third[1]["content"][0] == {
        "type": "thinking",
        "thinking": "First a plan.",
        "signature": sign("First a plan."),
    }
    assert third[1]["content"][1] == {"type": "redacted_thinking", "data": redact("hidden")}
    assert [block["type"] for block in third[3]["content"]] == ["thinking", "tool_use", "tool_use"]
    assert requests[3]["body"]["messages"][5]["content"][0]["signature"] == sign("Done now.")

    assert text_of(chunks) == "I plan.There is your plan."
    thoughts = [chunk["delta"] for chunk in chunks if chunk["type"] == "reasoning-delta"]
    assert "".join(thoughts) == "First a plan.Once more.Done now."
    shown = json.dumps([chunks, detail(live, session)])
    assert redact("hidden") not in shown
    assert sign("First a plan.") not in shown
    kept = Message.objects.filter(session=session, provider_blocks__isnull=False)
    assert [row.role for row in kept] == ["assistant"] * 3


@pytest.fixture
def only_anthropic(settings, model):
    for name in ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        setattr(settings, name, "")
    settings.ANTHROPIC_API_KEY = "sk-ant"
    settings.ANTHROPIC_BASE_URL = model.anthropic_url


@pytest.fixture
def openrouter(settings, model, monkeypatch):
    """The fast mode's provider, at the address of the model server."""
    settings.OPENROUTER_API_KEY = "sk-or"
    monkeypatch.setattr(providers, "OPENROUTER_URL", model.base_url)


@pytest.mark.parametrize("mode", [THINKING, "fast"])
def test_a_budget_of_nothing_turns_thinking_off(openrouter, live, model, settings, mode):
    if mode == THINKING:
        settings.ANTHROPIC_API_KEY, settings.ANTHROPIC_BASE_URL = "sk-ant", model.anthropic_url
    thoughtful = [{"reasoning": "Hm."}, {"text": "I plan."}, PLAN]
    marker = model.script(f"switch-{mode}", *[thoughtful, [{"text": "Done."}]] * 2)
    session = new_session(live)
    for budget in (8192, 0):
        settings.CHAT_MAX_THINKING_TOKENS = budget
        live.turns.process.kind.router = Router()  # as a worker that starts with this setting has it
        chunks_of(live, session, marker, mode)

    bodies = [request["body"] for request in model.requests(f"switch-{mode}")]
    assert [body["model"].rpartition("/")[2] for body in bodies] == ["claude-sonnet-4-6"] * 4
    asked = [body.get("thinking") or body.get("reasoning") for body in bodies]
    budgets = {"budget_tokens": 8192, "type": "enabled"} if mode == THINKING else {"max_tokens": 8192}
    assert asked == [budgets, budgets, None, None]
    assert "Hm." not in json.dumps(bodies[2:]), "nor is an earlier thought sent back"
    assert ("Hm." in json.dumps(bodies[1])) == (mode == THINKING)


def test_people_are_told_when_another_engine_answers(only_anthropic, live, model):
    marker = model.script("other", [{"text": "Hello"}])

    chunks = chunks_of(live, new_session(live), marker, "fast")

    statuses = [chunk["data"]["message"] for chunk in chunks if chunk["type"] == "data-status"]
    assert NO_FAST_ENGINE in statuses
    (request,) = model.requests("other")
    assert (request["wire"], request["body"]["model"]) == ("anthropic", "claude-sonnet-4-6")
    assert request["beta"] == "extended-cache-ttl-2025-04-11"


def test_blocks_that_no_database_can_hold_are_dropped_whole():
    sound = [{"type": "thinking", "thinking": "hm é \U0001f600", "signature": "s"}]
    assert storable(sound) == sound
    for broken in ("a\x00b", "\ud800"):
        assert not storable([*sound, {"type": "thinking", "thinking": broken, "signature": "s"}])


@pytest.mark.parametrize("mode", [THINKING, "fast"])
def test_over_twenty_turns_nothing_that_was_sent_changes(live, model, teammate, mode):
    name = f"twenty-{mode}"
    one_turn = [[{"reasoning": "Hm."}, {"text": "I plan."}, PLAN], [{"reasoning": "So."}, {"text": "Done."}]]
    marker = model.script(name, *one_turn * 20)
    beginnings = []
    for person, turns in ((live.owner, 20), (teammate, 1)):
        used = SimpleNamespace(url=live.url, owner=person)
        session = new_session(used)
        model.clear()
        for number in range(turns):
            chunks_of(used, session, marker if number == 0 else f"Go on <user_context> {number}", mode)
        requests = model.requests(name)
        assert len(requests) == 2 * turns
        bodies = [request["body"] for request in requests]
        assert {request["status"] for request in requests} == {200}
        for before, after in pairwise(bodies):
            earlier = json.dumps(without_marks(before["messages"]))
            assert json.dumps(without_marks(after["messages"])).startswith(earlier[:-1])
        system = [json.dumps([body.get("system") or body["messages"][0], body["tools"]]) for body in bodies]
        assert len(set(system)) == 1
        beginnings += system
    assert len(set(beginnings)) == 1


def test_a_session_may_change_its_mode_between_turns(live, model):
    one_turn = [[{"reasoning": "Hm."}, PLAN], [{"text": "Done."}]]
    marker = model.script("changing", *one_turn * 4)
    session = new_session(live)

    for number, mode in enumerate(["fast", THINKING, "fast", THINKING]):
        chunks_of(live, session, marker if number == 0 else "Go on", mode)

    requests = model.requests("changing")
    assert [(request["wire"], request["status"]) for request in requests] == [
        *[("openai", 200)] * 2,
        *[("anthropic", 200)] * 2,
        *[("openai", 200)] * 2,
        *[("anthropic", 200)] * 2,
    ]
    assert not [request for request in model.requests() if request["status"] == 400]
