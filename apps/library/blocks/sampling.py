"""A block that takes a sample of data."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Any

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.library.errors import BlockError
from apps.library.node_history import earlier_inputs
from apps.runtime.db import db


class Method(StrEnum):
    """How the sample is taken."""

    RANDOM = "random"
    SYSTEMATIC = "systematic"
    TOP = "top"
    BOTTOM = "bottom"
    STRATIFIED = "stratified"
    WEIGHTED = "weighted"
    RESERVOIR = "reservoir"
    CLUSTER = "cluster"


class DataSampling(Block["DataSampling.Input"]):
    """Takes a sample of data."""

    id = "4a448883-71fa-49cf-91cf-70d793bd7d87"
    name = "Data Sampling"
    description = "Takes some elements of a data set: by chance, evenly, by groups or by weights."
    categories = frozenset({Category.LOGIC, Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        data: dict[str, Any] | list[Any] = Field(description="The data set; an object counts as one element.")
        sample_size: int = Field(default=10, ge=0, description="How many elements are taken.")
        sampling_method: Method = Field(default=Method.RANDOM, description="How they are taken.")
        accumulate: bool = Field(
            default=False, description="Whether data is gathered over the run until there is enough of it."
        )
        random_seed: int | None = Field(default=None, description="Makes the same choice again.")
        stratify_key: str | None = Field(default=None, description="The field whose values keep their shares.")
        weight_key: str | None = Field(default=None, description="The field that says how likely an element is taken.")
        cluster_key: str | None = Field(default=None, description="The field whose values are taken whole.")

    class Output(Pins):
        """Its output pins."""

        sampled_data: list[Any] = Field(description="The sample.")
        sample_indices: list[int] = Field(description="Where its elements were in the data set.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Take the sample; nothing is put out while too little was gathered.

        Raises:
            BlockError: A field that the method needs isn't named or isn't in the data.
        """
        data = elements(inputs.data)
        if inputs.accumulate:
            earlier = await db(
                earlier_inputs,
                execution_id=context.execution_id,
                node_execution_id=context.node_execution_id,
                pin="data",
            )
            data = gathered([*map(elements, earlier), data], inputs.sample_size)
            if len(data) < inputs.sample_size:
                return
        indices = Sampler(data, inputs).taken()
        yield "sampled_data", [data[index] for index in indices]
        yield "sample_indices", indices


def elements(data: Any) -> list[Any]:
    """Return a data set as a list."""
    return data if isinstance(data, list) else [data]


def gathered(batches: list[list[Any]], enough: int) -> list[Any]:
    """Return what has come since there was last enough of it."""
    data: list[Any] = []
    for batch in batches:
        if len(data) >= enough:
            data = []
        data = [*data, *batch]
    return data


class Sampler:
    """Takes a sample of one data set."""

    def __init__(self, data: list[Any], how: DataSampling.Input) -> None:
        """Keep what it is taken of; more than all isn't taken."""
        self._data = data
        self._how = how
        self._size = min(how.sample_size, len(data))
        self._chance = random.Random(how.random_seed)  # noqa: S311 -- a seed is to give the same sample again

    def taken(self) -> list[int]:
        """Return where the sample's elements are.

        Raises:
            BlockError: A field that the method needs isn't named or isn't in the data.
        """
        methods = {
            Method.RANDOM: lambda: self._chance.sample(range(len(self._data)), self._size),
            Method.SYSTEMATIC: self._systematic,
            Method.TOP: lambda: list(range(self._size)),
            Method.BOTTOM: lambda: list(range(len(self._data) - self._size, len(self._data))),
            Method.STRATIFIED: self._stratified,
            Method.WEIGHTED: self._weighted,
            Method.RESERVOIR: self._reservoir,
            Method.CLUSTER: self._cluster,
        }
        return methods[self._how.sampling_method]()

    def _systematic(self) -> list[int]:
        """Take every n-th, from a random start."""
        if not self._size:
            return []
        step = len(self._data) / self._size
        start = self._chance.random() * step
        return [min(int(start + number * step), len(self._data) - 1) for number in range(self._size)]

    def _stratified(self) -> list[int]:
        """Take of each group as many as its share of the data; what rounding leaves goes to the largest remainders."""
        groups = self._groups("stratify_key")
        shares = {key: self._size * len(group) / len(self._data) for key, group in groups.items()}
        counts = {key: int(share) for key, share in shares.items()}
        by_remainder = sorted(shares, key=lambda key: counts[key] - shares[key])
        for key in by_remainder[: self._size - sum(counts.values())]:
            counts[key] += 1
        return [index for key, group in groups.items() for index in self._chance.sample(group, counts[key])]

    def _weighted(self) -> list[int]:
        """Take without putting back: the heavier, the likelier (Efraimidis and Spirakis)."""
        weights = [self._weight(element) for element in self._data]
        if sum(weight > 0 for weight in weights) < self._size:
            raise BlockError("Fewer elements have a weight than are to be taken.")
        keys = [self._chance.random() ** (1 / weight) if weight else -1.0 for weight in weights]
        return sorted(range(len(keys)), key=keys.__getitem__, reverse=True)[: self._size]

    def _reservoir(self) -> list[int]:
        """Take by chance in one pass."""
        chosen = list(range(self._size))
        for index in range(self._size, len(self._data)):
            place = self._chance.randrange(index + 1)
            if place < self._size:
                chosen[place] = index
        return chosen

    def _cluster(self) -> list[int]:
        """Take whole groups by chance, as long as there is room for something of them."""
        groups = list(self._groups("cluster_key").values())
        self._chance.shuffle(groups)
        return [index for group in groups for index in group][: self._size]

    def _weight(self, element: Any) -> float:
        value = self._field(element, "weight_key")
        try:
            weight = float(value)
        except (TypeError, ValueError):
            raise BlockError("A weight isn't a number.") from None
        if not 0 <= weight < float("inf"):
            raise BlockError("A weight is negative or endless.")
        return weight

    def _groups(self, pin: str) -> dict[str, list[int]]:
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for index, element in enumerate(self._data):
            groups[str(self._field(element, pin))].append(index)
        return groups

    def _field(self, element: Any, pin: str) -> Any:
        name = getattr(self._how, pin)
        if not name:
            raise BlockError(f"This method needs “{pin}”.")
        if not isinstance(element, dict) or name not in element:
            raise BlockError(f"An element has no field “{name}”.")
        return element[name]
