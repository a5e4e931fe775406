"""Blocks for Slack."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, CredentialsRef, Pins, credentials_field
from apps.library.blocks.service_call import decoded, field, secret_of, service_call, token_of
from apps.library.errors import BlockError

API_URL = "https://slack.com/api"
#: Slack answers 200 and says what is wrong in a code.
REASONS = {
    "invalid_auth": "Slack doesn't accept the credential.",
    "not_authed": "Slack doesn't accept the credential.",
    "token_revoked": "Slack doesn't accept the credential.",
    "token_expired": "Slack doesn't accept the credential.",
    "channel_not_found": "Slack has no such channel, or the app may not see it.",
    "not_in_channel": "The app isn't in this channel; invite it first.",
    "missing_scope": "The credential doesn't allow this.",
    "ratelimited": "Slack is asked too often; try again later.",
    "msg_too_long": "The message is too long for Slack.",
}


class SendSlackMessage(Block["SendSlackMessage.Input"]):
    """Posts a message in a channel."""

    id = "50cf5290-ec87-4ca1-b7d7-b8b4ef772f6d"
    name = "Send Slack Message"
    description = "Posts a message in a Slack channel."
    categories = frozenset({Category.COMMUNICATION, Category.SOCIAL})
    is_sensitive_action = True

    class Input(Pins):
        """Its input pins."""

        credentials: CredentialsRef = credentials_field("slack", types=("api_key", "oauth2"))
        channel: str = Field(description="The channel's name or id.")
        text: str = Field(description="The message.")
        thread_ts: str | None = Field(default=None, description="The message to answer in its thread.")
        username: str | None = Field(default=None, description="Who it seems to be from.")
        icon_emoji: str | None = Field(default=None, description="The picture beside it, as an emoji's name.")
        unfurl_links: bool = Field(default=True, description="Whether links are shown with what is behind them.")
        mrkdwn: bool = Field(default=True, description="Whether marks like *bold* are understood.")

    class Output(Pins):
        """Its output pins."""

        ts: str = Field(description="The message's id in its channel.")
        channel: str = Field(description="The channel's id.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Post it."""
        message = inputs.model_dump(exclude={"credentials"}, exclude_none=True)
        answer = await service_call(
            "Slack",
            "POST",
            f"{API_URL}/chat.postMessage",
            headers={"Authorization": f"Bearer {token_of(secret_of(context))}"},
            data=message,
        )
        body = decoded("Slack", answer)
        if field("Slack", body, "ok") is not True:
            code = str(body.get("error", "unknown"))[:100]
            raise BlockError(REASONS.get(code, f"Slack refuses this: {code}"))
        yield "ts", str(field("Slack", body, "ts"))
        yield "channel", str(field("Slack", body, "channel"))
