"""The copilot's task list: people watch it change while a turn runs."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from apps.chat.tools.base import Tool, ToolArguments, ToolContext, ToolResult

MAX_TODOS = 100  # more is a document, not a list to work through
MAX_TODO_CHARS = 1_000

_Line = Annotated[str, Field(min_length=1, max_length=MAX_TODO_CHARS)]


class TodoItem(BaseModel):
    """One task."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    content: _Line = Field(description="What is to be done: 'Run the tests'.")
    active_form: _Line = Field(alias="activeForm", description="The same while it is being done: 'Running the tests'.")
    status: Literal["pending", "in_progress", "completed"]


class TodoWriteArguments(ToolArguments):
    """The whole list."""

    todos: list[TodoItem] = Field(max_length=MAX_TODOS, description="The whole list; it replaces the one before.")


class TodoWriteResult(ToolResult):
    """The list, as it was written."""

    type: str = "todo_write"
    todos: list[TodoItem]


class TodoWrite(Tool):
    """Shows the user a task list. The list lives in the conversation itself, so nothing is stored."""

    name: ClassVar[str] = "todo_write"
    description: ClassVar[str] = (
        "Write the task list that the user sees while you work on something with several steps. Send the whole list "
        "each time. Keep exactly one task in_progress, and mark tasks completed as soon as they are done."
    )
    arguments: ClassVar[type[ToolArguments]] = TodoWriteArguments
    idempotent: ClassVar[bool] = True

    async def run(self, arguments: TodoWriteArguments, context: ToolContext) -> TodoWriteResult:
        """Echo the list.

        Args:
            arguments: The whole list.
            context: Not needed.

        Returns:
            The same list with a count by status.
        """
        counts = Counter(todo.status for todo in arguments.todos)
        message = (
            f"The list has {len(arguments.todos)} tasks: {counts['completed']} completed, "
            f"{counts['in_progress']} in progress, {counts['pending']} pending."
        )
        return TodoWriteResult(message=message, todos=arguments.todos)
