"""Running other people's programs: in namespaces of their own, by bubblewrap (0.8 or newer), or not at all.

What runs sees the system's programs, a folder of its own and nothing else: no network (its loopback is empty), no host
files, no other processes, no environment. It is bounded in time, memory, processes, files, disk and output, and ended
whole: with the first process of its namespace the kernel ends all of them, daemons too.

Where the product runs as root, the sandbox runs as `nobody`, because the kernel counts no processes of root. Folders
that are given as `workdir` must then be reachable by everybody; `make_workdir` makes such ones.

A coroutine here must run on a loop whose thread lives as long as the sandbox: that thread's end would end it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from apps.runtime import sandbox_folder
from apps.runtime.sandbox_watch import watch

WORK: Final = "/work"
PROGRAMS: Final = "/usr/local/bin:/usr/bin:/bin"

MEMORY_BYTES: Final = 512 * 1024 * 1024  # of one process's address space, and of all processes together
DISK_BYTES: Final = 256 * 1024 * 1024  # of the working directory
FILES: Final = 10_000  # in it
FILE_BYTES: Final = 50 * 1024 * 1024  # of one file
TMP_BYTES: Final = 64 * 1024 * 1024  # of /tmp and of /dev/shm each; it is memory
OUTPUT_BYTES: Final = 1024 * 1024  # of each of stdout and stderr
PROCESSES: Final = 64  # threads among them
DESCRIPTORS: Final = 256
PROBE_SECONDS: Final = 10.0
END_SECONDS: Final = 5.0  # what a killed sandbox may take to be gone

_NOBODY: Final = 65534
# Bubblewrap's own environment, which can be seen from inside.
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_INSIDE: Final = 1000  # who the program is in its own eyes
_PASSWD: Final = b"sandbox:x:1000:1000::/work:/bin/sh\n"
_GROUP: Final = b"sandbox:x:1000:\n"


class SandboxUnavailable(Exception):
    """Nothing can be run in a sandbox here, and so nothing is run; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """What became of a program.

    Attributes:
        stdout: What it wrote, as far as it was taken.
        stderr: The same of its errors.
        exit_code: Its own, 128 + a signal's number when a signal ended it, or -1 when we did.
        ended_by: Why we ended it: `time`, `output`, `disk` or `memory`; else empty.
        files: Regular files of the working directory that it made or changed, as far as `collect_bytes` reached.
    """

    stdout: str
    stderr: str
    exit_code: int
    ended_by: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def timed_out(self) -> bool:
        """Whether its time was up."""
        return self.ended_by == "time"


async def run_sandboxed(
    command: Sequence[str],
    *,
    workdir: Path | None = None,
    files: Mapping[str, bytes] | None = None,
    stdin: bytes = b"",
    timeout_seconds: float = 120.0,
    memory_bytes: int = MEMORY_BYTES,
    bound_address_space: bool = True,
    collect_bytes: int = 0,
) -> SandboxResult:
    """Run a program in a sandbox; cancelling it ends the program and everything it started.

    Args:
        command: The program and its arguments; it starts in its working directory.
        workdir: A folder of `make_workdir` that it may write to; by default one that is gone afterwards.
        files: Files to put there first, by plain name.
        stdin: What it reads.
        timeout_seconds: How long it may take.
        memory_bytes: Bound of each process's address space and of all processes' memory.
        bound_address_space: False for programs that reserve much more than they use, such as Node.js; their data is
            bounded still.
        collect_bytes: How much of the files that it made or changed is returned.

    Raises:
        SandboxUnavailable: When there is no sandbox here.
        ValueError: When a file's name isn't a plain one.
    """
    reason = await asyncio.to_thread(why_unavailable)
    if reason:
        raise SandboxUnavailable(reason)
    folder = workdir if workdir is not None else make_workdir()  # at once: a cancelled thread would leave it
    try:
        for name, content in (files or {}).items():
            await asyncio.to_thread(sandbox_folder.write, folder, name, content, owner=_owner())
        before = await asyncio.to_thread(sandbox_folder.listing, folder) if collect_bytes else {}
        inner = (*_limits(timeout_seconds, memory_bytes, bound_address_space), *command)
        with _outer(folder, inner) as (outer, fds):
            process = await _spawn(outer, fds)
        stdout, stderr, ended_by = await _attend(process, folder, stdin, timeout_seconds, memory_bytes)
        found = await asyncio.to_thread(sandbox_folder.changed, folder, before, collect_bytes) if collect_bytes else {}
    finally:
        if workdir is None:
            await remove_workdir(folder)
    return SandboxResult(
        stdout=stdout.decode(errors="replace"),
        stderr=stderr.decode(errors="replace"),
        exit_code=-1 if ended_by else _exit_code(process),
        ended_by=ended_by,
        files=found,
    )


def make_workdir(parent: Path | None = None) -> Path:
    """Make an empty folder that a sandbox can write to and nobody else can look into.

    Args:
        parent: Where; the system's place for temporary files by default.
    """
    made = Path(tempfile.mkdtemp(prefix="sandbox-", dir=parent))
    if _owner() is not None:
        os.chown(made, _NOBODY, _NOBODY)
    return made


async def remove_workdir(workdir: Path) -> None:
    """Remove a folder of `make_workdir` with everything in it, also when the caller is cancelled."""
    removing = asyncio.ensure_future(asyncio.to_thread(sandbox_folder.remove, workdir))
    if await _settled({removing}):
        raise asyncio.CancelledError
    removing.result()


def is_available() -> bool:
    """Return whether programs can be run in a sandbox here. The first call starts one."""
    return not why_unavailable()


@cache
def why_unavailable() -> str:
    """Return why nothing can be run in a sandbox here; empty where it can. The first call starts one."""
    if missing := [name for name in ("bwrap", "prlimit", "choom", "setpriv", "setsid") if _found(name) is None]:
        return f"{', '.join(missing)} isn't installed; code runs in a sandbox only (install bubblewrap)."
    folder = make_workdir()
    try:
        with _outer(folder, (*_limits(5, MEMORY_BYTES, bound_address_space=True), "true")) as (command, fds):
            subprocess.run(  # noqa: S603 -- our own command
                command, env=_ENVIRONMENT, pass_fds=fds, check=True, timeout=PROBE_SECONDS, capture_output=True
            )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        detail = said.decode(errors="replace").strip() or type(error).__name__
        if not user_namespaces_work():
            return f"This system allows no user namespaces, without which there is no sandbox ({detail})."
        return f"bubblewrap can't make a sandbox here ({detail})."
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ""


def _found(program: str) -> str | None:
    return shutil.which(program, path=_ENVIRONMENT["PATH"])


def user_namespaces_work() -> bool:
    """Return whether the kernel, and whatever filters our calls of it, lets us make user namespaces at all."""
    command = [*_as_nobody(), "unshare", "--user", "true"]
    try:
        done = subprocess.run(  # noqa: S603 -- our own command
            command, env=_ENVIRONMENT, check=False, timeout=PROBE_SECONDS, capture_output=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


# The command ------------------------------------------------------------------------------------------------------


def _owner() -> int | None:
    """Return who must own what a sandbox writes to, or None where that is who we are."""
    return _NOBODY if os.geteuid() == 0 else None


def _as_nobody() -> tuple[str, ...]:
    if _owner() is None:
        return ()
    return ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs", "--")


def _limits(timeout_seconds: float, memory_bytes: int, bound_address_space: bool) -> tuple[str, ...]:
    """Return what sets the limits: inside, so that only this sandbox's processes count."""
    bounds = {
        "nproc": PROCESSES,
        "nofile": DESCRIPTORS,
        "fsize": FILE_BYTES,
        "data": memory_bytes,
        "cpu": int(timeout_seconds) + 5,
        "core": 0,
    }
    if bound_address_space:
        bounds["as"] = memory_bytes
    # In a session of its own: what it does to its process group is its own business.
    return ("setsid", "prlimit", *(f"--{name}={value}" for name, value in bounds.items()), "--")


@contextmanager
def _outer(folder: Path, inner: Sequence[str]) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Yield the whole command and the descriptors that it must inherit, which are closed afterwards.

    Bubblewrap reads its arguments from one of them: its own command line can be seen from inside, and the paths of
    this machine are nobody's business there.
    """
    with _readable(_PASSWD) as passwd, _readable(_GROUP) as group:
        arguments = "\0".join((*_view(folder, passwd, group), *_environment(), ""))
        with _readable(arguments.encode()) as fd:
            command = (*_as_nobody(), "choom", "-n", "1000", "--", "bwrap", "--args", str(fd), "--", *inner)
            yield command, (passwd, group, fd)


@contextmanager
def _readable(content: bytes) -> Iterator[int]:
    """Yield a descriptor from which this can be read once."""
    fd = os.memfd_create("sandbox")  # unlike a pipe, of any size
    try:
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _view(folder: Path, passwd: int, group: int) -> Iterator[str]:
    """Yield bubblewrap's arguments that say what is seen inside."""
    # No `--new-session`: `_spawn` begins one, without a terminal, and killing its process group must reach the first
    # process of the namespace at any moment. Bubblewrap asks the kernel for `--die-with-parent` only after it has left
    # the group for a session of its own; a sandbox that was killed in between lived on.
    yield from ("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent")
    yield from ("--cap-drop", "ALL", "--uid", str(_INSIDE), "--gid", str(_INSIDE), "--hostname", "sandbox")
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        place = Path("/") / name
        if place.is_symlink():
            yield from ("--symlink", str(place.readlink()), str(place))
        elif place.exists():
            yield from ("--ro-bind", str(place), str(place))
    for shared in ("/etc/alternatives", "/etc/ld.so.cache"):
        yield from ("--ro-bind-try", shared, shared)
    yield from ("--ro-bind-data", str(passwd), "/etc/passwd", "--ro-bind-data", str(group), "/etc/group")
    yield from ("--proc", "/proc", "--dev", "/dev")
    yield from ("--size", str(TMP_BYTES), "--tmpfs", "/dev/shm")  # noqa: S108 -- inside
    yield from ("--size", str(TMP_BYTES), "--tmpfs", "/tmp")  # noqa: S108 -- inside
    yield from ("--bind", str(folder.resolve()), WORK, "--chdir", WORK)
    yield from ("--remount-ro", "/dev", "--remount-ro", "/")


def _environment() -> Iterator[str]:
    """Yield what sets the environment: always the same, because it reaches what sets the limits first.

    A program's own PATH or LD_PRELOAD would decide what that is.
    """
    yield "--clearenv"
    usual = {"PATH": PROGRAMS, "HOME": WORK, "TMPDIR": "/tmp", "LANG": "C.UTF-8", "USER": "sandbox"}  # noqa: S108
    for name, value in usual.items():
        yield from ("--setenv", name, value)


# The run ----------------------------------------------------------------------------------------------------------


async def _spawn(command: Sequence[str], fds: Collection[int]) -> asyncio.subprocess.Process:
    """Start a program; who is cancelled meanwhile doesn't leave it behind."""
    pipe = asyncio.subprocess.PIPE
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=_ENVIRONMENT,
            pass_fds=tuple(fds),
            start_new_session=True,
        )
    )
    if await _settled({starting}):
        process = starting.result()
        _kill(process)
        await _settled({asyncio.ensure_future(process.wait())})
        raise asyncio.CancelledError
    return starting.result()


async def _attend(
    process: asyncio.subprocess.Process, folder: Path, stdin: bytes, timeout_seconds: float, memory_bytes: int
) -> tuple[bytes, bytes, str]:
    """Feed, read and watch a program to its end; returns stdout, stderr and why we ended it."""
    assert process.stdout is not None
    assert process.stderr is not None
    ending: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def end(why: str) -> None:
        if not ending.done():
            ending.set_result(why)

    exited: asyncio.Future[Any] = asyncio.ensure_future(process.wait())
    reading = [asyncio.ensure_future(_read(stream, end)) for stream in (process.stdout, process.stderr)]
    helping = [
        asyncio.ensure_future(_feed(process, stdin)),
        asyncio.ensure_future(
            watch(process.pid, folder, memory_bytes=memory_bytes, disk_bytes=DISK_BYTES, files=FILES, end=end)
        ),
    ]
    cancelled = True
    try:
        await asyncio.wait({exited, ending}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        cancelled = False
    finally:
        why = "" if exited.done() else "time"
        # Also when it ended by itself: what it left running is killed with its namespace.
        _kill(process)
        for helper in helping:
            helper.cancel()
        cancelled |= await _settled({exited, *reading, *helping}, END_SECONDS)
        for task in (*reading, *helping):
            task.cancel()  # after all this nothing holds the pipes, unless the kernel is stuck
    if cancelled:
        raise asyncio.CancelledError
    for helper in helping:
        if helper.done() and not helper.cancelled():
            helper.result()
    said = [task.result() if task.done() and not task.cancelled() else b"" for task in reading]
    if ending.done():
        why = ending.result()
    return said[0], said[1], why


async def _read(stream: asyncio.StreamReader, end: Callable[[str], None]) -> bytes:
    """Read a pipe to its end, and keep no more than is taken: who writes more is ended."""
    taken = bytearray()
    while piece := await stream.read(65_536):
        room = OUTPUT_BYTES - len(taken)
        taken += piece[:room]
        if len(piece) > room:
            end("output")
    return bytes(taken)


async def _feed(process: asyncio.subprocess.Process, stdin: bytes) -> None:
    assert process.stdin is not None
    with suppress(ConnectionError):  # it need not read
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _exit_code(process: asyncio.subprocess.Process) -> int:
    code = process.returncode
    assert code is not None
    return code if code >= 0 else 128 - code


async def _settled(tasks: Collection[asyncio.Future[Any]], seconds: float | None = None) -> bool:
    """Wait for tasks whatever happens; returns whether the waiter was cancelled meanwhile."""
    cancelled = False
    loop = asyncio.get_running_loop()
    deadline = None if seconds is None else loop.time() + seconds
    while pending := {task for task in tasks if not task.done()}:
        left = None if deadline is None else deadline - loop.time()
        if left is not None and left <= 0:
            break
        try:
            await asyncio.wait(pending, timeout=left)
        except asyncio.CancelledError:
            cancelled = True
    return cancelled
