"""Celery's entry points, and the life of a worker process."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from apps.chat import process


@shared_task
def run_turn(turn_id: str) -> None:
    """Offer a turn to this process; a lost or doubled wake-up is harmless."""
    process.offer(UUID(turn_id))
