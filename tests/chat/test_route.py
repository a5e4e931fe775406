"""Who answers: providers, models and engines by the settings."""

from __future__ import annotations

import pytest

from apps.chat.turns.history import openai_messages
from apps.chat.turns.route import NO_FAST_ENGINE, NO_THINKING_ENGINE, Router
from apps.engines.anthropic_messages import AnthropicMessages
from apps.engines.catalog import ModelFacts
from apps.engines.openai_chat import OpenAIChat

KEYS = ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")


@pytest.fixture(autouse=True)
def nothing_configured(settings):
    for name in (*KEYS, "CHAT_MODEL", "CHAT_ADVANCED_MODEL", "CHAT_TITLE_MODEL"):
        setattr(settings, name, "")


@pytest.mark.parametrize(
    ("keys", "fast", "thinking"),
    [
        ((), ("demo", OpenAIChat, ""), ("demo", AnthropicMessages, "")),
        (
            ("OPENROUTER_API_KEY",),
            ("openrouter", OpenAIChat, ""),
            ("openrouter", OpenAIChat, NO_THINKING_ENGINE),
        ),
        (
            ("ANTHROPIC_API_KEY",),
            ("anthropic", AnthropicMessages, NO_FAST_ENGINE),
            ("anthropic", AnthropicMessages, ""),
        ),
        (
            ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"),
            ("openai", OpenAIChat, ""),
            ("anthropic", AnthropicMessages, ""),
        ),
    ],
)
def test_a_mode_without_its_key_falls_back_with_a_notice(settings, keys, fast, thinking):
    for key in keys:
        setattr(settings, key, "sk")

    router = Router()

    for mode, wanted in (("fast", fast), ("extended_thinking", thinking)):
        route = router.route(mode, "standard")
        assert (route.provider, type(route.engine), route.notice) == wanted
        assert (route.build_messages is openai_messages) == (wanted[1] is OpenAIChat)


@pytest.mark.parametrize(
    ("values", "mode", "models"),
    [
        ({"OPENROUTER_API_KEY": "k"}, "fast", ("anthropic/claude-sonnet-4-6", "anthropic/claude-opus-4-7")),
        ({"ANTHROPIC_API_KEY": "k"}, "extended_thinking", ("anthropic/claude-sonnet-4-6", "anthropic/claude-opus-4-7")),
        ({"OPENROUTER_API_KEY": "k", "CHAT_MODEL": "x/y"}, "fast", ("x/y", "anthropic/claude-opus-4-7")),
        (
            {"ANTHROPIC_API_KEY": "k", "CHAT_MODEL": "openai/gpt-4o"},
            "extended_thinking",
            ("anthropic/claude-sonnet-4-6",),
        ),
        ({"ANTHROPIC_API_KEY": "k", "CHAT_MODEL": "claude-haiku-4-5"}, "extended_thinking", ("claude-haiku-4-5",)),
        ({"OPENAI_API_KEY": "k", "CHAT_MODEL": "anthropic/claude-x"}, "fast", ("gpt-4o",)),
        ({"ANTHROPIC_BASE_URL": "http://a.b", "CHAT_MODEL": "kimi"}, "extended_thinking", ("kimi",)),
        ({"CHAT_MODEL": "x"}, "fast", ("flightdeck-demo", "flightdeck-demo")),
    ],
)
def test_tiers_are_models_that_the_provider_has(settings, values, mode, models):
    for name, value in values.items():
        setattr(settings, name, value)

    router = Router()

    assert tuple(router.route(mode, tier).model for tier in ("standard", "advanced")[: len(models)]) == models


@pytest.mark.parametrize(
    ("values", "model"),
    [
        ({"OPENROUTER_API_KEY": "k"}, "openai/gpt-4o-mini"),
        ({"OPENROUTER_API_KEY": "k", "CHAT_TITLE_MODEL": "x/y"}, "x/y"),
        ({"OPENAI_API_KEY": "k", "CHAT_MODEL": "gpt-5"}, "gpt-4o-mini"),
        ({"OPENAI_BASE_URL": "http://a.b/v1", "CHAT_MODEL": "local"}, "local"),
        ({"ANTHROPIC_API_KEY": "k"}, "anthropic/claude-haiku-4-5"),
        ({}, "flightdeck-demo"),
    ],
)
def test_titles_are_made_by_a_cheap_model(settings, values, model):
    for name, value in values.items():
        setattr(settings, name, value)

    assert Router().cheap().model == model


def test_a_route_knows_its_model_and_its_cache(settings):
    settings.ANTHROPIC_API_KEY = "k"
    settings.CHAT_MODEL_FACTS = {"claude-sonnet-4": ModelFacts(context_tokens=5)}
    settings.CHAT_PROMPT_CACHE_TTL = "5m"

    route = Router().route("extended_thinking", "standard")

    assert (route.facts.context_tokens, route.cache_ttl) == (5, "5m")
