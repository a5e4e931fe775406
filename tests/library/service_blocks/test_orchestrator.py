"""The block that lets a model choose: tools, calls that fit, conversations over several runs, and the loop."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from apps.library.blocks import ask_model
from apps.library.blocks.orchestrator import Orchestrator, compacted
from apps.library.errors import BlockError
from tests.library.service_blocks.conftest import context_for, run_block

SEARCH, SAVE = str(uuid4()), str(uuid4())


@pytest.fixture(autouse=True)
def demo(settings, model, monkeypatch):
    for name in ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        setattr(settings, name, "")
    settings.DEMO_MODEL_URL = model.url
    monkeypatch.setattr(ask_model, "PAUSES", ())
    model.clear()


def tool(name, node_id, required=(), **properties):
    return {
        "name": name,
        "description": f"Can {name}.",
        "parameters": {"type": "object", "properties": properties, "required": list(required)},
        "node_id": node_id,
        "pins": {key: f"tools_^_{node_id}_~_{key.title()}" for key in properties},
    }


TOOLS = [
    tool("search", SEARCH, ("query",), query={"type": "string"}, limit={"type": "integer", "default": 5}),
    tool("save", SAVE, ("text",), text={"type": "string"}),
]


def context(tools=TOOLS, use=None, **more):
    async def tools_of_node(node_id):
        assert node_id == made.node_id
        return tools

    made = context_for(services={"tools_of_node": tools_of_node, **({"run_tool_node": use} if use else {})})
    for name, value in more.items():
        setattr(made, name, value)
    return made


def calls(name, **arguments):
    return {"tool": name, "arguments": arguments}


async def ask(model, *steps, within=None, repeat_last=False, **inputs):
    marker = model.script("orchestra", *[[*step] for step in steps], repeat_last=repeat_last)
    return await run_block(Orchestrator, {"prompt": f"Do it {marker}", **inputs}, within or context())


async def test_a_call_is_put_out_on_the_pins_of_its_tool(model):
    found = await ask(model, [calls("search", query="cats")])
    assert found[f"tools_^_{SEARCH}_~_Query"] == ["cats"]
    assert found[f"tools_^_{SEARCH}_~_Limit"] == [5]  # the node waits for each linked pin
    assert "finished" not in found
    [talk] = found["conversations"]
    assert talk[-1]["tool_calls"][0]["function"]["name"] == "search"
    [request] = model.requests("orchestra")
    assert [offered["function"]["name"] for offered in request["body"]["tools"]] == ["search", "save"]


async def test_an_answer_without_calls_finishes(model):
    found = await ask(model, [{"text": "All done."}])
    assert found["finished"] == ["All done."]
    assert set(found) == {"finished", "conversations"}


async def test_one_call_counts_unless_several_may(model):
    two = [calls("search", query="a"), calls("save", text="b")]
    found = await ask(model, two)
    assert f"tools_^_{SAVE}_~_Text" not in found
    found = await ask(model, two, multiple_tool_calls=True)
    assert found[f"tools_^_{SAVE}_~_Text"] == ["b"]
    assert len(found["conversations"][0][-1]["tool_calls"]) == 2


async def test_the_conversation_goes_on_with_what_the_tool_put_out(model):
    steps = [calls("search", query="cats")], [{"text": "Three cats."}]
    first = await ask(model, *steps)
    second = await ask(model, *steps, conversation_history=first["conversations"][0], last_tool_output={"cats": 3})
    assert second["finished"] == ["Three cats."]
    sent = model.requests("orchestra")[-1]["body"]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
    assert json.loads(sent[-1]["content"]) == {"cats": 3}


async def test_results_of_several_calls_come_one_by_one(model):
    steps = [calls("search", query="a"), calls("save", text="b")], [{"text": "Both."}]
    first = await ask(model, *steps, multiple_tool_calls=True)
    history = first["conversations"][0]
    assert await ask(model, *steps, conversation_history=history) == {}
    second = await ask(model, *steps, conversation_history=history, last_tool_output="one")
    assert set(second) == {"conversations"}
    third = await ask(model, *steps, conversation_history=second["conversations"][0], last_tool_output="two")
    assert third["finished"] == ["Both."]
    sent = model.requests("orchestra")[-1]["body"]["messages"]
    assert [message["content"] for message in sent if message["role"] == "tool"] == ["one", "two"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (calls("dig", deep=1), "There is no tool dig"),
        (calls("search", limit=3), "lacks the arguments query"),
        (calls("search", query="x", colour="red"), "has no arguments colour"),
        ({"tool": "search", "raw_arguments": "{"}, "no JSON"),
        ({"tool": "search", "raw_arguments": "[1]"}, "no object"),
    ],
)
async def test_calls_that_do_not_fit_are_told_and_made_again(model, bad, words):
    within = context()
    found = await ask(model, [bad], [calls("search", query="right")], within=within)
    assert found[f"tools_^_{SEARCH}_~_Query"] == ["right"]
    assert words in model.requests("orchestra")[-1]["body"]["messages"][-1]["content"]
    assert within.stats.retries == 1
    assert len(found["conversations"][0]) == 3  # the failed attempt isn't part of what was said


async def test_calls_that_never_fit_fail_the_block(model):
    within = context()
    with pytest.raises(BlockError, match=r"no calls that can be used\. There is no tool dig"):
        await ask(model, [calls("dig")], repeat_last=True, within=within, retry=2)
    assert within.stats.model_calls == 3


@pytest.mark.parametrize("services", [context_for(), context(tools=[])])
async def test_without_tools_there_is_nothing_to_decide(model, services):
    with pytest.raises(BlockError, match="No block is linked"):
        await run_block(Orchestrator, {"prompt": "x"}, services)
    assert not model.requests()


# The loop ---------------------------------------------------------------------------------------------------------


async def test_in_a_loop_tools_are_used_and_their_results_read(model):
    used = []

    async def use(node_id, inputs, note):
        used.append((node_id, inputs))
        if node_id == SAVE:
            raise BlockError("The disk is full.")
        return {"output": ["three cats"]}

    found = await ask(
        model,
        [calls("search", query="cats")],
        [calls("save", text="3")],
        [{"text": "Done."}],
        within=context(use=use),
        agent_mode_max_iterations=-1,
    )
    assert found["finished"] == ["Done."]
    assert used == [(SEARCH, {"Query": "cats", "Limit": 5}), (SAVE, {"Text": "3"})]
    talk = found["conversations"][0]
    results = [message["content"] for message in talk if message["role"] == "tool"]
    assert results == ['{"output": ["three cats"]}', "Error: The disk is full."]
    assert not any(pin.startswith("tools_^_") for pin in found)


@pytest.mark.parametrize(
    ("wanted", "dry", "rounds"), [(3, False, 3), (-1, False, 50), (1000, False, 50), (-1, True, 10)]
)
async def test_the_loop_is_bounded(model, wanted, dry, rounds):
    async def use(node_id, inputs, note):
        return {}

    within = context(use=use, is_dry_run=dry)
    found = await ask(
        model, [calls("search", query="x")], repeat_last=True, within=within, agent_mode_max_iterations=wanted
    )
    assert found["finished"] == [f"It isn't done after {rounds} rounds."]
    assert within.stats.model_calls == rounds


async def test_a_loop_needs_an_executor_that_runs_nodes(model):
    with pytest.raises(BlockError, match="set the iterations to 0"):
        await ask(model, [{"text": "x"}], agent_mode_max_iterations=2)


# Long conversations -----------------------------------------------------------------------------------------------


async def test_a_conversation_that_is_too_long_is_compacted(model):
    marker = model.script("far", [{"text": "ok"}], repeat_last=True, context=6_000)
    history = [{"role": "system", "content": "s"}, {"role": "user", "content": f"first {marker}"}]
    for number in range(20):
        history += [
            {"role": "assistant", "content": f"a{number} " + "x" * 300},
            {"role": "user", "content": f"u{number}"},
        ]
    data = {"prompt": f"and now {marker}", "conversation_history": history}
    found = await run_block(Orchestrator, data, context())
    talk = found["conversations"][0]
    assert found["finished"] == ["ok"]
    assert talk[1]["content"].startswith("first")
    assert "left out" in talk[2]["content"]
    assert talk[-2]["content"].startswith("and now")
    with pytest.raises(BlockError, match="longer than this model"):
        await run_block(Orchestrator, {**data, "conversation_compaction": False}, context())


def test_compacting_keeps_results_with_their_calls():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    talk = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
        {"role": "assistant", "content": "a"},
    ]
    roles = [message["role"] for message in compacted(talk)]
    assert roles == ["user", "user", "assistant"]


async def test_extended_thinking_asks_the_other_engine(settings, model):
    settings.ANTHROPIC_BASE_URL = model.anthropic_url
    settings.OPENAI_BASE_URL = model.base_url
    steps = [calls("search", query="cats")], [{"text": "Three."}]
    first = await ask(model, *steps, execution_mode="extended_thinking")
    second = await ask(
        model,
        *steps,
        execution_mode="extended_thinking",
        conversation_history=first["conversations"][0],
        last_tool_output="3",
    )
    assert second["finished"] == ["Three."]
    assert {request["wire"] for request in model.requests("orchestra")} == {"anthropic"}
