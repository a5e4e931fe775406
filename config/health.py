"""Whether this process lives, and whether what it needs can be reached."""

from __future__ import annotations

from collections.abc import Callable

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, JsonResponse
from kombu.exceptions import OperationalError as BrokerError

from config.celery import app

PROBE_SECONDS = 2


def alive(request: HttpRequest) -> JsonResponse:
    """Answer that the process runs."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> JsonResponse:
    """Answer 200 when database, Redis and broker can be reached, else 503; the body names each."""
    found = {name: probe() for name, probe in PROBES.items()}
    healthy = all(state == "ok" for state in found.values())
    return JsonResponse({"status": "ok" if healthy else "unavailable", **found}, status=200 if healthy else 503)


def probe_database() -> str:
    """Return `ok`, or the class of what went wrong."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return type(error).__name__
    return "ok"


def probe_redis() -> str:
    """Return `ok`, or the class of what went wrong."""
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PROBE_SECONDS, socket_connect_timeout=PROBE_SECONDS
    )
    try:
        client.ping()
    except redis.RedisError as error:
        return type(error).__name__
    finally:
        client.close()
    return "ok"


def probe_broker() -> str:
    """Return `ok`, or the class of what went wrong."""
    try:
        with app.connection_for_write(connect_timeout=PROBE_SECONDS) as link:
            link.ensure_connection(max_retries=1, timeout=PROBE_SECONDS)
    except (BrokerError, OSError) as error:
        return type(error).__name__
    return "ok"


PROBES: dict[str, Callable[[], str]] = {"database": probe_database, "redis": probe_redis, "broker": probe_broker}
