"""Reads for pages and the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from apps.accounts.models import ApiToken, LiveSetting, User
from apps.runtime.errors import NotFound

#: How many times the base limits each tier has: of spend, and of room for files.
TIER_MULTIPLIERS = {"FREE": 1, "PRO": 5, "BUSINESS": 20, "ENTERPRISE": 60}


def list_api_tokens(*, user: User, limit: int, offset: int) -> tuple[list[ApiToken], int]:
    """Return a page of a person's unrevoked keys, newest first, and how many there are."""
    tokens = ApiToken.objects.usable().filter(user=user)
    return list(tokens[offset : offset + limit]), tokens.count()


def live_settings(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return what operators set while the product runs, read anew each time, so that a change is seen at once.

    Args:
        defaults: The settings that are asked for, and what each is when no operator set it.

    Returns:
        Name → any JSON value; the caller checks whether it can be used.
    """
    found = LiveSetting.objects.filter(key__in=list(defaults)).values_list("key", "value")
    return {**defaults, **dict(found)}


def live_setting(key: str, default: Any) -> Any:
    """Return one setting like `live_settings`."""
    return live_settings({key: default})[key]


def tier_of(user_id: UUID) -> str:
    """Return a person's tier at this moment.

    Raises:
        NotFound: When there is no such person.
    """
    tier = User.objects.filter(pk=user_id).values_list("tier", flat=True).first()
    if tier is None:
        raise NotFound
    return tier


def find_user(*, user_id: UUID | None = None, email: str = "") -> User:
    """Return a person by id or, without one, by e-mail address in whatever case.

    Raises:
        NotFound: When there is no such person.
    """
    wanted = {"pk": user_id} if user_id is not None else {"email": email.strip().lower()}
    person = User.objects.filter(**wanted).first()
    if person is None:
        raise NotFound
    return person
