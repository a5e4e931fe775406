"""The scenarios: which cluster, which conversations, which faults, how many."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.chaos.cluster import Cluster, Shape
from tests.chaos.faults import Chaos
from tests.chaos.scripts import Pace
from tests.chaos.verdict import Verdict, judge
from tests.chaos.world import World

Inject = Callable[[Chaos, int], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of trouble."""

    name: str
    inject: Inject
    count: int
    meaning: str
    shape: Shape = field(default_factory=Shape)
    conversations: int = 8
    pace: Pace = field(default_factory=Pace)
    sse_every: int = 1
    must_complete: bool = False


async def kill_workers(chaos: Chaos, count: int) -> None:
    """SIGKILL workers; so seldom that a turn isn't given up for too many dead runners."""
    for _ in range(count):
        await chaos.pause(1.5, 4.5)
        await chaos.kill_worker()


async def kill_workers_at_leisure(chaos: Chaos, count: int) -> None:
    """SIGKILL workers, with the product's own lease times between."""
    for _ in range(count):
        await chaos.pause(14, 20)
        await chaos.kill_worker()


async def kill_webs(chaos: Chaos, count: int) -> None:
    """SIGKILL web processes."""
    for _ in range(count):
        await chaos.pause(1.0, 3.0)
        await chaos.kill_web()


async def freeze_workers(chaos: Chaos, count: int) -> None:
    """Freeze workers past their leases."""
    for _ in range(count):
        await chaos.pause(1.5, 4.0)
        await chaos.freeze_worker()


async def restart_redis(chaos: Chaos, count: int) -> None:
    """Restart Redis with its data."""
    for _ in range(count):
        await chaos.pause(3.0, 6.0)
        await chaos.restart_redis(emptied=False)


async def empty_redis(chaos: Chaos, count: int) -> None:
    """Restart Redis without its data, and flush it once more each time."""
    for _ in range(count):
        await chaos.pause(3.0, 6.0)
        await chaos.restart_redis(emptied=True)
        await chaos.pause(3.0, 6.0)
        await chaos.flush_redis()


async def restart_postgres(chaos: Chaos, count: int) -> None:
    """Restart PostgreSQL, at once and fast by turns."""
    for number in range(count):
        await chaos.pause(4.0, 7.0)
        await chaos.restart_postgres(signal.SIGQUIT if number % 2 == 0 else signal.SIGINT)


async def roll(chaos: Chaos, count: int) -> None:
    """Restart everything politely, again and again."""
    for _ in range(count):
        await chaos.world.busy(0.8)
        await chaos.roll()


async def mix(chaos: Chaos, count: int) -> None:
    """Several things at once."""
    for number in range(count):
        await chaos.pause(1.5, 4.5)
        match number % 3:
            case 0:
                await chaos.kill_worker_and_redis()
            case 1:
                await asyncio.gather(chaos.kill_worker(), chaos.kill_web())
            case 2:
                await asyncio.gather(chaos.restart_postgres(signal.SIGQUIT), chaos.kill_worker())


SLOW = Pace(chunk=8, delay=0.3, words=(12, 25), rounds=(1, 3), tool_seconds=(0.2, 1.5))
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="worker-kill", inject=kill_workers, count=94, meaning="SIGKILL of a worker that has turns"),
        Scenario(
            name="worker-kill-default",
            inject=kill_workers_at_leisure,
            count=6,
            meaning="the same with the product's own lease times",
            shape=Shape(leases={}),
        ),
        Scenario(name="web-kill", inject=kill_webs, count=40, meaning="SIGKILL of a web process"),
        Scenario(name="freeze", inject=freeze_workers, count=20, meaning="SIGSTOP past the lease, then SIGCONT"),
        Scenario(
            name="redis-restart", inject=restart_redis, count=5, meaning="SIGKILL of Redis, started with its data"
        ),
        Scenario(
            name="redis-emptied", inject=empty_redis, count=5, meaning="SIGKILL of Redis, started empty; and a FLUSHALL"
        ),
        Scenario(
            name="postgres-restart", inject=restart_postgres, count=5, meaning="PostgreSQL stopped immediate or fast"
        ),
        Scenario(name="mixed", inject=mix, count=18, meaning="two faults at once, one of them a worker kill"),
        Scenario(
            name="rolling",
            inject=roll,
            count=3,
            meaning="SIGTERM of each process in turn under 50 streaming turns",
            conversations=50,
            pace=SLOW,
            sse_every=5,
            must_complete=True,
            shape=Shape(people=50, grace_seconds=15.0),
        ),
        Scenario(
            name="sqlite-worker-kill",
            inject=kill_workers,
            count=50,
            meaning="SIGKILL of a worker, on SQLite",
            shape=Shape(database="sqlite"),
        ),
    )
}
FULL = tuple(SCENARIOS)


async def run(scenario: Scenario, *, count: int, shape: Shape, conversations: int, seed: int) -> Verdict:
    """Run a scenario on a cluster of its own and judge it."""
    async with Cluster(shape) as cluster:
        began = time.monotonic()
        label = scenario.name.replace("-", "")
        world = World(
            cluster,
            seed=seed,
            conversations=conversations,
            pace=scenario.pace,
            sse_every=scenario.sse_every,
            label=label,
        )
        chaos = Chaos(cluster, world, random.Random(seed + 1))
        watching = asyncio.create_task(chaos.watch())
        world.start()
        try:
            await world.busy()
            await scenario.inject(chaos, count)
            await cluster.all_ready()
            await world.close()
            await chaos.settle()
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        seconds = time.monotonic() - began
        verdict = await judge(scenario.name, world, chaos, seconds, must_complete=scenario.must_complete)
        if verdict.failures:
            verdict.failures.append(f"logs are kept in {cluster.keep_logs(scenario.name)}")
        return verdict
