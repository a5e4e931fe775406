"""A whole installation in a folder of its own, as `make run` starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from config.env import BASE_DIR, VARIABLES
from tests.services import free_port

START_SECONDS = 40.0  # generous: a loaded machine starts six processes at once
KEPT = {"LOG_LEVEL"}


def clean_env(var: Path, **more: str) -> dict[str, str]:
    """Return an environment in which nothing is configured."""
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES or name in KEPT}
    return env | {
        "DJANGO_SETTINGS_MODULE": "config.settings.local",
        "FLIGHTDECK_READ_DOTENV": "false",
        "FLIGHTDECK_DEMO_PACE": "0",
        "VAR_DIR": str(var),
        "LOG_LEVEL": "WARNING",
        **more,
    }


def wait_for(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """Return what `condition` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:g} s in vain for {what}")


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected doesn't."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Installation:
    """A supervisor in a process of its own."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.port = free_port()
        self.log = var / "output.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "supervise", "--port", str(self.port)],
                cwd=BASE_DIR,
                env=clean_env(var),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def run_file(self) -> Path:
        return self.var / "run.json"

    def run(self) -> dict[str, Any]:
        return json.loads(self.run_file.read_text())

    def wait_ready(self) -> dict[str, Any]:
        wait_for(lambda: self.run_file.exists() or self.process.poll() is not None, "run.json")
        assert self.run_file.exists(), self.log.read_text()
        return self.run()

    def post(self, path: str, body: dict[str, Any]) -> str:
        request = urllib.request.Request(  # noqa: S310 -- our own address
            f"{self.run()['url']}{path}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Token {self.run()['token']}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.read().decode()

    def ask(self, message: str) -> str:
        """Send a message in a new session and return the whole stream of its turn."""
        session = json.loads(self.post("/api/chat/sessions", {}))
        return self.post(f"/api/chat/sessions/{session['id']}/stream", {"message": message})

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One that runs, shared by the tests of a module."""
    running = Installation(tmp_path_factory.mktemp("var"))
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()
