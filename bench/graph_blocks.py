"""Trivial blocks, so that what is measured is the executor (LIBRARY_BLOCK_MODULES)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from apps.library.blocks.base import Block, BlockContext, Pins

STEP = "00000000-0000-4000-8000-00000000b001"
ONCE = "00000000-0000-4000-8000-00000000b002"


async def add_one(value: int) -> int:
    """What every node does."""
    return value + 1


class Step(Block[Any]):
    """Adds one; may run twice."""

    id = STEP
    name = "Step"
    description = "Adds one."
    is_idempotent = True

    class Input(Pins):
        value: int = 0

    class Output(Pins):
        out: int = 0

    async def run(self, inputs: Any, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        yield "out", await add_one(inputs.value)


class Once(Step):
    """Adds one; must not run twice, so it is written down before it begins."""

    id = ONCE
    name = "Once"
    is_idempotent = False
