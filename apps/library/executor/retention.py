"""Removing what is long over: runs with everything below them, and the notes of taken deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from apps.library.models import AutoApproval, Execution, NodeExecution, NodeOutput, Review, WebhookDelivery

#: Two calendar months: what was spent in this month and the last is always known.
SHORTEST_DAYS = 62
#: Topmost runs that one transaction removes; each may have thousands of rows.
A_BATCH = 50


@dataclass(frozen=True, slots=True)
class Removed:
    """How much was removed."""

    executions: int
    deliveries: int


def remove_old(*, days: int, now: datetime | None = None) -> Removed:
    """Remove runs that ended so long ago, with the runs that they started, and deliveries of that age.

    Files that runs kept are the person's, charges are in the ledger, and what agents remember is theirs: all of that
    stays. It may be stopped and begun again at any time.

    Args:
        days: How old what is removed must be, at least `SHORTEST_DAYS`.
        now: The moment to count from; the present one by default.

    Raises:
        ValueError: When so little may not be kept.
    """
    if days < SHORTEST_DAYS:
        raise ValueError(f"At least {SHORTEST_DAYS} days are kept.")
    before = (now or timezone.now()) - timedelta(days=days)
    executions = 0
    while roots := _old_roots(before):
        executions += _remove(roots)
    deliveries, _ = WebhookDelivery.objects.filter(received_at__lt=before).delete()
    return Removed(executions, deliveries)


def _old_roots(before: datetime) -> list[UUID]:
    """Return topmost runs that ended before a moment and have nothing below them that lasts."""
    lasting = Execution.objects.filter(root_id=OuterRef("pk")).exclude(status__in=Execution.ENDED)
    ended = Execution.objects.filter(pk=F("root_id"), status__in=Execution.ENDED, ended_at__lt=before)
    return list(ended.exclude(Exists(lasting)).order_by().values_list("pk", flat=True)[:A_BATCH])


@transaction.atomic
def _remove(roots: list[UUID]) -> int:
    # From below, so that each is one statement and nothing is read into memory.
    runs = Execution.objects.filter(root_id__in=roots)
    count = runs.count()
    NodeOutput.objects.filter(node_execution__execution__root_id__in=roots).delete()
    Review.objects.filter(execution__root_id__in=roots).delete()
    AutoApproval.objects.filter(execution__root_id__in=roots).delete()
    NodeExecution.objects.filter(execution__root_id__in=roots).delete()
    runs.delete()
    return count
