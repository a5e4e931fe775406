"""The typed chunks of the AI SDK's UI message stream.

One class a type; `Chunk` is their union, used to encode and to read back. Fields that are absent are left out: the AI
SDK's parser refuses a null where a field is optional. What versions 5 to 7 of that parser take was tried out.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Base(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", rename="camel"):
    """What all chunks share: camel-case names and no empty fields."""


class Start(Base, frozen=True, tag="start"):
    """The assistant's message begins; its id is the turn's."""

    message_id: str


class StartStep(Base, frozen=True, tag="start-step"):
    """A step begins: one model call and the tool results that follow it."""


class FinishStep(Base, frozen=True, tag="finish-step"):
    """The step is over; all its blocks are closed."""


class TextStart(Base, frozen=True, tag="text-start"):
    """A block of visible text begins; its id is that of the row that will hold it."""

    id: str


class TextDelta(Base, frozen=True, tag="text-delta"):
    """Some more text."""

    id: str
    delta: str


class TextEnd(Base, frozen=True, tag="text-end"):
    """The block of text is complete."""

    id: str


class ReasoningStart(Base, frozen=True, tag="reasoning-start"):
    """A block of reasoning begins; its id is that of the row that will hold it."""

    id: str


class ReasoningDelta(Base, frozen=True, tag="reasoning-delta"):
    """Some more reasoning."""

    id: str
    delta: str


class ReasoningFacts(msgspec.Struct, frozen=True, rename="camel"):
    """How long it took from the block's start to its end."""

    duration_ms: int


class ReasoningMetadata(msgspec.Struct, frozen=True):
    """What the AI SDK hands on without looking at it, under our name."""

    flightdeck: ReasoningFacts


class ReasoningEnd(Base, frozen=True, tag="reasoning-end"):
    """The block of reasoning is complete; where its runner died, nobody knows how long it took."""

    id: str
    provider_metadata: ReasoningMetadata | None = None


class ToolInputStart(Base, frozen=True, tag="tool-input-start"):
    """The model begins to write a tool call."""

    tool_call_id: str
    tool_name: str


class ToolInputDelta(Base, frozen=True, tag="tool-input-delta"):
    """Some more of the call's JSON text."""

    tool_call_id: str
    input_text_delta: str


class ToolInputAvailable(Base, frozen=True, tag="tool-input-available"):
    """The call is complete; an input that is no JSON object is given as the text that the model wrote."""

    tool_call_id: str
    tool_name: str
    input: Any


class ToolOutputAvailable(Base, frozen=True, tag="tool-output-available"):
    """The call's result."""

    tool_call_id: str
    output: Any


class ToolOutputError(Base, frozen=True, tag="tool-output-error"):
    """The call has no result: it was stopped, cut off or refused."""

    tool_call_id: str
    error_text: str


class StatusData(msgspec.Struct, frozen=True):
    """What is being done right now."""

    message: str


class DataStatus(Base, frozen=True, tag="data-status"):
    """A line about what is being done; shown live, never stored."""

    data: StatusData
    transient: bool


class RewindData(msgspec.Struct, frozen=True):
    """Where a recovered turn goes on.

    Attributes:
        step: The last step that is stored whole.
        drop: Blocks that are void.
        keep: Blocks begun after `step` that are stored; whatever else was begun after it is void too.
    """

    step: int
    drop: list[str]
    keep: list[str]


class DataRewind(Base, frozen=True, tag="data-rewind"):
    """A new runner took the turn over; some of what was shown is void."""

    data: RewindData


class DrainedMessage(msgspec.Struct, frozen=True):
    """A message that waited and is now a user row of this id."""

    id: str
    content: str


class DrainedData(msgspec.Struct, frozen=True):
    """What entered the turn."""

    count: int
    messages: list[DrainedMessage]


class DataPendingDrained(Base, frozen=True, tag="data-pending-drained"):
    """Messages that waited entered the turn here, between two steps."""

    data: DrainedData


class ExecutionData(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a run of an agent stands; the words of its status are the library's."""

    status: str
    node_count: int = 0
    node_error_count: int = 0


class DataExecution(Base, frozen=True, tag="data-execution"):
    """Progress of a run that this turn started; `id` is the run's, so that later ones take the place of earlier ones.

    Shown live, never stored: the run has rows of its own.
    """

    id: str
    data: ExecutionData


class UsageData(msgspec.Struct, frozen=True):
    """Tokens of the turn so far; never money."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int


class MetadataBody(msgspec.Struct, frozen=True):
    """What is known about the message."""

    usage: UsageData


class MessageMetadata(Base, frozen=True, tag="message-metadata"):
    """Tokens used so far."""

    message_metadata: MetadataBody


class Error(Base, frozen=True, tag="error"):
    """The turn failed; `error_text` is a sentence for a person, after an optional `[code:<id>] `."""

    error_text: str


class Abort(Base, frozen=True, tag="abort"):
    """A person stopped the turn."""


class Finish(Base, frozen=True, tag="finish"):
    """The turn is over. Nothing follows."""


Chunk = (
    Start
    | StartStep
    | FinishStep
    | TextStart
    | TextDelta
    | TextEnd
    | ReasoningStart
    | ReasoningDelta
    | ReasoningEnd
    | ToolInputStart
    | ToolInputDelta
    | ToolInputAvailable
    | ToolOutputAvailable
    | ToolOutputError
    | DataStatus
    | DataRewind
    | DataPendingDrained
    | DataExecution
    | MessageMetadata
    | Error
    | Abort
    | Finish
)
Delta = TextDelta | ReasoningDelta | ToolInputDelta

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Chunk)


def kind_of(chunk: Base) -> str:
    """Return a chunk's wire type."""
    return str(chunk.__struct_config__.tag)


def encode(chunk: Base) -> bytes:
    """Return a chunk as one line of JSON."""
    return _encoder.encode(chunk)


def decode(data: bytes) -> Chunk:
    """Read a chunk back.

    Raises:
        msgspec.ValidationError: When it is none.
    """
    return _decoder.decode(data)


def merged(first: Delta, second: Delta) -> Delta | None:
    """Return one delta for two that follow one another in one block, or None when they are of different blocks."""
    match first, second:
        case TextDelta(), TextDelta() if first.id == second.id:
            return TextDelta(id=first.id, delta=first.delta + second.delta)
        case ReasoningDelta(), ReasoningDelta() if first.id == second.id:
            return ReasoningDelta(id=first.id, delta=first.delta + second.delta)
        case ToolInputDelta(), ToolInputDelta() if first.tool_call_id == second.tool_call_id:
            whole = first.input_text_delta + second.input_text_delta
            return ToolInputDelta(tool_call_id=first.tool_call_id, input_text_delta=whole)
    return None
