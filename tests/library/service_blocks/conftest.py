"""What these tests share: a run of one block, and another service for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import pytest

from apps.library import api_client
from apps.library.blocks.base import Block, BlockContext, Secret
from tests.library.http_service import Service, running_service

USER = UUID("00000000-0000-4000-8000-000000000001")
CREDENTIALS = {"credentials": {"id": str(uuid4()), "provider": "x", "type": "api_key"}}


def context_for(
    *, user_id: UUID = USER, secrets: Mapping[str, Secret] | None = None, services: Mapping[str, Any] | None = None
) -> BlockContext:
    return BlockContext(
        user_id=user_id,
        graph_id=uuid4(),
        graph_version=1,
        execution_id=uuid4(),
        root_execution_id=uuid4(),
        node_id=uuid4(),
        node_execution_id=uuid4(),
        secrets=secrets or {},
        services=services or {},
    )


async def run_block(block: Block | type[Block], data: Mapping[str, Any], context: BlockContext | None = None) -> dict:
    """Run a block as the executor does and return the values of each pin."""
    made = block() if isinstance(block, type) else block
    found: dict[str, list[Any]] = {}
    inputs = made.Input.model_validate(dict(data))
    async with aclosing(made.run(inputs, context or context_for())) as pairs:
        async for pin, value in pairs:
            assert pin in made.output_schema()["properties"] or pin.startswith("tools_^_"), pin
            found.setdefault(pin, []).append(value)
    return found


@pytest.fixture
def service(monkeypatch):
    """Some other service, on this machine, which the blocks may reach."""
    with running_service() as running:
        monkeypatch.setattr(api_client, "LOCAL_PLACES", frozenset({running.place}))
        yield running


@pytest.fixture
def api_key() -> Callable[..., BlockContext]:
    """Return what makes a context with one credential."""

    def make(provider: str, kind: str = "api_key", host: str = "", **values: Any) -> BlockContext:
        held = values or {"api_key": "a-good-key"}
        return context_for(secrets={"credentials": Secret(provider, kind, held, host)})

    return make


__all__ = ("CREDENTIALS", "Service", "context_for", "run_block")
