"""pages: how much longer pages take for a person who has very much, against one who has 1 000 rows of each kind."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from bench.report import Figure, Result, percentile, spread
from bench.stack import Stack

#: Rows of a kind: sessions, messages, executions, ledger lines.
FEW = (1_000, 20_000, 1_000, 1_000)
MANY = (100_000, 2_000_000, 500_000, 100_000)
MANY_QUICK = (10_000, 200_000, 50_000, 10_000)
PATHS = {
    "library": "/library/",
    "executions": "/library/executions/",
    "one execution": "/library/executions/{execution}/",
    "one agent": "/library/agents/{agent}/",
    "executions (API)": "/api/library/executions?limit=20",
    "session list": "/api/chat/sessions",
    "one session": "/api/chat/sessions/{session}",
    "transactions": "/api/credits/transactions",
}
GOAL = 1.5


async def measure(*, quick: bool) -> Result:
    """Ask two installations by turns for the same pages."""
    rounds, times = (3, 10) if quick else (7, 20)
    result = Result()
    found: dict[str, dict[str, list[list[float]]]] = {name: {path: [] for path in PATHS} for name in ("few", "many")}
    async with Stack(people=1, sessions_each=0) as few, Stack(people=1, sessions_each=0) as many:
        result.database = few.database.kind
        stacks = {"few": few, "many": many}
        wanted = {"few": FEW, "many": MANY_QUICK if quick else MANY}
        paths = {name: await fill(stack, wanted[name]) for name, stack in stacks.items()}
        for number in range(rounds + 1):
            for name, stack in stacks.items():
                who = {"port": stack.web_port, "cookie": stack.people[0]["cookie"]}
                told = await stack.client.do("pages", paths=list(paths[name].values()), times=times, **who)
                if number:  # the first fills caches
                    for what, path in paths[name].items():
                        found[name][what].append(told["seconds"][path])
    result.samples = [{"rows": wanted, "seconds": found}]
    result.figures = [figure(what, found["few"][what], found["many"][what], wanted["many"]) for what in PATHS]
    return result


async def fill(stack: Stack, counts: tuple[int, ...]) -> dict[str, str]:
    """Give the person of a stack so many rows; returns the paths of the pages."""
    told = await stack.run("-m", "bench.pages_rows", "bench0@example.com", *map(str, counts))
    ids: dict[str, Any] = json.loads(told)
    return {what: path.format(**ids) for what, path in PATHS.items()}


def figure(what: str, few: list[list[float]], many: list[list[float]], rows: tuple[int, ...]) -> Figure:
    """Compare the p95 of a page, by rounds."""
    low, high = ([percentile([1000 * each for each in part], 95) for part in rounds] for rounds in (few, many))
    ratio = median(high) / median(low)
    sessions, _, executions, _ = (f"{count:,}".replace(",", " ") for count in rows)
    return Figure(
        name="pages",
        what=f"p95 of {what} ({sessions} sessions, {executions} executions)",
        ours=spread(high, " ms"),
        other=f"1 000 of each: {spread(low, ' ms')}",
        ratio=f"{ratio:.2f}×",
        goal=f"≤ {GOAL:g}×",
        reached=ratio <= GOAL,
    )
