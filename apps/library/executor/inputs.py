"""From what was routed to what a block is given: defaults, masks, and parts of values put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from apps.library.blocks.base import Pins
from apps.library.errors import BlockError
from apps.library.executor import pins
from apps.library.executor.plan import COLLECTING, PlanNode, field_of

MOST_NAMED = 5  # problems that an error names


def gather(node: PlanNode, routed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node's input values by name: its own, then what was routed, then what masks say.

    Raises:
        BlockError: When dynamic pins don't fit together.
    """
    if (collecting := COLLECTING.get(node.block.type)) is None:
        return pins.merge({**node.defaults, **routed, **node.mask})
    into, schema = collecting
    known = set((node.defaults.get(schema) or {}).get("properties", {}))
    own: dict[str, Any] = {}
    collected: dict[str, Any] = {}
    for pin, value in routed.items():
        name = pins.parse(pin).name
        is_own = name not in known and pin not in known and field_of(node.block, name) is not None
        (own if is_own else collected)[pin] = value
    data = pins.merge({**node.defaults, **own})
    data[into] = pins.merge({**(data.get(into) or {}), **collected})
    return {**data, **node.mask}


def fit(model: type[Pins], values: Mapping[str, Any]) -> Pins:
    """Return values as a block's inputs.

    Raises:
        BlockError: Naming what is missing or doesn't fit.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise BlockError(_sentence(error.errors(include_url=False, include_input=False))) from None


def _sentence(problems: list[ErrorDetails]) -> str:
    """Say what is wrong, without the values, which may be secret."""
    told = [f"{'.'.join(map(str, problem['loc'])) or 'inputs'}: {problem['msg']}" for problem in problems]
    more = f" (and {len(told) - MOST_NAMED} more)" if len(told) > MOST_NAMED else ""
    return f"The inputs don't fit. {'; '.join(told[:MOST_NAMED])}{more}"
