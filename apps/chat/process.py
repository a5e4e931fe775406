"""Where Celery's threads meet the worker process's one event loop."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

from celery.signals import worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings

from apps.chat.turns.worker import TurnProcess
from apps.runtime.loop import LoopThread, leave_loop, share_loop
from apps.runtime.memory import settle

QUEUE = "turns"

_lock = threading.Lock()
_running: tuple[LoopThread, TurnProcess] | None = None


def start() -> tuple[LoopThread, TurnProcess]:
    """Return this process's loop and turns; they are started at the first call."""
    global _running
    with _lock:
        if _running is None:
            thread = share_loop()
            turns = thread.call(_make())
            _running = (thread, turns)
        return _running


async def _make() -> TurnProcess:
    turns = TurnProcess()
    await turns.start()
    return turns


def stop(grace_seconds: float) -> None:
    """Hand over what runs and end the loop; nothing happens if it never started."""
    global _running
    with _lock:
        if _running is not None:
            thread, turns = _running
            thread.call(turns.stop(grace_seconds))
            leave_loop()
            _running = None


def offer(turn_id: UUID) -> None:
    """Take a turn if it is still to be had; waits while this process is full, and so holds the queue back."""
    thread, turns = start()
    thread.call(turns.worker.offer(turn_id))


@worker_ready.connect
def begin_to_sweep(sender: Any, **kwargs: Any) -> None:
    """Start at once in workers that serve the queue of turns, so that forgotten turns are found."""
    if QUEUE in sender.app.amqp.queues.consume_from:
        thread, turns = start()
        thread.submit(_get_ready(turns))


async def _get_ready(turns: TurnProcess) -> None:
    """Import what the first turn would have to wait for."""
    await turns.kind.router.load()
    settle()


@worker_shutting_down.connect
def stop_claiming(**kwargs: Any) -> None:
    """Leave new turns to other workers from the first moment of a shutdown."""
    if _running is not None:
        thread, turns = _running
        thread.loop.call_soon_threadsafe(turns.worker.stop_claiming)


@worker_shutdown.connect
def hand_over(**kwargs: Any) -> None:
    """Hand running turns over before the process ends."""
    stop(settings.SHUTDOWN_GRACE_SECONDS)
