"""Which processes an installation on one machine consists of."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from functools import partial

from config.supervision.child import Spec
from config.supervision.probes import answers_http, free_port
from config.supervision.redis import private_redis

#: How much longer than their grace time workers may take: to write down what they handed over.
WORKER_EXTRA_SECONDS = 5.0
WEB_STOP_SECONDS = 8.0  # a little longer than the web process gives its own connections
TURN_THREADS = 8  # they only hand turns over to the worker's event loop
GRAPH_THREADS = 4
#: Celery without its banner; on a developer's own machine (or in a container) root isn't worth eight lines each time.
CELERY = (sys.executable, "-W", "ignore:You're running the worker with superuser", "-m", "celery", "-q", "-A", "config")
#: Workers needn't hear of each other, and no process asks them anything by remote control.
QUIET_WORKER = ("--without-gossip", "--without-mingle", "--without-heartbeat")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is started: the services that the product needs; when they answer, the product; when that does, the rest.

    Attributes:
        services: What the product can't start without.
        product: What has to be there before somebody can ask something and be answered.
        background: What may come a moment later, so that it doesn't keep the product from its processors.
    """

    services: tuple[Spec, ...]
    product: tuple[Spec, ...]
    background: tuple[Spec, ...]


@dataclass(frozen=True, slots=True)
class Needs:
    """What an installation lacks, and how patient it is.

    Attributes:
        redis: No Redis is configured.
        model: No model is configured.
        grace_seconds: How long workers may take to hand turns over.
        settings_module: Django's settings.
        log_format: How the processes log.
    """

    redis: bool
    model: bool
    grace_seconds: float
    settings_module: str
    log_format: str


def make_plan(needs: Needs, listener: socket.socket) -> Plan:
    """Say what has to be started.

    Args:
        needs: What is missing.
        listener: The open socket at which the product will be found. It stays open while the web process is
            restarted, so that visitors wait instead of being turned away.

    Returns:
        The processes, in the order of their start.

    Raises:
        NoRedis: When a Redis is needed and there is none to start.
    """
    env = {
        "DJANGO_SETTINGS_MODULE": needs.settings_module,
        "LOG_FORMAT": needs.log_format,
        "PYTHONUNBUFFERED": "1",
    }
    services = []
    if needs.redis:
        redis = private_redis()
        services.append(redis.spec())
        env["REDIS_URL"] = redis.url
    if needs.model:
        port = free_port()
        services.append(demo_model(port))
        env["DEMO_MODEL_URL"] = f"http://127.0.0.1:{port}"
    worker_stop = needs.grace_seconds + WORKER_EXTRA_SECONDS
    return Plan(
        services=tuple(services),
        product=(
            web(listener, env),
            worker("turn_worker", "turns", TURN_THREADS, env, worker_stop),
        ),
        background=(
            worker("graph_worker", "graphs,default", GRAPH_THREADS, env, worker_stop),
            beat(env),
        ),
    )


def demo_model(port: int) -> Spec:
    """Return the offline demo model."""
    return Spec(
        name="demo_model",
        command=(sys.executable, "-m", "apps.engines.demo", "--host", "127.0.0.1", "--port", str(port)),
        env={"PYTHONUNBUFFERED": "1"},
        probe=partial(answers_http, port, "/healthz"),
    )


def web(listener: socket.socket, env: dict[str, str]) -> Spec:
    """Return the web process."""
    return Spec(
        name="web",
        command=(sys.executable, "-m", "config.web", "--fd", str(listener.fileno())),
        env=env,
        keep_fds=(listener.fileno(),),
        probe=partial(answers_http, listener.getsockname()[1], "/readyz"),
        stop_seconds=WEB_STOP_SECONDS,
    )


def worker(name: str, queues: str, threads: int, env: dict[str, str], stop_seconds: float) -> Spec:
    """Return a worker that serves some queues."""
    return Spec(
        name=name,
        command=(
            *(*CELERY, "worker", "--pool=threads", "-c", str(threads)),
            *("-Q", queues, "-n", f"{name}@%h", *QUIET_WORKER),
        ),
        env=env,
        stop_seconds=stop_seconds,
    )


def beat(env: dict[str, str]) -> Spec:
    """Return what starts timed work."""
    return Spec(name="beat", command=(*CELERY, "beat", "--pidfile="), env=env)
