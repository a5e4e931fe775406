"""Pins: their names, dynamic parts and JSON schemas."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from apps.library.blocks.base import ERROR_PIN, Block, BlockType
from apps.library.graphs.known import ORCHESTRATOR
from apps.library.graphs.shape import NodeData
from apps.library.models import Link

Schema = Mapping[str, Any]

#: `pin_$_0` names an element of a list, `pin_#_key` a value of an object, `pin_@_name` an attribute.
DYNAMIC = re.compile(r"_([$#@])_")
TOOLS_PIN = "tools"
TOOLS_PREFIX = Link.TOOL_PREFIX
#: Where nodes whose pins are others' hold values for those pins.
PRESET_PINS = {BlockType.AGENT: "inputs", BlockType.MCP_TOOL: "tool_arguments"}
#: A pin of more alternatives than these counts as one that takes anything: many links may ask for them.
MOST_ALTERNATIVES = 40
ALTERNATIVES = ("anyOf", "oneOf", "allOf")


def split(name: str) -> tuple[str, list[tuple[str, str]]]:
    """Return a pin's own name and its dynamic parts, each with its kind: `$`, `#` or `@`."""
    base, *rest = DYNAMIC.split(name)
    return base, list(zip(rest[::2], rest[1::2], strict=True))


def base_name(name: str) -> str:
    """Return a pin's name without its dynamic parts."""
    return TOOLS_PIN if name.startswith(TOOLS_PREFIX) else split(name)[0]


@cache
def schemas_of(kind: type[Block[Any]]) -> tuple[Schema, Schema]:
    """Return the JSON schemas of a block's input and output pins. They are shared: don't change them."""
    return kind.input_schema(), kind.output_schema()


def input_schema(node: NodeData) -> Schema | None:
    """Return the schema of the pins that links may enter; None when the block is missing here."""
    block = node.block
    if block is None:
        return None
    if block.type == BlockType.AGENT:
        return own_schema(node, "input_schema")
    schema = schemas_of(type(block))[0]
    if block.type == BlockType.MCP_TOOL:
        return merged(schema, own_schema(node, "tool_input_schema"))
    return schema


def output_schema(node: NodeData) -> Schema | None:
    """Return the schema of the pins that links may leave from; None when the block is missing here."""
    block = node.block
    if block is None:
        return None
    schema = schemas_of(type(block))[1]
    if block.type == BlockType.AGENT:
        return merged({"properties": {ERROR_PIN: {"type": "string"}}}, own_schema(node, "output_schema"))
    if block.id == ORCHESTRATOR:
        return merged(schema, {"properties": {TOOLS_PIN: {}}})
    return schema


def own_schema(node: NodeData, key: str) -> Schema:
    """Return a schema that a node itself holds; an empty one when it holds none."""
    found = node.input_default.get(key)
    return found if isinstance(found, dict) else {}


def own_value(node: NodeData, pin: str) -> Any:
    """Return the value that a node itself has for a pin; None when it has none."""
    block = node.block
    place = PRESET_PINS.get(block.type) if block is not None else None
    preset = _mapping(node.input_default.get(place)) if place else {}
    return preset.get(pin, node.input_default.get(pin))


def merged(one: Schema, other: Schema) -> Schema:
    """Return the first schema with the second one's properties and definitions added."""
    return {
        **one,
        "properties": {**properties(one), **properties(other)},
        "$defs": {**_mapping(one.get("$defs")), **_mapping(other.get("$defs"))},
    }


def properties(schema: Schema) -> Mapping[str, Any]:
    """Return a schema's properties, also when a stranger wrote something else there."""
    return _mapping(schema.get("properties"))


def required(schema: Schema) -> list[str]:
    """Return a schema's required properties, also when a stranger wrote something else there."""
    found = schema.get("required")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def options(pin: Any, root: Schema) -> Iterator[Schema]:
    """Yield the schemas that a pin's value may have, with references followed and alternatives apart."""
    waiting, followed = deque([pin]), set()
    looked_at = 0
    while waiting:
        item = waiting.popleft()
        looked_at += 1
        if looked_at > MOST_ALTERNATIVES:
            yield {}
            return
        if not isinstance(item, dict):
            continue
        reference = item.get("$ref")
        parts = next((item[word] for word in ALTERNATIVES if isinstance(item.get(word), list)), None)
        if isinstance(reference, str):
            if reference not in followed:  # once each: a stranger's may go round, or fan out without end
                followed.add(reference)
                waiting.append(_mapping(root.get("$defs")).get(reference.rpartition("/")[2]))
        elif parts is not None:
            waiting.extend(parts[:MOST_ALTERNATIVES])
        else:
            yield item


def kinds(option: Schema) -> set[str]:
    """Return the JSON types that one alternative names, without null; empty when it names none."""
    kind = option.get("type")
    named = kind if isinstance(kind, list) else [kind]
    return {name for name in named if isinstance(name, str)} - {"null"}


def types(pin: Any, root: Schema) -> set[str] | None:
    """Return the JSON types that a pin's value may have, without null; None when anything may come."""
    found: set[str] = set()
    for option in options(pin, root):
        if option.get("type") is None:
            return None
        found |= kinds(option)
    return found or None


def allowed_values(pin: Any, root: Schema) -> list[Any]:
    """Return the values of a pin that takes only some; empty when it takes any."""
    return [value for option in options(pin, root) if isinstance(option.get("enum"), list) for value in option["enum"]]


def takes_child(pin: Any, root: Schema, child: str) -> bool:
    """Return whether an object that a pin holds, or each object of its list, may have this key."""
    found = list(options(pin, root))
    found += [inner for option in found if "array" in kinds(option) for inner in options(option.get("items"), root)]
    return not found or any(_takes(option, child) for option in found)


def _takes(option: Schema, child: str) -> bool:
    named = kinds(option)
    if not named:
        return option.get("type") is None
    declared = properties(option)
    return "object" in named and (child in declared or not declared or bool(option.get("additionalProperties")))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
