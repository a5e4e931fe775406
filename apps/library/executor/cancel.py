"""Stopping runs: those below first, then the run; what nobody works on ends at once, what runs is asked to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Coalesce, Now

from apps.library.errors import NotRunning
from apps.library.executor import announce, events
from apps.library.models import Execution, NodeExecution, Review
from apps.library.models.executions import Status

STOPPED_SENTENCE = "The run was stopped."


@transaction.atomic
def cancel_execution(*, execution_id: UUID) -> None:
    """Stop a run and everything below it.

    Raises:
        NotRunning: When the run has ended already.
    """
    if not flag([execution_id]):
        raise NotRunning("The run has ended already.")
    stop_tree([execution_id])


def leave_no_children(execution_id: UUID) -> None:
    """Stop what is below a run that ends otherwise than by completing; call in the transaction that ends it."""
    stop_tree(children_of([execution_id]))


def flag(ids: Sequence[UUID]) -> int:
    """Write down that runs are to be stopped; their rows are locked by it, so no child can be added any more."""
    open_runs = Execution.objects.filter(pk__in=ids).exclude(status__in=Execution.ENDED)
    return open_runs.update(cancel_requested_at=Coalesce("cancel_requested_at", Now()))


def children_of(ids: Sequence[UUID]) -> list[UUID]:
    """Return the runs right below some that haven't ended."""
    below = Execution.objects.filter(parent_id__in=ids).exclude(status__in=Execution.ENDED)
    return list(below.values_list("pk", flat=True))


def stop_tree(ids: Sequence[UUID]) -> None:
    """Stop runs and all below them, the deepest first."""
    levels: list[Sequence[UUID]] = []
    while ids:
        flag(ids)
        levels.append(ids)
        ids = children_of(ids)
    for level in reversed(levels):
        end_idle(level)
        running = Execution.objects.filter(pk__in=level, status=Status.RUNNING)
        for execution_id in running.values_list("pk", flat=True):
            transaction.on_commit(partial(announce.wake_stop, execution_id))


def end_idle(ids: Sequence[UUID]) -> None:
    """End those runs that nobody works on: queued ones and those that wait for a person."""
    idle = [Status.QUEUED, Status.REVIEW]
    for execution_id in Execution.objects.filter(pk__in=ids, status__in=idle).values_list("pk", flat=True):
        close_reviews(execution_id)
        mine = Execution.objects.filter(pk=execution_id, status__in=idle)
        if mine.move(Status.TERMINATED, ended_at=Now(), lease_expires_at=None):
            waiting = NodeExecution.objects.filter(execution=execution_id, status__in=idle)
            waiting.update(status=Status.TERMINATED, ended_at=Now())
            transaction.on_commit(partial(events.end_log, execution_id, Status.TERMINATED))
            transaction.on_commit(partial(announce.tell_end, execution_id))


def close_reviews(execution_id: UUID) -> None:
    """Take back what a run asks people, as it ends."""
    waiting = Review.objects.filter(execution=execution_id, status=Review.Status.WAITING)
    waiting.update(status=Review.Status.REJECTED, message=STOPPED_SENTENCE, reviewed_at=Now())
