"""Celery's entry points."""

from celery import shared_task
from django.core.management import call_command


@shared_task
def clear_expired_sign_ins() -> None:
    """Delete browser sessions that ended long ago."""
    call_command("clearsessions")
