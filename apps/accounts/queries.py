"""Reads for pages and the API."""

from __future__ import annotations

from apps.accounts.models import ApiToken, User


def list_api_tokens(*, user: User, limit: int, offset: int) -> tuple[list[ApiToken], int]:
    """Return a page of a person's unrevoked keys, newest first, and how many there are."""
    tokens = ApiToken.objects.usable().filter(user=user)
    return list(tokens[offset : offset + limit]), tokens.count()
