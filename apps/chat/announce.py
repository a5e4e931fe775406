"""Hints: what web processes are told about turns, and workers about stops and deleted sessions.

They speed things up and are never the truth. Whoever misses one finds out from the rows: of turns within seconds, of
deleted sessions at the next sweep of agents.
"""

from __future__ import annotations

from uuid import UUID

import structlog
from django.conf import settings
from kombu.exceptions import OperationalError as BrokerError

from apps.runtime.redis import RedisError, sync_client

logger = structlog.get_logger(__name__)

#: The control stream of the hubs: begun and ended turns, changed sessions and waiting messages.
CONTROL_KEY = "chat:turns"
MOST_ANNOUNCEMENTS = 10_000

#: The task is named, not imported: it leads back here through the worker.
RUN_TURN = "apps.chat.tasks.run_turn"

STARTED = "started"
ENDED = "ended"
CHANGED = "changed"
PENDING = "pending"


def wake_channel() -> str:
    """Return the pub/sub channel on which workers hear at once of turns that wait."""
    return f"{settings.REDIS_PREFIX}:chat:wake"


def stop_channel() -> str:
    """Return the pub/sub channel on which workers hear of turns to stop."""
    return f"{settings.REDIS_PREFIX}:chat:stop"


def gone_channel() -> str:
    """Return the pub/sub channel on which workers hear of sessions that were deleted."""
    return f"{settings.REDIS_PREFIX}:chat:gone"


def announce(what: str, *, user_id: UUID, session_id: UUID, turn_id: UUID | str = "") -> None:
    """Tell the web processes that a turn began or ended, or that a session, or what waits in it, changed or went."""
    told: dict[str, str] = {
        "what": what,
        "user_id": str(user_id),
        "session_id": str(session_id),
        "turn_id": str(turn_id),
    }
    try:
        sync_client().xadd(CONTROL_KEY, told, maxlen=MOST_ANNOUNCEMENTS, approximate=True)  # type: ignore[arg-type]
    except RedisError as error:
        logger.warning("announcement_lost", what=what, error=type(error).__name__)


def wake_stop(turn_id: UUID) -> None:
    """Tell the workers that a turn is to be stopped."""
    _tell_workers(stop_channel(), turn_id)


def tell_gone(session_id: UUID) -> None:
    """Tell the workers that a session was deleted; one that misses it finds out at its next sweep of agents."""
    _tell_workers(gone_channel(), session_id)


def _tell_workers(channel: str, about: UUID) -> None:
    try:
        sync_client().publish(channel, str(about))
    except RedisError as error:
        logger.warning("workers_not_told", channel=channel, error=type(error).__name__)


def wake_worker(turn_id: UUID) -> None:
    """Tell a worker that a turn waits; when the broker is away the sweep finds it.

    All workers are told on their loops, where one with room may claim it before the broker's message is read.
    """
    from apps.chat.tasks import run_turn

    _tell_workers(wake_channel(), turn_id)
    try:
        run_turn.apply_async([str(turn_id)], retry=False)
    except (BrokerError, *RedisError) as error:
        logger.warning("turn_wake_up_lost", turn_id=str(turn_id), error=type(error).__name__)
