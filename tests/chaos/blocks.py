"""Blocks that log their start and end to an outside file, so that a second run can't hide (LIBRARY_BLOCK_MODULES)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from apps.library.blocks.base import Block, BlockContext, Pins
from tests.chaos.tools import log_line

STEP = "00000000-0000-4000-8000-00000000c001"
SAFE_STEP = "00000000-0000-4000-8000-00000000c002"


class OutsideStep(Block[Any]):
    """Does something outside that must not be done twice."""

    id = STEP
    name = "Outside Step"
    description = "Does one step outside, once."

    class Input(Pins):
        """Its input pins."""

        value: Any = None
        seconds: float = 0.2

    class Output(Pins):
        """Its output pins."""

        out: Any = None

    async def run(self, inputs: Any, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Log the start, take the time that was asked for, log the end."""
        await asyncio.to_thread(log_line, "start", str(context.node_execution_id))
        await asyncio.sleep(inputs.seconds)
        await asyncio.to_thread(log_line, "end", str(context.node_execution_id))
        yield "out", inputs.value


class SafeStep(OutsideStep):
    """Does something outside that may be done again."""

    id = SAFE_STEP
    name = "Safe Step"
    description = "Does one step outside; doing it again changes nothing."
    is_idempotent = True
