"""Killable child processes for CPU work on what people send: patterns, templates, spreadsheets, XML.

A thread can't be timed out, and a pattern such as `(a+)+$` would hold every run of the process up. A few children are
kept warm and shared by all event loops of the process. They are plain programs: they inherit no sockets and no
environment, and work in Celery's daemonic processes, too, which multiprocessing refuses to serve. A child that is over
its time, or whose caller was cancelled, is killed; the next call starts another one.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import json
import os
import socket
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from apps.runtime import child_program

T = TypeVar("T")

#: How many calls of one event loop are worked on at once; further ones wait for their turn.
CHILDREN = 4
MEMORY_BYTES = 512 * 1024 * 1024
#: How long a child may take to start and to import what is called, on a machine with much else to do.
START_SECONDS = 30.0

_ROOT = Path(__file__).resolve().parents[2]
#: All that a child is told of the environment: where an unusual Python finds its own libraries.
_ENVIRONMENT = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


class ChildError(Exception):
    """A call in a child process gave no result."""


class ChildTimedOut(ChildError):
    """It took longer than it may."""


class ChildOutOfMemory(ChildError):
    """It needs more memory than it may have."""


class ChildAnswerTooLarge(ChildError):
    """Its result is larger than it may be."""


class ChildCrashed(ChildError):
    """The child process ended without an answer."""


class ChildRaised(ChildError):
    """The function raised an exception."""

    def __init__(self, kind: str, detail: str) -> None:
        """Keep what is known of it.

        Args:
            kind: The exception's class.
            detail: Its text, shortened; it may hold words of people.
        """
        super().__init__(detail or kind)
        self.kind = kind
        self.detail = detail


async def run_in_child(function: Callable[..., T], *arguments: Any, timeout_seconds: float) -> T:
    """Call a function in a child process.

    Args:
        function: One of a module's own, so that the child can import it; importing must not need Django.
        arguments: JSON values or bytes.
        timeout_seconds: How long the function may take, without the child's start; then the child is killed.

    Returns:
        What the function returned, as it comes out of JSON.

    Raises:
        ChildTimedOut: It took too long.
        ChildOutOfMemory: It took more than `MEMORY_BYTES`.
        ChildAnswerTooLarge: The result has more than 16 MB.
        ChildCrashed: The process ended, or said what no child says.
        ChildRaised: The function raised an exception.
    """
    if "<" in function.__qualname__ or "." in function.__qualname__:
        raise TypeError("Only functions of a module can be called in a child process.")
    call = _call(function, arguments, timeout_seconds)
    async with _slots():
        child = _children.take()
        try:
            answer = await child.ask(call, timeout_seconds)
        finally:
            # Also when the caller was cancelled: nobody waits for what this child is doing.
            await _children.give_back(child)
    return _result(answer)


def close_children() -> None:
    """End all children, also those at work; whoever ends the process calls this. A later call starts new ones."""
    _children.close()


class _Child:
    """One child process and our end of the socket to it; `is_free` is whether it can be asked something."""

    def __init__(self) -> None:
        """Start it, which takes about a millisecond: it imports nothing before it is asked to."""
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program
                [sys.executable, "-I", child_program.__file__, str(_ROOT), str(MEMORY_BYTES)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # a Ctrl-C is for the parent, which ends its children in order
            )
        self._socket.setblocking(False)
        self.is_free = True

    @property
    def is_alive(self) -> bool:
        """Whether the process hasn't ended."""
        return self._process.poll() is None

    async def ask(self, call: bytes, timeout_seconds: float) -> dict[str, Any]:
        """Send a call and wait for its answer.

        Raises:
            ChildTimedOut: There is none in time.
            ChildCrashed: There will never be one.
        """
        self.is_free = False
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.get_running_loop().sock_sendall(self._socket, call)
                answer, is_last = await self._message()
            if not answer:  # it says that it begins
                async with asyncio.timeout(timeout_seconds):
                    answer, is_last = await self._message()
        except TimeoutError:
            raise ChildTimedOut from None
        except (OSError, ValueError):
            raise ChildCrashed from None
        self.is_free = not is_last
        return answer

    async def _message(self) -> tuple[dict[str, Any], bool]:
        size, is_last = child_program.HEAD.unpack(await self._exactly(child_program.HEAD.size))
        if size > child_program.MAX_ANSWER_BYTES:
            raise ChildCrashed
        message = json.loads(await self._exactly(size))
        if not isinstance(message, dict):
            raise ChildCrashed
        return message, is_last

    async def _exactly(self, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        parts = bytearray()
        while len(parts) < count:
            part = await loop.sock_recv(self._socket, min(count - len(parts), 1 << 20))
            if not part:
                raise ChildCrashed
            parts += part
        return bytes(parts)

    def kill(self) -> None:
        """End it at once; whoever waits for its answer sees its end of the socket closed."""
        self._process.kill()

    def reap(self) -> None:
        """Wait until a killed one is gone."""
        self._process.wait()

    def bury(self) -> None:
        """Close our end of a killed one and wait until it is gone; nobody may be waiting for its answer."""
        self._socket.close()
        self.reap()

    def forget(self) -> None:
        """Let go of it in a forked copy of its parent; it isn't ours to end."""
        self._socket.close()
        self._process.returncode = 0


class _Children:
    """The children of this process."""

    def __init__(self) -> None:
        """Begin without any."""
        self._idle: deque[_Child] = deque()
        self._all: set[_Child] = set()

    def take(self) -> _Child:
        """Return an idle child, or a new one."""
        while self._idle:
            child = self._idle.pop()  # the one that was used last: the others may go cold
            if child.is_alive:
                return child
            self._all.discard(child)
            child.bury()
        child = _Child()
        self._all.add(child)
        return child

    async def give_back(self, child: _Child) -> None:
        """Keep a child for the next call, or end it when it isn't free for one.

        Whoever is cancelled while it ends leaves a thread waiting for that.
        """
        if child.is_free and child in self._all:
            self._idle.append(child)
        else:
            self._all.discard(child)
            child.kill()
            await asyncio.get_running_loop().run_in_executor(None, child.bury)

    def close(self) -> None:
        """End all of them; the sockets of those at work are left to their callers, who wait on them."""
        children, self._all = self._all, set()
        for child in children:
            child.kill()
        while self._idle:
            self._idle.pop().bury()
        for child in children:
            child.reap()

    def forget(self) -> None:
        """Begin anew in a forked process."""
        for child in self._all:
            child.forget()
        self._idle.clear()
        self._all.clear()


_children = _Children()
_slots_of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()
atexit.register(close_children)
os.register_at_fork(after_in_child=_children.forget)


def _slots() -> asyncio.Semaphore:
    """Return what bounds the calls of the running loop; a semaphore can't be shared between loops."""
    return _slots_of.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CHILDREN))


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], timeout_seconds: float) -> bytes:
    message = json.dumps(
        {
            "module": function.__module__,
            "name": function.__qualname__,
            "arguments": [
                ("bytes", base64.b64encode(value).decode()) if isinstance(value, bytes) else ("json", value)
                for value in arguments
            ],
            "timeout_seconds": timeout_seconds,
        }
    ).encode()
    return child_program.HEAD.pack(len(message), False) + message


def _result(answer: dict[str, Any]) -> Any:
    if "result" in answer:
        return answer["result"]
    match answer.get("error"):
        case "memory":
            raise ChildOutOfMemory
        case "too_large":
            raise ChildAnswerTooLarge
        case kind:
            raise ChildRaised(str(kind), str(answer.get("detail", "")))
