"""The base of blocks that reach out to the public internet."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from apps.library.blocks.base import Block, Pins

In = TypeVar("In", bound=Pins)


class ReachingBlock(Block[In]):
    """A block that fetches addresses which people and models chose, through the address guard."""

    def __init__(self, *, allow: Collection[str] = ()) -> None:
        """Set up.

        Args:
            allow: `host:port` pairs that may be reached although they aren't public; for tests and development.
        """
        self.allow = frozenset(entry.lower() for entry in allow)
