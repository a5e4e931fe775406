"""Reads of reviews."""

from __future__ import annotations

from uuid import UUID

from apps.library.models import Execution, Review
from apps.library.reviews.services import DECIDABLE
from apps.runtime.errors import NotFound

SHOWN = ("execution__graph", "node_execution__node")


def waiting_reviews(*, user_id: UUID, limit: int, offset: int) -> tuple[list[Review], int]:
    """Return a page of what waits for a person, newest first, and how much there is.

    What a run asked that has ended since waits for nobody.
    """
    mine = Review.objects.filter(user=user_id, status=Review.Status.WAITING, execution__status__in=DECIDABLE)
    page = mine.select_related(*SHOWN).order_by("-created_at", "-node_execution_id")[offset : offset + limit]
    return list(page), mine.count()


def reviews_of_run(*, user_id: UUID, execution_id: UUID, limit: int, offset: int) -> tuple[list[Review], int]:
    """Return a page of what a run asked, oldest first, and how much there is.

    Raises:
        NotFound: When the person has no such run.
    """
    if not Execution.objects.of(user_id).filter(pk=execution_id).exists():
        raise NotFound
    asked = Review.objects.filter(execution=execution_id, user=user_id)
    page = asked.select_related(*SHOWN).order_by("created_at", "node_execution_id")[offset : offset + limit]
    return list(page), asked.count()
