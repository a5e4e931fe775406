"""A provider's token address: codes and refresh tokens are changed for access tokens."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from apps.library import api_client
from apps.library.credentials.providers import OAuthClient, OAuthProvider

REQUEST_SECONDS: Final = 10.0
MAX_LIFE_SECONDS: Final = 10 * 365 * 24 * 3600
_MAX_TOKEN_CHARS: Final = 16_000
_FIRST_SERVER_ERROR: Final = 500
#: Error codes after which the same request can't succeed: the grant is used up or taken back.
_FINAL: Final = frozenset(
    {"invalid_grant", "bad_refresh_token", "bad_verification_code", "invalid_refresh_token", "token_revoked"}
    | {"invalid_code", "code_already_used", "incorrect_client_credentials", "invalid_client", "unauthorized_client"}
)


class TokensUnreachable(Exception):
    """The provider gave no usable answer; later it may."""


class TokensRefused(Exception):
    """The provider refused: the person must connect again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a provider gave.

    Attributes:
        access_token: What calls are made with.
        refresh_token: What the next one is got with; empty where it gave none.
        expires_at: When the access token ends; None = never.
        scopes: What it allows; None where the provider didn't say.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: datetime | None = None
    scopes: tuple[str, ...] | None = None


async def request_tokens(provider: OAuthProvider, client: OAuthClient, grant: Mapping[str, str]) -> Tokens:
    """Change a grant for tokens.

    Args:
        provider: Whom to ask.
        client: What this installation is to it.
        grant: `grant_type` and what belongs to it.

    Raises:
        TokensRefused: When the grant isn't taken.
        TokensUnreachable: When there is no usable answer.
    """
    fields = dict(grant)
    headers = {}
    if provider.basic_auth:
        pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        fields |= {"client_id": client.id, "client_secret": client.secret}
    bodies: dict[str, Any] = {"data": fields} if provider.json_body else {"form": fields}
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            answer = await api_client.call("POST", provider.token_url, headers=headers, max_redirects=0, **bodies)
            body = answer.object()
    except (api_client.CallFailed, TimeoutError):
        raise TokensUnreachable from None
    code = str(body.get("error") or "")
    if code in _FINAL:
        raise TokensRefused
    if answer.status >= _FIRST_SERVER_ERROR or answer.status == 429:
        raise TokensUnreachable
    if code or answer.status >= 400 or body.get("ok") is False:
        raise TokensRefused
    return _read(body)


def _read(body: Mapping[str, Any]) -> Tokens:
    access, refresh = body.get("access_token"), body.get("refresh_token") or ""
    if not isinstance(access, str) or not isinstance(refresh, str) or not 0 < len(access) <= _MAX_TOKEN_CHARS:
        raise TokensUnreachable
    said = body.get("scope")
    scopes = tuple(said.replace(",", " ").split()) if isinstance(said, str) and said else None
    return Tokens(access_token=access, refresh_token=refresh, expires_at=_end(body.get("expires_in")), scopes=scopes)


def _end(seconds: Any) -> datetime | None:
    try:
        life = int(seconds)
    except (TypeError, ValueError, OverflowError):
        return None
    if not 0 < life < MAX_LIFE_SECONDS:
        return None
    return datetime.now(UTC) + timedelta(seconds=life)
