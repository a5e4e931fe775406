"""Tools that keep a turn waiting, for tests of stopping: loaded through CHAT_TOOL_MODULES."""

from __future__ import annotations

import asyncio
import threading
from uuid import UUID

from apps.chat.stream.chunks import ExecutionData
from apps.chat.tools.base import Tool, ToolArguments, ToolContext, ToolResult


class Seconds(ToolArguments):
    seconds: float = 60


class Sleep(Tool):
    name = "sleep"
    description = "Sleeps."
    arguments = Seconds

    async def run(self, arguments: Seconds, context: ToolContext) -> ToolResult:
        await asyncio.sleep(arguments.seconds)
        return ToolResult(type="slept", message="Slept.")


class Flood(Tool):
    name = "flood"
    description = "Reports progress as fast as it can, for ever."
    arguments = ToolArguments

    async def run(self, arguments: ToolArguments, context: ToolContext) -> ToolResult:
        while True:
            await context.progress("working " * 20)


class Deaf(Tool):
    name = "deaf"
    description = "Ignores its cancellation for a while."
    arguments = Seconds

    async def run(self, arguments: Seconds, context: ToolContext) -> ToolResult:
        ends = asyncio.get_running_loop().time() + min(arguments.seconds, 5)
        while (left := ends - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                await context.progress("not now")
        return ToolResult(type="slept", message="Slept.")


class Gate(Tool):
    name = "gate"
    description = "Waits until the test opens the gate."
    arguments = ToolArguments
    opened = threading.Event()

    async def run(self, arguments: ToolArguments, context: ToolContext) -> ToolResult:
        while not self.opened.is_set():
            await asyncio.sleep(0.01)
        return ToolResult(type="gate", message="It is open.")


class Runs(Tool):
    name = "runs"
    description = "Tells of two runs, and again and again until the test opens the gate when it is told to."
    arguments = Seconds
    ids = (UUID(int=1), UUID(int=2))

    async def run(self, arguments: Seconds, context: ToolContext) -> ToolResult:
        for status in ("QUEUED", "RUNNING"):
            for run_id in self.ids:
                await context.show_run(run_id, ExecutionData(status=status, node_count=3))
        while arguments.seconds and not Gate.opened.is_set():
            await context.show_run(self.ids[0], ExecutionData(status="RUNNING"))
        await context.show_run(self.ids[0], ExecutionData(status="COMPLETED", node_count=4, node_error_count=1))
        return ToolResult(type="runs", message="They ran.")


TOOLS = [Sleep(), Flood(), Deaf(), Gate(), Runs()]
