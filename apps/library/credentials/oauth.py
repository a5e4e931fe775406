"""Connecting an account: OAuth 2's authorization code with PKCE. The state is bound to the person and used once."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import F

from apps.library.credentials.providers import PROVIDERS, OAuthClient, OAuthProvider, client_of
from apps.library.credentials.services import create_credential, sealed
from apps.library.credentials.tokens import Tokens, TokensRefused, TokensUnreachable, request_tokens
from apps.library.errors import ConnectionRefused, CredentialInvalid
from apps.library.models import Credential, OAuthAttempt
from apps.runtime import crypto
from apps.runtime.errors import NotFound, Unavailable

ATTEMPT_SECONDS: Final = 600
MOST_SCOPES: Final = 50
_SCOPE: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,200}")  # RFC 6749, without commas


def begin(
    *,
    user_id: UUID,
    provider: str,
    redirect_uri: str,
    scopes: tuple[str, ...] = (),
    title: str = "",
    credential_id: UUID | None = None,
) -> str:
    """Prepare to connect an account.

    Args:
        user_id: Who connects it.
        provider: The service.
        redirect_uri: Where the provider sends the person back to.
        scopes: What is to be allowed besides the provider's usual ones.
        title: What the new credential is called.
        credential_id: A credential that is to be renewed, so that agents which use it go on.

    Returns:
        The address where the person says yes.

    Raises:
        CredentialInvalid: When this can't be connected.
        NotFound: When this person has no such credential.
    """
    service, client = _connectable(provider)
    if len(scopes) > MOST_SCOPES or not all(_SCOPE.fullmatch(scope) for scope in scopes):
        raise CredentialInvalid("These scopes can't be asked for.")
    wanted = list(dict.fromkeys((*service.scopes, *scopes)))
    if credential_id is not None:
        old = Credential.objects.filter(pk=credential_id, user_id=user_id, provider=provider, type="oauth2").first()
        if old is None:
            raise NotFound
        wanted = list(dict.fromkeys((*wanted, *old.scopes)))
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    kept = {
        "verifier": verifier,
        "redirect_uri": redirect_uri,
        "title": title,
        "credential_id": str(credential_id) if credential_id else None,
    }
    now = datetime.now(UTC)
    OAuthAttempt.objects.filter(user_id=user_id, expires_at__lt=now).delete()
    OAuthAttempt.objects.create(
        state_hash=_hash(state),
        user_id=user_id,
        provider=provider,
        scopes=wanted,
        verifier=crypto.encrypt(json.dumps(kept).encode()),
        expires_at=now + timedelta(seconds=ATTEMPT_SECONDS),
    )
    query = {
        **service.extra,
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": _challenge(verifier),
        "code_challenge_method": "S256",
    }
    if wanted:
        query["scope"] = service.separator.join(wanted)
    return f"{service.authorize_url}?{urlencode(query)}"


def finish(*, user_id: UUID, state: str, code: str) -> Credential:
    """Take a person who said yes back, and store their credential.

    Args:
        user_id: Who is signed in; must be who began.
        state: What the provider was given.
        code: What the provider gives for it.

    Raises:
        ConnectionRefused: When the state isn't this person's, is too old or was used, or the provider refuses.
        Unavailable: When the provider doesn't answer; the person begins anew.
    """
    attempt = _used_up(user_id, state)
    if not code:
        raise ConnectionRefused
    service, client = _connectable(attempt.provider)
    try:
        kept: dict[str, Any] = json.loads(crypto.decrypt(attempt.verifier))
    except crypto.Undecryptable:
        raise ConnectionRefused("This can't be finished any more; begin anew.") from None
    grant = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": kept["redirect_uri"],
        "code_verifier": kept["verifier"],
    }
    try:
        tokens = async_to_sync(request_tokens)(service, client, grant)
    except TokensRefused:
        raise ConnectionRefused(f"{service.title} didn't accept this; begin anew.") from None
    except TokensUnreachable:
        raise Unavailable(f"{service.title} doesn't answer properly right now; begin anew.") from None
    scopes = tokens.scopes if tokens.scopes is not None else tuple(attempt.scopes)
    return _stored(user_id, service, kept, tokens, scopes)


def _connectable(provider: str) -> tuple[OAuthProvider, OAuthClient]:
    service, client = PROVIDERS.get(provider), client_of(provider)
    if service is None or client is None:
        raise CredentialInvalid("This service can't be connected here: this installation isn't known to it.")
    return service, client


def _used_up(user_id: UUID, state: str) -> OAuthAttempt:
    """Take an attempt out; whoever deletes the row has it, so that a state works once.

    A state of somebody else is left to them: knowing it must not end their sign-in.
    """
    mine = OAuthAttempt.objects.filter(state_hash=_hash(state), user_id=user_id)
    attempt = mine.first()
    if attempt is None or not mine.delete()[0] or attempt.expires_at <= datetime.now(UTC):
        raise ConnectionRefused("This was begun too long ago, or by somebody else; begin anew.")
    return attempt


@transaction.atomic
def _stored(
    user_id: UUID, service: OAuthProvider, kept: dict[str, Any], tokens: Tokens, scopes: tuple[str, ...]
) -> Credential:
    values = {"access_token": tokens.access_token}
    if tokens.refresh_token:
        values["refresh_token"] = tokens.refresh_token
    if kept["credential_id"]:
        mine = Credential.objects.filter(pk=kept["credential_id"], user_id=user_id)
        # An even version: whoever was refreshing the old tokens finds that they were replaced.
        changed = mine.update(
            secret=sealed(values),
            scopes=list(scopes),
            expires_at=tokens.expires_at,
            version=F("version") + 2 - F("version") % 2,
        )
        if changed:
            return mine.get()
    return create_credential(
        user_id=user_id,
        provider=service.name,
        type=Credential.Type.OAUTH2,
        title=kept["title"] or service.title,
        values=values,
        scopes=scopes,
        expires_at=tokens.expires_at,
    )


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
