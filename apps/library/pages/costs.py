"""What a run of an agent will cost, in words, as far as it can be known before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from apps.library.executor import costs
from apps.library.graphs.shape import GraphData

MICRODOLLARS_A_DOLLAR = 1_000_000
#: What is charged by, in the words of a person.
UNITS: Mapping[str, str] = MappingProxyType(
    {
        "second": "time",
        "byte": "size",
        "items": "items",
        "tokens": "model tokens",
        "cost_usd": "what the services themselves charge",
    }
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of one use of each step.

    Attributes:
        microdollars: What is certain.
        extras: What is counted while it runs, in words; empty when nothing is.
    """

    microdollars: int
    extras: str

    @property
    def is_free(self) -> bool:
        """Whether nothing at all is charged."""
        return not self.microdollars and not self.extras

    @property
    def words(self) -> str:
        """The certain part as people read it."""
        dollars = self.microdollars / MICRODOLLARS_A_DOLLAR
        return f"${dollars:,.2f}" if dollars >= 0.01 or not dollars else "less than a cent"


def estimate(graph: GraphData) -> Estimate:
    """Return what one use of each node of a graph and its sub-agents costs."""
    certain, rates = costs.estimate(graph)
    extras = dict.fromkeys(UNITS[rate["type"]] for rate in rates)
    return Estimate(certain, ", ".join(extras))
