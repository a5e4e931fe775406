"""Redis clients. Redis carries events and wake-ups; nothing that was accepted lives only there."""

from __future__ import annotations

from functools import cache

import redis
import redis.asyncio
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
MOST_CONNECTIONS = 64  # of one client; whoever finds all taken waits

RedisError = (redis.RedisError, OSError)


def async_client(*, answer_seconds: float = ANSWER_SECONDS) -> redis.asyncio.Redis:
    """Return a client for the loop that it is first used on; its owner closes it.

    It never retries by itself: whoever appends or reads decides what a lost reply means.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.REDIS_URL,
        max_connections=MOST_CONNECTIONS,
        timeout=CONNECT_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=answer_seconds,
        retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    return redis.asyncio.Redis.from_pool(pool)


@cache
def sync_client() -> redis.Redis:
    """Return this process's client for threads; it is safe to share among them."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )
