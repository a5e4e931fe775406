"""Making, changing and deleting webhooks."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.library.models import LibraryAgent, Preset, Webhook
from apps.library.webhooks.errors import SecretInvalid
from apps.library.webhooks.triggers import trigger_nodes
from apps.runtime.crypto import encrypt
from apps.runtime.errors import NotFound

PATH_BYTES = 32


def hash_path(path: str) -> str:
    """Return what is stored of a secret path: 256 random bits, whose hash can't be searched backwards."""
    return hashlib.sha256(path.encode(errors="replace")).hexdigest()


@transaction.atomic
def create_webhook(
    *,
    user_id: UUID,
    agent_id: UUID,
    name: str = "",
    provider: str = Webhook.Provider.GENERIC,
    preset_id: UUID | None = None,
    secret: str = "",
) -> tuple[Webhook, str, str]:
    """Make an address that starts an agent.

    Args:
        user_id: Whose runs it starts.
        agent_id: The library agent.
        name: What the person calls it, at most 200 characters.
        provider: One of `Webhook.Provider`.
        preset_id: The preset whose inputs its runs have.
        secret: What calls are signed with. Without one any service's calls are unsigned unless the trigger says
            otherwise, one is made for GitHub, and Slack and Stripe are refused until theirs is set.

    Returns:
        The row, its secret path and, when it was made here, the secret; neither can be shown again.

    Raises:
        NotFound: When the person has no such agent, or the agent no such preset.
        NoTrigger: When the agent has no trigger.
    """
    agent = LibraryAgent.objects.select_related("graph").filter(pk=agent_id, user=user_id).first()
    if agent is None:
        raise NotFound
    preset = find_preset(agent, preset_id)
    triggers = trigger_nodes(agent.graph)
    made = ""
    if not secret and provider == Webhook.Provider.GITHUB:
        secret = made = secrets.token_urlsafe(PATH_BYTES)
    elif not secret and provider == Webhook.Provider.GENERIC:
        named = (node.input_default.get("secret_token") for node in triggers)
        secret = next((token for token in named if token and isinstance(token, str)), "")
    path = secrets.token_urlsafe(PATH_BYTES)
    webhook = Webhook.objects.create(
        user_id=user_id,
        agent=agent,
        preset=preset,
        name=name,
        provider=provider,
        path_hash=hash_path(path),
        secret=encrypt(secret.encode()) if secret else None,
    )
    webhook.refresh_from_db(fields=["created_at"])
    return webhook, path, made


@transaction.atomic
def update_webhook(*, user_id: UUID, webhook_id: UUID, **changes: Any) -> Webhook:
    """Change a webhook.

    Args:
        user_id: Whose it is.
        webhook_id: The webhook.
        **changes: `name`, `is_enabled`, `preset_id` or `secret`, as in `create_webhook`; None takes a preset or a
            secret away.

    Raises:
        NotFound: When the person has no such webhook, or its agent no such preset.
        SecretInvalid: When calls have to be signed.
    """
    webhook = Webhook.objects.select_related("agent__graph").filter(pk=webhook_id, user=user_id).first()
    if webhook is None:
        raise NotFound
    if "secret" in changes:
        secret = changes.pop("secret")
        if not secret and webhook.provider != Webhook.Provider.GENERIC:
            raise SecretInvalid
        changes["secret"] = encrypt(secret.encode()) if secret else None
    if "preset_id" in changes:
        changes["preset"] = find_preset(webhook.agent, changes.pop("preset_id"))
    for column, value in changes.items():
        setattr(webhook, column, value)
    if changes and not Webhook.objects.filter(pk=webhook_id).update(**changes):
        raise NotFound
    return webhook


def rotate_path(*, user_id: UUID, webhook_id: UUID) -> str:
    """Give a webhook another secret path; the old one is unknown from now on.

    Returns:
        The path, which can't be shown again.

    Raises:
        NotFound: When the person has no such webhook.
    """
    path = secrets.token_urlsafe(PATH_BYTES)
    if not Webhook.objects.filter(pk=webhook_id, user=user_id).update(path_hash=hash_path(path)):
        raise NotFound
    return path


def delete_webhook(*, user_id: UUID, webhook_id: UUID) -> None:
    """Delete a webhook; its runs stay.

    Raises:
        NotFound: When the person has no such webhook.
    """
    deleted, _ = Webhook.objects.filter(pk=webhook_id, user=user_id).delete()
    if not deleted:
        raise NotFound


def find_preset(agent: LibraryAgent, preset_id: UUID | None) -> Preset | None:
    """Return an agent's preset, or None when none is asked for.

    Raises:
        NotFound: When it has no such preset.
    """
    if preset_id is None:
        return None
    preset = Preset.objects.filter(pk=preset_id, agent=agent, user=agent.user_id).first()
    if preset is None:
        raise NotFound
    return preset
