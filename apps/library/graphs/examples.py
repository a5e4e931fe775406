"""Example agents that new people find in their library: the files in `apps/library/examples`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction

from apps.library.errors import GraphInvalid
from apps.library.graphs.services import import_agent
from apps.library.models import LibraryAgent

logger = structlog.get_logger(__name__)

FOLDER = Path(__file__).resolve().parent.parent / "examples"
#: The setting of a library agent that names the example that it came from.
MARK = "example"


@cache
def example_files() -> dict[str, bytes]:
    """Return the example files by name, in their order."""
    return {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.json"))}


@transaction.atomic
def load_examples(user_id: UUID) -> list[LibraryAgent]:
    """Put the examples into a person's library, but for those that are there already.

    Args:
        user_id: Whose library.

    Returns:
        The new agents.
    """
    mine = LibraryAgent.objects.filter(user_id=user_id)
    there = set(mine.filter(settings__has_key=MARK).values_list(f"settings__{MARK}", flat=True))
    made = []
    for name, file in example_files().items():
        if name in there:
            continue
        try:
            agent = import_agent(user_id=user_id, file=file).agent
        except GraphInvalid:
            # Nobody's sign-up fails because an operator's blocks don't go with an example.
            logger.warning("example_invalid", example=name)
            continue
        agent.settings = {MARK: name}
        agent.save(update_fields=["settings"])
        made.append(agent)
    return made


def load_for_new_user(sender: Any, user: Any, **kwargs: Any) -> None:
    """Give the examples to somebody who has just signed up."""
    load_examples(user.pk)
