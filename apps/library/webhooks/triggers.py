"""The nodes of a graph that a webhook starts, and what they are given."""

from __future__ import annotations

from typing import Any

from apps.library.blocks.base import BlockType
from apps.library.blocks.registry import get_block
from apps.library.models import Graph, Node, Preset
from apps.library.webhooks.errors import NoTrigger

GENERIC_TRIGGER = "8fa8c167-2002-47ce-aba8-97572fc5d387"
TRIGGERS = frozenset({BlockType.WEBHOOK, BlockType.WEBHOOK_MANUAL})


def trigger_nodes(graph: Graph) -> list[Node]:
    """Return a graph's triggers.

    Raises:
        NoTrigger: When it has none.
    """
    found = [node for node in Node.objects.filter(graph=graph) if is_trigger(node.block_id)]
    if not found:
        raise NoTrigger
    return found


def is_trigger(block_id: str) -> bool:
    """Return whether a block is one that webhooks start."""
    block = get_block(block_id)
    return block_id == GENERIC_TRIGGER or (block is not None and block.type in TRIGGERS)


def masks(graph: Graph, preset: Preset | None, payload: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the inputs that a call gives to a graph's triggers, by node id.

    Args:
        graph: The version that runs.
        preset: An object among its inputs that is named `constants` replaces those of the triggers.
        payload: What the call says.

    Raises:
        NoTrigger: When the graph has none.
    """
    constants = constants_of(preset)
    given = {"payload": payload} if constants is None else {"payload": payload, "constants": constants}
    return {str(node.pk): given for node in trigger_nodes(graph)}


def agent_inputs(preset: Preset | None) -> dict[str, Any]:
    """Return a preset's inputs of the agent: all but what is for its triggers."""
    inputs = dict(preset.inputs) if preset is not None else {}
    if constants_of(preset) is not None:
        del inputs["constants"]
    return inputs


def constants_of(preset: Preset | None) -> dict[str, Any] | None:
    """Return the constants that a preset gives to triggers, if it does."""
    found = preset.inputs.get("constants") if preset is not None else None
    return found if isinstance(found, dict) else None
