"""Real processes that end with the harness, whatever becomes of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from config.supervision.ready import READY_FD

ROOT = Path(__file__).resolve().parents[2]
TETHER = ROOT / "config" / "supervision" / "tether.py"
START_SECONDS = 40.0
POLL_SECONDS = 0.03


class DidNotStart(RuntimeError):
    """A process isn't ready in time, or ended; its log says why."""


def free_port() -> int:
    """Return a TCP port that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """Whether something listens at a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """One process, started any number of times; its output is appended to one log.

    It is tethered: the kernel kills it when the harness's main thread ends, so nothing outlives a run that was killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        port: int = 0,
        tells: bool = False,
    ) -> None:
        """Prepare it.

        Args:
            name: For logs and reports.
            command: The program and its arguments.
            env: Its whole environment.
            log: Where its output goes.
            port: Where it listens when it is ready; 0 for none.
            tells: Whether it says that it is ready, by the supervisor's pipe.
        """
        self.name = name
        self.port = port
        self.log = log
        self.started_at = 0.0
        self._command = list(command)
        self._env = dict(env)
        self._tells = tells
        self._pipe = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id; 0 before the first start."""
        return self._process.pid if self._process else 0

    @property
    def is_running(self) -> bool:
        """Whether it lives (a stopped one does)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; doesn't wait until it is ready. Only from the main thread, to whose life it is tethered."""
        env = dict(self._env)
        passed: tuple[int, ...] = ()
        if self._tells:
            self._close_pipe()
            self._pipe, writing = os.pipe()
            os.set_blocking(self._pipe, False)
            env[READY_FD], passed = str(writing), (writing,)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *self._command],
                env=env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=passed,
                start_new_session=True,  # Ctrl-C is for the harness
            )
        for handle in passed:
            os.close(handle)
        self.started_at = time.monotonic()

    def is_ready(self) -> bool:
        """Whether it listens, or has said that it is ready."""
        if not self.is_running:
            return False
        if self._tells and self._pipe >= 0:
            with suppress(BlockingIOError):
                if os.read(self._pipe, 16):
                    self._close_pipe()
            return self._pipe < 0
        return not self.port or answers(self.port)

    async def ready(self) -> None:
        """Wait until it is ready.

        Raises:
            DidNotStart: When it ended, or takes too long.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if not self.is_running or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-1500:]
                raise DidNotStart(f"{self.name} did not start:\n{tail}")
            await asyncio.sleep(POLL_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.is_running and self._process is not None:
            self._process.send_signal(number)

    async def ended(self, timeout_seconds: float) -> bool:
        """Wait for its end; False when it didn't come in time."""
        deadline = time.monotonic() + timeout_seconds
        while self.is_running:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.signal(signal.SIGKILL)
        await self.ended(10)

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
