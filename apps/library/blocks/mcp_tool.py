"""The block that calls a tool of an MCP server, by the protocol's own SDK over streamable HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from apps.library.blocks.base import BlockContext, BlockType, Category, CredentialsRef, Pins, Secret, credentials_field
from apps.library.blocks.coercion import json_of
from apps.library.blocks.reaching import ReachingBlock
from apps.library.credentials.hosts import host_fits
from apps.library.errors import BlockError
from apps.runtime import netguard

if TYPE_CHECKING:
    import httpx2

CALL_SECONDS: Final = 120.0
MAX_ANSWER_BYTES: Final = 10 * 1024 * 1024


class MCPTool(ReachingBlock["MCPTool.Input"]):
    """Calls a tool of an MCP server."""

    id = "a0a4b1c2-d3e4-4f56-a7b8-c9d0e1f2a3b4"
    name = "MCP Tool"
    description = "Calls a tool of an MCP server."
    categories = frozenset({Category.DEVELOPER_TOOLS})
    type = BlockType.MCP_TOOL
    is_sensitive_action = True

    class Input(Pins):
        """Its input pins."""

        server_url: str = Field(max_length=8000, description="The server's address.")
        selected_tool: str = Field(default="", description="The tool's name.")
        tool_input_schema: dict[str, Any] = Field(default={}, description="What the tool takes, as a JSON schema.")
        tool_arguments: dict[str, Any] = Field(default={}, description="What it is called with.")
        credentials: CredentialsRef | None = credentials_field("mcp", types=("host_scoped",), optional=True)

    class Output(Pins):
        """Its output pins."""

        result: Any = Field(description="What the tool answers.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Call it."""
        if not inputs.selected_tool:
            raise BlockError("Choose a tool of the server.")
        url = inputs.server_url.strip()
        headers = _headers(context.secrets.get("credentials"), url)
        check_arguments(inputs.tool_input_schema, inputs.tool_arguments)
        try:
            netguard.check_url(url, allow=self.allow)
            async with asyncio.timeout(CALL_SECONDS):
                result = await self._call(url, headers, inputs.selected_tool, inputs.tool_arguments)
        except netguard.AddressRefused as error:
            raise BlockError(f"This server can't be asked. {error}") from None
        except TimeoutError:
            raise BlockError("The server doesn't answer in time.") from None
        yield "result", value_of(result)

    async def _call(self, url: str, headers: Mapping[str, str], tool: str, arguments: dict[str, Any]) -> Any:
        """Connect, call and take leave.

        Raises:
            AddressRefused: When the server may not be asked.
            BlockError: When that didn't work.
        """
        # The SDK takes a second to load.
        client_module, http_module, exceptions = await asyncio.to_thread(_sdk)
        async with netguard.guarded_client(timeout_seconds=CALL_SECONDS, allow=self.allow) as http:
            http.headers.update(headers)
            http.event_hooks = {"response": [_bounded]}
            try:
                transport = http_module.streamable_http_client(url, http_client=http)
                async with client_module.Client(transport, read_timeout_seconds=CALL_SECONDS) as client:
                    return await client.call_tool(tool, arguments)
            except (exceptions.MCPError, _http_error(), OSError, ValueError, RuntimeError, ExceptionGroup) as error:
                raise _translated(error, exceptions.MCPError) from None


def check_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Check that arguments fit what a tool takes, as far as its schema is known.

    Raises:
        BlockError: When they don't.
    """
    missing = [name for name in schema.get("required", ()) if name not in arguments]
    if missing:
        raise BlockError(f"The tool needs: {', '.join(map(str, missing))}.")


def value_of(result: Any) -> Any:
    """Return what a tool answered: its structured content, else its parts; of one text the object or list in it.

    Raises:
        BlockError: When the tool says that it failed.
    """
    parts = [_part(part) for part in result.content]
    if result.is_error:
        raise BlockError(f"The tool failed: {' '.join(part for part in parts if isinstance(part, str))[:2000]}")
    if result.structured_content is not None:
        return result.structured_content
    if len(parts) != 1:
        return parts
    # Servers older than structured content write it as JSON.
    found = json_of(parts[0]) if isinstance(parts[0], str) else None
    return parts[0] if found is None else found


def _part(part: Any) -> Any:
    if part.type == "text":
        return part.text
    return part.model_dump(mode="json", by_alias=True, exclude_none=True)


def _headers(secret: Secret | None, url: str) -> dict[str, str]:
    """Return the headers of a credential, which is for its own server only."""
    if secret is None:
        return {}
    if not host_fits(secret.host, url):
        raise BlockError("The credential isn't meant for this server.")
    return {str(name): str(value) for name, value in secret.values.get("headers", {}).items()}


def _sdk() -> tuple[Any, Any, Any]:
    from mcp.client import client, streamable_http
    from mcp.shared import exceptions

    return client, streamable_http, exceptions


def _http_error() -> type[Exception]:
    import httpx2

    return httpx2.HTTPError


def _translated(error: Exception, protocol_error: type[Exception]) -> Exception:
    """Say what went wrong: the SDK wraps errors in groups, of which the first one tells most."""
    for inner in _flat(error):
        if isinstance(inner, netguard.AddressRefused):
            return inner
        if isinstance(inner, BlockError):
            return inner
        if isinstance(inner, protocol_error):
            return BlockError(f"The server refuses this: {str(inner)[:500]}")
    return BlockError("The server can't be reached, or doesn't speak the protocol.")


def _flat(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _flat(inner)
    else:
        yield error


async def _bounded(response: httpx2.Response) -> None:
    """Bound an answer's size; the SDK reads whatever comes."""
    import httpx2

    inner = response.stream

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            assert isinstance(inner, httpx2.AsyncByteStream)
            async for piece in inner:
                size += len(piece)
                if size > MAX_ANSWER_BYTES:
                    raise BlockError("The server's answer is too large.")
                yield piece

        async def aclose(self) -> None:
            assert isinstance(inner, httpx2.AsyncByteStream)
            await inner.aclose()

    response.stream = Bounded()
