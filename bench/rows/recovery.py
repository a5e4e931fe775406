"""recovery: from `kill -9` of the worker to the next event at the client, with the default lease."""

from __future__ import annotations

import asyncio
import json
import random
import urllib.request
from typing import Any

from bench.model_server import MARK_LENGTH, now_us, prompt
from bench.report import Figure, Result, percentile
from bench.stack import Stack

TURNS = 5
STEPS_AN_ATTEMPT = 1000  # an event's id begins with attempt * 1000 + step
CHUNKS, GAP_SECONDS = 150, 0.04
#: Ends a turn; it belongs to no attempt.
TERMINAL_MAJOR = 999_999_999


async def measure(*, quick: bool) -> Result:
    """Kill the worker in the middle of answers, start it again at once as a supervisor does, and wait."""
    result = Result()
    kills = 1 if quick else 5
    async with Stack(people=TURNS, sessions_each=kills) as stack:
        result.database = stack.database.kind
        for number in range(kills):
            result.samples += await kill_once(stack, number)
    waits = [one["seconds"] for one in result.samples if one["seconds"] is not None]
    whole = sum(one["completed"] and one["whole"] for one in result.samples) / len(result.samples)
    lost = sum(not one["kept"] for one in result.samples)
    result.figures = [
        Figure(
            name="recovery",
            what=f"{kills} × `kill -9` of the worker with {TURNS} turns → next event at the client",
            ours=f"p50 {percentile(waits, 50):.1f} s, p95 {percentile(waits, 95):.1f} s of {len(waits)} turns",
            goal="p95 ≤ 25 s",
            reached=len(waits) == len(result.samples) and percentile(waits, 95) <= 25,
        ),
        Figure(
            name="recovery: whole",
            what="killed turns that end `completed` with the scripted text; messages lost",
            ours=f"{whole:.0%}; {lost}",
            goal="≥ 95 %; 0",
            reached=whole >= 0.95 and not lost,
        ),
    ]
    return result


async def kill_once(stack: Stack, session: int) -> list[dict[str, Any]]:
    """Kill the worker at a random moment of some answers; returns what became of each."""
    people = stack.readers(TURNS, session=session)
    asking = asyncio.create_task(
        stack.client.do(
            "turns",
            target="product",
            port=stack.web_port,
            people=people,
            prompt=prompt(first=0.3, chunks=CHUNKS, gap=GAP_SECONDS),
            chunks=CHUNKS,
            times=1,
            spread=0,
            limit=120,
            events=True,
        )
    )
    await asyncio.sleep(random.uniform(1.5, 4.0))
    killed_us = now_us()
    stack.processes["worker"].kill()
    await asyncio.sleep(0.2)
    await stack.restart_worker()
    told = (await asking)["answers"]
    return [
        {
            "seconds": next_event_seconds(answer["seen"], killed_us),
            **await asyncio.to_thread(look, stack.web_port, who["key"], who["sessions"][session]),
            "completed": not answer["error"],
        }
        for answer, who in zip(told, stack.people, strict=False)
    ]


def next_event_seconds(seen: list[tuple[int, str]], killed_us: int) -> float | None:
    """Return how long the client waited for the first event of another attempt; None when there was none."""
    for at_us, event_id in seen:
        major = int(event_id.partition("-")[0])
        if at_us > killed_us and (major == TERMINAL_MAJOR or major >= 2 * STEPS_AN_ATTEMPT):
            return (at_us - killed_us) / 1e6
    return None


def look(port: int, key: str, session: str) -> dict[str, Any]:
    """Return whether a session holds its message and the answer as the model was to give it."""
    url = f"http://127.0.0.1:{port}/api/chat/sessions/{session}"
    request = urllib.request.Request(url, headers={"Authorization": f"Token {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 -- our own
        rows = json.load(answer)["messages"]
    text = "".join(row["content"] for row in rows if row["role"] == "assistant")
    numbers = [int(text[at : at + 6]) for at in range(0, len(text), MARK_LENGTH) if text[at : at + 6].isdigit()]
    return {
        "kept": any(row["role"] == "user" for row in rows),
        "whole": numbers == list(range(CHUNKS)) and len(text) == CHUNKS * MARK_LENGTH,
    }
