"""Blocks that calculate and count."""

from __future__ import annotations

import math
import operator
from collections.abc import AsyncGenerator, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins

Operation = Literal["Add", "Subtract", "Multiply", "Divide", "Power"]
_OPERATIONS: Final[Mapping[str, Callable[[float, float], Any]]] = MappingProxyType(
    {
        "Add": operator.add,
        "Subtract": operator.sub,
        "Multiply": operator.mul,
        "Divide": operator.truediv,
        "Power": operator.pow,
    }
)


class Calculator(Block["Calculator.Input"]):
    """Calculates."""

    id = "b1ab9b19-67a6-406d-abf5-2dba76d00c79"
    name = "Calculator"
    description = "Adds, subtracts, multiplies, divides two numbers, or raises one to the power of the other."
    categories = frozenset({Category.LOGIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        operation: Operation = Field(description="What is done.")
        a: float = Field(description="The first number.")
        b: float = Field(description="The second number.")
        round_result: bool = Field(default=False, description="Whether the result is rounded to a whole number.")

    class Output(Pins):
        """Its output pins."""

        result: float = Field(description="The result; the text Infinity or NaN where there is none.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Calculate."""
        result = calculated(inputs.operation, inputs.a, inputs.b)
        if math.isfinite(result):
            yield "result", round(result) if inputs.round_result else result
        else:
            # JSON, and so the database, has no such numbers; a number's pin reads these words as what they say.
            yield "result", "NaN" if math.isnan(result) else "Infinity" if result > 0 else "-Infinity"


def calculated(operation: Operation, a: float, b: float) -> float:
    """Return the result: infinity when something is divided by 0, NaN when it is no number for another reason."""
    try:
        result = _OPERATIONS[operation](a, b)
    except ZeroDivisionError:
        return math.inf
    except OverflowError:
        return math.nan
    return math.nan if isinstance(result, complex) else result


class CountItems(Block["CountItems.Input"]):
    """Counts."""

    id = "3c9c2f42-b0c3-435f-ba35-05f7a25c772a"
    name = "Count Items"
    description = "Counts the elements of a list, the keys of a dictionary or the characters of a text."
    categories = frozenset({Category.LOGIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        collection: Any = Field(description="A list, a dictionary or a text.")

    class Output(Pins):
        """Its output pins."""

        count: int = Field(description="How many; -1 when it can't be counted.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Count them."""
        yield "count", len(inputs.collection) if isinstance(inputs.collection, (list, dict, str)) else -1
