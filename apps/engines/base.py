"""What an engine is: an async generator of typed events for one step (one model call).

The runner owns the loop, the rows and the event log; an engine knows a provider's wire and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as a model is offered it: `parameters` is a JSON schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


class Figures(Protocol):
    """What a provider tells of one call."""

    @property
    def usage(self) -> Usage | None:
        """What the call used, as far as it is known; None before anything is."""

    @property
    def told_all(self) -> bool:
        """Whether `usage` is what the whole call used."""


@dataclass(slots=True, kw_only=True)
class Meter:
    """What an engine knows of a call while it goes on; whoever breaks it off, or sees it break, books by it.

    Attributes:
        may_cost: The request went out whole and wasn't refused, so that the provider may charge it.
        came_whole: The answer came to its end.
        figures: What the provider tells of what is used.
    """

    may_cost: bool = False
    came_whole: bool = False
    figures: Figures | None = None

    @property
    def told(self) -> Usage | None:
        """What the provider told so far."""
        return None if self.figures is None else self.figures.usage

    @property
    def told_all(self) -> bool:
        """Whether that is what the whole call used."""
        return self.figures is not None and self.figures.told_all


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest:
    """One model call.

    Attributes:
        model: The provider's model id.
        system: The system prompt in parts: first what everybody shares, then what is the same for a session.
        messages: The conversation in the provider's own shape, oldest first.
        tools: What the model may call; empty for none.
        meter: Where the engine notes what the call uses.
        max_output_tokens: What it may say at most, besides thinking; 0 leaves it to the engine.
    """

    model: str
    system: Sequence[str]
    messages: Sequence[dict[str, Any]]
    tools: Sequence[ToolSpec] = ()
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)
    max_output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Some more visible text; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Some more reasoning that people may read; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolInputStart:
    """The model began a tool call; `index` names it within this step (0, 1, …)."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class ToolInputDelta:
    """Some more of a call's arguments, as JSON text."""

    index: int
    delta: str


@dataclass(frozen=True, slots=True)
class ToolInputEnd:
    """A call's arguments are complete: `arguments` is the whole JSON text as the model wrote it."""

    index: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and cost of one call, normalised alike for every provider.

    Attributes:
        prompt_tokens: Uncached input tokens.
        completion_tokens: Output tokens, reasoning included.
        cache_read_tokens: Input tokens read from the provider's prompt cache.
        cache_write_tokens: Input tokens written to it.
        cost_microdollars: What the provider said the call cost, or None when it said nothing usable.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_microdollars: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """Return the sum; its cost is None only where neither call told one."""
        costs = [cost for cost in (self.cost_microdollars, other.cost_microdollars) if cost is not None]
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cost_microdollars=sum(costs) if costs else None,
        )


@dataclass(frozen=True, slots=True)
class StepEnd:
    """The model finished by itself.

    Attributes:
        finish_reason: `stop`, `tool-calls`, `length`, `content-filter` or `other`.
        provider_blocks: The provider's own blocks, where they must be sent back unchanged.
    """

    finish_reason: str
    provider_blocks: list[dict[str, Any]] = field(default_factory=list)


EngineEvent = TextDelta | ReasoningDelta | ToolInputStart | ToolInputDelta | ToolInputEnd | Usage | StepEnd


class Engine(Protocol):
    """A provider's wire protocol."""

    def step(self, request: StepRequest) -> AsyncGenerator[EngineEvent]:
        """Make one model call.

        Order: text, reasoning and tool events as they come; a `ToolInputStart` comes before its deltas and
        every started one gets its `ToolInputEnd`, at the end of an answer that came whole; then `Usage` (at most
        once) and `StepEnd`, when the answer came whole. Of one that broke off or was closed, the request's meter tells
        what is known. Closing the generator closes the connection.

        Raises:
            EngineError: One of its subclasses, when the call failed.
        """
        ...


class EngineError(Exception):
    """The model could not answer."""

    code: ClassVar[str] = "model_error"
    transient: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, status: int | None = None) -> None:
        """Keep a sentence for a person and the HTTP status, if there was one."""
        self.detail = detail or type(self).__doc__ or ""
        self.status = status
        super().__init__(self.detail)


class ModelUnreachable(EngineError):
    """The model can't be reached or is overloaded right now."""

    code = "model_unreachable"
    transient = True


class ModelRefused(EngineError):
    """The model's provider refused the request."""

    code = "model_refused"


class ContextTooLong(EngineError):
    """The conversation is longer than this model can read."""

    code = "context_too_long"


class BrokenStream(EngineError):
    """The model's answer broke off or could not be read."""

    code = "broken_stream"
    transient = True


class ModelSilent(EngineError):
    """The model said nothing for a long time."""

    code = "model_silent"
