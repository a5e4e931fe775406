"""Asking a model for a block: whom, with whose key, and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

from django.conf import settings

from apps.engines import catalog
from apps.engines.base import (
    ContextTooLong,
    EngineError,
    ModelRefused,
    StepEnd,
    StepRequest,
    TextDelta,
    ToolInputEnd,
    ToolSpec,
    Usage,
)
from apps.engines.providers import (
    ANTHROPIC_URL,
    CHEAP,
    EXTENDED_THINKING,
    FAST,
    OPENAI_URL,
    OPENROUTER_URL,
    STANDARD,
    Provider,
    engine_of,
    facts_of,
    provider_of,
)
from apps.engines.routes import is_anthropic
from apps.library.blocks.base import BlockContext, Cost, CostType, Secret
from apps.library.blocks.model_messages import Messages, for_anthropic, sound
from apps.library.errors import BlockError

#: Whose keys people may use instead of the installation's own.
KEY_PROVIDERS: Final = ("openai", "anthropic", "groq", "ollama", "open_router", "aiml_api", "llama_api", "v0")
#: Where they answer, and by which engine.
KEY_URLS: Final[Mapping[str, tuple[str, str]]] = {
    "openai": (OPENAI_URL, FAST),
    "anthropic": (ANTHROPIC_URL, EXTENDED_THINKING),
    "open_router": (OPENROUTER_URL, FAST),
    "groq": ("https://api.groq.com/openai/v1", FAST),
    "aiml_api": ("https://api.aimlapi.com/v1", FAST),
    "llama_api": ("https://api.llama.com/compat/v1", FAST),
    "v0": ("https://api.v0.dev/v1", FAST),
}
#: What a model call costs people: what it costs us.
MODEL_COSTS: Final = (Cost(type=CostType.COST_USD, amount_microdollars=1_000_000),)
#: Waits before a call that failed for the moment is made again, in seconds.
PAUSES: Final = (1.0, 4.0)
_UNKNOWN_MODEL: Final = frozenset({400, 404})


class PromptTooLong(BlockError):
    """The conversation is longer than this model can read."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom to ask.

    Attributes:
        provider: Who answers.
        model: The model to try.
        default: The model that is there for certain.
        is_own_key: Whether the person's own key is used, so that we pay nothing.
        thinking_tokens: How much it may think.
    """

    provider: Provider
    model: str
    default: str
    is_own_key: bool = False
    thinking_tokens: int = 0


@dataclass(slots=True)
class ModelAnswer:
    """What a model said.

    Attributes:
        text: Its visible words.
        tool_calls: What it calls, in the shape of chat completions, each with an id of its own.
    """

    text: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)

    def as_message(self) -> dict[str, Any]:
        """Return it as a message of a conversation."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        return {**message, "tool_calls": self.tool_calls} if self.tool_calls else message


def choose(named: str, secret: Secret | None, *, mode: str = FAST, tier: str = STANDARD) -> Choice:
    """Decide whom to ask.

    Args:
        named: The model that a node names; files name models that nobody knows any more, for which the default stands.
        secret: The person's own key, if the node has one.
        mode: Whose engine is preferred: `fast` or `extended_thinking`.
        tier: What answers when no model is named.
    """
    thinking = settings.CHAT_MAX_THINKING_TOKENS if mode == EXTENDED_THINKING else 0
    if secret is not None and secret.provider in KEY_URLS:
        url, engine = KEY_URLS[secret.provider]
        kind = {"anthropic": "anthropic", "open_router": "openrouter"}.get(secret.provider, "openai")
        own = Provider(kind, url, str(secret.values.get("api_key", "")), engine)
        default = own.model(tier)
        model = _spelled(named, kind) if named and own.can_have(named) else default
        return Choice(own, model, default, True, thinking)
    provider = provider_of(mode, settings)
    default = provider.model(tier)
    return Choice(provider, _known(named, provider) or default, default, False, thinking)


async def ask(
    context: BlockContext,
    choice: Choice,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[ToolSpec] = (),
    max_tokens: int | None = None,
) -> ModelAnswer:
    """Make a model call and count it.

    Args:
        context: Of the block, whose stats count.
        choice: Whom to ask.
        messages: The conversation, in the shape of chat completions; system messages go first wherever they stand.
        tools: What the model may call.
        max_tokens: What it may say at most.

    Raises:
        PromptTooLong: When it can't read so much.
        BlockError: When it doesn't answer.
    """
    request = _request(choice, messages, tools, max_tokens)
    engine = engine_of(choice.provider, settings, thinking_tokens=choice.thinking_tokens)
    pauses = iter(PAUSES)
    while True:
        try:
            return await _step(context, choice, engine, request)
        except EngineError as error:
            if isinstance(error, ModelRefused) and _may_be_unknown(error, request.model, choice):
                request = replace(request, model=choice.default)
            elif not error.transient or (pause := next(pauses, None)) is None:
                raise _translated(error) from None
            else:
                await asyncio.sleep(pause)
            context.stats.retries += 1


async def ask_cheap(context: BlockContext, text: str, *, system: str = "") -> str:
    """Have the installation's cheap model answer one text.

    Raises:
        BlockError: When it doesn't.
    """
    messages = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": text}]
    return (await ask(context, choose("", None, tier=CHEAP), messages)).text


async def _step(context: BlockContext, choice: Choice, engine: Any, request: StepRequest) -> ModelAnswer:
    answer = ModelAnswer()
    said: list[str] = []
    context.stats.model_calls += 1
    async with aclosing(engine.step(request)) as events:
        async for event in events:
            match event:
                case TextDelta(text=delta):
                    said.append(delta)
                case ToolInputEnd(name=name, arguments=arguments):
                    function = {"name": name, "arguments": arguments or "{}"}
                    answer.tool_calls.append({"id": f"call_{uuid4().hex}", "type": "function", "function": function})
                case Usage():
                    context.stats.usage += _priced(event, request.model, choice)
                case StepEnd():
                    pass
    answer.text = "".join(said).strip()
    return answer


def _request(
    choice: Choice, messages: Sequence[Mapping[str, Any]], tools: Sequence[ToolSpec], max_tokens: int | None
) -> StepRequest:
    system = [message["content"] for message in messages if message["role"] == "system" and message["content"]]
    rest: Messages = sound(message for message in messages if message["role"] != "system")
    if not any(message["role"] == "user" for message in rest):
        rest.insert(0, {"role": "user", "content": "Go on."})  # models answer somebody
    return StepRequest(
        model=choice.model,
        system=["\n\n".join(system)] if system else [],
        messages=for_anthropic(rest) if choice.provider.engine == EXTENDED_THINKING else rest,
        tools=tools,
        max_output_tokens=max(0, max_tokens or 0),
    )


def _priced(usage: Usage, model: str, choice: Choice) -> Usage:
    """Return what a call used, with what it costs us."""
    if choice.is_own_key:
        return replace(usage, cost_microdollars=0)
    if usage.cost_microdollars is not None:
        return usage
    cost = catalog.price(usage, facts_of(model, settings), cache_ttl=settings.CHAT_PROMPT_CACHE_TTL)
    return replace(usage, cost_microdollars=cost)


def _known(named: str, provider: Provider) -> str:
    """Return a named model as its provider calls it; empty where nobody knows it, or what it costs."""
    official = {OPENROUTER_URL, OPENAI_URL, ANTHROPIC_URL}
    if not named or provider.base_url not in official or not provider.can_have(named):
        return ""
    return _spelled(named, provider.name) if facts_of(named, settings) is not catalog.UNKNOWN else ""


def _spelled(named: str, provider: str) -> str:
    """Return a model's id with the vendor that OpenRouter wants to see, and that others don't."""
    if provider != "openrouter":
        return named.rpartition("/")[2]
    if "/" in named:
        return named
    return f"anthropic/{named}" if is_anthropic(named) else f"openai/{named}"


def _may_be_unknown(error: ModelRefused, model: str, choice: Choice) -> bool:
    return model != choice.default and error.status in _UNKNOWN_MODEL


def _translated(error: EngineError) -> BlockError:
    return PromptTooLong(error.detail) if isinstance(error, ContextTooLong) else BlockError(error.detail)
