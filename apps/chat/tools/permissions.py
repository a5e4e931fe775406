"""What a turn may use: stored with the turn, it decides both what a model is offered and what it may call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What a turn may use; everything, unless something is said.

    Attributes:
        tools: Names of tools.
        tools_exclude: Whether those are the ones that it may not use; else it may use no others.
        blocks: Blocks by name, id, or the first eight digits of that, in lower case.
        blocks_exclude: Whether those are the ones that it may not run; else it may run no others.
        autopilot_depth: How many copilots, each asked by an AutoPilot block, led here; runs that it starts begin there.
    """

    tools: frozenset[str] = frozenset()
    tools_exclude: bool = True
    blocks: frozenset[str] = frozenset()
    blocks_exclude: bool = True
    autopilot_depth: int = 0

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> Permissions:
        """Return what a turn's row says."""
        said = stored or {}
        return cls(
            tools=frozenset(said.get("tools") or ()),
            tools_exclude=said.get("tools_exclude", True),
            blocks=frozenset(name.lower() for name in said.get("blocks") or ()),
            blocks_exclude=said.get("blocks_exclude", True),
            autopilot_depth=said.get("autopilot_depth", 0),
        )

    def allows_tool(self, name: str) -> bool:
        """Return whether a tool may be offered and called."""
        return (name in self.tools) != self.tools_exclude

    def allows_block(self, block_id: str, name: str) -> bool:
        """Return whether a block may be run."""
        return (not self.blocks.isdisjoint(names_of_block(block_id, name))) != self.blocks_exclude

    def is_within(self, other: Permissions, *, tools: Iterable[str], blocks: Mapping[str, str]) -> bool:
        """Return whether all that these allow is allowed by others too.

        Args:
            other: The others.
            tools: Every tool's name.
            blocks: Every block's name by its id.
        """
        return all(other.allows_tool(name) for name in tools if self.allows_tool(name)) and all(
            other.allows_block(block_id, name) for block_id, name in blocks.items() if self.allows_block(block_id, name)
        )


def names_of_block(block_id: str, name: str) -> set[str]:
    """Return what a block may be called by in permissions."""
    return {name.lower(), block_id.lower(), block_id[:8].lower()}
