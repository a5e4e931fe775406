"""cost: how much of each request a provider's prompt cache has seen before, byte for byte."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec

from apps.engines.demo.running import running_demo
from bench.model_server import MARK
from bench.report import Figure, Result
from bench.stack import Stack

TURNS = 20
PEOPLE = 2
MODES = ("fast", "extended_thinking")
MOST_SCHEMA_CHARACTERS = 32_000
#: What marks a message of the bench in the requests that the model server recorded.
SCRIPT = "cost"
TEXT = "".join(MARK % (number, 0) for number in range(15))
TODOS = {"todos": [{"content": "Measure", "activeForm": "Measuring", "status": "in_progress"}]}


async def measure(*, quick: bool) -> Result:
    """Make conversations in both modes and look at what the model server was sent."""
    turns = 5 if quick else TURNS
    result = Result()
    for mode in MODES:
        with running_demo() as demo:
            marker = demo.script(
                SCRIPT, [{"tool": "todo_write", "arguments": TODOS}], [{"text": TEXT}], repeat_last=True
            )
            async with Stack(people=PEOPLE, env={"DEMO_MODEL_URL": demo.url, "CHAT_DEFAULT_MODE": mode}) as stack:
                result.database = stack.database.kind
                await stack.client.do(
                    "turns",
                    target="product",
                    port=stack.web_port,
                    people=stack.readers(PEOPLE),
                    prompt=f"{marker} What shall we do next, and why?",
                    chunks=15,
                    times=turns,
                    spread=0.2,
                    limit=120,
                )
            bodies = [record["body"] for record in demo.requests(SCRIPT) if record["body"].get("tools")]
        result.figures += figures(mode, bodies, result)
    return result


def figures(mode: str, bodies: list[dict[str, Any]], result: Result) -> list[Figure]:
    """Return a mode's lines of the table."""
    conversations: dict[bytes, list[bytes]] = {}
    beginnings: set[bytes] = set()
    tools = b""
    for body in bodies:
        beginning, messages, tools = parts(body)
        beginnings.add(beginning)
        if len(messages) > 1:  # both people say the same; what tells them apart is the id of their first tool call
            conversations.setdefault(messages[1], []).append(beginning + b"".join(messages))
    seen = [
        (common(earlier, later), len(later))
        for requests in conversations.values()
        for earlier, later in pairwise(requests[1:])
    ]
    share = sum(alike for alike, _ in seen) / max(sum(whole for _, whole in seen), 1)
    broken = sum(alike < len(earlier) - 2 for requests in conversations.values() for earlier, alike in kept(requests))
    result.samples.append({"mode": mode, "seen": seen, "beginnings": len(beginnings), "broken": broken})
    return [
        Figure(
            name=f"cost, {mode}",
            what=f"part of all input that the request before began with, after turn 2, over {len(bodies)} requests",
            ours=f"{share:.1%}; earlier input that changed: {broken} times",
            goal="≥ 95 %; none",
            reached=share >= 0.95 and not broken,
        ),
        Figure(
            name=f"cost, {mode}: people",
            what="different beginnings (tools and system prompt) over all people and turns",
            ours=str(len(beginnings)),
            goal="1",
            reached=len(beginnings) == 1,
        ),
        Figure(
            name=f"cost, {mode}: tools",
            what="characters of all tool schemas",
            ours=str(len(tools)),
            goal=f"≤ {MOST_SCHEMA_CHARACTERS}",
            reached=len(tools) <= MOST_SCHEMA_CHARACTERS,
        ),
    ]


def parts(body: dict[str, Any]) -> tuple[bytes, list[bytes], bytes]:
    """Return a request's beginning, its messages and its tools as bytes, without the marks of the prompt cache."""
    messages = list(unmarked(body["messages"]))
    system = unmarked(body.get("system")) or messages.pop(0)
    tools = msgspec.json.encode(unmarked(body["tools"]))
    return tools + msgspec.json.encode(system), [msgspec.json.encode(message) for message in messages], tools


def unmarked(value: Any) -> Any:
    """Return a JSON value without cache marks."""
    if isinstance(value, dict):
        return {key: unmarked(item) for key, item in value.items() if key != "cache_control"}
    return [unmarked(item) for item in value] if isinstance(value, list) else value


def kept(requests: list[bytes]) -> list[tuple[bytes, int]]:
    """Return each request but the last with how many of its bytes the next one begins with."""
    return [(earlier, common(earlier, later)) for earlier, later in pairwise(requests)]


def common(earlier: bytes, later: bytes) -> int:
    """Return how many bytes two requests begin with alike."""
    low, high = 0, min(len(earlier), len(later))
    while low < high:
        middle = (low + high + 1) // 2
        if earlier[:middle] == later[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
