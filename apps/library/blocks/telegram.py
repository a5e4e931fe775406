"""Blocks for Telegram."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Any

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, CredentialsRef, Pins, credentials_field
from apps.library.blocks.service_call import decoded, number, secret_of, service_call, token_of
from apps.library.errors import BlockError

API_URL = "https://api.telegram.org"
#: The token is a part of the address, so it must not be able to change it.
_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,100}")


class ParseMode(StrEnum):
    """How marks in a text are read."""

    NONE = "none"
    MARKDOWN = "Markdown"
    MARKDOWN_V2 = "MarkdownV2"
    HTML = "HTML"


class SendTelegramMessage(Block["SendTelegramMessage.Input"]):
    """Sends a message to a chat."""

    id = "787678ad-1f47-4efc-89df-643f9908621a"
    name = "Send Telegram Message"
    description = "Sends a message to a Telegram chat as a bot."
    categories = frozenset({Category.COMMUNICATION, Category.SOCIAL})
    is_sensitive_action = True

    class Input(Pins):
        """Its input pins."""

        credentials: CredentialsRef = credentials_field("telegram")
        chat_id: int = Field(description="The chat's id.")
        text: str = Field(min_length=1, max_length=4096, description="The message.")
        parse_mode: ParseMode = Field(default=ParseMode.NONE, description="How marks in the text are read.")
        reply_to_message_id: int | None = Field(default=None, description="The message that it answers.")
        disable_notification: bool = Field(default=False, description="Whether it comes without a sound.")

    class Output(Pins):
        """Its output pins."""

        message_id: int = Field(description="The message's id.")
        status: str = Field(description="That it was sent.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Send it."""
        token = token_of(secret_of(context))
        if not _TOKEN.fullmatch(token):
            raise BlockError("The credential is no token of a Telegram bot.")
        message: dict[str, Any] = {"chat_id": inputs.chat_id, "text": inputs.text}
        if inputs.parse_mode != ParseMode.NONE:
            message["parse_mode"] = inputs.parse_mode.value
        if inputs.reply_to_message_id is not None:
            message["reply_parameters"] = {"message_id": inputs.reply_to_message_id}
        if inputs.disable_notification:
            message["disable_notification"] = True
        answer = await service_call("Telegram", "POST", f"{API_URL}/bot{token}/sendMessage", data=message)
        yield "message_id", number("Telegram", decoded("Telegram", answer), "result", "message_id")
        yield "status", "Message sent"
