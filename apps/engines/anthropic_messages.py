"""The extended-thinking engine: Anthropic's Messages API, through the official SDK, streaming."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from apps.engines import catalog, prompt_cache
from apps.engines.anthropic_events import EventReader
from apps.engines.base import StepRequest
from apps.engines.catalog import ModelFacts
from apps.engines.clients import AnthropicClients, anthropic_clients
from apps.engines.prompt_cache import Beginning, Beginnings
from apps.engines.sdk_engine import SdkEngine

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic, AsyncStream

ANSWER_TOKENS = 16_000  # room for what is said, besides what is thought
LEAST_BUDGET_TOKENS = 1_024  # the API refuses smaller ones
_THOUGHTS = {"thinking", "redacted_thinking"}


class AnthropicMessages(SdkEngine["AsyncAnthropic"]):
    """An `Engine` for the Messages API. It may be shared by any number of steps at once."""

    sdk_error = "AnthropicError"

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        thinking_tokens: int = 0,
        effort: str = "",
        cache_ttl: str = "5m",
        facts: Callable[[str], ModelFacts] = catalog.facts,
        clients: AnthropicClients = anthropic_clients,
    ) -> None:
        """Remember where to call; nothing is imported or connected before the first step.

        Args:
            base_url: The server's address without a version, such as `https://api.anthropic.com`.
            api_key: The credential; may be empty for servers that want none.
            thinking_tokens: How many tokens a model may think, 0 for none.
            effort: `low`, `medium` or `high` for models that can be told; empty for their own choice.
            cache_ttl: `5m` or `1h`, how long prompts are cached.
            facts: Says what a model can do.
            clients: Where SDK clients are shared.
        """
        self._base_url = base_url
        super().__init__(clients, base_url, api_key)
        self._thinking_tokens = thinking_tokens
        self._effort = effort
        self._ttl = cache_ttl
        self._facts = facts
        self._beginnings = Beginnings()

    def _reader(self, request: StepRequest) -> EventReader:
        return EventReader(origin(self._base_url, request.model))

    async def _open(self, client: AsyncAnthropic, request: StepRequest) -> AsyncStream[object]:
        """Send the request and return the open stream.

        `client.post` is what `client.messages.create` calls. It is used here because `cast_to=object` leaves events as
        the plain data that `EventReader` wants, and because history goes out as it is.
        """
        import anthropic

        return await client.post(
            "/v1/messages",
            body=self._body(request),
            cast_to=object,
            options={"headers": prompt_cache.headers(self._ttl)},
            stream=True,
            stream_cls=anthropic.AsyncStream[object],
        )

    def _body(self, request: StepRequest) -> dict[str, Any]:
        beginning = self._beginnings.get("", request, lambda: self._begin(request))
        facts = self._facts(request.model)
        messages = [_in_blocks(message) for message in request.messages]
        body: dict[str, Any] = {
            "model": bare_model(request.model),
            "max_tokens": request.max_output_tokens or ANSWER_TOKENS,
            "messages": prompt_cache.mark_last_user_messages(messages, ttl=self._ttl),
            "stream": True,
        }
        if beginning.system:
            body["system"] = beginning.system
        if beginning.tools:
            body["tools"] = beginning.tools
        if facts.thinking and self._thinking_tokens > 0 and may_think(messages):
            budget = max(LEAST_BUDGET_TOKENS, self._thinking_tokens)
            body["max_tokens"] += budget
            # Models that set their own budget keep their thoughts to themselves unless they are asked.
            body["thinking"] = (
                {"type": "adaptive", "display": "summarized"}
                if facts.adaptive
                else {"type": "enabled", "budget_tokens": budget}
            )
        if facts.effort and self._effort:
            body["output_config"] = {"effort": self._effort}
        return body

    def _begin(self, request: StepRequest) -> Beginning:
        return prompt_cache.anthropic_beginning(request.system, request.tools, ttl=self._ttl)


def _in_blocks(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message whose content is a list of blocks, which the short form for a single text becomes."""
    content = message["content"]
    return {**message, "content": [{"type": "text", "text": content}]} if isinstance(content, str) else message


def bare_model(model: str) -> str:
    """Return a model's id without the vendor's prefix, as the vendor itself calls it."""
    return model.removeprefix("anthropic/")


def origin(base_url: str, model: str) -> str:
    """Return whose signatures thinking blocks carry: anybody else would refuse them."""
    return f"{urlsplit(base_url).hostname}/{bare_model(model)}"


def may_think(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the API would let a model think now.

    In the middle of a tool loop it refuses to begin with it: the loop's first answer must hold its thoughts. They are
    missing when somebody else, or a server with thinking turned off, began this turn.
    """
    first: Mapping[str, Any] | None = None
    for message in reversed(messages):
        content = message["content"]
        if message["role"] == "assistant":
            first = message
        elif not any(block["type"] == "tool_result" for block in content):
            break
    return first is None or first["content"][0]["type"] in _THOUGHTS
