"""Blocks that decide, and one that takes things one by one."""

from __future__ import annotations

import operator
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.library.blocks.codecs import decoded_json
from apps.library.errors import BlockError

Operator = Literal["==", "!=", ">", "<", ">=", "<="]
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        "==": operator.eq,
        "!=": operator.ne,
        ">": operator.gt,
        "<": operator.lt,
        ">=": operator.ge,
        "<=": operator.le,
    }
)


def compare(one: Any, sign: Operator, other: Any) -> bool:
    """Compare two values; texts that are numbers count as such, and “true” beside a truth value as true.

    Raises:
        BlockError: They have no order.
    """
    left, right = comparable(one, other)
    try:
        return bool(_OPERATORS[sign](left, right))
    except TypeError:
        raise BlockError(f"A {_name(one)} and a {_name(other)} have no order.") from None


def comparable(one: Any, other: Any) -> tuple[Any, Any]:
    """Return two values in a shape in which they can be compared."""
    if isinstance(one, str) and one == other:
        return one, other  # “nan” is a name, too, and the number isn't even the same as itself
    if isinstance(one, bool) or isinstance(other, bool):
        return _truth(one), _truth(other)
    numbers = _number(one), _number(other)
    return (one, other) if None in numbers else numbers


def _number(value: Any) -> int | float | None:
    if isinstance(value, (int, float)):
        return value
    if not isinstance(value, str) or "_" in value:  # Python reads 20_24 as 2024
        return None
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return None


def _truth(value: Any) -> Any:
    words = {"true": True, "false": False}
    return words.get(value.strip().lower(), value) if isinstance(value, str) else value


def _name(value: Any) -> str:
    names = {str: "text", list: "list", dict: "dictionary", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")


class DecisionOutput(Pins):
    """What blocks that decide put out."""

    result: bool = Field(description="Whether it is so.")
    yes_output: Any = Field(description="The value for yes, if it is so.")
    no_output: Any = Field(description="The value for no, if not.")


def either(value: Any, fallback: Any) -> Any:
    """Return a value, or another one where it is null."""
    return fallback if value is None else value


class Condition(Block["Condition.Input"]):
    """Compares two values."""

    id = "715696a0-e1da-45c8-b209-c2fa9c3b0be6"
    name = "Condition"
    description = "Compares two values and goes one way or the other."
    categories = frozenset({Category.LOGIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        value1: Any = Field(description="The first value.")
        operator: Operator = Field(description="How they are compared.")
        value2: Any = Field(description="The second value.")
        yes_value: Any = Field(default=None, description="What is put out if it is so; else the first value.")
        no_value: Any = Field(default=None, description="What is put out if not; else the second value.")

    class Output(DecisionOutput):
        """Its output pins."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Decide.

        Raises:
            BlockError: The values have no order.
        """
        result = compare(inputs.value1, inputs.operator, inputs.value2)
        yield "result", result
        if result:
            yield "yes_output", either(inputs.yes_value, inputs.value1)
        else:
            yield "no_output", either(inputs.no_value, inputs.value2)


class IfInputMatches(Block["IfInputMatches.Input"]):
    """Compares a value with one that is known."""

    id = "6dbbc4b3-ca6c-42b6-b508-da52d23e13f2"
    name = "If Input Matches"
    description = "Goes one way if a value is the one that is looked for, and the other way if not."
    categories = frozenset({Category.LOGIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        input: Any = Field(description="The value.")
        value: Any = Field(description="The one that is looked for.")
        yes_value: Any = Field(default=None, description="What is put out if it is; else the value.")
        no_value: Any = Field(default=None, description="What is put out if not; else the value.")

    class Output(DecisionOutput):
        """Its output pins."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Decide."""
        result = compare(inputs.input, "==", inputs.value)
        yield "result", result
        if result:
            yield "yes_output", either(inputs.yes_value, inputs.input)
        else:
            yield "no_output", either(inputs.no_value, inputs.input)


class StepThroughItems(Block["StepThroughItems.Input"]):
    """Takes things one by one."""

    id = "f66a3543-28d3-4ab5-8945-9b336371e2ce"
    name = "Step Through Items"
    description = "Puts the elements of a list, or the values of a dictionary, out one by one."
    categories = frozenset({Category.LOGIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        items: list[Any] = Field(default=[], description="A list.")
        items_object: dict[str, Any] = Field(default={}, description="A dictionary.")
        items_str: str = Field(default="", description="A JSON text of a list or a dictionary.")

    class Output(Pins):
        """Its output pins."""

        item: Any = Field(description="The element.")
        key: Any = Field(description="Its place in the list, or its key in the dictionary.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put them out.

        Raises:
            BlockError: The text isn't one of a list or a dictionary.
        """
        for collection in (inputs.items, inputs.items_object, self._of_text(inputs.items_str)):
            for key, item in pairs(collection):
                yield "item", item
                yield "key", key

    @staticmethod
    def _of_text(text: str) -> list[Any] | dict[str, Any]:
        found = decoded_json(text) if text.strip() else []
        if not isinstance(found, (list, dict)):
            raise BlockError("The text is neither a list nor a dictionary.")
        return found


def pairs(collection: list[Any] | dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield keys and values of a dictionary, or places and elements of a list."""
    return iter(collection.items() if isinstance(collection, dict) else enumerate(collection))
