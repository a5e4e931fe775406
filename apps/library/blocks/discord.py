"""Blocks for Discord, by its REST API: a bot needs no connection of its own to post and to read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, CredentialsRef, Pins, credentials_field
from apps.library.blocks.service_call import decoded, field, number, objects, secret_of, service_call, token_of
from apps.library.errors import BlockError

API_URL = "https://discord.com/api/v10"
LONGEST_MESSAGE = 2000  # characters; longer ones go out as several
MOST_PARTS = 10
MOST_SERVERS = 50  # looked through for a channel's name
TEXT_CHANNELS = (0, 5)  # text and announcements; no set, as an answer may hold what has no hash
SHOWN_MESSAGES = 10  # of each channel


class SendDiscordMessage(Block["SendDiscordMessage.Input"]):
    """Posts a message in a channel."""

    id = "d0822ab5-9f8a-44a3-8971-531dd0178b6b"
    name = "Send Discord Message"
    description = "Posts a message in a Discord channel as a bot."
    categories = frozenset({Category.COMMUNICATION, Category.SOCIAL})
    is_sensitive_action = True

    class Input(Pins):
        """Its input pins."""

        credentials: CredentialsRef = credentials_field("discord")
        message_content: str = Field(min_length=1, description="The message.")
        channel_name: str = Field(description="The channel's name or id.")
        server_name: str = Field(default="", description="The server's name, where several have such a channel.")

    class Output(Pins):
        """Its output pins."""

        status: str = Field(description="That it was sent.")
        message_id: str = Field(description="The message's id.")
        channel_id: str = Field(description="The channel's id.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Post it, in parts if it is long."""
        token = token_of(secret_of(context))
        parts = [
            inputs.message_content[start : start + LONGEST_MESSAGE]
            for start in range(0, len(inputs.message_content), LONGEST_MESSAGE)
        ]
        if len(parts) > MOST_PARTS:
            raise BlockError("The message is too long for Discord.")
        channel = await _channel(token, inputs.channel_name.strip().removeprefix("#"), inputs.server_name.strip())
        message: Any = None
        for part in parts:
            # Nobody is called by what a model wrote.
            data = {"content": part, "allowed_mentions": {"parse": []}}
            message = await _call(token, "POST", f"/channels/{channel}/messages", data=data)
        yield "status", "Message sent"
        yield "message_id", str(field("Discord", message, "id"))
        yield "channel_id", channel


class ReadDiscordMessages(Block["ReadDiscordMessages.Input"]):
    """Reads the newest messages that a bot may see."""

    id = "df06086a-d5ac-4abb-9996-2ad0acb2eff7"
    name = "Read Discord Messages"
    description = "Reads the newest messages of the channels that a bot is in."
    categories = frozenset({Category.COMMUNICATION, Category.SOCIAL})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        credentials: CredentialsRef = credentials_field("discord")

    class Output(Pins):
        """Its output pins."""

        message_content: str = Field(description="What was said.")
        message_id: str = Field(description="The message's id.")
        channel_id: str = Field(description="The channel's id.")
        channel_name: str = Field(description="The channel's name.")
        user_id: str = Field(description="Who said it.")
        username: str = Field(description="That person's name.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put the newest message of people out that isn't a bot's."""
        token = token_of(secret_of(context))
        newest: tuple[int, dict[str, Any], dict[str, Any]] | None = None
        for _, channel in await _text_channels(token, ""):
            for message in await _messages(token, channel):
                stamp = number("Discord", message, "id")  # ids grow with time
                is_bot = objects("Discord", [message.get("author")])[0].get("bot")
                if not is_bot and (newest is None or stamp > newest[0]):
                    newest = (stamp, channel, message)
        if newest is None:
            raise BlockError("The bot sees no messages.")
        _, channel, message = newest
        yield "message_content", str(message.get("content", ""))
        yield "message_id", str(field("Discord", message, "id"))
        yield "channel_id", str(field("Discord", channel, "id"))
        yield "channel_name", str(channel.get("name", ""))
        yield "user_id", str(field("Discord", message, "author", "id"))
        yield "username", str(field("Discord", message, "author", "username"))


async def _call(token: str, method: str, path: str, **options: Any) -> Any:
    answer = await service_call(
        "Discord", method, f"{API_URL}{path}", headers={"Authorization": f"Bot {token}"}, **options
    )
    return decoded("Discord", answer)


async def _channel(token: str, named: str, server: str) -> str:
    """Return the id of a channel that is named or given by its id."""
    if named.isascii() and named.isdigit() and len(named) >= 15:
        return named
    found = [(guild, channel) for guild, channel in await _text_channels(token, server) if channel.get("name") == named]
    if not found:
        raise BlockError("The bot is in no such channel.")
    if len(found) > 1:
        names = ", ".join(sorted({guild for guild, _ in found}))
        raise BlockError(f"Several channels have this name; say which server, or the channel's id. Servers: {names}")
    return str(field("Discord", found[0][1], "id"))


async def _text_channels(token: str, server: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the text channels that the bot knows, each with its server's name."""
    found: list[tuple[str, dict[str, Any]]] = []
    guilds = objects("Discord", await _call(token, "GET", "/users/@me/guilds"))
    for guild in guilds[:MOST_SERVERS]:
        if server and guild.get("name") != server:
            continue
        place = number("Discord", guild, "id")
        channels = objects("Discord", await _call(token, "GET", f"/guilds/{place}/channels"))
        found += [(str(guild.get("name", "")), one) for one in channels if one.get("type") in TEXT_CHANNELS]
    return found


async def _messages(token: str, channel: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a channel's newest messages; none where the bot may not read."""
    place = number("Discord", channel, "id")
    try:
        found = await _call(token, "GET", f"/channels/{place}/messages", params={"limit": SHOWN_MESSAGES})
    except BlockError as error:
        if "doesn't allow" in str(error):
            return []
        raise
    return objects("Discord", found)
