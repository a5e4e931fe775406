"""One process that is kept alive: started, listened to, restarted, stopped."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from config.supervision.console import Console
from config.supervision.ready import READY_FD

TETHER = Path(__file__).with_name("tether.py")
FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 5.0
#: A process that lived this long had started properly: its next end is a new story, with short delays.
SETTLED_SECONDS = 30.0
#: So many ends before a process was ever ready mean that it can't start at all.
HOPELESS_STARTS = 4
LAST_WORDS_SECONDS = 1.0  # what a process left in its pipe is read for this long after its end
LONGEST_LINE = 65_536  # characters
STDOUT = 1


@dataclass(frozen=True, slots=True)
class Spec:
    """How a process is started and stopped.

    Attributes:
        name: What it is called in logs and in `run.json`.
        command: The program and its arguments.
        env: Variables besides those of the supervisor itself.
        input: Written to its standard input; secrets go here rather than where `ps` shows them.
        keep_fds: Open files that it inherits.
        probe: Asked again and again until it says that the process answers; None = the process reports it itself.
        stop_seconds: How long it may take to stop before it is killed.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    input: bytes = b""
    keep_fds: tuple[int, ...] = ()
    probe: Callable[[], Awaitable[bool]] | None = None
    stop_seconds: float = 5.0


class Hopeless(Exception):
    """A process ended again and again without ever having been ready."""


class Child:
    """Keeps one process alive from `start` to `stop`."""

    PROBE_SECONDS = 0.05

    def __init__(self, spec: Spec, console: Console, on_change: Callable[[], None]) -> None:
        """Prepare; nothing is started.

        Args:
            spec: What to keep alive.
            console: Where its lines go.
            on_change: Called whenever `pid` has changed.
        """
        self.spec = spec
        self.pid: int | None = None
        self._console = console
        self._on_change = on_change
        self._transport: asyncio.SubprocessTransport | None = None
        self._stopping = asyncio.Event()
        self._started = asyncio.Event()
        self._ready = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep the process alive."""
        self._keeper = asyncio.create_task(self._keep_alive(), name=self.spec.name)

    async def wait_started(self) -> None:
        """Wait until there is a process, which need not answer yet."""
        await self._started.wait()

    async def wait_ready(self) -> None:
        """Wait until the process answers for the first time.

        Raises:
            Hopeless: When it won't.
        """
        if self._keeper is None:
            raise RuntimeError("start() comes first")
        probing = asyncio.create_task(self._ask() if self.spec.probe else self._ready.wait())
        try:
            await asyncio.wait({probing, self._keeper}, return_when=asyncio.FIRST_COMPLETED)
            if self._keeper.done():
                self._keeper.result()
            self._ready.set()
        finally:
            probing.cancel()

    async def stop(self) -> None:
        """Stop the process and keep it stopped; one that takes too long is killed."""
        self._stopping.set()
        if self._keeper is None:
            return
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait({self._keeper}, timeout=self.spec.stop_seconds)
        if not done:
            self._console.line("supervisor", f"{self.spec.name} did not stop in {self.spec.stop_seconds:g} s: killed")
            self.kill()
            await asyncio.wait({self._keeper})

    def kill(self) -> None:
        """End the process at once, with everything that it started."""
        self._stopping.set()
        if self._transport is not None and self.pid is not None:
            self._kill_group(self._transport)

    async def _ask(self) -> None:
        # Asked again and again, because another process can't set an event of ours.
        while self.pid is None or not (self.spec.probe and await self.spec.probe()):  # noqa: ASYNC110
            await asyncio.sleep(self.PROBE_SECONDS)

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_DELAY_SECONDS
        starts = 0
        while not self._stopping.is_set():
            starts += 1
            began = loop.time()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            if not self._ready.is_set() and starts >= HOPELESS_STARTS:
                raise Hopeless(f"{self.spec.name} can't start ({_ending(code)}); its lines above say why")
            if loop.time() - began >= SETTLED_SECONDS:
                delay = FIRST_DELAY_SECONDS
            self._console.line(
                "supervisor", f"{self.spec.name} ended ({_ending(code)}); it is started again in {delay:g} s"
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)

    async def _run_once(self) -> int:
        """Run the process to its end and return its exit code, negative for a signal."""
        transport, ears = await self._spawn()
        self._transport, self.pid = transport, transport.get_pid()
        self._started.set()
        self._on_change()
        if self._stopping.is_set():  # asked to stop while it was being started
            self._signal(signal.SIGTERM)
        try:
            _give(transport, self.spec.input)
            await ears.exited.wait()
            self._kill_group(transport)
            with suppress(TimeoutError):
                await asyncio.wait_for(ears.silent.wait(), LAST_WORDS_SECONDS)
            return transport.get_returncode() or 0
        finally:
            self.pid = None
            transport.close()

    async def _spawn(self) -> tuple[asyncio.SubprocessTransport, _Ears]:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        try:
            spawned = await loop.subprocess_exec(
                partial(_Ears, partial(self._console.line, self.spec.name)),
                *(sys.executable, "-I", "-S", str(TETHER), str(os.getpid())),
                *self.spec.command,
                env={**os.environ, **self.spec.env, READY_FD: str(writing)},
                stdin=subprocess.PIPE if self.spec.input else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(writing, *self.spec.keep_fds),
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops its children in order
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        loop.add_reader(reading, self._heard_ready, reading)
        return spawned

    def _heard_ready(self, reading: int) -> None:
        """Note that the process said so, or that it closed the pipe (its end does, too)."""
        if os.read(reading, 16) and self.spec.probe is None:
            self._ready.set()
        asyncio.get_running_loop().remove_reader(reading)
        os.close(reading)

    def _signal(self, number: signal.Signals) -> None:
        if self._transport is not None and self.pid is not None:
            with suppress(ProcessLookupError):
                self._transport.send_signal(number)

    def _kill_group(self, transport: asyncio.SubprocessTransport) -> None:
        """End what is left of the session that the process leads."""
        with suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)


class _Ears(asyncio.SubprocessProtocol):
    """Hears what a process says, line by line, and when it ends.

    Its end and the end of its output are two things: what it had started may hold the output open for long, so
    asyncio's own `Process.wait`, which waits for both, would leave a killed worker unnoticed.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.exited = asyncio.Event()
        self.silent = asyncio.Event()
        self._say = say
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Pass whole lines on."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        if len(self._rest) > LONGEST_LINE:  # it has no end: passed on in pieces
            lines, self._rest = [*lines, self._rest], ""
        for line in lines:
            self._say(line.rstrip("\r"))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Pass on what had no line end."""
        if fd == STDOUT:
            if self._rest:
                self._say(self._rest)
            self.silent.set()

    def process_exited(self) -> None:
        """Note the end."""
        self.exited.set()


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _give(transport: asyncio.SubprocessTransport, data: bytes) -> None:
    """Write to a process's standard input and close it."""
    pipe = transport.get_pipe_transport(0)
    if isinstance(pipe, asyncio.WriteTransport):
        pipe.write(data)
        pipe.close()
