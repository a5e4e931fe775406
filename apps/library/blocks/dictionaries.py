"""Blocks that make, read and change dictionaries."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.library.blocks.coercion import json_of
from apps.library.errors import BlockError

_MISSING: Final = object()


class CreateDictionary(Block["CreateDictionary.Input"]):
    """Makes a dictionary."""

    id = "b924ddf4-de4f-4b56-9a85-358930dcbc91"
    name = "Create Dictionary"
    description = "Makes a dictionary of values."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        values: dict[str, Any] = Field(description="The values by key.")

    class Output(Pins):
        """Its output pins."""

        dictionary: dict[str, Any] = Field(description="The dictionary.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put the dictionary out."""
        yield "dictionary", inputs.values


class AddToDictionary(Block["AddToDictionary.Input"]):
    """Adds values to a dictionary."""

    id = "31d1064e-7446-4693-a7d4-65e5ca1180d1"
    name = "Add To Dictionary"
    description = "Adds one value or several to a dictionary; without one it makes a new one."
    categories = frozenset({Category.DATA, Category.BASIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        dictionary: dict[str, Any] = Field(default={}, description="The dictionary; a new one when there is none.")
        key: str = Field(default="", description="The key of one value.")
        value: Any = Field(default=None, description="That value.")
        entries: dict[str, Any] = Field(default={}, description="Several values by key.")

    class Output(Pins):
        """Its output pins."""

        updated_dictionary: dict[str, Any] = Field(description="The dictionary with the values in it.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Add what is there."""
        one = {inputs.key: inputs.value} if inputs.key else {}
        yield "updated_dictionary", {**inputs.dictionary, **inputs.entries, **one}


class FindInDictionary(Block["FindInDictionary.Input"]):
    """Looks a key up."""

    id = "0e50422c-6dee-4145-83d6-3a5a392f65de"
    name = "Find In Dictionary"
    description = "Looks a key up in a dictionary, a place in a list, or a key in each element of a list."
    categories = frozenset({Category.DATA, Category.BASIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        input: Any = Field(description="An object, a list, or a JSON text of one.")
        key: str | int = Field(description="The key, or the place in the list, from 0.")

    class Output(Pins):
        """Its output pins."""

        output: Any = Field(description="What was found.")
        missing: Any = Field(description="What was searched, when nothing was found.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Look it up."""
        found = look_up(inputs.input, inputs.key)
        if found is _MISSING:
            yield "missing", inputs.input
        else:
            yield "output", found


def look_up(where: Any, key: str | int) -> Any:
    """Return what a key leads to; `_MISSING` when it leads nowhere."""
    if isinstance(where, str):
        where = json_of(where)
    if isinstance(where, dict):
        return where.get(str(key), _MISSING)
    if not isinstance(where, list):
        return _MISSING
    if isinstance(key, str) and not any(isinstance(item, dict) for item in where):
        if not key.lstrip("-").isdecimal():
            return _MISSING
        key = int(key)
    if isinstance(key, int):
        return where[key] if -len(where) <= key < len(where) else _MISSING
    found = [item[key] for item in where if isinstance(item, dict) and key in item]
    return found or _MISSING


class RemoveFromDictionary(Block["RemoveFromDictionary.Input"]):
    """Takes a key out."""

    id = "46afe2ea-c613-43f8-95ff-6692c3ef6876"
    name = "Remove From Dictionary"
    description = "Takes a key out of a dictionary."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        dictionary: dict[str, Any] = Field(description="The dictionary.")
        key: str | int = Field(description="The key.")
        return_value: bool = Field(default=False, description="Whether what was taken out is put out too.")

    class Output(Pins):
        """Its output pins."""

        updated_dictionary: dict[str, Any] = Field(description="The dictionary without the key.")
        removed_value: Any = Field(description="What was taken out.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Take it out.

        Raises:
            BlockError: It isn't in.
        """
        rest = dict(inputs.dictionary)
        removed = rest.pop(existing(inputs.dictionary, inputs.key))
        yield "updated_dictionary", rest
        if inputs.return_value:
            yield "removed_value", removed


class ReplaceDictionaryValue(Block["ReplaceDictionaryValue.Input"]):
    """Changes the value of a key."""

    id = "27e31876-18b6-44f3-ab97-f6226d8b3889"
    name = "Replace Dictionary Value"
    description = "Changes the value of a key that a dictionary has."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        dictionary: dict[str, Any] = Field(description="The dictionary.")
        key: str | int = Field(description="The key.")
        value: Any = Field(description="Its new value.")

    class Output(Pins):
        """Its output pins."""

        updated_dictionary: dict[str, Any] = Field(description="The dictionary with the new value.")
        old_value: Any = Field(description="The value before.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Change it.

        Raises:
            BlockError: The key isn't in.
        """
        key = existing(inputs.dictionary, inputs.key)
        yield "updated_dictionary", {**inputs.dictionary, key: inputs.value}
        yield "old_value", inputs.dictionary[key]


def existing(dictionary: dict[str, Any], key: str | int) -> str:
    """Return a key as it is in a dictionary.

    Raises:
        BlockError: It isn't in.
    """
    if str(key) not in dictionary:
        raise BlockError(f"The dictionary has no key “{key}”.")
    return str(key)


class DictionaryIsEmpty(Block["DictionaryIsEmpty.Input"]):
    """Says whether a dictionary is empty."""

    id = "a3cf3f64-6bb9-4cc6-9900-608a0b3359b0"
    name = "Dictionary Is Empty"
    description = "Says whether a dictionary has no keys."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        dictionary: dict[str, Any] = Field(description="The dictionary.")

    class Output(Pins):
        """Its output pins."""

        is_empty: bool = Field(description="Whether it is empty.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Say it."""
        yield "is_empty", not inputs.dictionary
