"""A graph as its runner sees it: immutable, made once from rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from apps.library.blocks.base import Block, BlockType
from apps.library.blocks.registry import get_block
from apps.library.errors import GraphInvalid
from apps.library.executor import pins
from apps.library.models import Link, Node

#: Blocks whose pins are those of a schema that the node holds: the input that collects them, and the schema's place.
COLLECTING: Mapping[str, tuple[str, str]] = {
    BlockType.AGENT: ("inputs", "input_schema"),
    BlockType.MCP_TOOL: ("tool_arguments", "tool_input_schema"),
}
TRIGGERS = frozenset({BlockType.WEBHOOK, BlockType.WEBHOOK_MANUAL})


@dataclass(frozen=True, slots=True)
class Wire:
    """A link, seen from its source."""

    source_pin: str
    sink_id: UUID
    sink_pin: str
    is_static: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNode:
    """One node.

    Attributes:
        id: The node.
        block: What it does.
        defaults: Its own input values.
        mask: Input values that win over everything: the run's inputs and masks.
        metadata: See `Node.metadata`.
        wires: Its outgoing links in the order in which values are routed.
        linked: The pins that links lead to; each needs a value before the node runs.
        static: Those among them whose values are used again and again.
        feedback: Those that the node's first run doesn't wait for, as without it there would be nothing to wait for.
        is_start: Whether it runs when the run begins.
    """

    id: UUID
    block: Block[Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    mask: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    wires: tuple[Wire, ...] = ()
    linked: frozenset[str] = frozenset()
    static: frozenset[str] = frozenset()
    feedback: frozenset[str] = frozenset()
    is_start: bool = False

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.metadata.get("customized_name") or self.block.name)


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph: its nodes that run, by id, in the graph's order."""

    nodes: Mapping[UUID, PlanNode]

    @property
    def start(self) -> Iterable[PlanNode]:
        """The nodes that run first, in the graph's order."""
        return (node for node in self.nodes.values() if node.is_start)


def build_plan(
    nodes: Sequence[Node],
    links: Sequence[Link],
    *,
    inputs: Mapping[str, Any] | None = None,
    masks: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plan:
    """Return the plan of a graph for one run.

    Args:
        nodes: The graph's nodes in order.
        links: Its links in order.
        inputs: The run's inputs by name.
        masks: Input values by node id that win over the nodes' own.

    Raises:
        GraphInvalid: When blocks are unknown, or nothing would run.
    """
    unknown = [node for node in nodes if get_block(node.block_id) is None]
    if unknown:
        raise GraphInvalid([_missing_block(node) for node in unknown])
    planned = {node.pk: found for node in nodes if (found := _plan_node(node, inputs or {}, masks or {})) is not None}
    wired = wire(planned, [(link.source_id, link.source_name, link.sink_id, link.sink_name) for link in links])
    if not any(node.is_start for node in wired.nodes.values()):
        raise GraphInvalid([{"message": "Nothing in this agent can run first: each node waits for another."}])
    return wired


def _missing_block(node: Node) -> dict[str, Any]:
    return {
        "node_id": str(node.pk),
        "message": f"The block {node.block_id} isn't known here.",
        "remedy": "Replace the node, or install the block.",
    }


def _plan_node(node: Node, inputs: Mapping[str, Any], masks: Mapping[str, Mapping[str, Any]]) -> PlanNode | None:
    block = get_block(node.block_id)
    assert block is not None
    if block.type == BlockType.NOTE:
        return None
    mask = dict(masks.get(str(node.pk), {}))
    if block.type == BlockType.INPUT and (name := str(node.input_default.get("name", ""))) in inputs:
        mask["value"] = inputs[name]
    if block.type in TRIGGERS and "payload" in inputs:
        mask["payload"] = inputs["payload"]
    return PlanNode(id=node.pk, block=block, defaults=node.input_default, mask=mask, metadata=node.metadata)


def wire(nodes: Mapping[UUID, PlanNode], links: Iterable[tuple[UUID, str, UUID, str]]) -> Plan:
    """Join nodes by links `(source, source pin, sink, sink pin)`, in order; links of nodes that don't run are left out.

    Whether a link is static is its source's matter, whatever a file says.
    """
    wires: dict[UUID, list[Wire]] = {node_id: [] for node_id in nodes}
    sources: dict[UUID, dict[str, list[UUID]]] = {node_id: {} for node_id in nodes}
    static: dict[UUID, set[str]] = {node_id: set() for node_id in nodes}
    for source, source_pin, sink, sink_pin in links:
        if source not in nodes or sink not in nodes:
            continue
        is_static = nodes[source].block.static_output
        wires[source].append(Wire(source_pin, sink, sink_pin, is_static))
        sources[sink].setdefault(sink_pin, []).append(source)
        if is_static:
            static[sink].add(sink_pin)
    feedback = find_feedback(nodes, sources)
    return Plan(
        {
            node_id: replace(
                node,
                wires=tuple(wires[node_id]),
                linked=frozenset(sources[node_id]),
                static=frozenset(static[node_id]),
                feedback=feedback.get(node_id, frozenset()),
                is_start=not sources[node_id] or node.block.type == BlockType.INPUT,
            )
            for node_id, node in nodes.items()
        }
    )


Sources = Mapping[UUID, Mapping[str, Sequence[UUID]]]


def find_feedback(nodes: Mapping[UUID, PlanNode], sources: Sources) -> dict[UUID, frozenset[str]]:
    """Return the pins that a node's first run doesn't wait for, in loops that could never begin otherwise.

    Such a pin has a default, and is fed only by what the node itself feeds; an accumulator's list is one. Nodes that
    other values reach already come first, in the graph's order.
    """
    feedback: dict[UUID, frozenset[str]] = {}
    sinks: dict[UUID, list[UUID]] = {}
    for sink, found in sources.items():
        for feeder in dict.fromkeys(feeder for feeders in found.values() for feeder in feeders):
            sinks.setdefault(feeder, []).append(sink)
    reached = spread(nodes, sources, sinks, feedback)
    while True:
        for node_id, node in nodes.items():
            if node_id in reached:
                continue
            missing = {pin for pin, feeders in sources[node_id].items() if reached.isdisjoint(feeders)}
            if len(missing) == len(sources[node_id]) or not all(has_default(node, pin) for pin in missing):
                continue
            below = fed_by(sinks, node_id)
            if all(below.issuperset(sources[node_id][pin]) for pin in missing):
                feedback[node_id] = frozenset(missing)
                reached = spread(nodes, sources, sinks, feedback)
                break
        else:
            return feedback


def spread(
    nodes: Mapping[UUID, PlanNode],
    sources: Sources,
    sinks: Mapping[UUID, Sequence[UUID]],
    feedback: Mapping[UUID, frozenset[str]],
) -> set[UUID]:
    """Return every node that can run, given the pins that may lack at first."""
    reached: set[UUID] = set()
    waiting = list(nodes)
    while waiting:
        node_id = waiting.pop()
        if node_id in reached:
            continue
        skipped = feedback.get(node_id, frozenset())
        fed = all(pin in skipped or not reached.isdisjoint(found) for pin, found in sources[node_id].items())
        if fed or nodes[node_id].block.type == BlockType.INPUT:
            reached.add(node_id)
            waiting += sinks.get(node_id, ())
    return reached


def fed_by(sinks: Mapping[UUID, Sequence[UUID]], first: UUID) -> set[UUID]:
    """Return the nodes that a node's values may reach, itself among them."""
    found: set[UUID] = set()
    waiting = [first]
    while waiting:
        node_id = waiting.pop()
        if node_id not in found:
            found.add(node_id)
            waiting += sinks.get(node_id, ())
    return found


def has_default(node: PlanNode, pin: str) -> bool:
    """Return whether a node could run without a value on a pin."""
    name = pins.parse(pin).name
    if node.defaults.get(name) is not None or name in node.mask:
        return True
    found = field_of(node.block, name)
    return found is not None and not found.is_required()


def field_of(block: Block[Any], name: str) -> Any:
    """Return the pydantic field of an input pin, which may be its alias; None when there is none."""
    fields = block.Input.model_fields
    return fields.get(name) or next((found for found in fields.values() if found.alias == name), None)
