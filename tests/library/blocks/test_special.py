"""Blocks that reach beyond their node, by themselves; the executor's tests run them with what they reach."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from apps.library.errors import BlockError
from tests.library.blocks.running import block, run

QUESTION = {"data": {"a": 1}, "name": "Look at this"}
CHILD = {"graph_id": "g", "graph_version": "2", "inputs": {"x": 1}}


def answering(approved, data, message=""):
    asked = []

    async def ask_person(**facts):
        asked.append(facts)
        return SimpleNamespace(approved=approved, data=data, message=message)

    return {"ask_person": ask_person}, asked


@pytest.mark.parametrize(
    ("answer", "outputs"),
    [
        ((True, {"a": 2}, "Mended"), [("approved_data", {"a": 2}), ("review_message", "Mended")]),
        ((True, None), [("approved_data", None)]),
        ((False, {"a": 1}, "No"), [("rejected_data", {"a": 1}), ("review_message", "No")]),
    ],
)
async def test_a_person_decides(answer, outputs):
    services, asked = answering(*answer)
    assert await run("HumanInTheLoop", {**QUESTION, "editable": "false"}, services=services) == outputs
    assert asked == [{"payload": {"a": 1}, "instructions": "Look at this", "is_editable": False}]


@pytest.mark.parametrize("facts", [{"safe_mode": False}, {"is_dry_run": True}])
async def test_nobody_is_asked_without_safe_mode_or_in_a_dry_run(facts):
    services, asked = answering(False, None)
    (pin, data), (_, message) = await run("HumanInTheLoop", QUESTION, services=services, **facts)
    assert (pin, data, message.startswith("Auto-approved")) == ("approved_data", {"a": 1}, True)
    assert not asked


async def test_another_agent_puts_out_what_it_gives_back():
    asked = []

    async def run_agent(**facts):
        asked.append(facts)
        return [("error", "first"), ("error", "second")]

    assert await run("AgentExecutor", CHILD, services={"run_agent": run_agent}) == [
        ("error", "first"),
        ("error", "second"),
    ]
    assert asked == [{"graph_id": "g", "graph_version": 2, "inputs": {"x": 1}, "node_input_masks": None}]


async def test_the_copilot_is_told_what_it_may_and_answers():
    answer = {
        "response": "Hello",
        "tool_calls": [],
        "conversation_history": "[]",
        "session_id": "s",
        "token_usage": {"total_tokens": 3},
    }
    asked = []

    async def ask_copilot(context, **facts):
        asked.append(facts)
        return answer

    found = await run("AutoPilot", {"prompt": "Hi", "tools": '["a"]'}, services={"ask_copilot": ask_copilot})
    assert found == list(answer.items())
    assert asked == [
        {
            "prompt": "Hi",
            "system_context": "",
            "session_id": "",
            "max_recursion_depth": 3,
            "dry_run": False,
            "permissions": {"tools": ["a"], "tools_exclude": True, "blocks": [], "blocks_exclude": True},
        }
    ]
    await run("AutoPilot", {"prompt": "Hi"}, services={"ask_copilot": ask_copilot}, is_dry_run=True)
    assert asked[1]["dry_run"] is True


async def test_a_copilot_that_is_not_there_or_not_asked_anything():
    with pytest.raises(BlockError, match="no copilot"):
        await run("AutoPilot", {"prompt": "Hi"})

    async def ask_copilot(context, **facts):
        raise AssertionError

    with pytest.raises(BlockError, match="prompt is empty"):
        await run("AutoPilot", {"prompt": " "}, services={"ask_copilot": ask_copilot})


@pytest.mark.parametrize(
    ("name", "pins"),
    [
        ("HumanInTheLoop", {"data": 1}),
        ("HumanInTheLoop", {"name": "x"}),
        ("HumanInTheLoop", {**QUESTION, "editable": "perhaps"}),
        ("AgentExecutor", {"graph_id": "g"}),
        ("AgentExecutor", {**CHILD, "graph_version": "new"}),
        ("AgentExecutor", {**CHILD, "inputs": "x"}),
        ("AutoPilot", {}),
        ("AutoPilot", {"prompt": "Hi", "max_recursion_depth": 11}),
    ],
)
def test_inputs_that_dont_fit(name, pins):
    with pytest.raises(ValidationError):
        block(name).Input.model_validate(pins)
