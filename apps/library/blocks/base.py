"""What a block is: a step of an agent, with typed input pins and output pins.

A new block is one class with two pydantic models and an async generator `run`. It is found by being in a module of this
package, or of one that LIBRARY_BLOCK_MODULES names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from apps.engines.base import Usage
from apps.library.blocks.coercion import fit_pins

ERROR_PIN = "error"
#: A node's time limit, where its block names none.
DEFAULT_TIMEOUT_SECONDS = 300.0


class BlockType(StrEnum):
    """What kind of part a block plays in a graph."""

    STANDARD = "Standard"
    INPUT = "Input"
    OUTPUT = "Output"
    NOTE = "Note"
    WEBHOOK = "Webhook"
    WEBHOOK_MANUAL = "Webhook (manual)"
    AGENT = "Agent"
    AI = "AI"
    HUMAN_IN_THE_LOOP = "Human In The Loop"
    MCP_TOOL = "MCP Tool"


class Category(StrEnum):
    """What a block is about; people look for blocks by it."""

    AI = "AI"
    SOCIAL = "SOCIAL"
    TEXT = "TEXT"
    SEARCH = "SEARCH"
    BASIC = "BASIC"
    INPUT = "INPUT"
    OUTPUT = "OUTPUT"
    LOGIC = "LOGIC"
    COMMUNICATION = "COMMUNICATION"
    DEVELOPER_TOOLS = "DEVELOPER_TOOLS"
    DATA = "DATA"
    AGENT = "AGENT"
    SAFETY = "SAFETY"
    PRODUCTIVITY = "PRODUCTIVITY"
    ISSUE_TRACKING = "ISSUE_TRACKING"
    MULTIMEDIA = "MULTIMEDIA"


class CostType(StrEnum):
    """What a charge is counted by."""

    RUN = "run"
    SECOND = "second"
    BYTE = "byte"
    ITEMS = "items"
    TOKENS = "tokens"
    COST_USD = "cost_usd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What using a block costs.

    Attributes:
        type: What it is counted by.
        amount_microdollars: For one of that; of `cost_usd` for one dollar that the provider takes.
        when: Inputs that must have these values for this cost to count; the first that fits does.
    """

    type: CostType
    amount_microdollars: int
    when: Mapping[str, Any] = field(default_factory=dict)


class Pins(BaseModel):
    """The base of input and output models. Values of foreign files are loosely typed, so they are coerced."""

    model_config = ConfigDict(coerce_numbers_to_str=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _fit(cls, data: Any) -> Any:
        return fit_pins(cls, data) if isinstance(data, Mapping) else data


class CredentialsRef(BaseModel):
    """Which credential a node uses; what it holds is never in a graph."""

    id: UUID
    provider: str = ""
    type: str = ""
    title: str | None = None


def credentials_field(
    *providers: str, types: tuple[str, ...] = ("api_key",), scopes: tuple[str, ...] = (), optional: bool = False
) -> Any:
    """Return the field of a credentials input, which must be named `credentials` or end in `_credentials`.

    Args:
        providers: Whose credentials fit.
        types: Which kinds of credentials fit; see `Credential.Type`.
        scopes: What an OAuth token must allow.
        optional: Whether the block also runs without one.
    """
    facts = {"credentials_provider": providers, "credentials_types": types, "credentials_scopes": scopes}
    extra = cast("Any", {name: list(words) for name, words in facts.items()})
    told = "The credential that it uses."
    if optional:
        return Field(default=None, description=told, json_schema_extra=extra)
    return Field(description=told, json_schema_extra=extra)


@dataclass(frozen=True, slots=True)
class Secret:
    """A decrypted credential, for as long as a block runs.

    Attributes:
        provider: Whose it is.
        type: See `Credential.Type`.
        values: `api_key`; `access_token`; `username`, `password`; or `headers`.
        host: Of host-scoped ones: where it may be sent.
    """

    provider: str
    type: str
    values: Mapping[str, Any] = field(repr=False)
    host: str = ""


@dataclass(slots=True)
class BlockStats:
    """What a block counts while it runs, for costs and operators.

    Attributes:
        usage: Model tokens and cost.
        model_calls: How often a model was asked.
        retries: How often it had to be asked again.
        items: Of charges by items.
        provider_cost_microdollars: What a provider said the call cost, besides models.
    """

    usage: Usage = field(default_factory=Usage)
    model_calls: int = 0
    retries: int = 0
    items: int = 0
    provider_cost_microdollars: int = 0


@dataclass(slots=True, kw_only=True)
class BlockContext:
    """What a block may know and do. One is made for each node execution.

    Attributes:
        user_id: Whose run it is.
        graph_id: The graph, whatever its version.
        graph_version: Its version.
        execution_id: The run.
        root_execution_id: The topmost run of the tree that this one belongs to.
        node_id: The node.
        node_execution_id: This use of it.
        depth: How many runs are above this one.
        is_dry_run: Whether nothing may be touched or spent.
        time_zone: The person's IANA time zone.
        safe_mode: Whether human-in-the-loop blocks ask.
        sensitive_safe_mode: Whether sensitive blocks ask.
        secrets: The node's credentials by input name.
        stats: What the block counts.
        services: What upper layers offer to blocks, by name; see `apps.library.blocks.services`.
    """

    user_id: UUID
    graph_id: UUID
    graph_version: int
    execution_id: UUID
    root_execution_id: UUID
    node_id: UUID
    node_execution_id: UUID
    depth: int = 0
    is_dry_run: bool = False
    time_zone: str = "UTC"
    safe_mode: bool = True
    sensitive_safe_mode: bool = False
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    stats: BlockStats = field(default_factory=BlockStats)
    services: Mapping[str, Callable[..., Awaitable[Any]]] = field(default_factory=dict)


In = TypeVar("In", bound=Pins)
Out = TypeVar("Out", bound=Pins)


class Block(ABC, Generic[In]):
    """A kind of step.

    Attributes:
        id: Names it in graphs, for ever.
        name: What people see.
        description: One or two sentences.
        categories: What it is about.
        Input: Its input pins. A field without a default is required. Names that Python doesn't take are aliases.
        Output: Its output pins; `error` is there always.
        type: Its part in a graph.
        static_output: Whether what it puts out is reused for ever instead of being used up.
        costs: What it costs; the first that fits counts; none = free.
        is_sensitive_action: Whether it does something to the world that a person may want to approve first.
        is_idempotent: Whether it may run again when it was cut off.
        disabled: Whether it can't be used in new graphs.
        timeout_seconds: How long one run of it may take; None = as long as it takes.
    """

    id: ClassVar[str]
    name: ClassVar[str]
    description: ClassVar[str]
    categories: ClassVar[frozenset[Category]] = frozenset()
    Input: ClassVar[type[Pins]]
    Output: ClassVar[type[Pins]]
    type: ClassVar[BlockType] = BlockType.STANDARD
    static_output: ClassVar[bool] = False
    costs: ClassVar[tuple[Cost, ...]] = ()
    is_sensitive_action: ClassVar[bool] = False
    is_idempotent: ClassVar[bool] = False
    disabled: ClassVar[bool] = False
    timeout_seconds: ClassVar[float | None] = DEFAULT_TIMEOUT_SECONDS

    @abstractmethod
    def run(self, inputs: In, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Yield (pin, value) pairs, any number of them; values must be JSON-ready.

        Raises:
            BlockError: What was asked can't be done; its message goes to people and to the pin `error`.
        """

    @classmethod
    def input_schema(cls) -> dict[str, Any]:
        """Return the JSON schema of its input pins."""
        return cls.Input.model_json_schema(by_alias=True)

    @classmethod
    def output_schema(cls) -> dict[str, Any]:
        """Return the JSON schema of its output pins, `error` among them."""
        schema = cls.Output.model_json_schema(by_alias=True)
        error = {"type": "string", "title": "Error", "description": "Why it failed."}
        return {**schema, "properties": {**schema.get("properties", {}), ERROR_PIN: error}}

    @classmethod
    def credentials_inputs(cls) -> dict[str, dict[str, Any]]:
        """Return its credentials inputs by name, with `credentials_provider` and the like."""
        return {
            name: dict(found.json_schema_extra)
            for name, found in cls.Input.model_fields.items()
            if isinstance(found.json_schema_extra, dict) and "credentials_provider" in found.json_schema_extra
        }
