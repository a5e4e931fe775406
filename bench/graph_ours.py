"""Runs graphs of trivial blocks by the product's executor: a JSON job a line in, a JSON answer a line out."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import django


async def run(shape: str, size: int, block_id: str) -> dict[str, Any]:
    """Store a graph, then run it as a worker does; returns how long the run took."""
    from apps.library.executor.worker import GraphKind
    from apps.runtime.db import db
    from apps.runtime.worker import Signals

    run_id = await db(start, shape, size, block_id)
    kind = GraphKind()
    try:
        began = time.perf_counter()
        claim = await db(kind.claim, run_id, "bench")
        assert claim is not None
        await kind.run(claim, Signals())
        seconds = time.perf_counter() - began
    finally:
        await kind.waits.aclose()
        await kind.redis.aclose()
    return {"seconds": seconds, "value": await db(result_of, run_id, size if shape == "chain" else size + 1)}


async def plain(shape: str, size: int) -> dict[str, Any]:
    """Await the same callables in a plain loop."""
    from bench.graph_blocks import add_one

    began = time.perf_counter()
    value = 0
    if shape == "chain":
        for _ in range(size):
            value = await add_one(value)
    else:
        first = await add_one(0)
        value = sum(await asyncio.gather(*(add_one(first) for _ in range(size))))
    return {"seconds": time.perf_counter() - began, "value": value}


def start(shape: str, size: int, block_id: str) -> Any:
    """Store a graph and a queued run of it."""
    from apps.accounts.models import User
    from apps.library.executor import announce
    from apps.library.executor.start import start_execution
    from apps.library.models import Graph, Link, Node

    announce.wake_worker = lambda execution_id: None  # this process works on it itself
    user, _ = User.objects.get_or_create(email="bench@example.com")
    graph = Graph.objects.create(user=user, name=shape)
    count = size if shape == "chain" else size + 1
    nodes = Node.objects.bulk_create(Node(graph=graph, position=place, block_id=block_id) for place in range(count))
    ends = [(place - 1 if shape == "chain" else 0, place) for place in range(1, count)]
    Link.objects.bulk_create(
        Link(graph=graph, position=place, source=nodes[a], source_name="out", sink=nodes[b], sink_name="value")
        for place, (a, b) in enumerate(ends)
    )
    return start_execution(user_id=user.pk, graph=graph, inputs={}).pk


def result_of(run_id: Any, nodes: int) -> int:
    """Return the largest value that came out, of a run that did all its nodes."""
    from apps.library.models import Execution, NodeOutput

    run = Execution.objects.get(pk=run_id)
    assert (run.status, run.node_count) == ("COMPLETED", nodes), (run.status, run.node_count, run.error)
    return max(NodeOutput.objects.filter(node_execution__execution=run).values_list("data", flat=True))


def main() -> None:
    """Answer jobs until there are no more."""
    django.setup()
    for line in sys.stdin:
        job = json.loads(line)
        coroutine = plain(job["shape"], job["size"]) if job["block"] == "plain" else run(*(job[k] for k in KEYS))
        print(json.dumps(asyncio.run(coroutine)), flush=True)


KEYS = ("shape", "size", "block")

if __name__ == "__main__":
    main()
