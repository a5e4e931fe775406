"""A run in memory: what waits, what is ready, and where values go. Pure; rows and time are others' matter."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from apps.library.blocks.base import ERROR_PIN
from apps.library.executor import pins
from apps.library.executor.plan import Plan, PlanNode, Wire
from apps.library.models.executions import REACHED_FROM, Status

OVER = frozenset({Status.COMPLETED, Status.FAILED, Status.TERMINATED})
#: Where a node run's stats tell that it was called as a tool.
STORED_CALL = "tool_call"


class WrongTransition(Exception):
    """A status was to follow one that it can't follow."""


@dataclass(eq=False, slots=True)
class ToolCall:
    """What makes a node run a tool's: what it puts out is its caller's, and goes along no links.

    Attributes:
        caller_id: The node run that called it.
        note: What the caller wants to be told of it when it is begun again.
        given: What it put out, by pin.
    """

    caller_id: UUID
    note: dict[str, Any]
    given: dict[str, list[Any]] = field(default_factory=dict)

    def stored(self) -> dict[str, Any]:
        """Return what is stored of it among the node run's stats."""
        return {STORED_CALL: {"caller_id": str(self.caller_id), "note": self.note}}


@dataclass(eq=False, slots=True)
class NodeRun:
    """One run of a node with one set of inputs.

    Attributes:
        id: Its row's id.
        node: The node.
        number: Its place among all of the run's.
        status: Where it stands.
        inputs: What was routed to it, by pin.
        put_out: How many values it put out.
        is_first: Whether it is its node's first.
        call: What called it, where that wasn't a value on a link.
    """

    id: UUID
    node: PlanNode
    number: int
    status: str = Status.INCOMPLETE
    inputs: dict[str, Any] = field(default_factory=dict)
    put_out: int = 0
    is_first: bool = False
    call: ToolCall | None = None

    def move(self, status: str) -> None:
        """Bring it to a status.

        Raises:
            WrongTransition: When its present one doesn't lead there.
        """
        if self.status not in REACHED_FROM[status]:
            raise WrongTransition(f"{self.status} → {status}")
        self.status = status

    @property
    def is_fed(self) -> bool:
        """Whether every pin that it waits for has a value."""
        lacking = self.node.linked.difference(self.inputs)
        return not lacking or (self.is_first and lacking <= self.node.feedback)


@dataclass(frozen=True, slots=True)
class Output:
    """One value that a node put out; `position` counts the node run's own from 0."""

    run: NodeRun
    position: int
    pin: str
    data: Any


class RunState:
    """The node runs of one run, and the rules by which values make them ready.

    Attributes:
        ready: Node runs that may begin, oldest first.
        touched: Node runs that changed since `take` was called last, and what was put out meanwhile.
        count: How many node runs there are.
    """

    def __init__(self, plan: Plan) -> None:
        """Make the state of a run that hasn't begun."""
        self.plan = plan
        self.ready: deque[NodeRun] = deque()
        self.touched: dict[UUID, NodeRun] = {}
        self.outputs: list[Output] = []
        self.count = 0
        self._begun: set[UUID] = set()  # nodes that have a run
        self._lacking: dict[tuple[UUID, str], deque[NodeRun]] = {}  # incomplete runs by a pin that they lack, in order
        self._static: dict[tuple[UUID, str], tuple[int, Any]] = {}  # the newest run's value, with its number

    def begin(self) -> None:
        """Queue the nodes that run first."""
        for node in self.plan.start:
            self._queue(self._create(node))

    def restore(self, runs: Iterable[NodeRun]) -> None:
        """Take up stored node runs, oldest first; `inputs` may be left out of those that are over, unless static."""
        for run in runs:
            self.count = run.number
            if run.call is None:
                run.is_first = run.node.id not in self._begun
                self._begun.add(run.node.id)
                self._note_static(run)
            if run.status == Status.INCOMPLETE:
                self._await_pins(run)
            elif run.status == Status.QUEUED:
                self.ready.append(run)

    def put_out(self, run: NodeRun, pin: str, value: Any) -> None:
        """Note a node's output and route it along its links, in order."""
        self.outputs.append(Output(run, run.put_out, pin, value))
        run.put_out += 1
        if run.call is not None:
            run.call.given.setdefault(pin, []).append(value)
            return
        tool = pins.tool_target(pin)
        for wire in run.node.wires:
            if tool is not None:
                if pins.is_tool_link(wire.source_pin) and tool == (str(wire.sink_id), wire.sink_pin):
                    self._route(wire, value)
            elif (part := pins.pick(wire.source_pin, pin, value)) is not pins.MISSING:
                self._route(wire, part)

    def call(self, node: PlanNode, inputs: Mapping[str, Any], call: ToolCall) -> NodeRun:
        """Queue a run of a node for a caller, with what it was given and the static values of its links."""
        self.count += 1
        run = NodeRun(uuid4(), node, self.count, inputs=dict(inputs), call=call)
        self._fill_static(run)
        self._queue(run)
        return run

    def fail(self, run: NodeRun, message: str) -> None:
        """End a node run with an error, which goes out on its error pin."""
        self.put_out(run, ERROR_PIN, message)
        self.move(run, Status.FAILED)

    def move(self, run: NodeRun, status: str) -> None:
        """Bring a node run to a status.

        Raises:
            WrongTransition: When its present one doesn't lead there.
        """
        run.move(status)
        self.touched[run.id] = run

    def take(self) -> tuple[list[NodeRun], list[Output]]:
        """Return what changed since the last call."""
        changes = list(self.touched.values()), self.outputs
        self.touched, self.outputs = {}, []
        return changes

    def _create(self, node: PlanNode) -> NodeRun:
        self.count += 1
        run = NodeRun(uuid4(), node, self.count, is_first=node.id not in self._begun)
        self._begun.add(node.id)
        self.touched[run.id] = run
        return run

    def _queue(self, run: NodeRun) -> None:
        self.move(run, Status.QUEUED)
        self.ready.append(run)

    def _await_pins(self, run: NodeRun) -> None:
        for pin in run.node.linked.difference(run.inputs):
            self._lacking.setdefault((run.node.id, pin), deque()).append(run)

    def _route(self, wire: Wire, value: Any) -> None:
        """Give a value to the earliest incomplete run of the sink that lacks it, else to a new one."""
        node = self.plan.nodes[wire.sink_id]
        run = self._earliest(node, wire.sink_pin)
        is_new = run is None
        if run is None:
            run = self._create(node)
        run.inputs[wire.sink_pin] = value
        self._fill_static(run)
        self._look(run)
        if is_new and run.status == Status.INCOMPLETE:
            self._await_pins(run)
        if wire.is_static:
            for other in self._take_lacking(node, wire.sink_pin):
                other.inputs[wire.sink_pin] = value
                self._look(other)

    def _earliest(self, node: PlanNode, pin: str) -> NodeRun | None:
        lacking = self._lacking.get((node.id, pin), ())
        while lacking:
            run = lacking.popleft()
            if run.status == Status.INCOMPLETE and pin not in run.inputs:
                return run
        return None

    def _take_lacking(self, node: PlanNode, pin: str) -> list[NodeRun]:
        lacking = self._lacking.pop((node.id, pin), ())
        return [run for run in lacking if run.status == Status.INCOMPLETE and pin not in run.inputs]

    def _fill_static(self, run: NodeRun) -> None:
        """Give a run the static values that its node was given last."""
        for pin in run.node.static.difference(run.inputs):
            if (found := self._static.get((run.node.id, pin))) is not None:
                run.inputs[pin] = found[1]

    def _look(self, run: NodeRun) -> None:
        """Queue a run that has all it waits for."""
        self._note_static(run)
        self.touched[run.id] = run
        if run.is_fed:
            self._queue(run)

    def _note_static(self, run: NodeRun) -> None:
        for pin in run.node.static:
            key = (run.node.id, pin)
            if pin in run.inputs and run.number >= self._static.get(key, (0, None))[0]:
                self._static[key] = (run.number, run.inputs[pin])
