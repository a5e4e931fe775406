from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from apps.engines.demo.conversation import find_script, from_openai, plain_question
from apps.engines.demo.demo_script import reply, title
from apps.engines.demo.running import DemoHandle, running_demo
from apps.engines.demo.script import ScriptError, Sleep, Status, Text, ToolCall, parse_action, parse_script

MODEL = "flightdeck-demo"


@pytest.fixture
async def sdk(demo: DemoHandle) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=demo.base_url, api_key="k", max_retries=0) as client:
        yield client


def user(text: object) -> Any:
    return {"role": "user", "content": text}


SEARCH: Any = {"type": "function", "function": {"name": "search", "description": "", "parameters": {}}}


async def test_models(sdk: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in sdk.models.list()] == [MODEL]


async def test_a_whole_answer(sdk: openai.AsyncOpenAI, demo: DemoHandle) -> None:
    marker = demo.script("whole", [{"reasoning": "hm"}, {"text": "Hello", "chunk": 1}])
    answer = await sdk.chat.completions.create(model=MODEL, messages=[user(marker)])
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_a_streamed_answer(sdk: openai.AsyncOpenAI, demo: DemoHandle) -> None:
    marker = demo.script("streamed", [{"text": "Hello", "chunk": 2}])
    stream = await sdk.chat.completions.create(
        model=MODEL, messages=[user(marker)], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None


async def test_tools_whole_and_streamed(sdk: openai.AsyncOpenAI, demo: DemoHandle) -> None:
    call = {"tool": "search", "arguments": {"q": "é"}, "parts": 4}
    marker = demo.script("tools", [{"interleave": [call, call]}], [{"text": "found"}])
    messages: list[Any] = [user(marker)]
    answer = await sdk.chat.completions.create(model=MODEL, messages=messages, tools=[SEARCH])
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    assert [json.loads(each.function.arguments) for each in message.tool_calls if each.type == "function"] == [
        {"q": "é"},
        {"q": "é"},
    ]
    async with sdk.chat.completions.stream(model=MODEL, messages=messages, tools=[SEARCH]) as stream:
        final = await stream.get_final_completion()
    streamed = final.choices[0].message.tool_calls
    assert streamed is not None
    assert [each.id for each in streamed] == [each.id for each in message.tool_calls]

    messages.append(message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": each.id, "content": "{}"} for each in message.tool_calls]
    answer = await sdk.chat.completions.create(model=MODEL, messages=messages, tools=[SEARCH])
    assert answer.choices[0].message.content == "found"


async def test_an_http_error(sdk: openai.AsyncOpenAI, demo: DemoHandle) -> None:
    marker = demo.script("limited", [{"status": 429}])
    with pytest.raises(openai.RateLimitError):
        await sdk.chat.completions.create(model=MODEL, messages=[user(marker)])


async def test_a_title(sdk: openai.AsyncOpenAI, demo: DemoHandle) -> None:
    marker = demo.script("titled", [{"sleep": 30}])
    answer = await sdk.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "Write a title."},
            user(f"{marker} How do I bake bread at home today, please?"),
        ],
    )
    assert answer.choices[0].message.content == "How do I bake bread at"
    assert demo.requests("titled") == []


def test_the_step_is_found_without_any_memory() -> None:
    said = {"role": "assistant", "content": "x"}
    answered = {"role": "tool", "content": "x"}
    assert find_script([]) == (None, 0)
    assert find_script([user("hello")]) == (None, 0)
    assert find_script([said, user("do [script:a]")]) == ("a", 0)
    assert find_script([user("[script:a]"), said, answered, user("and this"), said, answered]) == ("a", 2)
    assert find_script([user("[script:a]"), said, user("[script:a] again"), said]) == ("a", 2)
    assert find_script([user("[script:a]"), said, user("[script:b]")]) == ("b", 0)
    assert find_script([user([{"type": "text", "text": "[script:a]"}]), said]) == ("a", 1)


def test_after_the_last_step() -> None:
    ends = parse_script({"name": "a", "steps": [[{"text": "one"}]]})
    assert ends.step(1) == (Text("Done."),)
    goes_on = parse_script({"name": "a", "steps": [[{"text": "one"}]], "repeat_last": True})
    assert goes_on.step(5) == [Text("one")]


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"name": "a"},
        {"name": "", "steps": []},
        {"name": "a b", "steps": []},
        {"name": "a", "steps": [{}]},
        {"name": "a", "steps": [["text"]]},
        {"name": "a", "steps": [[{"tetx": "x"}]]},
        {"name": "a", "steps": [[{"reasoning": "x", "shape": "round"}]]},
        {"name": "a", "steps": [[{"sleep": "long"}]]},
        {"name": "a", "steps": [[{"sleep": None}]]},
        {"name": "a", "steps": [[{"finish": "never"}]]},
        {"name": "a", "steps": [[{"usage": 5}]]},
    ],
)
def test_wrong_scripts_are_refused(raw: object, demo: DemoHandle) -> None:
    with pytest.raises(ScriptError):
        parse_script(raw)
    with pytest.raises(urllib.error.HTTPError) as caught:
        demo._call("POST", "/script", raw)  # type: ignore[arg-type]
    assert caught.value.code in (400, 405)
    caught.value.close()


def test_actions_are_read() -> None:
    assert parse_action({"sleep": 1}) == Sleep(1.0)
    assert parse_action({"status": 500, "times": 2}) == Status(500, None, 2)
    assert parse_action({"tool": "a", "index": None}) == ToolCall(name="a", arguments="{}", labels={"index": None})


def conversation(text: str, *tools: str, answers: tuple[str, ...] = ()) -> Any:
    messages: list[Any] = [{"role": "system", "content": "s"}, user(text)]
    for number, answer in enumerate(answers):
        call = {"id": str(number), "type": "function", "function": {"name": tools[0], "arguments": "{}"}}
        messages += [{"role": "assistant", "content": None, "tool_calls": [call]}]
        messages += [{"role": "tool", "tool_call_id": str(number), "content": answer}]
    offered = [{"type": "function", "function": {"name": name}} for name in tools]
    return from_openai({"messages": messages, "tools": offered})


def said(actions: Any) -> str:
    return "".join(action.text for action in actions if isinstance(action, Text))


def called(actions: Any) -> list[tuple[str, Any]]:
    return [(action.name, json.loads(action.arguments)) for action in actions if isinstance(action, ToolCall)]


def test_the_demo_model_says_what_it_is_and_what_to_try() -> None:
    answer = said(reply(conversation("<user_context>\nsecret\n</user_context>\n\nHow are you?")))
    assert "not an AI" in answer
    assert "“How are you?”" in answer
    assert "secret" not in answer
    for shown in ("# ", "| ", "1. ", "```bash", "`long`", "`slow`", "`error`", "`plan"):
        assert shown in answer


def test_the_demo_model_calls_tools_that_are_offered() -> None:
    ((name, arguments),) = called(reply(conversation("Plan my week", "todo_write", "web_fetch")))
    assert name == "todo_write"
    assert {frozenset(todo) for todo in arguments["todos"]} == {frozenset({"content", "activeForm", "status"})}
    assert sum(todo["status"] == "in_progress" for todo in arguments["todos"]) == 1
    page = called(reply(conversation("Read https://example.org/a?b=1.", "web_fetch")))
    assert page == [("web_fetch", {"url": "https://example.org/a?b=1"})]
    assert called(reply(conversation("Plan my week"))) == []


def test_the_demo_model_tells_what_came_of_tools() -> None:
    todos = json.dumps({"type": "todo_write", "message": "ok", "todos": [{"content": "Rest", "status": "completed"}]})
    assert "- [x] Rest" in said(reply(conversation("plan", "todo_write", answers=(todos,))))
    page = json.dumps({"type": "web_fetch", "message": "ok", "title": "Home", "content": "Welcome", "url": "u"})
    answer = said(reply(conversation("https://a.b", "web_fetch", answers=(page,))))
    assert "Home" in answer
    assert "Welcome" in answer
    failure = json.dumps({"type": "error", "error": "refused", "message": "Not allowed."})
    assert "Not allowed." in said(reply(conversation("https://a.b", "web_fetch", answers=(failure,))))
    assert "plain words" in said(reply(conversation("https://a.b", "web_fetch", answers=("plain words",))))


def test_the_keywords_count_in_short_messages_only() -> None:
    assert isinstance(reply(conversation("error"))[0], Status)
    assert isinstance(reply(conversation("be slow, please"))[0], Sleep)
    assert 600 < len(said(reply(conversation("long"))).split()) < 1_000  # 15 to 25 seconds at 40 words a second
    assert "not an AI" in said(reply(conversation("I get a strange error when I start my old car")))


def test_titles_and_questions() -> None:
    assert title("") == "A new conversation"
    assert title("Hello there!") == "Hello there"
    assert plain_question("<user_follow_up>x [script:a]</user_follow_up>") == "x"


def test_the_demo_model_has_a_pace() -> None:
    with running_demo(words_per_second=200) as slow:
        body = {"messages": [user("hello")], "stream": True}
        request = urllib.request.Request(  # noqa: S310
            f"{slow.base_url}/chat/completions", data=json.dumps(body).encode(), method="POST"
        )
        started = time.monotonic()
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            response.readline()
            first = time.monotonic() - started
            while time.monotonic() - started < 0.3:
                response.readline()
        assert first < 0.2
        deadline = time.monotonic() + 2
        while not slow.requests()[0]["closed_early"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_unknown_paths_and_bodies(demo: DemoHandle) -> None:
    for method, path, data, code in (
        ("GET", "/nothing", None, 404),
        ("POST", "/v1/chat/completions", b"no json", 400),
        ("POST", "/v1/chat/completions", b"{}", 400),
    ):
        request = urllib.request.Request(demo.url + path, data=data, method=method)  # noqa: S310
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=5)  # noqa: S310
        assert caught.value.code == code
        caught.value.close()


def test_the_command_serves_until_it_is_told_to_stop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "apps.engines.demo", "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "FLIGHTDECK_DEMO_PACE": "0"})
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/healthz")
        process.send_signal(signal.SIGTERM)
        process.wait(5)
    finally:
        process.kill()
        process.wait()


def _wait_until_healthy(url: str) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310
                assert json.load(response) == {"status": "ok"}
                return
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


async def test_a_scripts_context(sdk: openai.AsyncOpenAI, demo: DemoHandle) -> None:
    marker = demo.script("short", [{"text": "fits"}], context=200)
    answer = await sdk.chat.completions.create(model=MODEL, messages=[user(marker)])
    assert answer.choices[0].message.content == "fits"
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.chat.completions.create(model=MODEL, messages=[user(marker + "x" * 200)])
    assert refused.value.code == "context_length_exceeded"


async def test_a_summary(sdk: openai.AsyncOpenAI, demo: DemoHandle) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Summarise the conversation below."},
        user("[User]\nPlums?\n\n[Assistant]\nNo, pears."),
    ]
    answer = await sdk.chat.completions.create(model=MODEL, messages=messages)
    said = "2 things were said. It began with: [User] Plums? The last was: [Assistant] No, pears."
    assert answer.choices[0].message.content == said


@pytest.mark.parametrize("context", ["5", 5.5, True])
def test_a_context_that_is_no_number(context: object) -> None:
    with pytest.raises(ScriptError, match="context"):
        parse_script({"name": "a", "steps": [], "context": context})
