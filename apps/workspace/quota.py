"""How much a person's files may take up. The counter moves in the transaction that adds or removes a file's row."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db.models import F

from apps.accounts import queries as accounts
from apps.workspace.errors import QuotaExceeded
from apps.workspace.models import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a person's files take up.

    Attributes:
        used_bytes: So much now.
        limit_bytes: So much at most; None = unlimited.
        file_limit_bytes: The largest file that is taken.
        tier: The person's tier.
    """

    used_bytes: int
    limit_bytes: int | None
    file_limit_bytes: int
    tier: str

    @property
    def percent_used(self) -> float:
        """How full the workspace is, 100 at most."""
        return min(100.0, round(100 * self.used_bytes / self.limit_bytes, 1)) if self.limit_bytes else 0.0


def usage_of(user_id: UUID) -> Usage:
    """Return what a person's files take up, and may; the tier is read anew, so that a change is seen at once.

    Raises:
        NotFound: When there is no such person.
    """
    tier = accounts.tier_of(user_id)
    used = Workspace.objects.filter(pk=user_id).values_list("used_bytes", flat=True).first() or 0
    limit = settings.WORKSPACE_QUOTA_BYTES * accounts.TIER_MULTIPLIERS[tier]
    return Usage(
        used_bytes=used,
        limit_bytes=limit or None,
        file_limit_bytes=settings.WORKSPACE_FILE_LIMIT_BYTES,
        tier=tier,
    )


def check_room(user_id: UUID, size_bytes: int) -> None:
    """Refuse early what would find no room; `take` decides.

    Raises:
        NotFound: When there is no such person.
        QuotaExceeded: When the quota is too small for so much more.
    """
    usage = usage_of(user_id)
    if usage.limit_bytes is not None and usage.used_bytes + size_bytes > usage.limit_bytes:
        raise QuotaExceeded(size_bytes=size_bytes, used_bytes=usage.used_bytes, limit_bytes=usage.limit_bytes)


def lock(user_id: UUID) -> None:
    """Make everybody else who adds or removes a file of this person wait for the end of the transaction."""
    if not Workspace.objects.filter(pk=user_id).update(used_bytes=F("used_bytes")):
        Workspace.objects.bulk_create([Workspace(user_id=user_id)], ignore_conflicts=True)
        Workspace.objects.filter(pk=user_id).update(used_bytes=F("used_bytes"))


def take(user_id: UUID, size_bytes: int, *, freed_bytes: int = 0) -> None:
    """Count a file, in its row's transaction.

    Args:
        user_id: Whose file.
        size_bytes: What it takes up.
        freed_bytes: What the file that it replaces took up.

    Raises:
        NotFound: When there is no such person.
        QuotaExceeded: When there is no room for it; nothing was counted then.
    """
    growth = size_bytes - freed_bytes
    limit = usage_of(user_id).limit_bytes
    rows = Workspace.objects.filter(pk=user_id)
    if limit is not None and growth > 0:
        rows = rows.filter(used_bytes__lte=limit - growth)
    if not rows.update(used_bytes=F("used_bytes") + growth):
        usage = usage_of(user_id)
        raise QuotaExceeded(size_bytes=size_bytes, used_bytes=usage.used_bytes, limit_bytes=usage.limit_bytes or 0)


def give_back(user_id: UUID, size_bytes: int) -> None:
    """Count a file no more, in the transaction that deletes its row."""
    Workspace.objects.filter(pk=user_id).update(used_bytes=F("used_bytes") - size_bytes)
