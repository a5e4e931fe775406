"""What a run gave back: the values of its output nodes, by name."""

from __future__ import annotations

from typing import Any

from apps.library.blocks.base import BlockType
from apps.library.blocks.registry import all_blocks
from apps.library.executor.pins import merge
from apps.library.models import Execution, NodeOutput

VALUE_PIN = "output"


def output_block_ids() -> list[str]:
    """Return the ids of the blocks that give values back."""
    return [block_id for block_id, block in all_blocks().items() if block.type == BlockType.OUTPUT]


def values_by_name(run: Execution, limit: int | None = None) -> list[tuple[str, Any]]:
    """Return a run's outputs as (name, value), in the order in which they came.

    Args:
        run: The run.
        limit: At most so many.
    """
    rows = NodeOutput.objects.filter(
        node_execution__execution=run, node_execution__node__block_id__in=output_block_ids(), pin=VALUE_PIN
    ).order_by("node_execution__number", "position")
    found = rows.values_list("node_execution__node__input_default", "node_execution__input_data", "data")
    return [(_name(defaults, given), value) for defaults, given, value in found[:limit]]


def _name(defaults: dict[str, Any], given: dict[str, Any]) -> str:
    return str(merge({**defaults, **given}).get("name") or VALUE_PIN)


def grouped(values: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    """Return values by name."""
    found: dict[str, list[Any]] = {}
    for name, value in values:
        found.setdefault(name, []).append(value)
    return found
