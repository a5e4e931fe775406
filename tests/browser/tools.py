"""Tools that are hard to stop: one sleeps, one floods its reader (CHAT_TOOL_MODULES)."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from apps.chat.tools.base import Tool, ToolArguments, ToolContext, ToolResult

FOR_EVER_SECONDS = 60


class Nothing(ToolArguments):
    """No arguments."""


class Nap(Tool):
    """Sleeps without a word."""

    name: ClassVar[str] = "nap"
    description: ClassVar[str] = "Sleep."
    arguments: ClassVar[type[ToolArguments]] = Nothing

    async def run(self, arguments: Any, context: ToolContext) -> ToolResult:
        """Sleep for longer than anybody waits."""
        await asyncio.sleep(FOR_EVER_SECONDS)
        return ToolResult(type=self.name, message="Awake again.")


class Flood(Tool):
    """Tells of its progress without a pause."""

    name: ClassVar[str] = "flood"
    description: ClassVar[str] = "Talk."
    arguments: ClassVar[type[ToolArguments]] = Nothing

    async def run(self, arguments: Any, context: ToolContext) -> ToolResult:
        """Report as fast as the loop allows."""
        for number in range(10**9):
            await context.progress(f"Line {number} of very many")
        return ToolResult(type=self.name, message="All said.")


TOOLS = [Nap(), Flood()]
