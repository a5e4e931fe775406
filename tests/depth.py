"""How thoroughly tests try what can be tried any number of times: HYPOTHESIS_PROFILE says it.

`quick` is the default, and what `make test` does. `full` is what `make test-long` and CI do besides, with the numbers
that the product promises. `deep` takes from minutes to hours, and is for changes to what such a test is about.
"""

from __future__ import annotations

import os

import hypothesis

DEPTH = os.environ.get("HYPOTHESIS_PROFILE", "quick")
#: Of a property whose test doesn't say how often it is to be tried.
EXAMPLES = {"quick": 30, "full": 30, "deep": 3000}

for name, count in EXAMPLES.items():
    hypothesis.settings.register_profile(name, max_examples=count, deadline=None)
hypothesis.settings.load_profile(DEPTH)


def depth(*, quick: int, full: int, deep: int) -> int:
    """Return the number of tries for the depth that was asked for."""
    return {"quick": quick, "full": full, "deep": deep}[DEPTH]
