"""A node's credential, decrypted and fresh, for as long as it runs."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Q

from apps.library.blocks.base import Secret
from apps.library.credentials.hosts import host_fits
from apps.library.credentials.refresh import Held, fresh
from apps.library.credentials.services import opened
from apps.library.errors import CredentialUnusable
from apps.library.models import Credential
from apps.runtime import crypto
from apps.runtime.db import db

#: How exact `last_used_at` is: an agent that runs a thousand nodes is not to write it a thousand times.
USED_SECONDS: Final = 60


async def resolve_secret(
    user_id: UUID,
    credential_id: UUID,
    *,
    provider: str | Collection[str] = (),
    types: Collection[str] = (),
    scopes: Collection[str] = (),
    host: str = "",
) -> Secret:
    """Return a person's credential for a block, refreshed if it would end soon.

    Args:
        user_id: Whose run it is.
        credential_id: Which credential the node names.
        provider: Whose credentials fit; empty = any.
        types: Which kinds fit; empty = any.
        scopes: What an OAuth token must allow.
        host: A full URL that a host-scoped one is to be sent to; empty where the block asks `host_fits` itself.

    Raises:
        CredentialUnusable: When this person has no such credential, it doesn't fit, can't be decrypted, or its access
            ended and can't be renewed.
        Unavailable: When it must be renewed and the provider doesn't answer.
    """
    providers = {provider} if isinstance(provider, str) and provider else set(provider)
    held = await db(_load, user_id, credential_id, frozenset(providers), frozenset(types), frozenset(scopes))
    if held.type == Credential.Type.HOST_SCOPED and host and not host_fits(held.host, host):
        raise CredentialUnusable("The credential isn't meant for that host.")
    if held.type == Credential.Type.OAUTH2:
        held = await fresh(held)
        return Secret(held.provider, held.type, {"access_token": held.values["access_token"]})
    return Secret(held.provider, held.type, held.values, held.host)


def _load(
    user_id: UUID, credential_id: UUID, providers: frozenset[str], types: frozenset[str], scopes: frozenset[str]
) -> Held:
    row = Credential.objects.filter(pk=credential_id, user_id=user_id).first()
    if row is None:
        raise CredentialUnusable("The credential isn't there any more; choose another one.")
    if (providers and row.provider not in providers) or (types and row.type not in types):
        raise CredentialUnusable("The credential is of another service or kind; choose another one.")
    if row.type == Credential.Type.OAUTH2 and not scopes <= set(row.scopes):
        raise CredentialUnusable("The credential doesn't allow what this needs; connect the service again.")
    now = datetime.now(UTC)
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(seconds=USED_SECONDS))
    Credential.objects.filter(stale, pk=row.pk).update(last_used_at=now)
    try:
        values = opened(row.secret)
    except crypto.Undecryptable:
        raise CredentialUnusable("The credential can't be decrypted any more; store it again.") from None
    return Held(row.pk, row.provider, row.type, row.host, row.version, row.expires_at, values)
