"""Vercel's AI SDK as a client of ours: its own transport, parser, schema and reader, in three versions.

Needs `npm ci` in this folder; `make e2e` does both.
"""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.chat.clients import detail, new_session, say
from tests.chat.served import broker, eventually, stop  # noqa: F401 -- a fixture
from tests.chat.slow_tools import Runs

HERE = Path(__file__).parent
TODO = {"todos": [{"content": "Write it", "activeForm": "Writing it", "status": "pending"}]}
SECONDS = 60


@pytest.fixture(params=["ai-v5", "ai", "ai-v7"])
def sdk(request):
    """A version of the SDK."""
    node = shutil.which("node")
    assert node, "node is needed"
    assert (HERE / "node_modules" / request.param).is_dir(), "run `npm ci` in tests/aisdk first"
    return node, request.param


def client(sdk, live, session, **extra):
    """Start the SDK's client on a session."""
    facts = {"AI_PACKAGE": sdk[1], "BASE_URL": live.url, "TOKEN": live.owner.key, "SESSION": session, "MODE": "send"}
    environment = {"PATH": os.environ["PATH"], **facts, **extra}
    return subprocess.Popen(
        [sdk[0], "client.mjs"], cwd=HERE, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def result(process):
    """Return what a client saw."""
    out, problems = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, problems
    return json.loads(out)


def kinds_of(frames):
    """Return the chunks' types, runs of deltas as one: how they are cut is a matter of time."""
    kinds = [frame if isinstance(frame, str) else frame[1]["type"] for frame in frames]
    return [kind for place, kind in enumerate(kinds) if place == 0 or kind != kinds[place - 1]]


def parts(seen, kind):
    return [part for part in seen["message"]["parts"] if part["type"] == kind]


def test_text_arrives_whole(sdk, live, model):
    text = "Größe 🦊 and\n\nlines\u2028with [DONE] and data: in them"
    session = new_session(live)
    seen = result(client(sdk, live, session, MESSAGE=model.script("text", [{"text": text, "chunk": 3}])))
    assert seen["errors"] == []
    assert seen["valid"] is not False
    assert [part["text"] for part in parts(seen, "text")] == [text]
    assert [part["state"] for part in parts(seen, "text")] == ["done"]
    assert seen["kinds"][0] == "start"
    assert seen["kinds"][-1] == "finish"
    assert seen["message"]["role"] == "assistant"
    assert seen["message"]["id"] == detail(live, session)["messages"][-1]["turn_id"]


def test_reasoning_tools_and_text_arrive_in_order(sdk, live, model):
    script = [
        [{"reasoning": "Let me think.", "chunk": 4}, {"tool": "todo_write", "arguments": TODO, "parts": 4}],
        [
            {"interleave": [
                {"tool": "todo_write", "arguments": TODO, "parts": 2},
                {"tool": "no_such_tool", "raw_arguments": "{broken", "parts": 2},
            ]}
        ],
        [{"reasoning": "So be it."}, {"text": "There you are."}],
    ]  # fmt: skip
    session = new_session(live)
    seen = result(client(sdk, live, session, MESSAGE=model.script("tools", *script)))
    assert seen["errors"] == []
    assert seen["valid"] is not False
    thoughts = parts(seen, "reasoning")
    assert [part["text"] for part in thoughts] == ["Let me think.", "So be it."]
    took = [part["providerMetadata"]["flightdeck"]["durationMs"] for part in thoughts]
    assert took == [row["duration_ms"] for row in detail(live, session)["messages"] if row["role"] == "reasoning"]
    assert [part["text"] for part in parts(seen, "text")] == ["There you are."]
    tools = [part for part in seen["message"]["parts"] if part["type"].startswith("tool-")]
    assert [tool["type"] for tool in tools] == ["tool-todo_write", "tool-todo_write", "tool-no_such_tool"]
    assert {tool["state"] for tool in tools} == {"output-available"}
    assert tools[0]["input"] == TODO
    stored = {row["tool_call_id"]: row["content"] for row in detail(live, session)["messages"] if row["role"] == "tool"}
    for tool in tools:
        held = stored[tool["toolCallId"]]
        assert tool["output"] == (json.loads(held) if held.startswith("{") else held)
    again = say(live, session, model.script("tools", *script))
    assert kinds_of(seen["kinds"])[-4:] == kinds_of(again[:-1])[-4:]


@pytest.fixture
def runs_tool(settings):
    """Offer the model a tool that tells of two runs."""
    settings.CHAT_TOOL_MODULES = ["tests.chat.slow_tools"]


def test_runs_are_parts_that_are_updated_in_place(runs_tool, sdk, live, model):
    marker = model.script("runs", [{"tool": "runs", "arguments": {"seconds": 0}}], [{"text": "Both ran."}])
    seen = result(client(sdk, live, new_session(live), MESSAGE=marker))
    assert seen["errors"] == []
    assert seen["valid"] is not False
    told = {part["id"]: part["data"]["status"] for part in parts(seen, "data-execution")}
    assert told == {str(Runs.ids[0]): "COMPLETED", str(Runs.ids[1]): "RUNNING"}
    assert len(parts(seen, "data-execution")) == 2


def test_an_error_arrives_as_one(sdk, live, model):
    failing = [{"text": "As far as "}, {"error_chunk": {"message": "no more", "code": 400}}]
    seen = result(client(sdk, live, new_session(live), MESSAGE=model.script("fails", failing)))
    assert seen["kinds"][-2:] == ["error", "finish"]
    assert len(seen["errors"]) == 1
    assert "[code:" in seen["errors"][0]
    assert [part["text"] for part in parts(seen, "text")] == ["As far as "]


@pytest.mark.parametrize("open_tool", [False, True])
def test_a_stop_in_mid_answer_arrives(sdk, live, model, open_tool):
    if open_tool:
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "todo_write", "arguments": "{"}}
        held = [{"delta": {"tool_calls": [call]}}, {"sleep": 60}]
        when = "tool-input-start"
    else:
        held, when = [{"text": "Half of it"}, {"sleep": 60}], "text-delta"
    session = new_session(live)
    seen = result(client(sdk, live, session, MESSAGE=model.script("stopped", held), STOP_AFTER=when))
    assert seen["errors"] == []
    assert seen["kinds"][-2:] == ["abort", "finish"]
    assert seen["kinds"][-3] == "finish-step"
    if open_tool:
        assert [part["state"] for part in parts(seen, "tool-todo_write")] == ["output-error"]
    else:
        assert [part["text"] for part in parts(seen, "text")] == ["Half of it"]
    assert detail(live, session)["messages"][-1]["kind"] == "stopped"


def test_coming_back_gives_the_whole_message(sdk, live, model):
    session = new_session(live)
    held = [{"tool": "todo_write", "arguments": TODO}], [{"text": "Said before, "}, {"sleep": 60}]
    marker = model.script("resumed", *held)
    frames = []
    sender = threading.Thread(target=lambda: frames.extend(say(live, session, marker)))
    sender.start()
    eventually(lambda: len(model.requests("resumed")) == 2)
    reader = client(sdk, live, session, MODE="resume", STOP_AFTER="text-delta")
    seen = result(reader)
    sender.join(SECONDS)
    assert seen["errors"] == []
    assert seen["kinds"][-1] == "finish"
    assert kinds_of(seen["kinds"]) == kinds_of(frames[:-1])
    assert [part["text"] for part in parts(seen, "text")] == ["Said before, "]
    assert result(client(sdk, live, session, MODE="resume")) == {"nothing": True}
    assert stop(live, session)["reason"] == "no_active_turn"


def test_the_lock_names_no_host():
    lock = json.loads((HERE / "package-lock.json").read_text())
    assert "http" not in json.dumps(lock)
    versions = {name.removeprefix("node_modules/"): facts.get("version") for name, facts in lock["packages"].items()}
    assert (versions["ai"], versions["ai-v5"], versions["ai-v7"]) == ("6.0.326", "5.0.277", "7.0.173")
