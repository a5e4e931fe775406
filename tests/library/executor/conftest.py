"""The library's worker loop in this process, test blocks, and graphs made of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from rest_framework.test import APIClient

from apps.library.blocks import registry
from apps.library.executor import announce
from apps.library.models import Execution, Graph, LibraryAgent, Link, Node
from tests.library.executor import blocks


@pytest.fixture
def stranger():
    """Somebody who isn't signed in."""
    return SimpleNamespace(user=None, client=APIClient(), headers={})


@pytest.fixture(autouse=True)
def test_blocks(settings) -> Iterator[None]:
    """Know the blocks of the module beside this one."""
    settings.LIBRARY_BLOCK_MODULES = [blocks.__name__]
    registry.all_blocks.cache_clear()
    blocks.LOG.clear()
    blocks.ASKED.clear()
    blocks.GATE.clear()
    yield
    blocks.GATE.set()
    registry.all_blocks.cache_clear()


def make_agent(
    person: Any,
    nodes: dict[str, tuple[str, dict[str, Any]]],
    links: list[tuple[str, str]] = (),  # type: ignore[assignment]
    *,
    metadata: dict[str, dict[str, Any]] | None = None,
    **fields: Any,
) -> LibraryAgent:
    """Store a graph and its library agent.

    Args:
        person: Whose.
        nodes: (block id, input values) by a name for the test.
        links: `("node.pin", "node.pin")` pairs.
        metadata: Of nodes, by name.
        fields: Of the library agent.
    """
    graph = Graph.objects.create(user=person.user, name="Agent")
    made = {name: Node(id=uuid4(), graph=graph, position=place) for place, name in enumerate(nodes)}
    for name, (block_id, values) in nodes.items():
        made[name].block_id, made[name].input_default = block_id, values
        made[name].metadata = (metadata or {}).get(name, {})
    Node.objects.bulk_create(made.values())
    Link.objects.bulk_create(
        Link(
            graph=graph,
            position=place,
            source=made[source.split(".", 1)[0]],
            source_name=source.split(".", 1)[1],
            sink=made[sink.split(".", 1)[0]],
            sink_name=sink.split(".", 1)[1],
        )
        for place, (source, sink) in enumerate(links)
    )
    agent = LibraryAgent.objects.create(user=person.user, graph=graph, graph_id_shared=graph.graph_id, **fields)
    agent.node_ids = {name: node.pk for name, node in made.items()}  # type: ignore[attr-defined]
    return agent


def wait_for(execution_id: UUID | str, *statuses: str, timeout: float = 20) -> Execution:
    """Wait until a run has one of these statuses; any end by default."""
    wanted = statuses or Execution.ENDED
    deadline = time.monotonic() + timeout
    while True:
        run = Execution.objects.get(pk=execution_id)
        if run.status in wanted:
            return run
        if time.monotonic() > deadline:
            raise AssertionError(f"{run.status} after {timeout} s, not {wanted}")
        time.sleep(0.02)


def until(condition: Callable[[], Any], timeout: float = 15) -> Any:
    """Wait until something is true and return it."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("it never came true")
        time.sleep(0.02)
    return found


@pytest.fixture
def runs(transactional_db, settings, monkeypatch) -> Iterator[SimpleNamespace]:
    """A worker's loop with its runs in this process; wake-ups reach it at once."""
    from apps.library import process

    settings.LEASE_RENEW_SECONDS = 0.3
    settings.LEASE_SWEEP_SECONDS = 0.3
    settings.SHUTDOWN_GRACE_SECONDS = 2
    thread, running = process.start()

    def wake(execution_id: UUID) -> None:
        asyncio.run_coroutine_threadsafe(running.worker.offer(execution_id), thread.loop)

    monkeypatch.setattr(announce, "wake_worker", wake)
    yield SimpleNamespace(thread=thread, process=running, worker=running.worker)
    blocks.GATE.set()
    process.stop(2)
