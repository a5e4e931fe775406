"""The Celery application."""

import os

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_ready

from apps.runtime.memory import settle
from config.supervision.ready import tell_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")

app = Celery("flightdeck")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
worker_ready.connect(tell_ready)
beat_init.connect(tell_ready)


@worker_ready.connect
def settle_memory(**kwargs: object) -> None:
    """Have the garbage collector pass over what the start has made."""
    settle()


@setup_logging.connect
def keep_our_logging(**kwargs: object) -> None:
    """Take Celery's own logging set-up out of the way: settings did it already."""
