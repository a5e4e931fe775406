"""What a tool of the copilot is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from apps.chat.stream.chunks import ExecutionData
from apps.chat.tools.permissions import Permissions


class ToolArguments(BaseModel):
    """The base of every tool's arguments: unknown ones are refused by name."""

    model_config = ConfigDict(extra="forbid")


class ToolResult(BaseModel):
    """What a tool answers; subclasses add their own fields."""

    type: str
    message: str


class ToolFailure(ToolResult):
    """A failed call: `error` is a machine code, `message` a sentence that the model can act on."""

    type: str = "error"
    error: str
    details: dict[str, Any] | None = None


async def nobody_watches(execution_id: UUID, progress: ExecutionData) -> None:
    """Take word of a run where nobody is shown it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """What a running tool may know and do.

    Attributes:
        user_id: Whose copilot this is.
        session_id: The conversation.
        turn_id: The turn.
        tool_call_id: This call.
        dry_run: True where nothing outside may be changed.
        permissions: What the turn may use. Its tools are chosen by it already; what tools do on top is their matter.
        progress: Tells people what is being done right now (a short sentence, shown live, not stored). Awaiting it
            is a cancellation point, so a tool that reports as it works can always be stopped.
        show_run: Tells people where a run of an agent stands that the tool started; a later word on the same run takes
            the earlier one's place. A new status is told at once, figures now and then. A cancellation point too.
    """

    user_id: UUID
    session_id: UUID
    turn_id: UUID
    tool_call_id: UUID
    dry_run: bool
    progress: Callable[[str], Awaitable[None]]
    permissions: Permissions = field(default_factory=Permissions)
    show_run: Callable[[UUID, ExecutionData], Awaitable[None]] = nobody_watches


class Tool(ABC):
    """One tool: subclass it in a module of `apps/chat/tools/` and register it in `registry.py`.

    Attributes:
        name: What the model calls it by.
        description: What the model reads about it.
        arguments: The pydantic model that its JSON schema is made from.
        idempotent: True if running it twice does no more than once: only then is it run again after a crash.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    arguments: ClassVar[type[ToolArguments]]
    idempotent: ClassVar[bool] = False

    def is_available(self) -> bool:
        """Whether this installation can offer the tool."""
        return True

    @abstractmethod
    async def run(self, arguments: Any, context: ToolContext) -> ToolResult:
        """Do the work.

        Args:
            arguments: An instance of `self.arguments`, validated.
            context: Who asks, and what may be done.

        Returns:
            The answer; a foreseen failure is a `ToolFailure`. A cancelled tool lets `CancelledError` through.
        """
