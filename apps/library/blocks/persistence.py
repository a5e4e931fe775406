"""Blocks that remember values from run to run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import Field

from apps.library import stored_values
from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.runtime.db import db


class Scope(StrEnum):
    """Who shares a value."""

    WITHIN_AGENT = "within_agent"
    ACROSS_AGENTS = "across_agents"

    def graph_id(self, context: BlockContext) -> UUID | None:
        """Return the graph that a value belongs to; None for all."""
        return context.graph_id if self is Scope.WITHIN_AGENT else None


class PersistInformation(Block["PersistInformation.Input"]):
    """Remembers a value."""

    id = "1d055e55-a2b9-4547-8311-907d05b0304d"
    name = "Persist Information"
    description = "Remembers a value for later runs."
    categories = frozenset({Category.DATA})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        key: str = Field(description="The name of the value.")
        value: Any = Field(description="The value.")
        scope: Scope = Field(default=Scope.WITHIN_AGENT, description="Whether only this agent remembers it, or all.")

    class Output(Pins):
        """Its output pins."""

        value: Any = Field(description="The value.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Remember it.

        Raises:
            BlockError: Key or value are too large.
        """
        if not context.is_dry_run:
            await db(
                stored_values.store_value,
                user_id=context.user_id,
                graph_id=inputs.scope.graph_id(context),
                key=inputs.key,
                value=inputs.value,
            )
        yield "value", inputs.value


class RetrieveInformation(Block["RetrieveInformation.Input"]):
    """Recalls a value."""

    id = "d8710fc9-6e29-481e-a7d5-165eb16f8471"
    name = "Retrieve Information"
    description = "Recalls a value that an earlier run remembered."
    categories = frozenset({Category.DATA})
    static_output = True
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        key: str = Field(description="The name of the value.")
        scope: Scope = Field(default=Scope.WITHIN_AGENT, description="Whether only this agent remembered it, or all.")
        default_value: Any = Field(default=None, description="What is put out when nothing was remembered.")

    class Output(Pins):
        """Its output pins."""

        value: Any = Field(description="The value.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Recall it.

        Raises:
            BlockError: The key is too long.
        """
        yield (
            "value",
            await db(
                stored_values.recall_value,
                user_id=context.user_id,
                graph_id=inputs.scope.graph_id(context),
                key=inputs.key,
                default=inputs.default_value,
            ),
        )
