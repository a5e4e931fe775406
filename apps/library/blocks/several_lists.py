"""Blocks that make one list of several: joined, flattened, interleaved, zipped, compared."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins


def key_of(value: Any) -> str:
    """Return a text that equal JSON values have alike; 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)


def distinct(items: Iterable[Any]) -> list[Any]:
    """Return each value once, in the order of their first occurrences."""
    first: dict[str, Any] = {}
    for item in items:
        first.setdefault(key_of(item), item)
    return list(first.values())


class ConcatenateLists(Block["ConcatenateLists.Input"]):
    """Joins lists."""

    id = "3cf9298b-5817-4141-9d80-7c2cc5199c8e"
    name = "Concatenate Lists"
    description = "Joins lists one after the other."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        lists: list[list[Any]] = Field(description="The lists.")
        deduplicate: bool = Field(default=False, description="Whether each value is kept only once.")
        remove_none: bool = Field(default=False, description="Whether nulls are left out.")

    class Output(Pins):
        """Its output pins."""

        concatenated_list: list[Any] = Field(description="The one list.")
        length: int = Field(description="How many elements it has.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Join them."""
        joined = [item for items in inputs.lists for item in items if item is not None or not inputs.remove_none]
        if inputs.deduplicate:
            joined = distinct(joined)
        yield "concatenated_list", joined
        yield "length", len(joined)


class FlattenList(Block["FlattenList.Input"]):
    """Takes lists out of a list."""

    id = "cc45bb0f-d035-4756-96a7-fe3e36254b4d"
    name = "Flatten List"
    description = "Puts the elements of lists within a list into the list itself."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        nested_list: list[Any] = Field(description="A list with lists in it.")
        max_depth: int = Field(default=-1, ge=-1, description="How many levels are dissolved; -1 for all.")

    class Output(Pins):
        """Its output pins."""

        flattened_list: list[Any] = Field(description="The flat list.")
        length: int = Field(description="How many elements it has.")
        original_depth: int = Field(description="How many levels there were; 1 for a list without lists.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Flatten it."""
        flat, depth = flattened(inputs.nested_list, inputs.max_depth)
        yield "flattened_list", flat
        yield "length", len(flat)
        yield "original_depth", depth


def flattened(nested: list[Any], max_depth: int) -> tuple[list[Any], int]:
    """Return a list with `max_depth` levels dissolved (-1 = all), and how deep it was.

    It keeps a stack of its own: lists may be nested deeper than Python calls.
    """
    flat: list[Any] = []
    deepest = 1
    # (element, levels of lists around it, whether it is part of one that stays as it is)
    stack = [(item, 1, False) for item in reversed(nested)]
    while stack:
        item, depth, is_kept = stack.pop()
        if not isinstance(item, list):
            if not is_kept:
                flat.append(item)
            continue
        deepest = max(deepest, depth + 1)
        stays = is_kept or -1 < max_depth < depth
        if stays and not is_kept:
            flat.append(item)
        stack.extend((inner, depth + 1, stays) for inner in reversed(item))
    return flat, deepest


class InterleaveLists(Block["InterleaveLists.Input"]):
    """Takes turns between lists."""

    id = "9f616084-1d9f-4f8e-bc00-5b9d2a75cd75"
    name = "Interleave Lists"
    description = "Takes the first elements of all lists, then the second ones, and so on."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        lists: list[list[Any]] = Field(description="The lists.")

    class Output(Pins):
        """Its output pins."""

        interleaved_list: list[Any] = Field(description="The one list.")
        length: int = Field(description="How many elements it has.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Interleave them."""
        longest = max(map(len, inputs.lists), default=0)
        mixed = [items[place] for place in range(longest) for items in inputs.lists if place < len(items)]
        yield "interleaved_list", mixed
        yield "length", len(mixed)


class ZipLists(Block["ZipLists.Input"]):
    """Puts elements of the same place together."""

    id = "0d0e684f-5cb9-4c4b-b8d1-47a0860e0c07"
    name = "Zip Lists"
    description = "Makes a list of each place: all lists' first elements, all second ones, and so on."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        lists: list[list[Any]] = Field(description="The lists.")
        pad_to_longest: bool = Field(default=False, description="Whether shorter lists are filled up.")
        fill_value: Any = Field(default=None, description="What they are filled up with.")

    class Output(Pins):
        """Its output pins."""

        zipped_list: list[list[Any]] = Field(description="One list a place.")
        length: int = Field(description="How many places there are.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Zip them."""
        if inputs.pad_to_longest:
            rows = itertools.zip_longest(*inputs.lists, fillvalue=inputs.fill_value)
        else:
            rows = zip(*inputs.lists, strict=False)  # type: ignore[assignment]
        zipped = [list(row) for row in rows]
        yield "zipped_list", zipped
        yield "length", len(zipped)


class ListDifference(Block["ListDifference.Input"]):
    """What one list has and the other doesn't."""

    id = "05309873-9d61-447e-96b5-b804e2511829"
    name = "List Difference"
    description = "Lists what the first list has and the second doesn't, on demand also the other way round."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        list_a: list[Any] = Field(description="The first list.")
        list_b: list[Any] = Field(description="The second list.")
        symmetric: bool = Field(default=False, description="Whether what only the second has is listed too.")

    class Output(Pins):
        """Its output pins."""

        difference: list[Any] = Field(description="What only one has.")
        length: int = Field(description="How many elements it has.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Compare them."""
        difference = without(inputs.list_a, inputs.list_b)
        if inputs.symmetric:
            difference += without(inputs.list_b, inputs.list_a)
        yield "difference", difference
        yield "length", len(difference)


def without(items: list[Any], others: list[Any]) -> list[Any]:
    """Return the elements that aren't among others."""
    left_out = set(map(key_of, others))
    return [item for item in items if key_of(item) not in left_out]


class ListIntersection(Block["ListIntersection.Input"]):
    """What both lists have."""

    id = "b6eb08b6-dbe3-411b-b9b4-2508cb311a1f"
    name = "List Intersection"
    description = "Lists what both lists have, each value once."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        list_a: list[Any] = Field(description="The first list.")
        list_b: list[Any] = Field(description="The second list.")

    class Output(Pins):
        """Its output pins."""

        intersection: list[Any] = Field(description="What both have, in the first list's order.")
        length: int = Field(description="How many elements it has.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Compare them."""
        in_both = set(map(key_of, inputs.list_b))
        intersection = distinct(item for item in inputs.list_a if key_of(item) in in_both)
        yield "intersection", intersection
        yield "length", len(intersection)
