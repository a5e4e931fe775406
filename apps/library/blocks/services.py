"""What upper layers offer to blocks; an upper app fills this in its `AppConfig.ready()`.

`ask_copilot(context, *, prompt, system_context, session_id, max_recursion_depth, dry_run, permissions) -> dict` is the
chat's: it starts a turn, waits for its end and returns `response`, `tool_calls`, `conversation_history`, `session_id`
and `token_usage`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

offered: dict[str, Callable[..., Awaitable[Any]]] = {}
