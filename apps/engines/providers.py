"""Whom the engines talk to: providers, their default models, and which of them an installation's settings choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from apps.engines import catalog
from apps.engines.anthropic_messages import AnthropicMessages
from apps.engines.catalog import ModelFacts
from apps.engines.openai_chat import OpenAIChat
from apps.engines.routes import is_anthropic

FAST: Final = "fast"
EXTENDED_THINKING: Final = "extended_thinking"
STANDARD: Final = "standard"
ADVANCED: Final = "advanced"
CHEAP: Final = "cheap"

OPENROUTER_URL: Final = "https://openrouter.ai/api/v1"
OPENAI_URL: Final = "https://api.openai.com/v1"
ANTHROPIC_URL: Final = "https://api.anthropic.com"
DEMO_URL: Final = "http://127.0.0.1:8001"
DEMO_MODEL: Final = "flightdeck-demo"

#: What answers when no model is named, by provider and tier.
DEFAULT_MODELS: Final[Mapping[str, Mapping[str, str]]] = {
    "openrouter": {
        STANDARD: "anthropic/claude-sonnet-4-6",
        ADVANCED: "anthropic/claude-opus-4-7",
        CHEAP: "openai/gpt-4o-mini",
    },
    "openai": {STANDARD: "gpt-4o", ADVANCED: "gpt-4o", CHEAP: "gpt-4o-mini"},
    "anthropic": {
        STANDARD: "anthropic/claude-sonnet-4-6",
        ADVANCED: "anthropic/claude-opus-4-7",
        CHEAP: "anthropic/claude-haiku-4-5",
    },
    "demo": {STANDARD: DEMO_MODEL, ADVANCED: DEMO_MODEL, CHEAP: DEMO_MODEL},
}


@dataclass(frozen=True, slots=True)
class Provider:
    """Whom an engine talks to.

    Attributes:
        name: `openrouter`, `openai`, `anthropic` or `demo`.
        base_url: Where it answers.
        api_key: What it wants to see.
        engine: The mode whose engine speaks its protocol.
        named: The models that the installation names, by tier.
    """

    name: str
    base_url: str
    api_key: str = field(repr=False)
    engine: str = FAST
    named: Mapping[str, str] = field(default_factory=dict, hash=False)

    def model(self, tier: str) -> str:
        """Return the model of a tier: the named one where this provider can have it, else the provider's default."""
        if tier == CHEAP:
            return self._named(CHEAP) or self._own(STANDARD) or self._default(tier)
        return self._named(tier) or self._default(tier)

    def can_have(self, model: str) -> bool:
        """Return whether this provider may know a model of this id."""
        if self.name == "demo":
            return False
        if self.base_url in {OPENAI_URL, ANTHROPIC_URL}:
            return is_anthropic(model) == (self.name == "anthropic")
        return True

    def _default(self, tier: str) -> str:
        return DEFAULT_MODELS[self.name][tier]

    def _named(self, tier: str) -> str:
        """Return the named model of a tier, or an empty text where it is another provider's."""
        model = self.named.get(tier, "")
        return model if self.can_have(model) else ""

    def _own(self, tier: str) -> str:
        """Return the named model of somebody's own server, which is all that we know to be there."""
        return "" if self.base_url in {OPENROUTER_URL, OPENAI_URL, ANTHROPIC_URL} else self._named(tier)


def configured(mode: str, settings: Any) -> Provider | None:
    """Return the real provider of a mode's own engine, or None when none is configured.

    Args:
        mode: `fast` or `extended_thinking`.
        settings: Whatever has the settings of models as attributes.
    """
    named = {
        STANDARD: settings.CHAT_MODEL,
        ADVANCED: settings.CHAT_ADVANCED_MODEL,
        CHEAP: settings.CHAT_TITLE_MODEL,
    }
    if mode == EXTENDED_THINKING:
        if settings.ANTHROPIC_API_KEY or settings.ANTHROPIC_BASE_URL:
            url = settings.ANTHROPIC_BASE_URL or ANTHROPIC_URL
            return Provider("anthropic", url, settings.ANTHROPIC_API_KEY, EXTENDED_THINKING, named)
        return None
    if settings.OPENROUTER_API_KEY:
        return Provider("openrouter", OPENROUTER_URL, settings.OPENROUTER_API_KEY, FAST, named)
    if settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL:
        return Provider("openai", settings.OPENAI_BASE_URL or OPENAI_URL, settings.OPENAI_API_KEY, FAST, named)
    return None


def provider_of(mode: str, settings: Any) -> Provider:
    """Return who answers in a mode: its own provider, else the other mode's, else the demo model."""
    thinks = mode == EXTENDED_THINKING
    found = configured(mode, settings) or configured(FAST if thinks else EXTENDED_THINKING, settings)
    if found is not None:
        return found
    url = settings.DEMO_MODEL_URL or DEMO_URL
    return Provider("demo", url if thinks else f"{url}/v1", "", mode)


def engine_of(provider: Provider, settings: Any, *, thinking_tokens: int) -> OpenAIChat | AnthropicMessages:
    """Make the engine that speaks a provider's protocol; it holds nothing between its calls.

    Args:
        provider: Whom it talks to.
        settings: As in `configured`.
        thinking_tokens: How many tokens the model may think, 0 for none.
    """
    if provider.engine == EXTENDED_THINKING:
        return AnthropicMessages(
            base_url=provider.base_url,
            api_key=provider.api_key,
            thinking_tokens=thinking_tokens,
            effort=settings.CHAT_THINKING_EFFORT,
            cache_ttl=settings.CHAT_PROMPT_CACHE_TTL,
            facts=lambda model: facts_of(model, settings),
        )
    return OpenAIChat(
        base_url=provider.base_url,
        api_key=provider.api_key,
        provider=provider.name,
        thinking_tokens=thinking_tokens,
        cache_ttl=settings.CHAT_PROMPT_CACHE_TTL,
    )


def facts_of(model: str, settings: Any) -> ModelFacts:
    """Return what an installation knows of a model."""
    return catalog.facts(model, settings.CHAT_MODEL_FACTS)
