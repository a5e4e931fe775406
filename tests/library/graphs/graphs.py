"""Makes graphs in the file format, short enough to read in a test."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from apps.library.graphs import known, schemas, shape
from tests.library.graphs.blocks import OUTPUT


def node(node_id: str, block_id: str, *, metadata: dict[str, Any] | None = None, **input_default: Any):
    return {"id": node_id, "block_id": block_id, "input_default": input_default, "metadata": metadata or {}}


def link(wire: str, **more: Any) -> dict[str, Any]:
    """Return a link from `a.pin -> b.pin`."""
    source, sink = wire.split(" -> ")
    (source_id, source_name), (sink_id, sink_name) = source.split(".", 1), sink.split(".", 1)
    ends = {"source_id": source_id, "source_name": source_name, "sink_id": sink_id, "sink_name": sink_name}
    return {"id": str(uuid4()), **ends, "is_static": False, **more}


def graph(*parts: Any, name: str = "An agent", **more: Any) -> dict[str, Any]:
    """Return a graph of nodes (objects) and links (text)."""
    nodes = [part for part in parts if isinstance(part, dict)]
    links = [link(part) for part in parts if isinstance(part, str)]
    return {"id": str(uuid4()), "version": 1, "name": name, "description": "", "nodes": nodes, "links": links, **more}


def data(*parts: Any, **more: Any) -> shape.GraphData:
    return shape.read(graph(*parts, **more))


def entry(node_id: str = "in", name: str = "Topic", **more: Any) -> dict[str, Any]:
    return node(node_id, known.AGENT_INPUT, name=name, **more)


def result(node_id: str = "out", name: str = "Result", **more: Any) -> dict[str, Any]:
    return node(node_id, OUTPUT, name=name, **more)


def echo(**more: Any) -> dict[str, Any]:
    """Return the smallest graph that does something."""
    return graph(entry(), result(), "in.result -> out.value", **more)


def runs(node_id: str, child: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a node that runs an agent of the same file."""
    read = shape.read(child)
    return node(
        node_id,
        known.AGENT_EXECUTOR,
        graph_id=child["id"],
        graph_version=child["version"],
        user_id="somebody",
        inputs={},
        input_schema=schemas.input_schema(read),
        output_schema=schemas.output_schema(read),
        **more,
    )


def codes(problems) -> set[str]:
    return {problem.code for problem in problems}
