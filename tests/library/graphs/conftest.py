"""Every block that tests of graphs speak of, whichever the product has."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from apps.library.blocks import registry
from tests.library.graphs.blocks import OURS, STAND_INS

real_blocks = registry.all_blocks


@pytest.fixture(autouse=True)
def blocks(monkeypatch):
    """The product's blocks, with small ones in the place of those that it lacks."""
    everything = MappingProxyType({**STAND_INS, **OURS, **real_blocks()})
    monkeypatch.setattr(registry, "all_blocks", lambda: everything)
    return everything
