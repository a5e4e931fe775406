"""Which engine and which model answer a request: the one place that decides."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from apps.chat.models import Turn
from apps.engines.base import Engine
from apps.engines.openai_chat import OpenAIChat

OPENROUTER_URL = "https://openrouter.ai/api/v1"
OPENAI_URL = "https://api.openai.com/v1"
DEMO_MODEL = "flightdeck-demo"

#: What answers when no model is named, by provider and tier.
DEFAULT_MODELS: dict[str, dict[str, str]] = {
    "openrouter": {"standard": "anthropic/claude-sonnet-4-6", "advanced": "anthropic/claude-opus-4-7"},
    "openai": {"standard": "gpt-4o", "advanced": "gpt-4o"},
    "demo": {"standard": DEMO_MODEL, "advanced": DEMO_MODEL},
}

#: The cheap model, for titles and summaries, by provider.
CHEAP_MODELS = {"openrouter": "openai/gpt-4o-mini", "openai": "gpt-4o-mini", "demo": DEMO_MODEL}


@dataclass(frozen=True, slots=True)
class Provider:
    """Whom the fast engine talks to."""

    name: str
    base_url: str
    api_key: str

    def model(self, tier: str) -> str:
        """Return the model of a tier; a named one is for real providers only."""
        named = settings.CHAT_ADVANCED_MODEL if tier == Turn.Tier.ADVANCED else settings.CHAT_MODEL
        return named if named and self.name != "demo" else DEFAULT_MODELS[self.name][tier]


@dataclass(frozen=True, slots=True)
class Route:
    """An engine and the model it is to ask."""

    engine: Engine
    model: str
    provider: str


def fast_provider() -> Provider:
    """Return the provider that the settings choose: OpenRouter, OpenAI or a compatible server, else the demo model."""
    if settings.OPENROUTER_API_KEY:
        return Provider("openrouter", OPENROUTER_URL, settings.OPENROUTER_API_KEY)
    if settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL:
        return Provider("openai", settings.OPENAI_BASE_URL or OPENAI_URL, settings.OPENAI_API_KEY)
    return Provider("demo", f"{settings.DEMO_MODEL_URL or 'http://127.0.0.1:8001'}/v1", "")


class Router:
    """A worker process's engines; both modes are answered by the fast engine as long as it is the only one."""

    def __init__(self) -> None:
        """Prepare the engine; nothing is connected."""
        self._provider = fast_provider()
        self._fast = OpenAIChat(
            base_url=self._provider.base_url,
            api_key=self._provider.api_key,
            provider=self._provider.name,
            thinking_tokens=settings.CHAT_MAX_THINKING_TOKENS,
        )

    def route(self, mode: str, tier: str) -> Route:
        """Return what answers a request of this mode and tier."""
        return Route(self._fast, self._provider.model(tier), self._provider.name)

    def cheap(self) -> Route:
        """Return what makes titles and summaries."""
        name = self._provider.name
        named = settings.CHAT_TITLE_MODEL if name != "demo" else ""
        return Route(self._fast, named or CHEAP_MODELS[name], name)

    async def aclose(self) -> None:
        """Let go of the model clients."""
        await self._fast.aclose()
