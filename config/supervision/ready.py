"""How a process tells the supervisor that it is ready: by a word in a pipe that it was given."""

from __future__ import annotations

import os

READY_FD = "FLIGHTDECK_READY_FD"


def tell_ready(**kwargs: object) -> None:
    """Say so once, if a supervisor listens; connected to Celery's signals, whose arguments don't matter."""
    if text := os.environ.pop(READY_FD, None):
        pipe = int(text)
        os.write(pipe, b"ready")
        os.close(pipe)
