"""Agents, holds and resources that note what is done to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apps.chat.agents.agent import Agent
from apps.chat.agents.conversation import Conversation
from apps.engines.base import ToolSpec

NOW = 1_000_000.0


class Hold:
    """A hold on a client, and how often it was let go."""

    def __init__(self) -> None:
        self.client: object | None = object()
        self.releases = 0

    def release(self) -> None:
        self.client = None
        self.releases += 1


class Resource:
    """A sandbox, process, browser or child, and how often it was ended."""

    def __init__(self) -> None:
        self.closes = 0

    def close(self) -> None:
        self.closes += 1


KINDS = ("sandbox", "process 1", "browser", "child 1")


def with_resources(conversation: Conversation) -> dict[str, Resource]:
    """Give a conversation one resource of each kind."""
    resources = {kind: Resource() for kind in KINDS}
    for kind, resource in resources.items():
        conversation.add(kind, resource)
    return resources


def make_agent(session_id: str = "s", *, idle_seconds: float | None = 0, **facts: Any) -> Agent:
    """Return an agent whose last activity was so many seconds before `NOW`; None for one without activity."""
    facts.setdefault("system_prompt", "You are a copilot.")
    facts.setdefault("hold", Hold())
    at = None if idle_seconds is None else NOW - idle_seconds
    return Agent(session_id=session_id, last_activity_at=at, **facts)


def make_tools(names: Iterable[str] = ("todo_write", "web_fetch")) -> list[ToolSpec]:
    return [
        ToolSpec(
            name=name,
            description=f"What {name} does.",
            parameters={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        )
        for name in names
    ]
