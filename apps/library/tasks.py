"""Celery's entry points."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from apps.library import process
from apps.library.schedules import fire


@shared_task
def run_execution(execution_id: str) -> None:
    """Offer a run to this process; a lost or doubled wake-up is harmless."""
    process.offer(UUID(execution_id))


@shared_task
def fire_due_schedules() -> None:
    """Start what is due; any number of these may run at once."""
    fire.fire_due_schedules()
