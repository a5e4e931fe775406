"""turns: how many turns one worker process holds before events come late, against the bare SDK in one process.

Lag is from the model's write to the event in the turn's log, where the worker's part ends; `stream` measures the rest.
It counts while all turns run: what beginning one takes is `ttft`'s part.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from itertools import chain
from statistics import median
from typing import Any

from bench.model_server import prompt
from bench.report import Figure, Result, percentile
from bench.stack import Stack

CHUNKS_A_SECOND = 50
LATE_MS = 250
#: Turns begin one after another, and then all of them run.
SPREAD_SECONDS = 5
SECONDS = 6
SAMPLE_SECONDS = 0.25
IDLE_TURNS = 100
ROUNDS = 3


async def measure(*, quick: bool) -> Result:
    """Raise the load until events are late: ours, the SDK, ours, the SDK…"""
    counts = (40, 80) if quick else (60, 80, 90, 100, 110, 120, 130, 140, 150, 160, 180)
    rounds = 1 if quick else ROUNDS
    result = Result()
    async with Stack(people=max(*counts, IDLE_TURNS), sessions_each=len(counts) * rounds + 2) as stack:
        result.database = stack.database.kind
        for target in ("log", "openai"):
            await load(stack, target, 5, 0)
        memory = await memory_of_turns(stack, 1)  # first: what many turns leave behind is used again
        samples: dict[str, dict[int, list[float]]] = {"log": {}, "openai": {}}
        session = 1
        for count in counts:
            # Beyond a ceiling nothing more is learnt.
            going = [name for name, found in samples.items() if not found or median(found[max(found)]) <= LATE_MS]
            for _ in range(rounds):
                session += 1
                for target in going:
                    samples[target].setdefault(count, []).append(await load(stack, target, count, session))
        result.samples = [samples, memory]
    lags = {target: {count: median(each) for count, each in found.items()} for target, found in samples.items()}
    ours, theirs = (ceiling(lags[target]) for target in ("log", "openai"))
    share = ours / theirs if theirs else 0.0
    each = (memory["most"] - memory["before"]) / IDLE_TURNS / 2**20
    result.figures = [
        Figure(
            name="turns",
            what=f"turns of {CHUNKS_A_SECOND} chunks/s each that one worker holds with p95 lag ≤ {LATE_MS} ms",
            ours=f"{ours} ({told(lags['log'])})",
            other=f"bare openai client in one process: {theirs} ({told(lags['openai'])})",
            ratio=f"{share:.0%}",
            goal="≥ 80 %",
            reached=share >= 0.8,
        ),
        Figure(
            name="turns: memory",
            what=f"memory of the worker for each of {IDLE_TURNS} turns that run",
            ours=f"{each:.2f} MiB",
            goal="≤ 1 MiB",
            reached=each <= 1,
        ),
    ]
    return result


async def load(stack: Stack, target: str, count: int, session: int) -> float:
    """Return the p95 lag in milliseconds at a load, of what was written while all of it was there."""
    chunks = (SPREAD_SECONDS + SECONDS) * CHUNKS_A_SECOND
    answered = await stack.client.do(
        "turns",
        target=target,
        port=stack.web_port if target == "log" else stack.model_port,
        redis=stack.redis_url,
        key="chat:stream:{turn_id}",
        people=stack.readers(count, session=session),
        prompt=prompt(first=0.5, chunks=chunks, gap=1 / CHUNKS_A_SECOND),
        chunks=chunks,
        times=1,
        spread=SPREAD_SECONDS,
        limit=SECONDS * 10 + 60,
    )
    answers = answered["answers"]
    all_run = max(answer["first_us"] for answer in answers)
    lags = (answer["lags"][chunks_before(answer, all_run) :] for answer in answers)
    return percentile(list(chain.from_iterable(lags)), 95) / 1000


def chunks_before(answer: dict[str, Any], moment: int) -> int:
    """Return how many of an answer's chunks the model wrote before a moment of the clock in microseconds."""
    began = answer["first_us"] - answer["lags"][0]
    return math.ceil((moment - began) * CHUNKS_A_SECOND / 1e6)


async def memory_of_turns(stack: Stack, session: int) -> dict[str, int]:
    """Return the worker's resident bytes before and with turns that say something and then pause."""
    worker = stack.processes["worker"]
    seen = [before := worker.memory()["rss"]]

    async def watch() -> None:
        while True:
            seen.append((await asyncio.to_thread(worker.memory))["rss"])
            await asyncio.sleep(SAMPLE_SECONDS)

    watching = asyncio.create_task(watch())
    wanted: dict[str, Any] = {"first": 0.2, "chunks": 50, "gap": 0.05, "hold": 2}
    await stack.client.do(
        "turns",
        target="product",
        port=stack.web_port,
        people=stack.readers(IDLE_TURNS, session=session),
        prompt=prompt(**wanted),
        chunks=wanted["chunks"],
        times=1,
        spread=0.5,
        limit=60,
    )
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return {"before": before, "most": max(seen)}


def ceiling(lags: dict[int, float]) -> int:
    """Return the highest load below which no load was late."""
    held = 0
    for count in sorted(lags):
        if lags[count] > LATE_MS:
            break
        held = count
    return held


def told(lags: dict[int, float]) -> str:
    """Return the lags for the table."""
    return ", ".join(f"{count}: {lag:.0f} ms" for count, lag in sorted(lags.items()))
