"""Mends how nodes are linked, a function each; each says what it changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from uuid import uuid4

from apps.library.blocks.base import BlockType
from apps.library.graphs import known, pins
from apps.library.graphs.checks import type_mismatch
from apps.library.graphs.checks_of_blocks import Agents
from apps.library.graphs.problems import quoted
from apps.library.graphs.schemas import nodes_of
from apps.library.graphs.shape import GraphData, LinkData, NodeData

#: What the converter calls JSON types.
CONVERTED = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "array": "list",
    "object": "dictionary",
}


def link_between(source: NodeData, source_name: str, sink: NodeData, sink_name: str) -> LinkData:
    """Return a new link."""
    return LinkData(str(uuid4()), source.id, source_name, sink.id, sink_name)


def add_node(graph: GraphData, block_id: str, beside: NodeData, **input_default: object) -> NodeData:
    """Add a node that lies left of another one; returns it."""
    place = beside.metadata.get("position")
    x, y = (place.get("x"), place.get("y")) if isinstance(place, dict) else (0, 0)
    position = {"x": _number(x) - 400, "y": _number(y) + 200}
    node = NodeData(str(uuid4()), block_id, dict(input_default), {"position": position})
    graph.nodes.append(node)
    return node


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def drop(graph: GraphData, unwanted: Callable[[LinkData], bool]) -> int:
    """Take links out; returns how many."""
    before = len(graph.links)
    graph.links = [link for link in graph.links if not unwanted(link)]
    return before - len(graph.links)


def drop_nodes(graph: GraphData, node_ids: set[str]) -> None:
    """Take nodes out, with their links."""
    graph.nodes = [node for node in graph.nodes if node.id not in node_ids]
    drop(graph, lambda link: link.source_id in node_ids or link.sink_id in node_ids)


def fix_conditions(graph: GraphData) -> Iterator[str]:
    """3: What a condition compares with is kept, so that it is there for every value."""
    for link, source, sink in list(graph.wires()):
        if sink.block_id != known.CONDITION or link.sink_name != "value2" or source.block_id == known.STORE_VALUE:
            continue
        keeper = add_node(graph, known.STORE_VALUE, sink)
        graph.links.append(link_between(keeper, "output", sink, "value2"))
        link.sink_id, link.sink_name = keeper.id, "input"
        yield f"Put a Store Value before the second value of {quoted(sink.label)}."


def fix_lists(graph: GraphData) -> Iterator[str]:
    """4: A list that is added to one by one begins empty and comes back to its node."""
    nodes, incoming = graph.by_id(), graph.incoming()
    for node in [each for each in graph.nodes if each.block_id == known.ADD_TO_LIST]:
        feeds = [(link, nodes[link.source_id]) for link in incoming[node.id] if link.source_id in nodes]
        made = {source.id for _, source in feeds if source.block_id == known.CREATE_LIST}
        if made:
            _drop_makers(graph, node, made)
            yield f"Took the Create List before {quoted(node.label)} out; it begins with an empty list by itself."
            feeds = [(x, source) for x, source in feeds if source.id not in made]
        if not _gathers(node, feeds):
            continue
        beginning = add_node(graph, known.ADD_TO_LIST, node, list=[], entries=[])
        graph.links += [
            link_between(beginning, "updated_list", node, "list"),
            link_between(node, "updated_list", node, "list"),
        ]
        node.input_default.pop("list", None)
        yield f"Let {quoted(node.label)} begin with an empty list and go on with the one it made."


def _gathers(node: NodeData, feeds: list[tuple[LinkData, NodeData]]) -> bool:
    """Return whether a node is to gather what comes, and doesn't yet: without fresh values it would go round alone."""
    fed = any(pins.base_name(link.sink_name) == "list" for link, _ in feeds)
    fresh = any(
        pins.base_name(link.sink_name) in {"entry", "entries"} and not (source.block and source.block.static_output)
        for link, source in feeds
    )
    return fresh and not fed and not node.input_default.get("list")


def fix_lists_for_mail(graph: GraphData) -> Iterator[str]:
    """5: Of a list that goes out by mail no half-made one is sent."""
    mailed = {
        source.id
        for _, source, sink in graph.wires()
        if source.block_id == known.ADD_TO_LIST and sink.block_id == known.GMAIL_SEND
    }
    for node in graph.nodes:
        if node.id in mailed and drop(graph, partial(_returns_to, node.id)):
            yield f"Took the link of {quoted(node.label)} to itself out, as its list is sent by mail."


def _returns_to(node_id: str, link: LinkData) -> bool:
    return link.source_id == link.sink_id == node_id


def fix_dictionaries(graph: GraphData) -> Iterator[str]:
    """6: A dictionary that is added to begins empty by itself."""
    for node in [each for each in graph.nodes if each.block_id == known.ADD_TO_DICTIONARY]:
        made = {
            source.id
            for _, source, sink in graph.wires()
            if sink.id == node.id and source.block_id == known.CREATE_DICTIONARY
        }
        if made:
            _drop_makers(graph, node, made)
            yield f"Took the Create Dictionary before {quoted(node.label)} out; it begins with an empty one by itself."


def _drop_makers(graph: GraphData, node: NodeData, made: set[str]) -> None:
    """Cut makers off from a node, and take those out that feed nothing else."""
    drop(graph, lambda link: link.sink_id == node.id and link.source_id in made)
    drop_nodes(graph, made - {link.source_id for link in graph.links})


def fix_code_output(graph: GraphData) -> Iterator[str]:
    """7: What code prints is what comes out of it."""
    for link, source, _ in graph.wires():
        if source.block_id == known.EXECUTE_CODE and link.source_name == "response":
            link.source_name = "stdout_logs"
            yield f"Let a link take what the code of {quoted(source.label)} prints."


def fix_nested_links(graph: GraphData) -> Iterator[str]:
    """13: A link to a part of an input names a key, and the input is no list."""
    unwanted: set[str] = set()
    for link, _, sink in graph.wires():
        schema = pins.input_schema(sink)
        base, parts = pins.split(link.sink_name)
        if schema is None or not parts or parts[0][0] != "#" or link.sink_name in pins.properties(schema):
            continue
        kinds = pins.types(pins.properties(schema).get(base), schema)
        if parts[0][1].isdecimal() or kinds == {"array"}:
            unwanted.add(link.id)
            yield f"Took a link to {quoted(link.sink_name)} of {quoted(sink.label)} out, which names no key."
    drop(graph, lambda link: link.id in unwanted)


def fix_static_links(graph: GraphData) -> Iterator[str]:
    """15: A link says rightly whether its value is reused."""
    changed = 0
    for link, source, _ in graph.wires():
        if source.block is not None and link.is_static != source.block.static_output:
            link.is_static = source.block.static_output
            changed += 1
    if changed:
        yield f"Noted anew of {changed} links whether their values are reused."


def fix_types(graph: GraphData) -> Iterator[str]:
    """16: Where types differ, a converter stands between."""
    for link, source, sink in list(graph.wires()):
        mismatch = type_mismatch(link, source, sink)
        wanted = next((CONVERTED[kind] for kind in sorted(mismatch[1]) if kind in CONVERTED), "") if mismatch else ""
        if not wanted or known.TYPE_CONVERTER in {source.block_id, sink.block_id}:
            continue
        converter = add_node(graph, known.TYPE_CONVERTER, sink, type=wanted)
        graph.links.append(link_between(converter, "value", sink, link.sink_name))
        link.sink_id, link.sink_name = converter.id, "value"
        yield f"Put a converter to {wanted} before {quoted(sink.label)}."


def fix_agents(graph: GraphData, agents: Agents) -> Iterator[str]:
    """18: A node that runs an agent knows that agent as it is now."""
    for node, _ in nodes_of(graph, BlockType.AGENT):
        given = node.input_default
        agent = agents.get(str(given.get("graph_id") or ""))
        if agent is None:
            continue
        now = {
            "graph_version": agent.version,
            "user_id": "",
            "input_schema": agent.input_schema,
            "output_schema": agent.output_schema,
        }
        if any(given.get(key) != value for key, value in now.items()):
            given.update(now)
            yield f"Brought {quoted(node.label)} up to version {agent.version} of the agent that it runs."
        yield from _fix_agent_inputs(graph, node, agent.input_schema)


def _fix_agent_inputs(graph: GraphData, node: NodeData, schema: pins.Schema) -> Iterator[str]:
    fields = pins.properties(schema)
    for link in graph.links:
        base, parts = pins.split(link.sink_name)
        if link.sink_id == node.id and base == "inputs" and parts and parts[0][1] in fields:
            link.sink_name = parts[0][1]
            yield f"Linked {quoted(link.sink_name)} of {quoted(node.label)} by its own name."
    linked = {pins.base_name(link.sink_name) for link in graph.links if link.sink_id == node.id}
    defaults = {
        name: field["default"] for name, field in fields.items() if isinstance(field, dict) and "default" in field
    }
    if node.input_default.get("inputs") != defaults:
        node.input_default["inputs"] = defaults
        yield f"Set the inputs of {quoted(node.label)} to the agent's own defaults."
    for name in pins.required(schema):
        if name not in linked and name not in defaults:
            yield f"Link a value to {quoted(name)} of {quoted(node.label)}: the agent that it runs needs it."
