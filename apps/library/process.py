"""Where Celery's threads meet the worker process's one event loop, for agents' runs."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

from celery.signals import worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings

from apps.library.executor.worker import GraphProcess
from apps.runtime.loop import LoopThread, leave_loop, share_loop

QUEUE = "graphs"

_lock = threading.Lock()
_running: tuple[LoopThread, GraphProcess] | None = None


def start() -> tuple[LoopThread, GraphProcess]:
    """Return this process's loop and runs; they are started at the first call."""
    global _running
    with _lock:
        if _running is None:
            thread = share_loop()
            _running = (thread, thread.call(_make()))
        return _running


async def _make() -> GraphProcess:
    runs = GraphProcess()
    await runs.start()
    return runs


def stop(grace_seconds: float) -> None:
    """Hand over what runs; nothing happens if it never started."""
    global _running
    with _lock:
        if _running is not None:
            thread, runs = _running
            thread.call(runs.stop(grace_seconds))
            leave_loop()
            _running = None


def offer(execution_id: UUID) -> None:
    """Take a run if it is still to be had; waits while this process is full, and so holds the queue back."""
    thread, runs = start()
    thread.call(runs.worker.offer(execution_id))


@worker_ready.connect
def begin_to_sweep(sender: Any, **kwargs: Any) -> None:
    """Start at once in workers that serve the queue of runs, so that forgotten runs are found."""
    if QUEUE in sender.app.amqp.queues.consume_from:
        start()


@worker_shutting_down.connect
def begin_hand_over(**kwargs: Any) -> None:
    """Leave new runs to others from the first moment of a shutdown, while other parts hand over theirs."""
    if _running is not None:
        thread, runs = _running
        thread.loop.call_soon_threadsafe(runs.worker.begin_hand_over)


@worker_shutdown.connect
def hand_over(**kwargs: Any) -> None:
    """Hand running runs over before the process ends."""
    stop(settings.SHUTDOWN_GRACE_SECONDS)
