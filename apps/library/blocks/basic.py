"""Blocks for values: keep, show and convert them."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Any

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, BlockType, Category, Pins
from apps.library.blocks.coercion import dictionary_of, list_of, text_of
from apps.library.blocks.files_access import FilePin, is_kept, keep_file, read_file
from apps.library.blocks.reaching import ReachingBlock
from apps.library.errors import BlockError


class StoreValue(Block["StoreValue.Input"]):
    """Keeps a value for everything that is linked to it."""

    id = "1ff065e9-88e8-4358-9d82-8dc91f622ba9"
    name = "Store Value"
    description = "Keeps a value, so that it can be used any number of times."
    categories = frozenset({Category.BASIC})
    static_output = True
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        input: Any = Field(description="The value to keep.")
        data: Any = Field(default=None, description="A value to keep instead.")

    class Output(Pins):
        """Its output pins."""

        output: Any = Field(description="The value.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put the value out."""
        yield "output", inputs.data or inputs.input


class PrintToConsole(Block["PrintToConsole.Input"]):
    """Shows a value among the run's outputs."""

    id = "f3b1c1b2-4c4f-4f0d-8d2f-4c4f0d8d2f4c"
    name = "Print To Console"
    description = "Shows a value in the run's record, to see what goes on."
    categories = frozenset({Category.BASIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        text: Any = Field(description="What to show.")

    class Output(Pins):
        """Its output pins."""

        output: Any = Field(description="The same.")
        status: str = Field(description="That it was shown.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put it out; a server's console is no place for what people write."""
        yield "output", inputs.text
        yield "status", "printed"


class Note(Block["Note.Input"]):
    """A note beside the graph."""

    id = "cc10ff7b-7753-4ff2-9af6-9399b1a7eddc"
    name = "Note"
    description = "A note for people who read the agent; it never runs."
    categories = frozenset({Category.BASIC})
    type = BlockType.NOTE
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        text: str = Field(description="The note.")

    class Output(Pins):
        """Its output pins."""

        output: str = Field(description="The note.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put the note out."""
        yield "output", inputs.text


class Kind(StrEnum):
    """What a value can be made."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"
    DICTIONARY = "dictionary"


class UniversalTypeConverter(Block["UniversalTypeConverter.Input"]):
    """Makes one kind of value another."""

    id = "95d1b990-ce13-4d88-9737-ba5c2070c97b"
    name = "Universal Type Converter"
    description = "Makes a value a text, a number, yes or no, a list or a dictionary."
    categories = frozenset({Category.BASIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        value: Any = Field(description="The value.")
        type: Kind = Field(description="What to make it.")

    class Output(Pins):
        """Its output pins."""

        value: Any = Field(description="The same as the other kind.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Convert it.

        Raises:
            BlockError: It can't be made that.
        """
        yield "value", converted(inputs.value, inputs.type)


def converted(value: Any, kind: Kind) -> Any:
    """Return a value as another kind.

    Raises:
        BlockError: It can't be made that.
    """
    match kind:
        case Kind.STRING:
            return "" if value is None else text_of(value)
        case Kind.NUMBER:
            return _number(value)
        case Kind.BOOLEAN:
            return _boolean(value)
        case Kind.LIST:
            return list_of(value) or []
        case Kind.DICTIONARY:
            found = {} if value is None else dictionary_of(value)
            if not isinstance(found, dict):
                raise BlockError("This value can't be made a dictionary: it is neither an object nor a list.")
            return found


def _number(value: Any) -> int | float:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return value
    text = value.strip() if isinstance(value, str) else ""
    try:
        number = float(text)
        # Whole numbers stay whole, and longer than a float could tell apart.
        return int(text) if number.is_integer() and text.lstrip("+-").isdecimal() else _finite(number)
    except (ValueError, OverflowError):
        raise BlockError("This value can't be made a number.") from None


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, str):
        return bool(value)
    match value.strip().lower():
        case "true" | "yes" | "on" | "1" | "y" | "t":
            return True
        case "false" | "no" | "off" | "0" | "n" | "f" | "":
            return False
    raise BlockError("This text is neither yes nor no.")


class FileStore(ReachingBlock["FileStore.Input"]):
    """Keeps a file for everything that is linked to it."""

    id = "cbb50872-625b-42f0-8203-a2ae78242d8a"
    name = "File Store"
    description = "Keeps a file of a URL or a data URI in the workspace, so that it can be used any number of times."
    categories = frozenset({Category.BASIC, Category.MULTIMEDIA})
    static_output = True

    class Input(Pins):
        """Its input pins."""

        file_in: FilePin = Field(description="A URL, a data URI or a file of the workspace.")
        base_64: bool = Field(default=False, description="Whether the whole file is put out as a data URI.")

    class Output(Pins):
        """Its output pins."""

        file_out: FilePin = Field(description="The file of the workspace, or the data URI.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Keep the file.

        Raises:
            BlockError: It can't be read or kept.
        """
        if is_kept(inputs.file_in) and not inputs.base_64:
            yield "file_out", inputs.file_in
            return
        file = await read_file(inputs.file_in, context=context, allow=self.allow)
        yield "file_out", file.data_uri if inputs.base_64 else await keep_file(file, context=context)


class ReverseListOrder(Block["ReverseListOrder.Input"]):
    """Turns a list around."""

    id = "422cb708-3109-4277-bfe3-bc2ae5812777"
    name = "Reverse List Order"
    description = "Turns a list around, so that its last element comes first."
    categories = frozenset({Category.BASIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        input_list: list[Any] = Field(description="The list.")

    class Output(Pins):
        """Its output pins."""

        reversed_list: list[Any] = Field(description="The list from its end.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Turn it around."""
        yield "reversed_list", inputs.input_list[::-1]
