"""stream: what arrives at N clients of N turns, 50 chunks a second each, against the raw relay."""

from __future__ import annotations

from itertools import chain
from statistics import median
from typing import Any

from bench.model_server import prompt
from bench.report import Figure, Result, number, percentile, spread
from bench.stack import Stack

CHUNKS_A_SECOND = 50
PROCESSES = {"product": ("web", "worker"), "raw": ("raw_web", "raw_worker")}
Round = dict[str, Any]


async def measure(*, quick: bool) -> Result:
    """Stream at each load in turns: ours, raw, ours, raw…"""
    rounds, seconds, counts = (2, 4, (1, 50)) if quick else (5, 10, (1, 50, 200))
    result = Result()
    async with Stack(people=max(counts), sessions_each=1 + rounds * len(counts), raw=True) as stack:
        result.database = stack.database.kind
        for target in PROCESSES:
            await stream(stack, target, 5, 1, 0)
        session = 1
        for count in counts:
            found: dict[str, list[Round]] = {"product": [], "raw": []}
            for _ in range(rounds):
                for target, told in found.items():
                    told.append(await stream(stack, target, count, seconds, session))
                session += 1
            result.samples += [{"turns": count, "rounds": found}]
            result.figures += figures(count, found)
    return result


async def stream(stack: Stack, target: str, count: int, seconds: float, session: int) -> Round:
    """Return what one round delivered and cost."""
    chunks = int(seconds * CHUNKS_A_SECOND)
    before = stack.cpu_seconds(*PROCESSES[target])
    told = await stack.client.do(
        "turns",
        target=target,
        port=stack.web_port if target == "product" else stack.raw_port,
        people=stack.readers(count, session=session),
        prompt=prompt(first=0.5, chunks=chunks, gap=1 / CHUNKS_A_SECOND),
        chunks=chunks,
        times=1,
        spread=0.5,
        limit=seconds * 10 + 60,
    )
    answers = told["answers"]
    lags = list(chain.from_iterable(answer["lags"] for answer in answers))
    lasted = (max(one["ended_us"] for one in answers) - min(one["first_us"] for one in answers)) / 1e6
    delivered = sum(answer["chunks"] for answer in answers)
    return {
        "chunks_a_second": delivered / lasted,
        "characters_a_second": sum(answer["characters"] for answer in answers) / lasted,
        "events_a_second": sum(answer["events"] for answer in answers) / lasted,
        "lag_ms": {str(percent): percentile(lags, percent) / 1000 for percent in (50, 95, 99)},
        "lost": sum(answer["lost"] for answer in answers),
        "repeated": sum(answer["repeated"] for answer in answers),
        "failed": sum(bool(answer["error"]) for answer in answers),
        "errors": sorted({answer["error"] for answer in answers} - {""}),
        "cpu_seconds_a_million": (stack.cpu_seconds(*PROCESSES[target]) - before) / max(delivered, 1) * 1e6,
    }


def figures(count: int, found: dict[str, list[Round]]) -> list[Figure]:
    """Return a load's lines of the table."""

    def middle(target: str, name: str) -> float:
        return median(one[name] for one in found[target])

    def lag(target: str) -> str:
        p50, p95 = (median(one["lag_ms"][percent] for one in found[target]) for percent in ("50", "95"))
        return f"lag p50 {p50:.0f} ms, p95 {p95:.0f} ms"

    def pace(target: str) -> str:
        chunks = spread([one["chunks_a_second"] for one in found[target]])
        return f"{chunks} chunks/s, {number(middle(target, 'characters_a_second'))} characters/s; {lag(target)}"

    share = middle("product", "chunks_a_second") / middle("raw", "chunks_a_second")
    ours, raw = middle("product", "cpu_seconds_a_million"), middle("raw", "cpu_seconds_a_million")
    wrong = [sum(one[name] for one in found["product"]) for name in ("lost", "repeated", "failed")]
    return [
        Figure(
            name=f"stream, {count}",
            what=f"delivered to {count} clients of {count} turns, {CHUNKS_A_SECOND} chunks/s each",
            ours=pace("product"),
            other=f"raw relay: {pace('raw')}",
            ratio=f"{share:.0%}",
            goal="≥ 70 %",
            reached=share >= 0.7,
        ),
        Figure(
            name=f"stream, {count}: whole",
            what="chunks lost, repeated; turns failed",
            ours=", ".join(map(str, wrong)),
            goal="none",
            reached=not any(wrong),
        ),
        Figure(
            name=f"stream, {count}: CPU",
            what="CPU s of web and worker for a million chunks",
            ours=f"{ours:.0f} s",
            other=f"raw relay: {raw:.0f} s",
            ratio=f"{ours / raw:.2f}×",
        ),
    ]
