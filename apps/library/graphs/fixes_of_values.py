"""Mends values of nodes, a function each; each says what it changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

from apps.library.blocks.base import BlockType
from apps.library.graphs import known, pins
from apps.library.graphs.problems import quoted
from apps.library.graphs.schemas import nodes_of
from apps.library.graphs.shape import GraphData, LinkData

SINGLE_BRACES = re.compile(r"(?<!\{)\{([A-Za-z_]\w*)\}(?!\})")
PROMPT_VALUES = "prompt_values"
#: How far apart nodes lie in the picture, in its units.
COLUMN_WIDTH = 800


def fix_ids(graph: GraphData) -> Iterator[str]:
    """1: The agent and its links have random ids."""
    if not _is_uuid4(graph.id):
        yield f"Gave the agent a new id in place of {quoted(graph.id)}."
        graph.id = str(uuid4())
    for link in graph.links:
        if not _is_uuid4(link.id):
            yield f"Gave a link a new id in place of {quoted(link.id)}."
            link.id = str(uuid4())


def _is_uuid4(text: str) -> bool:
    try:
        return UUID(text).version == 4
    except ValueError:
        return False


def fix_braces(graph: GraphData) -> Iterator[str]:
    """2: Names in templates stand in double braces, and every linked one is in the prompt."""
    to_code = {source.id for _, source, sink in graph.wires() if sink.block_id == known.EXECUTE_CODE}
    incoming = graph.incoming()
    for node in graph.nodes:
        for pin in ("prompt", "format"):
            text = node.input_default.get(pin)
            if isinstance(text, str) and node.id not in to_code:  # braces of code are its own
                doubled, count = SINGLE_BRACES.subn(r"{{\1}}", text)
                if count:
                    node.input_default[pin] = doubled
                    yield f"Doubled the braces of {count} names in {quoted(pin)} of {quoted(node.label)}."
        prompt = node.input_default.get("prompt")
        if isinstance(prompt, str):
            present = {piece.partition("}}")[0].strip() for piece in prompt.split("{{")[1:]}
            missing = [name for name in _linked_values(incoming[node.id]) if name not in present]
            for name in missing:
                yield f"Added {{{{{name}}}}} to the prompt of {quoted(node.label)}, which a link brings."
            node.input_default["prompt"] = "\n".join([prompt, *(f"{{{{{name}}}}}" for name in missing)]).lstrip("\n")


def _linked_values(links: list[LinkData]) -> list[str]:
    found = [pins.split(link.sink_name) for link in links]
    return list(dict.fromkeys(parts[0][1] for base, parts in found if base == PROMPT_VALUES and parts))


def fix_sample_size(graph: GraphData) -> Iterator[str]:
    """8: A sample of what comes one by one is one."""
    for node in graph.nodes:
        if node.block_id != known.DATA_SAMPLING:
            continue
        into = [x for x in graph.links if x.sink_id == node.id and pins.base_name(x.sink_name) == "sample_size"]
        if into or node.input_default.get("sample_size") != 1:
            node.input_default["sample_size"] = 1
            graph.links = [link for link in graph.links if link not in into]
            yield f"Set the sample size of {quoted(node.label)} to 1."


def fix_replacements(graph: GraphData) -> Iterator[str]:
    """9: What text is replaced by isn't empty."""
    for node in graph.nodes:
        if node.block_id == known.TEXT_REPLACE and node.input_default.get("new") == "":
            node.input_default["new"] = " "
            yield f"Let {quoted(node.label)} put a space where it put nothing."


def fix_credentials(graph: GraphData) -> Iterator[str]:
    """10: Credentials are chosen when an agent is started, not in its file."""
    for node in graph.nodes:
        if node.input_default.pop("credentials", None):
            yield f"Took the credentials out of {quoted(node.label)}."


def fix_positions(graph: GraphData) -> Iterator[str]:
    """11: A node lies to the right of what feeds it."""
    outgoing = graph.outgoing()
    nodes = graph.by_id()
    left = {node.id: 0 for node in graph.nodes}
    for link, source, sink in graph.wires():
        left[sink.id] += link.source_id != link.sink_id and source.id in nodes
    ready = [node_id for node_id, count in left.items() if not count]
    moved: set[str] = set()
    placed: set[str] = set()
    rest = iter(graph.nodes)
    while len(placed) < len(nodes):
        if not ready:  # only loops are left: go on with the next node of the list
            ready = [next(node.id for node in rest if node.id not in placed)]
        node_id = ready.pop()
        if node_id in placed:
            continue
        placed.add(node_id)
        for link in outgoing[node_id]:
            if link.sink_id not in nodes or link.sink_id in placed:
                continue
            if _push(nodes[node_id].metadata, nodes[link.sink_id].metadata):
                moved.add(link.sink_id)
            left[link.sink_id] -= 1
            if left[link.sink_id] <= 0:
                ready.append(link.sink_id)
    if moved:
        yield f"Moved {len(moved)} nodes in the picture to the right of what feeds them."


def _push(source: dict[str, Any], sink: dict[str, Any]) -> bool:
    wanted = _x(source) + COLUMN_WIDTH
    if _x(sink) >= wanted:
        return False
    place = sink.get("position")
    sink["position"] = {"y": 0, **(place if isinstance(place, dict) else {}), "x": wanted}
    return True


def _x(metadata: dict[str, Any]) -> float:
    place = metadata.get("position")
    x = place.get("x") if isinstance(place, dict) else None
    return x if isinstance(x, int | float) and not isinstance(x, bool) else 0


def fix_date_offsets(graph: GraphData) -> Iterator[str]:
    """12: The offset of a date is subtracted, so it is a positive number of days."""
    for node in graph.nodes:
        offset = node.input_default.get("offset")
        if node.block_id != known.CURRENT_DATE or isinstance(offset, bool):
            continue
        try:
            days = int(offset) if isinstance(offset, int | str) else 0
        except ValueError:
            continue
        if days < 0:
            node.input_default["offset"] = -days
            yield f"Made the offset of {quoted(node.label)} {-days} days back; it was {days}."


def fix_models(graph: GraphData) -> Iterator[str]:
    """14: A node asks a model that there is."""
    for node in graph.nodes:
        block = node.block
        if block is None:
            continue
        schema = pins.schemas_of(type(block))[0]
        pin = pins.properties(schema).get("model", {})
        allowed, model = pins.allowed_values(pin, schema), node.input_default.get("model")
        if allowed and model is not None and model not in allowed:
            node.input_default["model"] = pin.get("default", allowed[0])
            yield f"Let {quoted(node.label)} ask {node.input_default['model']}; there is no model {quoted(model)}."


def fix_mcp(graph: GraphData) -> Iterator[str]:
    """17: A node that calls an MCP tool has that tool's schema and arguments."""
    for node, _ in nodes_of(graph, BlockType.MCP_TOOL):
        given = node.input_default
        for key in ("tool_input_schema", "tool_arguments"):
            if not isinstance(given.get(key), dict):
                given[key] = {}
                yield f"Gave {quoted(node.label)} an empty {key}."
        for name, field in pins.properties(given["tool_input_schema"]).items():
            if isinstance(field, dict) and "default" in field and name not in given["tool_arguments"]:
                given["tool_arguments"][name] = field["default"]
                yield f"Filled the argument {quoted(name)} of {quoted(node.label)} with its default."
