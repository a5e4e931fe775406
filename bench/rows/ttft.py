"""ttft: from a message on the websocket to the model's first chunk at the client, without the model's own delay."""

from __future__ import annotations

from statistics import median
from typing import Any

from bench.model_server import prompt
from bench.report import Figure, Result, percentile
from bench.stack import Stack

FIRST_SECONDS = 0.2


async def measure(*, quick: bool) -> Result:
    """Ask one after another, then 50 people who are always in the middle of an answer, then 50 at one moment."""
    rounds = 2 if quick else 5
    result = Result()
    async with Stack(people=50, sessions_each=2 * rounds + 3) as stack:
        result.database = stack.database.kind
        loads: list[tuple[str, float | None, dict[str, Any]]] = [
            ("1", 15, {"count": 1, "times": 8 if quick else 20, "spread": 0, "chunks": 5, "gap": 0.02}),
            ("50", 40, {"count": 50, "times": 1 if quick else 4, "spread": 3.0, "chunks": 50, "gap": 0.05}),
            ("50 at one moment", None, {"count": 50, "times": 1, "spread": 0, "chunks": 5, "gap": 0.02}),
        ]
        await ask(stack, "product", 0, {**loads[0][2], "times": 2})  # imports and first connections
        await ask(stack, "openai", 0, {**loads[0][2], "times": 2})
        session = 1
        for name, goal, load in loads:
            found: dict[str, list[list[float]]] = {"product": [], "openai": []}
            for _ in range(rounds if goal else 1):
                for target, waits in found.items():
                    waits.append(await ask(stack, target, session, load))
                    result.samples.append({"load": name, "target": target, "ms": waits[-1]})
                session += 1
            result.figures.append(figure(name, goal, found))
    return result


async def ask(stack: Stack, target: str, session: int, load: dict[str, Any]) -> list[float]:
    """Return each answer's wait in milliseconds, without the model's own."""
    told = await stack.client.do(
        "turns",
        target=target,
        port=stack.web_port if target == "product" else stack.model_port,
        people=stack.readers(load["count"], session=session),
        prompt=prompt(first=FIRST_SECONDS, chunks=load["chunks"], gap=load["gap"]),
        chunks=load["chunks"],
        times=load["times"],
        spread=load["spread"],
        limit=120,
    )
    return [(one["first_us"] - one["sent_us"]) / 1000 - FIRST_SECONDS * 1000 for one in told["answers"]]


def figure(name: str, goal: float | None, found: dict[str, list[list[float]]]) -> Figure:
    """Return a line of the table: medians over the rounds of each round's percentiles."""
    half = {target: median(percentile(one, 50) for one in waits) for target, waits in found.items()}
    most = {target: median(percentile(one, 95) for one in waits) for target, waits in found.items()}
    added = half["product"] - half["openai"]
    return Figure(
        name=f"ttft, {name}",
        what=f"message → first model chunk, model's delay taken off, {name} concurrent",
        ours=f"p50 {half['product']:.1f} ms, p95 {most['product']:.1f} ms",
        other=f"openai client, direct: p50 {half['openai']:.1f} ms, p95 {most['openai']:.1f} ms",
        ratio=f"p50 adds {added:.1f} ms",
        goal=f"adds ≤ {goal:g} ms" if goal else "–",
        reached=added <= goal if goal else None,
    )
