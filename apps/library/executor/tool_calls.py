"""Nodes that a node has run as its tools: each is a node run like any other, but only its caller hears what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol
from uuid import UUID

from apps.library.blocks.base import ERROR_PIN
from apps.library.errors import BlockError
from apps.library.executor.pins import is_tool_link
from apps.library.executor.plan import PlanNode
from apps.library.executor.state import OVER, NodeRun, RunState, ToolCall
from apps.library.executor.values import storable
from apps.library.models.executions import Status

#: How often a caller whose tool waits for a person looks for the answer, which may have been told to nobody.
LOOK_SECONDS = 5.0

Outputs = dict[str, list[Any]]


class Runner(Protocol):
    """What tool calls need of the run that they belong to."""

    state: RunState

    async def stored(self) -> None:
        """Wait until everything up to now is committed."""

    def look_at_answers(self) -> None:
        """Hear that a person may have answered something."""


class ToolCalls:
    """The tool calls of one run, those of earlier runners among them."""

    def __init__(self, runner: Runner, earlier: Iterable[NodeRun]) -> None:
        """Make it.

        Args:
            runner: The run.
            earlier: Its stored node runs, oldest first.
        """
        self._runner = runner
        self._runs: dict[UUID, NodeRun] = {}  # those that have called, or were called
        self._called: dict[UUID, list[NodeRun]] = {}  # by caller, oldest first
        self._waiting: dict[UUID, asyncio.Event] = {}
        runs = list(earlier)
        open_ids = {run.id for run in runs if run.status not in OVER}
        for run in runs:
            if run.call is not None and run.call.caller_id in open_ids:
                self._keep(run)

    def services(self, caller: NodeRun) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return what is offered to a node run that has nodes linked to its tools; to others nothing."""
        if not any(is_tool_link(wire.source_pin) for wire in caller.node.wires):
            return {}
        self._runs[caller.id] = caller

        async def run_tool_node(
            node_id: str, inputs: Mapping[str, Any], *, note: dict[str, Any] | None = None
        ) -> Outputs:
            return await self._run(caller, node_id, inputs, note or {})

        async def tool_nodes_run() -> list[dict[str, Any]]:
            return await self._earlier(caller)

        return {"run_tool_node": run_tool_node, "tool_nodes_run": tool_nodes_run}

    def hear_end(self, run: NodeRun) -> None:
        """Wake whoever waits for a node run that has ended, and forget what it called itself."""
        self._runs.pop(run.id, None)
        for called in self._called.pop(run.id, ()):
            self._runs.pop(called.id, None)
        if (waiter := self._waiting.get(run.id)) is not None:
            waiter.set()

    async def _run(self, caller: NodeRun, node_id: str, inputs: Mapping[str, Any], note: dict[str, Any]) -> Outputs:
        """Run a node that is linked to the caller's tools, once.

        Args:
            caller: Who asks.
            node_id: The node.
            inputs: Values by pin; the node's own and those of its static links count besides.
            note: What `tool_nodes_run` tells the caller of it when that is begun again.

        Returns:
            What it put out by pin, when that is stored.

        Raises:
            BlockError: When there is no such tool, or it failed.
        """
        node = self._tool(caller, node_id)
        call = ToolCall(caller.id, storable(note))
        run = self._runner.state.call(node, storable(dict(inputs)), call)
        self._keep(run)
        return await self._result(run)

    async def _earlier(self, caller: NodeRun) -> list[dict[str, Any]]:
        """Return the caller's tool calls under earlier runners, oldest first, when all of them have ended.

        Returns:
            For each `note`, and `outputs` by pin or the `error` that it failed with.
        """
        found = []
        for run in self._called.get(caller.id, ()):
            told: dict[str, Any] = {"note": run.call.note if run.call is not None else {}, "outputs": {}, "error": ""}
            try:
                told["outputs"] = await self._result(run)
            except BlockError as error:
                told["error"] = str(error)
            found.append(told)
        return found

    def _keep(self, run: NodeRun) -> None:
        if run.call is not None:
            self._runs[run.id] = run
            self._called.setdefault(run.call.caller_id, []).append(run)

    def _tool(self, caller: NodeRun, node_id: str) -> PlanNode:
        linked = {str(wire.sink_id): wire.sink_id for wire in caller.node.wires if is_tool_link(wire.source_pin)}
        if node_id not in linked:
            raise BlockError("This block isn't linked to the tools.")
        node = self._runner.state.plan.nodes[linked[node_id]]
        above: NodeRun | None = caller
        while above is not None:
            if above.node.id == node.id:
                raise BlockError("This block waits for the present one, so it can't be used as its tool.")
            above = self._runs.get(above.call.caller_id) if above.call is not None else None
        return node

    async def _result(self, run: NodeRun) -> Outputs:
        waiter = self._waiting.setdefault(run.id, asyncio.Event())
        try:
            while run.status not in OVER:
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await waiter.wait()
                except TimeoutError:
                    self._runner.look_at_answers()
        finally:
            self._waiting.pop(run.id, None)
        await self._runner.stored()  # what the caller is told isn't lost any more, whatever happens
        given = run.call.given if run.call is not None else {}
        if run.status == Status.COMPLETED:
            return given
        raise BlockError(str(given[ERROR_PIN][-1]) if given.get(ERROR_PIN) else "It was stopped.")
