"""Start a program that ends with its parent, even when the parent is killed outright.

Run as a script, `python -I -S tether.py PARENT_PID PROGRAM [ARGUMENT…]`: it asks Linux for the signal and becomes the
program. It is a process of its own because the alternative, a function between fork and exec, isn't safe in a process
with threads. On other systems the program merely starts.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tether(parent_pid: int) -> None:
    """Have this process killed when its parent ends.

    Raises:
        SystemExit: When the parent ended before the signal was asked for.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:
            raise SystemExit(1)


if __name__ == "__main__":
    tether(int(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 -- starting what it is told to is its purpose
    except OSError as problem:
        raise SystemExit(f"can't start {sys.argv[2]}: {problem.strerror}") from problem
