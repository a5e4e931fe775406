"""What an agent takes and gives: JSON schemas and facts that are computed from its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apps.library.blocks.base import Block, BlockType
from apps.library.graphs import pins
from apps.library.graphs.known import AGENT_INPUT, DROPDOWN_INPUT, TABLE_INPUT
from apps.library.graphs.shape import GraphData, NodeData

TRIGGERS = (BlockType.WEBHOOK, BlockType.WEBHOOK_MANUAL)
#: What a block's own schema says of its value and the agent's schema says anew.
REPLACED = {"title", "description", "default"}
PAYLOAD_PIN = "payload"


def nodes_of(graph: GraphData, *kinds: BlockType) -> Iterator[tuple[NodeData, Block[Any]]]:
    """Yield the nodes whose block is of one of these types, with it."""
    for node in graph.nodes:
        block = node.block
        if block is not None and block.type in kinds:
            yield node, block


def input_schema(graph: GraphData) -> dict[str, Any]:
    """Return the JSON schema of the values that an agent is started with."""
    return _schema(graph, BlockType.INPUT)


def output_schema(graph: GraphData) -> dict[str, Any]:
    """Return the JSON schema of what an agent gives back."""
    return _schema(graph, BlockType.OUTPUT)


def _schema(graph: GraphData, kind: BlockType) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    definitions: dict[str, Any] = {}
    for node, block in nodes_of(graph, kind):
        name = node.input_default.get("name")
        if not isinstance(name, str) or not name or name in properties:
            continue  # without a name it is nobody's input; a second one of a name is fed by the first one's value
        root = pins.schemas_of(type(block))[0]
        definitions.update(root.get("$defs", {}))
        properties[name] = _field(node, block, name)
        if default_value(node, block) is None:
            required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    return {**schema, "$defs": definitions} if definitions else schema


def default_value(node: NodeData, block: Block[Any]) -> Any:
    """Return the value that an input or output has when nobody gives one; None when it has none."""
    pin = pins.properties(pins.schemas_of(type(block))[0]).get("value", {})
    return node.input_default.get("value", pin.get("default"))


def _field(node: NodeData, block: Block[Any], name: str) -> dict[str, Any]:
    given = node.input_default
    field = {
        **_value_schema(node, block),
        "title": given.get("title") or name,
        "secret": given.get("secret") is True,
    }
    if given.get("description"):
        field["description"] = given["description"]
    default = default_value(node, block)
    if default is not None:
        field["default"] = default
        field["advanced"] = given.get("advanced") is True
    choices = given.get("options") if block.id == DROPDOWN_INPUT else None
    # Old files have choices under another name, also at plain inputs.
    choices = choices or (given.get("placeholder_values") if block.id in {DROPDOWN_INPUT, AGENT_INPUT} else None)
    if choices and isinstance(choices, list):
        field["enum"] = choices
    if block.id == TABLE_INPUT and isinstance(given.get("column_headers"), list):
        field["column_headers"] = given["column_headers"]
    return field


def _value_schema(node: NodeData, block: Block[Any]) -> dict[str, Any]:
    """Return the schema of a value without null, which stands for “not given”."""
    pin = pins.properties(pins.schemas_of(type(block))[0]).get("value", {})
    kept = {key: value for key, value in pin.items() if key not in REPLACED}
    alternatives = [part for part in kept.pop("anyOf", []) if part.get("type") != "null"]
    if len(alternatives) == 1:
        return {**alternatives[0], **kept}
    return {**kept, "anyOf": alternatives} if alternatives else kept


@dataclass(frozen=True, slots=True)
class CredentialsUse:
    """A credentials input of a node."""

    name: str
    node_id: str
    pin: str
    is_needed: bool
    facts: dict[str, Any]


def credentials_uses(graph: GraphData) -> list[CredentialsUse]:
    """Return each credentials input of each node, with the name of the agent's input that fills it.

    Those of its sub-agents are among them: a run hands its credentials down.
    """
    found = []
    for node in (node for each in (graph, *graph.sub_graphs) for node in each.nodes):
        block = node.block
        if block is None:
            continue
        needed = set(pins.required(pins.schemas_of(type(block))[0]))
        for pin, facts in block.credentials_inputs().items():
            own = node.input_default.get(pin)
            chosen = isinstance(own, dict) and bool(own.get("id"))
            optional = node.metadata.get("credentials_optional") is True
            name = _credentials_name(facts)
            found.append(CredentialsUse(name, node.id, pin, pin in needed and not chosen and not optional, facts))
    return found


def _credentials_name(facts: dict[str, Any]) -> str:
    words = [*sorted(facts.get("credentials_provider", ())), *sorted(facts.get("credentials_types", ()))]
    return "_".join([*words, "credentials"])


def credentials_schema(graph: GraphData) -> dict[str, Any]:
    """Return the JSON schema of the credentials that an agent is started with, one for each provider and type."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for use in credentials_uses(graph):
        facts = use.facts
        field = properties.setdefault(
            use.name,
            {
                "title": " or ".join(facts.get("credentials_provider", ())) or "credentials",
                "type": "object",
                "credentials_provider": sorted(facts.get("credentials_provider", ())),
                "credentials_types": sorted(facts.get("credentials_types", ())),
                "credentials_scopes": [],
                "used_by": [],
            },
        )
        scopes = {*field["credentials_scopes"], *facts.get("credentials_scopes", ())}
        field["credentials_scopes"] = sorted(scopes)
        field["used_by"].append({"node_id": use.node_id, "pin": use.pin})
        if use.is_needed and use.name not in required:
            required.append(use.name)
    return {"type": "object", "properties": properties, "required": required}


def trigger_setup_info(graph: GraphData) -> dict[str, Any] | None:
    """Return what is needed to set an agent's trigger up; None when nothing outside starts it."""
    for node, block in nodes_of(graph, *TRIGGERS):
        schema = pins.schemas_of(type(block))[0]
        credentials = block.credentials_inputs()
        hidden = {PAYLOAD_PIN, *credentials}
        config = {name: field for name, field in pins.properties(schema).items() if name not in hidden}
        needed = [name for name in pins.required(schema) if name in config]
        info: dict[str, Any] = {
            "provider": next(iter(next(iter(credentials.values()), {}).get("credentials_provider", ())), "generic"),
            "node_id": node.id,
            "config_schema": {"type": "object", "properties": config, "required": needed},
        }
        uses = [use.name for use in credentials_uses(graph) if use.node_id == node.id]
        return {**info, "credentials_input_name": uses[0]} if uses else info
    return None


def facts(graph: GraphData) -> dict[str, Any]:
    """Return everything that is computed from a graph, under the names that the file format has for it."""
    return {
        "input_schema": input_schema(graph),
        "output_schema": output_schema(graph),
        "credentials_input_schema": credentials_schema(graph),
        "has_external_trigger": any(nodes_of(graph, *TRIGGERS)),
        "has_human_in_the_loop": any(nodes_of(graph, BlockType.HUMAN_IN_THE_LOOP)),
        "has_sensitive_action": any(node.block.is_sensitive_action for node in graph.nodes if node.block),
        "trigger_setup_info": trigger_setup_info(graph),
    }
