"""idle: what a websocket costs that follows a session in which nothing happens, and how many fit a web process."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from bench.report import Figure, Result
from bench.stack import Stack

SOCKETS_EACH = 100  # tabs of one person: many more than people have, so that few sign-ins have to be made
SETTLE_SECONDS = 3.0


async def measure(*, quick: bool) -> Result:
    """Open sockets in steps, and look at the web process's memory after each."""
    most = 500 if quick else 5000
    result = Result()
    people = most // SOCKETS_EACH
    async with Stack(people=people, sessions_each=SOCKETS_EACH, env={"SOCKETS_PER_USER": "1000"}) as stack:
        result.database = stack.database.kind
        everybody = [
            {"cookie": who["cookie"], "session": session} for who in stack.people for session in who["sessions"]
        ]
        first = most // 10  # what the first sockets make the process load isn't theirs
        samples = [await step(stack, everybody[:first])]
        for begin, end in pairwise([first, most // 2, most]):
            samples.append(await step(stack, everybody[begin:end]))
        ping = await stack.client.do("ping")
        result.samples = [*samples, ping]
    low, high = samples[0], samples[-1]
    more = high["open"] - low["open"]
    each = {kind: (high[kind] - low[kind]) / max(more, 1) / 1024 for kind in ("rss", "pss")}
    result.figures = [
        Figure(
            name="idle",
            what=f"memory of the web process for each of {more} more idle websockets",
            ours=f"{each['rss']:.1f} KiB RSS, {each['pss']:.1f} KiB PSS",
            goal="≤ 60 KiB",
            reached=each["rss"] <= 60,
        ),
        Figure(
            name="idle: sockets",
            what="websockets open and answering in one web process",
            ours=f"{ping['answered']} of {most} (all answered a ping in {ping['seconds']:.2f} s)",
            goal="all" if quick else "≥ 5 000",
            reached=ping["answered"] >= most,
        ),
    ]
    return result


async def step(stack: Stack, readers: list[dict[str, str]]) -> dict[str, Any]:
    """Open more sockets; returns how many there are, and the memory they take."""
    told = await stack.client.do("open", port=stack.web_port, people=readers)
    await asyncio.sleep(SETTLE_SECONDS)
    return {**told, **stack.processes["web"].memory()}
