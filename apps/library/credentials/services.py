"""Storing, renaming and deleting people's keys to other services."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.library.credentials import queries
from apps.library.credentials.hosts import normal_host
from apps.library.errors import CredentialInUse, CredentialInvalid
from apps.library.models import Credential
from apps.runtime import crypto
from apps.runtime.errors import NotFound

#: What a credential of each type holds.
VALUES: Mapping[str, frozenset[str]] = {
    Credential.Type.API_KEY: frozenset({"api_key"}),
    Credential.Type.USER_PASSWORD: frozenset({"username", "password"}),
    Credential.Type.HOST_SCOPED: frozenset({"headers"}),
    Credential.Type.OAUTH2: frozenset({"access_token", "refresh_token"}),
}
PROVIDER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]{1,8000}")
# Headers that say where a request goes or where it ends are the client's own.
_OWN_HEADERS = {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade"}
MOST_HEADERS = 20


def create_credential(
    *,
    user_id: UUID,
    provider: str,
    type: str,  # noqa: A002 -- the field's own name
    title: str,
    values: Mapping[str, Any],
    host: str = "",
    scopes: tuple[str, ...] = (),
    expires_at: datetime | None = None,
) -> Credential:
    """Store a key, encrypted.

    Args:
        user_id: Whose it is.
        provider: The service, such as `github`.
        type: One of `Credential.Type`.
        title: What its owner calls it.
        values: What `VALUES` names for its type.
        host: Of a host-scoped one: where it may be sent.
        scopes: What an OAuth token allows.
        expires_at: When an OAuth access token ends.

    Raises:
        CredentialInvalid: When they don't go together.
    """
    if not PROVIDER.fullmatch(provider):
        raise CredentialInvalid("A service's name is lower-case letters, digits, - and _.")
    if type not in VALUES or not set(values) <= VALUES[type] or not all(values.values()):
        raise CredentialInvalid("These are not what credentials of this type hold.")
    if type == Credential.Type.HOST_SCOPED:
        host = _checked_host(host)
        _check_headers(values["headers"])
    elif host:
        raise CredentialInvalid("Only host-scoped credentials have a host.")
    return Credential.objects.create(
        user_id=user_id,
        provider=provider,
        type=type,
        title=title or provider,
        host=host,
        scopes=list(scopes),
        secret=sealed(values),
        expires_at=expires_at,
    )


def rename_credential(*, user_id: UUID, credential_id: UUID, title: str) -> None:
    """Give a credential another title.

    Raises:
        NotFound: When this person has no such credential.
    """
    if not Credential.objects.filter(pk=credential_id, user_id=user_id).update(title=title):
        raise NotFound


def delete_credential(*, user_id: UUID, credential_id: UUID, force: bool = False) -> None:
    """Delete a credential for good.

    Args:
        user_id: Whose it is.
        credential_id: Which.
        force: Also when agents use it.

    Raises:
        NotFound: When this person has no such credential.
        CredentialInUse: When agents use it; it names them, and nothing is deleted.
    """
    mine = Credential.objects.filter(pk=credential_id, user_id=user_id)
    if not mine.exists():
        raise NotFound
    if not force and (agents := queries.agents_using(user_id=user_id, credential_id=credential_id)):
        raise CredentialInUse(agents)
    if not mine.delete()[0]:
        raise NotFound


def sealed(values: Mapping[str, Any]) -> bytes:
    """Return the values as they are stored."""
    return crypto.encrypt(json.dumps(dict(values)).encode())


def opened(secret: bytes | memoryview) -> dict[str, Any]:
    """Return stored values.

    Raises:
        Undecryptable: When no key opens them.
    """
    found: dict[str, Any] = json.loads(crypto.decrypt(secret))
    return found


def _checked_host(host: str) -> str:
    try:
        return normal_host(host)
    except ValueError as error:
        raise CredentialInvalid(str(error)) from None


def _check_headers(headers: Any) -> None:
    if not isinstance(headers, Mapping) or not 0 < len(headers) <= MOST_HEADERS:
        raise CredentialInvalid(f"Host-scoped credentials are 1 to {MOST_HEADERS} headers.")
    for name, value in headers.items():
        if not _HEADER.fullmatch(str(name)) or str(name).lower() in _OWN_HEADERS:
            raise CredentialInvalid("A header's name can't be used.")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise CredentialInvalid("A header's value can't be used.")
