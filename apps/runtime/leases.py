"""Leased runs: work that exactly one process does at a time, and that outlives that process.

A run is a row. A process owns it while its lease lasts; whoever finds the lease expired may take it over, which raises
`attempt`. Every write of a runner begins with `fenced_write`, a conditional UPDATE on the attempt: a runner that was
replaced finds no row and writes nothing. All times are the database's clock.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Self
from uuid import UUID

from django.db import models, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce, Now

#: A run that was asked to stop, and whose runner doesn't react for this long, is taken from it.
STOP_PATIENCE = timedelta(seconds=10)
#: A queued run whose wake-up was lost is looked for after this long.
WAKE_UP_PATIENCE = timedelta(seconds=5)


class Replaced(Exception):
    """Another runner owns the run, or it has ended: this one may write nothing more."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at a run; `facts` is what its kind read of it together with the claim."""

    run_id: UUID
    attempt: int
    lease_seconds: float = field(compare=False)
    facts: Any = field(default=None, compare=False)


def runner_name() -> str:
    """Return a name for a runner that no other process, past or present, has."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


class LeasedRunQuerySet(models.QuerySet[Any]):
    """The statements that decide who runs what."""

    def claimable(self) -> Self:
        """Return runs without a living runner: queued, lease expired, or deaf to a stop."""
        return self.filter(
            Q(status=self.model.QUEUED)
            | Q(status=self.model.RUNNING, lease_expires_at__lt=Now())
            | Q(status=self.model.RUNNING, cancel_requested_at__lt=Now() - STOP_PATIENCE)
        )

    def forgotten(self) -> Self:
        """Return runs that somebody should have taken by now."""
        fresh = Q(status=self.model.QUEUED, queued_at__gte=Now() - WAKE_UP_PATIENCE)
        return self.claimable().exclude(fresh).order_by("queued_at")

    def claim(self, run_id: UUID, *, runner: str, lease_seconds: float) -> Claim | None:
        """Try to become the run's runner; of any number of claimers one gets a `Claim`.

        Args:
            run_id: The run.
            runner: The claimer's `runner_name()`.
            lease_seconds: How long the claim lasts without renewal.
        """
        # A running run without a runner was handed over; that is no loss.
        lost = Case(When(~Q(runner=""), status=self.model.RUNNING, then=Value(1)), default=Value(0))
        with transaction.atomic():
            taken = (
                self.claimable()
                .filter(pk=run_id)
                .update(
                    status=self.model.RUNNING,
                    runner=runner,
                    attempt=F("attempt") + 1,
                    writes=0,
                    lost_leases=F("lost_leases") + lost,
                    lease_expires_at=Now() + timedelta(seconds=lease_seconds),
                    started_at=Coalesce(F("started_at"), Now()),
                )
            )
            if not taken:
                return None
            return Claim(run_id, self.values_list("attempt", flat=True).get(pk=run_id), lease_seconds)

    def renew(self, run_ids: Iterable[UUID], *, runner: str, lease_seconds: float) -> tuple[set[UUID], set[UUID]]:
        """Prolong a process's leases with one UPDATE.

        Returns:
            The runs it still owns, and those among them that were asked to stop.
        """
        mine = self.filter(pk__in=list(run_ids), runner=runner, status=self.model.RUNNING)
        mine.update(lease_expires_at=Now() + timedelta(seconds=lease_seconds))
        rows = list(mine.values_list("pk", "cancel_requested_at"))
        return {pk for pk, _ in rows}, {pk for pk, asked in rows if asked is not None}

    def fenced_write(self, claim: Claim, number: int, **changes: Any) -> bool:
        """Begin a runner's transaction: touch the run's row if the claim still holds, and prolong the lease.

        Who writes is alive: a runner that finds its database again and begins a tool must not be taken for dead because
        its last renewal is long ago.

        Args:
            claim: The runner's claim.
            number: The runner's writes of this attempt, counted from 1. A write whose commit was not answered is tried
                again under its number.
            changes: Columns of the run that this write sets.

        Returns:
            False when the write of that number is committed already, and nothing must be done again.

        Raises:
            Replaced: When the claim no longer holds.
        """
        mine = self.filter(pk=claim.run_id, attempt=claim.attempt)
        changes = {"lease_expires_at": Now() + timedelta(seconds=claim.lease_seconds), **changes}
        if mine.filter(status=self.model.RUNNING, writes=number - 1).update(writes=number, **changes):
            return True
        if mine.filter(writes=number).exists():
            return False
        raise Replaced


class LeasedRun(models.Model):
    """The columns of a leased run; a subclass adds `status` and says what its values are called."""

    QUEUED: ClassVar[str]
    RUNNING: ClassVar[str]

    attempt = models.PositiveIntegerField(default=0, editable=False)
    lost_leases = models.PositiveIntegerField(default=0, editable=False)
    writes = models.PositiveIntegerField(default=0, editable=False)
    runner = models.CharField(max_length=80, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    cancel_requested_at = models.DateTimeField(null=True, editable=False)
    queued_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True


def forgotten_ids(runs: LeasedRunQuerySet, limit: int) -> Sequence[UUID]:
    """Return at most `limit` runs that need a runner, oldest first."""
    return list(runs.forgotten().values_list("pk", flat=True)[:limit])
