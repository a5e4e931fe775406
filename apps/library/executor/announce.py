"""What workers are told about runs: hints that speed things up, never the truth."""

from __future__ import annotations

from uuid import UUID

import structlog
from django.conf import settings
from kombu.exceptions import OperationalError as BrokerError

from apps.runtime.redis import RedisError, sync_client

logger = structlog.get_logger(__name__)

#: What is said on the channel, before the run's id.
STOP = "stop"
ENDED = "ended"
ANSWERED = "answered"


def channel() -> str:
    """Return the pub/sub channel on which workers hear of runs: to stop, ended, answered by a person."""
    return f"{settings.REDIS_PREFIX}:library:runs"


def tell(what: str, execution_id: UUID) -> None:
    """Tell the workers something about a run; whoever misses it finds out from the rows."""
    try:
        sync_client().publish(channel(), f"{what} {execution_id}")
    except RedisError as error:
        logger.warning("run_wake_up_lost", what=what, error=type(error).__name__)


def tell_end(execution_id: UUID) -> None:
    """Tell those who wait for a run that it has ended, or waits itself."""
    tell(ENDED, execution_id)


def wake_stop(execution_id: UUID) -> None:
    """Tell the workers that a run is to be stopped."""
    tell(STOP, execution_id)


def wake_worker(execution_id: UUID) -> None:
    """Tell a worker that a run waits; when the broker is away the sweep finds it."""
    from apps.library.tasks import run_execution

    try:
        run_execution.apply_async([str(execution_id)], retry=False)
    except (BrokerError, *RedisError) as error:
        logger.warning("execution_wake_up_lost", execution_id=str(execution_id), error=type(error).__name__)
