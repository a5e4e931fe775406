"""Filling the templates that prompts are, in a child process that can be ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.library.blocks.child_calls import in_child
from apps.library.blocks.work.templates import fill_template


async def render_template(text: str, values: Mapping[str, Any]) -> str:
    """Fill a Jinja2 template with values. What a value lacks becomes an empty text.

    Args:
        text: The template; prompts are no HTML, so nothing is escaped.
        values: What its names mean.

    Raises:
        BlockError: When the template is wrong, does what it may not, or takes too long.
    """
    if "{" not in text:
        return text  # most prompts are none
    return await in_child(fill_template, text, dict(values), False)
