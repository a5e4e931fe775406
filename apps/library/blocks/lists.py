"""Blocks that make, read and change one list."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.library.errors import BlockError

#: About how many characters a model's token has; chunks of a list needn't be exact.
CHARS_A_TOKEN: Final = 4


def same(one: Any, other: Any) -> bool:
    """Say whether two JSON values are the same; unlike in Python, yes isn't 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def index_in(items: list[Any], index: int) -> int:
    """Return an index that is in a list, counted from its beginning.

    Raises:
        BlockError: It is outside.
    """
    if not -len(items) <= index < len(items):
        raise BlockError(f"The list has no place {index}: it has {len(items)} elements.")
    return index % len(items)


def place_of(items: list[Any], value: Any) -> int | None:
    """Return where a value first is in a list; None if it isn't."""
    return next((place for place, item in enumerate(items) if same(item, value)), None)


class CreateList(Block["CreateList.Input"]):
    """Makes a list, or several of a bounded size."""

    id = "a912d5c7-6e00-4542-b2a9-8034136930e4"
    name = "Create List"
    description = "Makes a list of values, on demand cut into several of a bounded size."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        values: list[Any] = Field(description="The values.")
        max_size: int | None = Field(default=None, ge=1, description="How many elements a list has at most.")
        max_tokens: int | None = Field(default=None, ge=1, description="How many tokens a list has at most, about.")

    class Output(Pins):
        """Its output pins."""

        list_: list[Any] = Field(alias="list", description="The list, or one after the other.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put out one list or several."""
        for part in chunks(inputs.values, inputs.max_size, inputs.max_tokens):
            yield "list", part


def chunks(values: list[Any], max_size: int | None, max_tokens: int | None) -> Iterator[list[Any]]:
    """Cut a list; an element that is too large by itself gets a list of its own. An empty list is one part."""
    part: list[Any] = []
    tokens = 0
    for value in values:
        cost = len(json.dumps(value)) // CHARS_A_TOKEN + 1 if max_tokens else 0
        if part and (len(part) == max_size or (max_tokens and tokens + cost > max_tokens)):
            yield part
            part, tokens = [], 0
        part.append(value)
        tokens += cost
    if part or not values:
        yield part


class AddToList(Block["AddToList.Input"]):
    """Adds to a list."""

    id = "aeb08fc1-2fc1-4141-bc8e-f758f183a822"
    name = "Add To List"
    description = "Adds one element or several to a list; without one it makes a new one."
    categories = frozenset({Category.DATA, Category.BASIC})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        list_: list[Any] = Field(default=[], alias="list", description="The list; a new one when there is none.")
        entry: Any = Field(default=None, description="One element.")
        entries: list[Any] = Field(default=[], description="Several elements, which come before the one.")
        position: int | None = Field(default=None, description="Where they go; at the end when it isn't said.")

    class Output(Pins):
        """Its output pins."""

        updated_list: list[Any] = Field(description="The list with them in it.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Add what is there."""
        added = inputs.entries if inputs.entry is None else [*inputs.entries, inputs.entry]
        items = list(inputs.list_)
        place = len(items) if inputs.position is None else inputs.position
        items[place:place] = added
        yield "updated_list", items


class FindInList(Block["FindInList.Input"]):
    """Finds a value."""

    id = "5e2c6d0a-1e37-489f-b1d0-8e1812b23333"
    name = "Find In List"
    description = "Finds the place of a value in a list."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        list_: list[Any] = Field(alias="list", description="The list.")
        value: Any = Field(description="The value to find.")

    class Output(Pins):
        """Its output pins."""

        index: int = Field(description="Its place, from 0.")
        found: bool = Field(description="Whether it is there.")
        not_found_value: Any = Field(description="The value, when it isn't there.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Find it."""
        place = place_of(inputs.list_, inputs.value)
        if place is not None:
            yield "index", place
        yield "found", place is not None
        if place is None:
            yield "not_found_value", inputs.value


class GetListItem(Block["GetListItem.Input"]):
    """Takes one element."""

    id = "262ca24c-1025-43cf-a578-534e23234e97"
    name = "Get List Item"
    description = "Takes the element at a place of a list; negative places count from the end."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        list_: list[Any] = Field(alias="list", description="The list.")
        index: int = Field(description="The place, from 0, or from -1 backwards.")

    class Output(Pins):
        """Its output pins."""

        item: Any = Field(description="The element.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Take it.

        Raises:
            BlockError: There is no such place.
        """
        yield "item", inputs.list_[index_in(inputs.list_, inputs.index)]


class RemoveFromList(Block["RemoveFromList.Input"]):
    """Takes one element out."""

    id = "d93c5a93-ac7e-41c1-ae5c-ef67e6e9b826"
    name = "Remove From List"
    description = "Takes an element out of a list, by its value or its place."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        list_: list[Any] = Field(alias="list", description="The list.")
        value: Any = Field(default=None, description="The value that goes; its first occurrence does.")
        index: int | None = Field(default=None, description="The place that goes instead, from 0 or from -1.")
        return_item: bool = Field(default=False, description="Whether what was taken out is put out too.")

    class Output(Pins):
        """Its output pins."""

        updated_list: list[Any] = Field(description="The list without it.")
        removed_item: Any = Field(description="What was taken out.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Take it out.

        Raises:
            BlockError: It isn't in, or nothing was named.
        """
        items = list(inputs.list_)
        if inputs.index is not None:
            removed = items.pop(index_in(items, inputs.index))
        elif inputs.value is None:
            raise BlockError("Name the value or the place that goes.")
        elif (place := place_of(items, inputs.value)) is None:
            raise BlockError("The value isn't in the list.")
        else:
            removed = items.pop(place)
        yield "updated_list", items
        if inputs.return_item:
            yield "removed_item", removed


class ReplaceListItem(Block["ReplaceListItem.Input"]):
    """Changes one element."""

    id = "fbf62922-bea1-4a3d-8bac-23587f810b38"
    name = "Replace List Item"
    description = "Changes the element at a place of a list."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        list_: list[Any] = Field(alias="list", description="The list.")
        index: int = Field(description="The place, from 0, or from -1 backwards.")
        value: Any = Field(description="The new element.")

    class Output(Pins):
        """Its output pins."""

        updated_list: list[Any] = Field(description="The list with the new element.")
        old_item: Any = Field(description="The element before.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Change it.

        Raises:
            BlockError: There is no such place.
        """
        place = index_in(inputs.list_, inputs.index)
        yield "updated_list", [*inputs.list_[:place], inputs.value, *inputs.list_[place + 1 :]]
        yield "old_item", inputs.list_[place]


class ListIsEmpty(Block["ListIsEmpty.Input"]):
    """Says whether a list is empty."""

    id = "896ed73b-27d0-41be-813c-c1c1dc856c03"
    name = "List Is Empty"
    description = "Says whether a list has no elements."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        list_: list[Any] = Field(alias="list", description="The list.")

    class Output(Pins):
        """Its output pins."""

        is_empty: bool = Field(description="Whether it is empty.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Say it."""
        yield "is_empty", not inputs.list_
