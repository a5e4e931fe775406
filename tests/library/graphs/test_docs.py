"""The agent that docs/agents.md shows is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apps.library.graphs.services import import_agent

DOCS = Path(__file__).resolve().parents[3] / "docs" / "agents.md"


@pytest.mark.django_db
def test_the_agent_of_the_docs_can_run(owner):
    (file,) = [text for text in re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL) if '"nodes"' in text]
    imported = import_agent(user_id=owner.user.pk, file=file.encode())
    assert imported.told == []
    assert imported.agent.graph.nodes.count() == 3
