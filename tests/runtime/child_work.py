"""What the tests of child processes call in them; knows no Django."""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
import time
from pathlib import Path


def echo(value):
    return value


def size(content: bytes) -> int:
    return len(content)


def search(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def endless_template() -> str:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    source = "{% for a in r %}{% for b in r %}{% for c in r %}{{ c }}{% endfor %}{% endfor %}{% endfor %}"
    return ImmutableSandboxedEnvironment().from_string(source).render(r=range(10_000))


def eat_memory() -> int:
    return len([bytearray(1 << 20) for _ in itertools.count()])


def hold_memory(megabytes: int) -> int:
    global held
    held = bytearray(b"x" * (megabytes << 20))
    return os.getpid()


def huge_answer() -> str:
    return "x" * (20 << 20)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def fail(words: str) -> None:
    raise ValueError(words)


def nest() -> list:
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    return nested


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def pid() -> int:
    return os.getpid()


def surroundings(path: str) -> dict:
    try:
        Path(path).write_text("written")
        writes = True
    except OSError:
        writes = False
    return {
        "environment": dict(os.environ),
        "descriptors": [entry.name for entry in Path("/proc/self/fd").iterdir()],
        "django": "django" in sys.modules,
        "writes": writes,
    }
