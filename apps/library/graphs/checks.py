"""What a graph is checked for by its links and pins, a function each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from apps.library.blocks.base import Block, BlockType
from apps.library.graphs import pins
from apps.library.graphs.known import block_name
from apps.library.graphs.problems import Problem, Stops, quoted
from apps.library.graphs.shape import GraphData, LinkData, NodeData

#: Names of pins that an error lists.
MOST_LISTED = 30
SAVED_WHOLE = (BlockType.INPUT, BlockType.OUTPUT, BlockType.AGENT)
#: What the runner fills in itself.
FILLED = {BlockType.AGENT: {"user_id", "inputs"}, BlockType.MCP_TOOL: {"tool_input_schema", "tool_arguments"}}


def check_ids(graph: GraphData) -> Iterator[Problem]:
    """Two nodes, or two links, of one id: references to it could mean either."""
    for node_id, count in Counter(node.id for node in graph.nodes).items():
        if count > 1:
            message = f"{count} nodes have the id {quoted(node_id)}."
            yield Problem(code="duplicate_id", message=message, remedy="Give each node its own id.", node_id=node_id)
    for link_id, count in Counter(link.id for link in graph.links).items():
        if count > 1:
            message = f"{count} links have the id {quoted(link_id)}."
            yield Problem(code="duplicate_id", message=message, remedy="Give each link its own id.", link_id=link_id)


def check_blocks(graph: GraphData) -> Iterator[Problem]:
    """1: Every node's block exists, and may still be used."""
    for node in graph.nodes:
        block = node.block
        if block is None:
            yield Problem(
                code="unknown_block",
                message=f"The block {quoted(block_name(node.block_id))} of node {quoted(node.label)} is missing here.",
                remedy="Put another block in its place, or ask the operator to add it.",
                stops=Stops.RUN,
                node_id=node.id,
            )
        elif block.disabled:
            yield Problem(
                code="disabled_block",
                message=f"The block {quoted(block.name)} is switched off.",
                remedy="Put another block in its place.",
                stops=Stops.RUN,
                node_id=node.id,
            )


def check_links(graph: GraphData) -> Iterator[Problem]:
    """2: Both ends of every link are nodes of the graph."""
    nodes = graph.by_id()
    for link in graph.links:
        for end, node_id in (("source_id", link.source_id), ("sink_id", link.sink_id)):
            if node_id not in nodes:
                yield Problem(
                    code="unknown_node",
                    message=f"A link's {end} {quoted(node_id)} is no node of this agent.",
                    remedy="Point the link at one of its nodes, or take it out.",
                    node_id=node_id,
                    link_id=link.id,
                )


def check_required_inputs(graph: GraphData, masks: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[Problem]:
    """3: Every required input has a value, a link or a mask."""
    incoming = graph.incoming()
    for node in graph.nodes:
        block = node.block
        if block is None or block.type == BlockType.NOTE:
            continue
        linked = {pins.base_name(link.sink_name) for link in incoming[node.id]}
        given = linked | {link.sink_name for link in incoming[node.id]} | set((masks or {}).get(node.id, ()))
        given |= {pins.base_name(name) for name in node.input_default if pins.DYNAMIC.search(name)}
        for name in _required(node, block):
            if name not in given and pins.own_value(node, name) is None:
                yield Problem(
                    code="missing_input",
                    message=f"The node {quoted(node.label)} has no value for its required input {quoted(name)}.",
                    remedy=f"Write a value into {quoted(name)}, or link an output to it.",
                    stops=Stops.SAVE if block.type in SAVED_WHOLE else Stops.RUN,
                    node_id=node.id,
                    pin=name,
                )


def _required(node: NodeData, block: Block[Any]) -> list[str]:
    own = pins.required(pins.schemas_of(type(block))[0])
    if block.type == BlockType.AGENT:
        own += pins.required(pins.own_schema(node, "input_schema"))
    elif block.type == BlockType.MCP_TOOL:
        own += pins.required(pins.own_schema(node, "tool_input_schema"))
    left_out = {*FILLED.get(block.type, ()), *block.credentials_inputs()}
    return [name for name in dict.fromkeys(own) if name not in left_out]


def check_types(graph: GraphData) -> Iterator[Problem]:
    """4: What a link brings is of a type that its sink takes."""
    for link, source, sink in graph.wires():
        mismatch = type_mismatch(link, source, sink)
        if mismatch is not None:
            comes, wanted = (" or ".join(sorted(kinds)) for kinds in mismatch)
            yield Problem(
                code="type_mismatch",
                message=f"The output {quoted(link.source_name)} of {quoted(source.label)} gives {comes}, but the input "
                f"{quoted(link.sink_name)} of {quoted(sink.label)} takes {wanted}.",
                remedy="Put a Universal Type Converter between them.",
                stops=Stops.NOTHING,  # values are converted as they come, where they can be
                node_id=sink.id,
                pin=link.sink_name,
                link_id=link.id,
            )


def type_mismatch(link: LinkData, source: NodeData, sink: NodeData) -> tuple[set[str], set[str]] | None:
    """Return what a link brings and what its sink takes, where they differ; None where they fit or aren't known."""
    out, into = pins.output_schema(source), pins.input_schema(sink)
    if out is None or into is None:
        return None
    comes = pins.types(pins.properties(out).get(link.source_name), out)
    wanted = pins.types(pins.properties(into).get(link.sink_name), into)
    numbers = {"integer", "number"}
    if comes is None or wanted is None or comes & wanted or (comes & numbers and wanted & numbers):
        return None
    return comes, wanted


def check_sinks(graph: GraphData) -> Iterator[Problem]:
    """5: The input that a link enters exists; of `parent_#_child` the parent has such a child."""
    for link, _, sink in graph.wires():
        schema = pins.input_schema(sink)
        if schema is None:
            continue
        yield from _check_pin(schema, link, sink, link.sink_name, "input")
        name = pins.base_name(link.sink_name)
        if sink.block and name in sink.block.credentials_inputs():
            yield Problem(
                code="linked_credentials",
                message=f"A link enters the credentials input {quoted(name)} of {quoted(sink.label)}.",
                remedy="Take the link out; credentials are chosen when the agent is started.",
                node_id=sink.id,
                pin=name,
                link_id=link.id,
            )


def check_sources(graph: GraphData) -> Iterator[Problem]:
    """6: The output that a link leaves from exists, also where it is a part of one."""
    for link, source, _ in graph.wires():
        schema = pins.output_schema(source)
        if schema is not None:
            yield from _check_pin(schema, link, source, link.source_name, "output")


def _check_pin(schema: pins.Schema, link: LinkData, node: NodeData, pin: str, kind: str) -> Iterator[Problem]:
    known = pins.properties(schema)
    if pin in known:
        return
    base, parts = (pins.TOOLS_PIN, []) if pin.startswith(pins.TOOLS_PREFIX) else pins.split(pin)
    where: dict[str, Any] = {"node_id": node.id, "pin": pin, "link_id": link.id}
    if base not in known:
        yield Problem(
            code=f"unknown_{kind}",
            message=f"The node {quoted(node.label)} has no {kind} {quoted(base)}.",
            remedy=f"Use one of its {kind}s: {_listed(known)}." if known else f"Take the link out: it has no {kind}s.",
            **where,
        )
    elif parts and parts[0][0] == "#" and not pins.takes_child(known[base], schema, parts[0][1]):
        yield Problem(
            code=f"unknown_part_of_{kind}",
            message=f"The {kind} {quoted(base)} of {quoted(node.label)} has no {quoted(parts[0][1])}.",
            remedy=f"Link {quoted(base)} as a whole, or one of the parts that it has.",
            stops=Stops.NOTHING,  # of a value that lacks the part nothing is sent
            **where,
        )


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = ["…"] if len(found) > MOST_LISTED else []
    return ", ".join([*(str(name)[:80] for name in found[:MOST_LISTED]), *more])
