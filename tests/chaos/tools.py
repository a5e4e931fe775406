"""Tools that log their start and end to an outside file, so that a second run of one can't hide (CHAT_TOOL_MODULES).

A line is `start|end <call key> <pid> <seconds since 1970>`. The key comes with the scripted arguments and is unique for
each scripted call, so it stays the same whatever ids the product gives to attempts.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, ClassVar

from pydantic import Field

from apps.chat.tools.base import Tool, ToolArguments, ToolContext, ToolResult

LOG_VARIABLE = "CHAOS_TOOL_LOG"


def log_line(what: str, key: str) -> None:
    """Append a line that survives whatever happens to this process next."""
    handle = os.open(os.environ[LOG_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, f"{what} {key} {os.getpid()} {time.time():.6f}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)


class StepArguments(ToolArguments):
    """Which step of which script this is."""

    key: str = Field(description="The call's key.")
    seconds: float = Field(description="How long it takes.")


class OutsideStep(Tool):
    """Does something outside that must not be done twice."""

    name: ClassVar[str] = "outside_step"
    description: ClassVar[str] = "Do one step outside, once."
    arguments: ClassVar[type[ToolArguments]] = StepArguments
    idempotent: ClassVar[bool] = False

    async def run(self, arguments: Any, context: ToolContext) -> ToolResult:
        """Log the start, take the time that was asked for, log the end."""
        await asyncio.to_thread(log_line, "start", arguments.key)
        await asyncio.sleep(arguments.seconds)
        await asyncio.to_thread(log_line, "end", arguments.key)
        return ToolResult(type=self.name, message=f"Step {arguments.key} is done.")


class IdempotentStep(OutsideStep):
    """Does something outside that may be done again."""

    name: ClassVar[str] = "idempotent_step"
    description: ClassVar[str] = "Do one step outside; doing it again changes nothing."
    idempotent: ClassVar[bool] = True


TOOLS = [OutsideStep(), IdempotentStep()]
NOT_IDEMPOTENT = {tool.name for tool in TOOLS if not tool.idempotent}
