"""Agents in people's libraries, for tests of what the chat makes of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.library.models import LibraryAgent
from tests.library.graphs.graphs import echo

AGENTS = "/api/library/agents"


def new_agent(person: Any, **more: Any) -> tuple[UUID, str]:
    """Put an agent into a person's library; returns its id and its graph's."""
    answer = person.client.post(f"{AGENTS}/import", echo(**more), format="json")
    assert answer.status_code == 201, answer.json()
    agent = LibraryAgent.objects.get(pk=answer.json()["agent"]["id"])
    return agent.pk, str(agent.graph_id_shared)
