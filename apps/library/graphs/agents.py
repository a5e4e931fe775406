"""How a person keeps agents: settings, folders, favorites, caps; and presets of their inputs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.library.errors import UnknownCredential
from apps.library.graphs import queries
from apps.library.graphs.exporter import as_uuid
from apps.library.graphs.folders import lock_folder
from apps.library.graphs.services import lock_agent
from apps.library.models import Credential, LibraryAgent, Preset
from apps.runtime.errors import NotFound

BUILDER_SESSION = "builder_chat_session_id"


def change_agent(*, user_id: UUID, agent_id: UUID, **changes: Any) -> LibraryAgent:
    """Change how a person keeps an agent.

    Args:
        user_id: Whose library.
        agent_id: The agent.
        changes: `settings`, of which only the keys that are given change; `folder_id`, `is_favorite`, `is_archived`,
            `run_cap_cents`, `daily_cap_cents`.

    Raises:
        NotFound: When the person has no such agent or folder.
    """
    with transaction.atomic():
        agent = lock_agent(user_id=user_id, agent_id=agent_id)
        if changes.get("folder_id") is not None:
            lock_folder(user_id=user_id, folder_id=changes["folder_id"])
        if "settings" in changes:
            changes["settings"] = {**agent.settings, **changes["settings"]}
        for name, value in changes.items():
            setattr(agent, name, value)
        agent.save(update_fields=list(changes))
        return agent


def builder_session_id(agent: LibraryAgent) -> UUID | None:
    """Return the conversation that an agent's settings name as its builder's; it may be gone, or never have been."""
    return as_uuid(agent.settings.get(BUILDER_SESSION))


def remember_builder_session(agent: LibraryAgent, session_id: UUID) -> None:
    """Name the conversation of an agent's builder in its settings; the caller has locked the agent."""
    agent.settings = {**agent.settings, BUILDER_SESSION: str(session_id)}
    agent.save(update_fields=["settings"])


def create_preset(*, user_id: UUID, agent_id: UUID, **columns: Any) -> Preset:
    """Keep inputs of an agent under a name.

    Args:
        user_id: Whose it is.
        agent_id: The agent.
        columns: `name`, `description`, `inputs`, `credential_inputs`, `is_active`.

    Raises:
        NotFound: When the person has no such agent.
        UnknownCredential: When a credential isn't the person's.
    """
    with transaction.atomic():
        agent = lock_agent(user_id=user_id, agent_id=agent_id)
        _check_credentials(user_id, columns.get("credential_inputs", {}))
        return Preset.objects.create(user_id=user_id, agent=agent, **columns)


def change_preset(*, user_id: UUID, preset_id: UUID, **changes: Any) -> Preset:
    """Change a preset; see `create_preset`.

    Raises:
        NotFound: When the person has no such preset.
        UnknownCredential: When a credential isn't the person's.
    """
    _check_credentials(user_id, changes.get("credential_inputs", {}))
    mine = Preset.objects.filter(user_id=user_id, pk=preset_id)
    if not mine.update(**changes, updated_at=timezone.now()):
        raise NotFound
    return queries.access_preset(user_id, preset_id)


def delete_preset(*, user_id: UUID, preset_id: UUID) -> None:
    """Forget a preset.

    Raises:
        NotFound: When the person has no such preset.
    """
    if not Preset.objects.filter(user_id=user_id, pk=preset_id).delete()[0]:
        raise NotFound


def _check_credentials(user_id: UUID, chosen: dict[str, str]) -> None:
    """Check that credentials are a person's own.

    Raises:
        UnknownCredential: When one isn't, alike for unknown ones and somebody else's.
    """
    wanted = set(chosen.values())
    if Credential.objects.filter(user_id=user_id, pk__in=wanted).count() != len(wanted):
        raise UnknownCredential
