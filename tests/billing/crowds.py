"""Many threads at once, each with a database connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connections

from apps.billing.models import CreditTransaction


def at_once(jobs: Iterable[Callable[[], Any]]) -> list[Any]:
    """Begin all jobs at the same moment; returns what each returned or raised, in their order."""
    waiting = list(jobs)
    barrier = Barrier(len(waiting))

    def run(job):
        barrier.wait(30)
        try:
            return job()
        except Exception as error:  # noqa: BLE001 -- it is the job's outcome
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(waiting)) as pool:
        return list(pool.map(run, waiting))


def check_ledger(user_id) -> int:
    """Check that every line goes on from the one before; returns the last running balance."""
    balance = 0
    lines = CreditTransaction.objects.filter(user_id=user_id).order_by("number")
    for place, line in enumerate(lines, start=1):
        balance += line.amount_cents
        assert (line.number, line.running_balance_cents) == (place, balance)
        assert balance >= 0
    return balance
