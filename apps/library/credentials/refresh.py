"""Access tokens are refreshed before they end, once however many need them.

The row decides: an even `version` means that nobody is refreshing. Whoever makes it odd, in one conditional UPDATE,
asks the provider and makes it even again. The others use the old token while it lasts, and then wait. Whoever was
killed between leaves an odd version; after a while another takes it over, which fences the first one off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from apps.library.credentials.providers import PROVIDERS, client_of
from apps.library.credentials.services import opened, sealed
from apps.library.credentials.tokens import (
    REQUEST_SECONDS,
    Tokens,
    TokensRefused,
    TokensUnreachable,
    request_tokens,
)
from apps.library.errors import CredentialUnusable
from apps.library.models import Credential
from apps.runtime import crypto
from apps.runtime.db import db, db_until_done
from apps.runtime.errors import Unavailable

EARLY_SECONDS: Final = 120.0  # a token that ends sooner is replaced
CLAIM_SECONDS: Final = REQUEST_SECONDS + 5  # whoever took longer than a request may take is gone
POLL_SECONDS: Final = 0.05
NOT_RENEWED: Final = "The access has ended and can't be renewed; connect the service again."

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A credential's row with its decrypted values."""

    id: UUID
    provider: str
    type: str
    host: str
    version: int
    expires_at: datetime | None
    values: Mapping[str, Any] = field(repr=False)

    @property
    def is_being_refreshed(self) -> bool:
        """Whether somebody is about to replace its access token."""
        return self.version % 2 == 1

    def ends_within(self, seconds: float) -> bool:
        """Return whether its access token ends that soon."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC) + timedelta(seconds=seconds)


async def fresh(held: Held) -> Held:
    """Return an OAuth credential whose access token lasts.

    Raises:
        CredentialUnusable: When it has ended and the provider gives no other.
        Unavailable: When it has ended and the provider doesn't answer.
    """
    if not held.ends_within(EARLY_SECONDS):
        return held
    if not held.values.get("refresh_token"):
        if held.ends_within(0):
            raise CredentialUnusable(NOT_RENEWED)
        return held
    if not held.is_being_refreshed and await db(_claim, held.id, held.version):
        return await _to_its_end(_refreshed(held, held.version + 1))
    if not held.ends_within(0):
        return held  # somebody else is at it; the old one does for now
    return await _when_refreshed(held.id)


async def _refreshed(held: Held, version: int) -> Held:
    """Refresh under a claim, and give the claim back whatever happens."""
    try:
        tokens = await _ask(held)
    except TokensRefused:
        await db_until_done(_release, held.id, version)
        raise CredentialUnusable(NOT_RENEWED) from None
    except TokensUnreachable:
        await db_until_done(_release, held.id, version)
        if not held.ends_within(0):
            return held
        raise Unavailable("The service doesn't answer, and the access to it has to be renewed.") from None
    values = {**held.values, "access_token": tokens.access_token}
    if tokens.refresh_token:  # most providers give a new one, which ends the old one
        values["refresh_token"] = tokens.refresh_token
    await db_until_done(_store, held.id, version, values, tokens.expires_at)
    logger.info("credential_refreshed", credential_id=str(held.id))
    return replace(held, values=values, expires_at=tokens.expires_at, version=version + 1)


async def _ask(held: Held) -> Tokens:
    service, client = PROVIDERS.get(held.provider), client_of(held.provider)
    if service is None or client is None:
        raise TokensRefused
    grant = {"grant_type": "refresh_token", "refresh_token": held.values["refresh_token"]}
    return await request_tokens(service, client, grant)


async def _when_refreshed(credential_id: UUID) -> Held:
    """Wait for whoever is refreshing; take over from one who is gone."""
    loop = asyncio.get_running_loop()
    held = await db(_reload, credential_id)
    seen, since = held.version, loop.time()
    while held.is_being_refreshed:
        if held.version != seen:
            seen, since = held.version, loop.time()
        if loop.time() - since > CLAIM_SECONDS and await db(_take_over, held.id, held.version):
            return await _to_its_end(_refreshed(held, held.version + 2))
        await asyncio.sleep(POLL_SECONDS)
        held = await db(_reload, credential_id)
    if held.ends_within(0):
        # Who refreshed was refused, or got no answer: asking again at once would only be refused again.
        raise Unavailable("The access to the service couldn't be renewed just now.")
    return held


async def _to_its_end(work: Coroutine[Any, Any, Held]) -> Held:
    """Run a refresh to its end, also when the caller is cancelled: its answer replaces tokens that no longer work.

    It is bounded by the time that a request may take.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            task.exception()  # nobody else looks at it
        raise asyncio.CancelledError
    return task.result()


def _claim(credential_id: UUID, version: int) -> bool:
    return Credential.objects.filter(pk=credential_id, version=version).update(version=version + 1) == 1


def _take_over(credential_id: UUID, version: int) -> bool:
    return Credential.objects.filter(pk=credential_id, version=version).update(version=version + 2) == 1


def _release(credential_id: UUID, version: int) -> None:
    Credential.objects.filter(pk=credential_id, version=version).update(version=version + 1)


def _store(credential_id: UUID, version: int, values: Mapping[str, Any], expires_at: datetime | None) -> None:
    Credential.objects.filter(pk=credential_id, version=version).update(
        secret=sealed(values), expires_at=expires_at, version=version + 1
    )


def _reload(credential_id: UUID) -> Held:
    row = Credential.objects.filter(pk=credential_id).first()
    if row is None:
        raise CredentialUnusable("The credential isn't there any more; choose another one.")
    try:
        values = opened(row.secret)
    except crypto.Undecryptable:
        raise CredentialUnusable("The credential can't be decrypted any more; store it again.") from None
    return Held(row.pk, row.provider, row.type, row.host, row.version, row.expires_at, values)
