"""Facts that follow from a model's id."""

from __future__ import annotations


def is_anthropic(model: str) -> bool:
    """Tell whether a model id names one of Anthropic's models, on whatever route it is reached.

    Only they get thinking budgets and cache marks: other providers answer 400 to fields that they don't know.
    """
    lowered = model.lower()
    return "claude" in lowered or lowered.startswith("anthropic")
