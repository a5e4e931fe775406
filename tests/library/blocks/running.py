"""Runs a block as an agent would: its inputs are validated, its outputs are collected."""

from __future__ import annotations

import json
import uuid
from contextlib import aclosing
from typing import Any

from apps.library.blocks.base import Block, BlockContext
from apps.library.blocks.registry import all_blocks


def block(name: str) -> Block[Any]:
    """Return a block by the name of its class."""
    return next(found for found in all_blocks().values() if type(found).__name__ == name)


def context(**facts: Any) -> BlockContext:
    """Return the surroundings of a node; each in a run of its own."""
    execution_id = uuid.uuid4()
    ids = {name: uuid.uuid4() for name in ("user_id", "graph_id", "node_id", "node_execution_id")}
    return BlockContext(
        **{**ids, "graph_version": 1, "execution_id": execution_id, "root_execution_id": execution_id, **facts}
    )


async def run(found: Block[Any] | str, pins: dict[str, Any], **facts: Any) -> list[tuple[str, Any]]:
    """Run a block and return what it puts out, in order; all of it must be JSON and a pin that it has."""
    kind = block(found) if isinstance(found, str) else found
    pins_out = kind.output_schema()["properties"]
    outputs = []
    async with aclosing(kind.run(kind.Input.model_validate(pins), context(**facts))) as running:
        async for pin, value in running:
            assert pin in pins_out
            assert json.loads(json.dumps(value, allow_nan=False)) == value
            outputs.append((pin, value))
    return outputs


async def last(found: Block[Any] | str, pins: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """Run a block and return the last value of each pin."""
    return dict(await run(found, pins, **facts))
