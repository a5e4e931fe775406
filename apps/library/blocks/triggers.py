"""Blocks that start an agent when something happens elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, BlockType, Category, Pins


class GenericWebhookTrigger(Block["GenericWebhookTrigger.Input"]):
    """Starts the agent when its webhook is called."""

    id = "8fa8c167-2002-47ce-aba8-97572fc5d387"
    name = "Generic Webhook Trigger"
    description = "Starts the agent when another service calls its webhook, with what that service sent."
    categories = frozenset({Category.INPUT})
    type = BlockType.WEBHOOK_MANUAL
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        payload: dict[str, Any] = Field(
            default={}, description="What was sent; the webhook fills it in.", json_schema_extra={"hidden": True}
        )
        constants: dict[str, Any] = Field(default={}, description="Values that are put out with every call.")
        secret_token: str | None = Field(
            default=None,
            description="What the header X-Webhook-Secret of every call must say.",
            json_schema_extra={"secret": True},
        )

    class Output(Pins):
        """Its output pins."""

        payload: dict[str, Any] = Field(description="What was sent.")
        constants: dict[str, Any] = Field(description="The constant values.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put both out."""
        yield "payload", inputs.payload
        yield "constants", inputs.constants
