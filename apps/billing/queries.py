"""Reads of credits."""

from __future__ import annotations

from uuid import UUID

from apps.billing.models import Balance, CreditTransaction


def balance_cents(user_id: UUID) -> int:
    """Return what a person has, in cents."""
    return Balance.objects.filter(pk=user_id).values_list("cents", flat=True).first() or 0


def transactions(
    *, user_id: UUID, limit: int, before: int | None = None, kind: str = ""
) -> tuple[list[CreditTransaction], int | None]:
    """Return a page of a person's ledger, newest first.

    Args:
        user_id: Whose ledger.
        limit: Lines a page.
        before: Only lines whose number is lower; the page before gave it.
        kind: Only lines of this type.

    Returns:
        The page, and the `before` of the next one; None at the end.
    """
    lines = CreditTransaction.objects.filter(user_id=user_id).order_by("-number")
    if before is not None:
        lines = lines.filter(number__lt=before)
    if kind:
        lines = lines.filter(type=kind)
    found = list(lines[: limit + 1])
    page = found[:limit]
    return page, page[-1].number if len(found) > limit else None
