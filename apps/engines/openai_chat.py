"""The fast engine: any server that speaks OpenAI's chat completions, through the official SDK, streaming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from apps.engines import prompt_cache
from apps.engines.base import StepRequest
from apps.engines.clients import OpenAIClients, openai_clients
from apps.engines.openai_chunks import ChunkReader
from apps.engines.prompt_cache import Beginnings
from apps.engines.routes import is_anthropic
from apps.engines.sdk_engine import SdkEngine

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream

OPENROUTER = "openrouter"
_OPENAI_HOST = "api.openai.com"


class OpenAIChat(SdkEngine["AsyncOpenAI"]):
    """An `Engine` for chat completions. It may be shared by any number of steps at once."""

    sdk_error = "OpenAIError"

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        provider: str = "openai",
        thinking_tokens: int = 0,
        report_cost: bool | None = None,
        cache_ttl: str = "5m",
        clients: OpenAIClients = openai_clients,
    ) -> None:
        """Remember where to call; nothing is imported or connected before the first step.

        Args:
            base_url: The server's address up to and with its version, such as `https://openrouter.ai/api/v1`.
            api_key: The credential; may be empty for servers that want none.
            provider: `openrouter` switches on what only OpenRouter understands.
            thinking_tokens: How many tokens the model may think, 0 for none; only sent for Anthropic's models on
                OpenRouter.
            report_cost: Whether to ask for the real cost with the usage; by default only OpenRouter is asked, as
                other servers refuse fields that they don't know.
            cache_ttl: `5m` or `1h`, how long prompts of Anthropic's models on OpenRouter are cached.
            clients: Where SDK clients are shared.
        """
        super().__init__(clients, base_url, api_key)
        self._is_openrouter = provider == OPENROUTER
        self._thinking_tokens = thinking_tokens
        self._reports_cost = self._is_openrouter if report_cost is None else report_cost
        self._ttl = cache_ttl
        # OpenAI's own newer models refuse the old name, and other servers don't know the new one.
        self._limit_name = "max_completion_tokens" if urlsplit(base_url).hostname == _OPENAI_HOST else "max_tokens"
        self._beginnings = Beginnings()

    def _reader(self, request: StepRequest) -> ChunkReader:
        return ChunkReader()

    async def _open(self, client: AsyncOpenAI, request: StepRequest) -> AsyncStream[object]:
        """Send the request and return the open stream.

        `client.post` is what `client.chat.completions.create` calls. It is used here because `cast_to=object`
        leaves chunks as the plain data that `ChunkReader` wants: building a model object from each took more time
        than all the rest of reading a stream, and the same holds for walking through a long history's types.
        """
        import openai

        return await client.post(
            "/chat/completions",
            body=self._body(request),
            cast_to=object,
            # Without this, the SDK would also try an OPENAI_ADMIN_KEY that the environment may hold.
            options={"security": {"bearer_auth": True}, "headers": self._headers(request)},
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )

    def _body(self, request: StepRequest) -> dict[str, Any]:
        ttl = self._ttl if self._has_anthropic_features(request) else ""
        beginning = self._beginnings.get(
            ttl, request, lambda: prompt_cache.openai_beginning(request.system, request.tools, ttl=ttl)
        )
        system = [{"role": "system", "content": beginning.system}] if beginning.system else []
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [*system, *request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if beginning.tools:
            body["tools"] = beginning.tools
        if request.max_output_tokens:
            body[self._limit_name] = request.max_output_tokens
        if self._reports_cost:
            body["usage"] = {"include": True}
        if self._thinking_tokens > 0 and self._has_anthropic_features(request):
            body["reasoning"] = {"max_tokens": self._thinking_tokens}
        return body

    def _headers(self, request: StepRequest) -> dict[str, str]:
        return prompt_cache.headers(self._ttl) if self._has_anthropic_features(request) else {}

    def _has_anthropic_features(self, request: StepRequest) -> bool:
        """Tell whether thinking budgets and cache marks are understood: all but OpenRouter refuse or ignore them."""
        return self._is_openrouter and is_anthropic(request.model)
