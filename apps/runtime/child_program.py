"""What a child process runs; see `apps.runtime.children`, which starts it as a script.

It answers one call after the other on the socket that is its standard input, until that is closed. Calls and answers
are JSON: nothing that a child says may run code in its parent. It knows neither Django nor the parent's environment.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import resource
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

#: Before each message: its length in bytes, and whether it is the last one on this socket.
HEAD = struct.Struct("!I?")
#: Longer answers are refused here, and again in the parent.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_DETAIL_CHARS = 500
#: A child that holds more than this after a call ends, so that the memory is given back.
KEPT_MEMORY_BYTES = 160 * 1024 * 1024
#: A child whose parent was killed ends itself, so much later than the parent would have ended it.
ORPHAN_SECONDS = 2.0


def main(root: str, memory_bytes: str) -> None:
    """Serve calls until the parent closes the socket.

    Args:
        root: Where the product's packages are.
        memory_bytes: How much address space the process may have.
    """
    sys.path.insert(0, root)
    _limit(int(memory_bytes))
    connection = socket.socket(fileno=0)
    while (call := _receive(connection)) is not None:
        answer, is_last = _answered(connection, call)
        # The alarm is on until the answer is out: a parent that is gone doesn't read it.
        _send(connection, answer, is_last=is_last)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if is_last:
            return


def _answered(connection: socket.socket, message: bytes) -> tuple[bytes, bool]:
    """Do one call; returns the answer, and whether this process has had its day."""
    is_last = False
    try:
        call: dict[str, Any] = json.loads(message)
        function = getattr(importlib.import_module(call["module"]), call["name"])
        arguments = [base64.b64decode(value) if kind == "bytes" else value for kind, value in call["arguments"]]
        _send(connection, b"{}")  # from here on the parent counts the time
        signal.setitimer(signal.ITIMER_REAL, call["timeout_seconds"] + ORPHAN_SECONDS)
        answer = json.dumps({"result": function(*arguments)}).encode()
        if len(answer) > MAX_ANSWER_BYTES:
            answer = _failure("too_large", "")
    except MemoryError:
        answer, is_last = _failure("memory", ""), True
    except RecursionError:
        answer = _failure("RecursionError", "It is nested too deeply.")
    except Exception as error:  # noqa: BLE001 -- whatever it is, the parent is told
        answer = _failure(type(error).__name__, str(error)[:MAX_DETAIL_CHARS])
    return answer, is_last or _memory_bytes() > KEPT_MEMORY_BYTES


def _memory_bytes() -> int:
    """How much this process holds now. `ru_maxrss` doesn't say it: it knows of the parent's memory before `exec`."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return 0  # another system than Linux


def _failure(kind: str, detail: str) -> bytes:
    return json.dumps({"error": kind, "detail": detail}).encode()


def _limit(memory_bytes: int) -> None:
    """Bound what the process may take: memory, no files written, no core dump, no further processes."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # not every system knows or allows each of them
            resource.setrlimit(what, (most, most))


def _receive(connection: socket.socket) -> bytes | None:
    """Read one message; None when the parent has closed the socket."""
    head = _exactly(connection, HEAD.size)
    return None if head is None else _exactly(connection, HEAD.unpack(head)[0])


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _send(connection: socket.socket, message: bytes, *, is_last: bool = False) -> None:
    connection.sendall(HEAD.pack(len(message), is_last) + message)


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError):
        main(*sys.argv[1:])
