"""Writes and decisions about people and their keys."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from apps.accounts.models import ApiToken, User
from apps.runtime.errors import Invalid, NotFound

# How fresh "last used" is kept: a write at every request would cost more than it tells.
LAST_USED_STEP = timedelta(minutes=1)

#: Told with a user's id after that person signed out or a key of theirs was revoked; upper apps add to it.
on_sign_in_ended: list[Callable[[UUID], None]] = []


def hash_key(key: str) -> str:
    """Return what is stored of a key. Keys are 256 random bits, so a plain hash can't be searched backwards."""
    return hashlib.sha256(key.encode()).hexdigest()


def create_api_token(*, user: User, name: str) -> tuple[ApiToken, str]:
    """Make a key for a program.

    Args:
        user: Whose requests it will sign.
        name: What the person calls it, at most 100 characters.

    Returns:
        The row and the key, which can't be shown again.
    """
    key = f"fd_{secrets.token_urlsafe(32)}"
    token = ApiToken.objects.create(user=user, name=name.strip()[:100], prefix=key[:9], key_hash=hash_key(key))
    return token, key


def key_in(authorization: bytes) -> str | None:
    """Return the key of an `Authorization: Token <key>` header; "" where it is no text, None where there is none."""
    scheme, _, key = authorization.partition(b" ")
    if scheme.lower() != b"token":
        return None
    return key.strip().decode("ascii") if key.isascii() else ""


def user_for_key(key: str) -> User | None:
    """Return the person whose unrevoked key this is, or None; notes that it was used."""
    token = ApiToken.objects.usable().select_related("user").filter(key_hash=hash_key(key)).first()
    if token is None:
        return None
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at < now - LAST_USED_STEP:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token.user


def revoke_api_token(*, user: User, token_id: UUID) -> None:
    """End a key for good; ending it twice is no error.

    Raises:
        NotFound: When the user has no such key.
    """
    with transaction.atomic():
        if not ApiToken.objects.filter(user=user, pk=token_id).exists():
            raise NotFound
        ApiToken.objects.filter(user=user, pk=token_id, revoked_at=None).update(revoked_at=timezone.now())
        transaction.on_commit(lambda: announce_sign_in_ended(user.pk))


def set_tier(*, user_id: UUID, tier: str) -> None:
    """Give a person another tier. It is read anew wherever it counts, so it counts at once.

    Raises:
        Invalid: When there is no such tier.
        NotFound: When there is no such person.
    """
    if tier not in User.Tier.values:
        raise Invalid("There is no such tier.")
    if not User.objects.filter(pk=user_id).update(tier=tier):
        raise NotFound


def change_profile(*, user: User, **changes: str) -> User:
    """Change what a person tells of themselves; conversations that have begun keep what they began with.

    Args:
        user: Who.
        changes: New values of `name`, `time_zone` and `about`, validated.

    Returns:
        The person as stored now.
    """
    if changes:
        User.objects.filter(pk=user.pk).update(**changes)
        user.refresh_from_db()
    return user


def announce_sign_in_ended(user_id: UUID) -> None:
    """Tell whoever holds something open for a person to look at the sign-in again."""
    for listener in on_sign_in_ended:
        listener(user_id)


def browser_session_user(session_key: str) -> User | None:
    """Return the active person whom a browser session signs in at this moment, or None."""
    request = HttpRequest()
    request.session = SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else None
