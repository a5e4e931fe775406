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
from apps.engines import catalog, providers
from apps.engines.anthropic_messages import origin
from apps.engines.base import Engine, Usage
from apps.engines.catalog import ModelFacts
from apps.engines.clients import anthropic_clients, openai_clients
from apps.engines.providers import CHEAP, Provider, engine_of, facts_of

NO_FAST_ENGINE = "The fast mode isn't set up here, so extended thinking answers."
NO_THINKING_ENGINE = "Extended thinking isn't set up here, so the fast mode answers."

BuildMessages = Callable[[Iterable[Message]], list[dict[str, Any]]]


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

    def call_of(self, usage: Usage, *, is_estimated: bool = False) -> ModelCall:
        """Return a call of this route, to be booked."""
        return ModelCall(
            provider=self.provider,
            model=self.model,
            usage=usage,
            facts=self.facts,
            cache_ttl=self.cache_ttl,
            is_estimated=is_estimated,
        )


def provider_of(mode: str) -> Provider:
    """Return who answers in a mode on this installation."""
    return providers.provider_of(mode, settings)


def fast_provider() -> Provider:
    """Return who answers in the fast mode."""
    return provider_of(Turn.Mode.FAST)


class Router:
    """A worker process's engines."""

    def __init__(self) -> None:
        """Prepare the engines; nothing is connected. Between steps, agents hold the clients."""
        self._providers = {mode: provider_of(mode) for mode in Turn.Mode.values}
        budget = settings.CHAT_MAX_THINKING_TOKENS
        self._engines = {
            mode: engine_of(provider, settings, thinking_tokens=budget) for mode, provider in self._providers.items()
        }
        self._plain = engine_of(self._providers[Turn.Mode.FAST], settings, thinking_tokens=0)

    def route(self, mode: str, tier: str) -> Route:
        """Return what answers a request of this mode and tier."""
        provider = self._providers[mode]
        notice = ""
        if provider.engine != mode:
            notice = NO_FAST_ENGINE if mode == Turn.Mode.FAST else NO_THINKING_ENGINE
        return _route(
            provider, self._engines[mode], tier, thinking=settings.CHAT_MAX_THINKING_TOKENS > 0, notice=notice
        )

    async def load(self) -> None:
        """Import what the engine of the usual mode needs, which the first turn would wait for."""
        await _clients(self._providers[settings.CHAT_DEFAULT_MODE]).load()

    def cheap(self) -> Route:
        """Return what makes titles and summaries; it doesn't think."""
        return _route(self._providers[Turn.Mode.FAST], self._plain, CHEAP, thinking=False)


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
        facts_of(model, settings),
        settings.CHAT_PROMPT_CACHE_TTL,
        notice,
        provider.base_url,
        provider.api_key,
        _clients(provider),
    )


def _clients(provider: Provider) -> SharedClients:
    return anthropic_clients if provider.engine == Turn.Mode.EXTENDED_THINKING else openai_clients
