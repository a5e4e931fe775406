"""Which engine and which model answer a request: the one place that decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.conf import settings

from apps.chat.agents.holds import SharedClients
from apps.chat.models import Message, Turn
from apps.chat.turns.history import openai_messages
from apps.chat.turns.history_anthropic import anthropic_messages
from apps.chat.usage.costs import ModelCall
from apps.engines import catalog
from apps.engines.anthropic_messages import AnthropicMessages, origin
from apps.engines.base import Engine, Usage
from apps.engines.catalog import ModelFacts
from apps.engines.clients import anthropic_clients, openai_clients
from apps.engines.openai_chat import OpenAIChat
from apps.engines.routes import is_anthropic

OPENROUTER_URL = "https://openrouter.ai/api/v1"
OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"
DEMO_MODEL = "flightdeck-demo"
CHEAP = "cheap"

#: What answers when no model is named, by provider and tier.
DEFAULT_MODELS: dict[str, dict[str, str]] = {
    "openrouter": {
        "standard": "anthropic/claude-sonnet-4-6",
        "advanced": "anthropic/claude-opus-4-7",
        CHEAP: "openai/gpt-4o-mini",
    },
    "openai": {"standard": "gpt-4o", "advanced": "gpt-4o", CHEAP: "gpt-4o-mini"},
    "anthropic": {
        "standard": "anthropic/claude-sonnet-4-6",
        "advanced": "anthropic/claude-opus-4-7",
        CHEAP: "anthropic/claude-haiku-4-5",
    },
    "demo": {"standard": DEMO_MODEL, "advanced": DEMO_MODEL, CHEAP: DEMO_MODEL},
}
NO_FAST_ENGINE = "The fast mode isn't set up here, so extended thinking answers."
NO_THINKING_ENGINE = "Extended thinking isn't set up here, so the fast mode answers."

BuildMessages = Callable[[Iterable[Message]], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Provider:
    """Whom an engine talks to; `engine` is a mode, whose engine speaks this provider's protocol."""

    name: str
    base_url: str
    api_key: str
    engine: str = Turn.Mode.FAST

    def model(self, tier: str) -> str:
        """Return the model of a tier: the named one where this provider can have it, else the provider's default."""
        if tier == CHEAP:
            return self._named(settings.CHAT_TITLE_MODEL) or self._own(settings.CHAT_MODEL) or self._default(tier)
        named = settings.CHAT_ADVANCED_MODEL if tier == Turn.Tier.ADVANCED else settings.CHAT_MODEL
        return self._named(named) or self._default(tier)

    def _default(self, tier: str) -> str:
        return DEFAULT_MODELS[self.name][tier]

    def _named(self, model: str) -> str:
        """Return a named model, or an empty text where it is another provider's."""
        if self.name == "demo":
            return ""
        if self.base_url in {OPENAI_URL, ANTHROPIC_URL} and is_anthropic(model) != (self.name == "anthropic"):
            return ""
        return model

    def _own(self, model: str) -> str:
        """Return the named model of somebody's own server, which is all that we know to be there."""
        return "" if self.base_url in {OPENROUTER_URL, OPENAI_URL, ANTHROPIC_URL} else self._named(model)


@dataclass(frozen=True, slots=True)
class Route:
    """An engine and the model it is to ask.

    Attributes:
        engine: Makes the calls.
        model: The provider's model id.
        provider: `openrouter`, `openai`, `anthropic` or `demo`.
        build_messages: Makes the engine's messages of a session's rows.
        facts: What the model can do and costs.
        cache_ttl: `5m` or `1h`, how long what is written to the prompt cache is kept.
        notice: What people are told when another engine than the chosen one answers; else empty.
        base_url: Where the provider answers.
        credential: What it wants to see; never logged.
        clients: Where the engine's SDK clients are shared.
    """

    engine: Engine
    model: str
    provider: str
    build_messages: BuildMessages = openai_messages
    facts: ModelFacts = catalog.UNKNOWN
    cache_ttl: str = "5m"
    notice: str = ""
    base_url: str = ""
    credential: str = field(default="", repr=False)
    clients: SharedClients | None = None

    def call_of(self, usage: Usage) -> ModelCall:
        """Return a call of this route, to be booked."""
        return ModelCall(
            provider=self.provider, model=self.model, usage=usage, facts=self.facts, cache_ttl=self.cache_ttl
        )


def configured(mode: str) -> Provider | None:
    """Return the real provider of a mode's own engine, or None when none is configured."""
    if mode == Turn.Mode.EXTENDED_THINKING:
        if settings.ANTHROPIC_API_KEY or settings.ANTHROPIC_BASE_URL:
            url = settings.ANTHROPIC_BASE_URL or ANTHROPIC_URL
            return Provider("anthropic", url, settings.ANTHROPIC_API_KEY, Turn.Mode.EXTENDED_THINKING)
        return None
    if settings.OPENROUTER_API_KEY:
        return Provider("openrouter", OPENROUTER_URL, settings.OPENROUTER_API_KEY)
    if settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL:
        return Provider("openai", settings.OPENAI_BASE_URL or OPENAI_URL, settings.OPENAI_API_KEY)
    return None


def provider_of(mode: str) -> Provider:
    """Return who answers in a mode: its own provider, else the other mode's, else the demo model."""
    thinks = mode == Turn.Mode.EXTENDED_THINKING
    other = Turn.Mode.FAST if thinks else Turn.Mode.EXTENDED_THINKING
    found = configured(mode) or configured(other)
    if found is not None:
        return found
    url = settings.DEMO_MODEL_URL or "http://127.0.0.1:8001"
    return Provider("demo", url if thinks else f"{url}/v1", "", mode)


def fast_provider() -> Provider:
    """Return who answers in the fast mode."""
    return provider_of(Turn.Mode.FAST)


class Router:
    """A worker process's engines."""

    def __init__(self) -> None:
        """Prepare the engines; nothing is connected."""
        self._providers = {mode: provider_of(mode) for mode in Turn.Mode.values}
        budget = settings.CHAT_MAX_THINKING_TOKENS
        self._engines = {mode: _engine(provider, budget) for mode, provider in self._providers.items()}
        self._plain = _engine(self._providers[Turn.Mode.FAST], 0)

    def route(self, mode: str, tier: str) -> Route:
        """Return what answers a request of this mode and tier."""
        provider = self._providers[mode]
        notice = ""
        if provider.engine != mode:
            notice = NO_FAST_ENGINE if mode == Turn.Mode.FAST else NO_THINKING_ENGINE
        return _route(
            provider, self._engines[mode], tier, thinking=settings.CHAT_MAX_THINKING_TOKENS > 0, notice=notice
        )

    def cheap(self) -> Route:
        """Return what makes titles and summaries; it doesn't think."""
        return _route(self._providers[Turn.Mode.FAST], self._plain, CHEAP, thinking=False)

    async def aclose(self) -> None:
        """Let go of the model clients."""
        for engine in (*self._engines.values(), self._plain):
            await engine.aclose()


def _engine(provider: Provider, thinking_tokens: int) -> OpenAIChat | AnthropicMessages:
    if provider.engine == Turn.Mode.EXTENDED_THINKING:
        return AnthropicMessages(
            base_url=provider.base_url,
            api_key=provider.api_key,
            thinking_tokens=thinking_tokens,
            effort=settings.CHAT_THINKING_EFFORT,
            cache_ttl=settings.CHAT_PROMPT_CACHE_TTL,
            facts=_facts,
        )
    return OpenAIChat(
        base_url=provider.base_url,
        api_key=provider.api_key,
        provider=provider.name,
        thinking_tokens=thinking_tokens,
        cache_ttl=settings.CHAT_PROMPT_CACHE_TTL,
    )


def _route(provider: Provider, engine: Engine, tier: str, *, thinking: bool, notice: str = "") -> Route:
    model = provider.model(tier)
    build: BuildMessages = openai_messages
    if provider.engine == Turn.Mode.EXTENDED_THINKING:
        build = partial(anthropic_messages, origin=origin(provider.base_url, model) if thinking else "")
    return Route(
        engine,
        model,
        provider.name,
        build,
        _facts(model),
        settings.CHAT_PROMPT_CACHE_TTL,
        notice,
        provider.base_url,
        provider.api_key,
        anthropic_clients if provider.engine == Turn.Mode.EXTENDED_THINKING else openai_clients,
    )


def _facts(model: str) -> ModelFacts:
    return catalog.facts(model, settings.CHAT_MODEL_FACTS)
