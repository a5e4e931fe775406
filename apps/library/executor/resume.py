"""Going on with a run that waited for a person."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.library.executor import announce
from apps.library.models import Execution, Review
from apps.library.models.executions import Status


@transaction.atomic
def resume_execution(execution_id: UUID) -> bool:
    """Let a run go on whose questions a person has answered; call it in the transaction that stores the answers.

    Only a run that waits in REVIEW, and in which nothing waits for a person any more, is queued again. A run that still
    works on other nodes isn't touched: its runner is told, and finds what was decided in any case.

    Returns:
        Whether this call queued it; of any number of callers one does.
    """
    # Touching the row first makes those who answer, and the runner's last look at the answers, follow one another.
    Execution.objects.filter(pk=execution_id).update(node_count=F("node_count"))
    if Review.objects.filter(execution=execution_id, status=Review.Status.WAITING).exists():
        transaction.on_commit(partial(announce.tell, announce.ANSWERED, execution_id))
        return False
    waiting = Execution.objects.filter(pk=execution_id, status=Status.REVIEW)
    if not waiting.move(Status.QUEUED, queued_at=Now(), runner=""):
        transaction.on_commit(partial(announce.tell, announce.ANSWERED, execution_id))
        return False
    transaction.on_commit(partial(announce.wake_worker, execution_id))
    return True
