"""What a node of an agent may call as tools: the nodes that its tool links lead to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from apps.library.blocks.base import BlockType
from apps.library.executor import pins
from apps.library.executor.load import RunFacts
from apps.library.executor.plan import COLLECTING, Plan, PlanNode
from apps.library.models import Link

LONGEST_NAME = 64
_ODD = re.compile(r"[^a-z0-9_-]")


def tools_of_node(facts: RunFacts) -> Callable[..., Awaitable[list[dict[str, Any]]]]:
    """Return what blocks call as `services["tools_of_node"](node_id)`; see `describe`."""

    async def tools(node_id: UUID) -> list[dict[str, Any]]:
        assert facts.plan is not None
        return describe(facts.plan, node_id)

    return tools


def describe(plan: Plan, node_id: UUID) -> list[dict[str, Any]]:
    """Return the tools of a node.

    Returns:
        For each `name`, `description` and `parameters` (a JSON schema) as a model is offered them, `node_id`, and
        `pins`: the pin to put each argument out on, by the argument's name.
    """
    node = plan.nodes[node_id]
    sinks: dict[UUID, list[str]] = {}
    for wire in node.wires:
        if pins.is_tool_link(wire.source_pin):
            sinks.setdefault(wire.sink_id, []).append(wire.sink_pin)
    taken: set[str] = set()
    return [_tool(plan.nodes[sink_id], list(dict.fromkeys(found)), taken) for sink_id, found in sinks.items()]


def _tool(sink: PlanNode, sink_pins: list[str], taken: set[str]) -> dict[str, Any]:
    schema = _input_schema(sink)
    fields = schema.get("properties", {})
    required = set(schema.get("required", ()))
    arguments = {_clean(pin): pin for pin in sink_pins}
    properties = {name: _parameter(fields, pin) for name, pin in arguments.items()}
    parameters: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": [name for name, pin in arguments.items() if pin in required or pins.parse(pin).path],
    }
    if "$defs" in schema:
        parameters["$defs"] = schema["$defs"]
    return {
        "name": _name(sink, taken),
        "description": str(sink.metadata.get("description") or sink.block.description),
        "parameters": parameters,
        "node_id": str(sink.id),
        "pins": {name: f"{Link.TOOL_PREFIX}{sink.id}{pins.TOOL_PIN}{pin}" for name, pin in arguments.items()},
    }


def _input_schema(sink: PlanNode) -> dict[str, Any]:
    if (collecting := COLLECTING.get(sink.block.type)) is not None:
        return dict(sink.defaults.get(collecting[1]) or {})
    return sink.block.input_schema()


def _parameter(fields: dict[str, Any], pin: str) -> dict[str, Any]:
    """Return the schema of one argument; that of a part of a value is whatever fits there."""
    if (found := fields.get(pin)) is not None:
        return dict(found)
    name, path = pins.parse(pin)
    described = str(fields.get(name, {}).get("description", ""))
    return {"description": f"{path[-1].key} of {name}. {described}".strip()} if path else {}


def _name(sink: PlanNode, taken: set[str]) -> str:
    """Return a name that a model can call, one of its own."""
    called = sink.metadata.get("customized_name")
    if not called and sink.block.type == BlockType.AGENT:
        called = sink.defaults.get("agent_name")
    name = first = _clean(str(called or sink.block.name))
    number = 0
    while name in taken:
        number += 1
        name = f"{first}_{number}"
    taken.add(name)
    return name


def _clean(text: str) -> str:
    return _ODD.sub("_", text.lower())[:LONGEST_NAME] or "_"
