"""Celery's entry points."""

from celery import shared_task

from apps.workspace import services


@shared_task
def remove_strays() -> None:
    """Remove blobs that no file has."""
    services.remove_strays()
