"""`todo_write`."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from apps.chat.tools.base import ToolContext, ToolFailure
from apps.chat.tools.registry import ToolRegistry, render_result
from apps.chat.tools.todo import TodoWrite


async def quiet(text: str) -> None:
    """Tell nobody."""


async def write(todos: Any) -> Any:
    registry = ToolRegistry()
    registry.register(TodoWrite())
    ids = {name: uuid4() for name in ("user_id", "session_id", "turn_id", "tool_call_id")}
    context = ToolContext(**ids, dry_run=False, progress=quiet)
    return await registry.call("todo_write", json.dumps({"todos": todos}), context)


async def test_the_list_is_echoed() -> None:
    todos = [
        {"content": "Read", "activeForm": "Reading", "status": "completed"},
        {"content": "Write", "activeForm": "Writing", "status": "in_progress"},
    ]
    text, is_error = render_result(await write(todos))
    answer = json.loads(text)
    assert not is_error
    assert (answer["type"], answer["todos"]) == ("todo_write", todos)
    assert answer["message"] == "The list has 2 tasks: 1 completed, 1 in progress, 0 pending."
    assert (await write([])).message.startswith("The list has 0 tasks")


@pytest.mark.parametrize(
    "todos",
    [
        None,
        "text",
        [{"content": "Read", "activeForm": "Reading", "status": "done"}],
        [{"content": "", "activeForm": "Reading", "status": "pending"}],
        [{"content": "Read", "status": "pending"}],
        [{"content": "Read", "activeForm": "Reading", "status": "pending", "id": 1}],
        [{"content": "x" * 1001, "activeForm": "Reading", "status": "pending"}],
        [{"content": "Read", "activeForm": "Reading", "status": "pending"}] * 101,
    ],
)
async def test_wrong_lists_are_refused_with_the_place(todos: Any) -> None:
    answer = await write(todos)
    assert isinstance(answer, ToolFailure)
    assert answer.error == "input_validation_error"
    assert "todos" in answer.message


def test_it_may_run_again() -> None:
    assert TodoWrite.idempotent
