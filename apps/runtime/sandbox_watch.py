"""Looks after a sandbox from outside: what the kernel's limits of single processes can't bound."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.1
_BLOCK_BYTES: Final = 512  # what st_blocks counts
_MAX_PROCESSES: Final = 500
_MAX_DEPTH: Final = 100


async def watch(
    pid: int, folder: Path, *, memory_bytes: int, disk_bytes: int, files: int, end: Callable[[str], None]
) -> None:
    """Look at memory and disk until cancelled.

    Args:
        pid: The sandbox's outermost process.
        folder: Its working directory.
        memory_bytes: What all its processes may use together.
        disk_bytes: What the folder, and what was deleted and is still open, may take up.
        files: How many entries the folder may have.
        end: Called with `memory` or `disk` when there is more.
    """
    while True:
        why = await asyncio.to_thread(_too_much, pid, folder, memory_bytes, disk_bytes, files)
        if why:
            end(why)
        await asyncio.sleep(POLL_SECONDS)


def _too_much(pid: int, folder: Path, memory_bytes: int, disk_bytes: int, files: int) -> str:
    processes = list(_family(pid))
    if sum(_memory(process) for process in processes) > memory_bytes:
        return "memory"
    used = _deleted_bytes(processes, folder)
    for count, size in enumerate(_sizes(folder)):
        used += size
        if used > disk_bytes or count >= files:
            return "disk"
    return "disk" if used > disk_bytes else ""


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all below it, as far as they can be found now."""
    waiting, seen = [pid], 0
    while waiting and seen < _MAX_PROCESSES:
        process = waiting.pop()
        seen += 1
        yield process
        with suppress(OSError):
            for thread in Path(f"/proc/{process}/task").iterdir():
                with suppress(OSError):
                    children = (thread / "children").read_text(encoding="ascii")
                    waiting += map(int, children.split())


def _memory(process: int) -> int:
    """Return the bytes that are a process's own or shared memory; not what it maps of files."""
    total = 0
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                total += int(line.split()[1]) * 1024
    return total


def _deleted_bytes(processes: list[int], folder: Path) -> int:
    """Return what deleted files take up that are still open: no look into the folder finds them."""
    device = folder.stat().st_dev
    found: dict[int, int] = {}
    for process in processes:
        with suppress(OSError):
            for opened in Path(f"/proc/{process}/fd").iterdir():
                with suppress(OSError):
                    facts = opened.stat()
                    if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0 and facts.st_dev == device:
                        found[facts.st_ino] = facts.st_blocks * _BLOCK_BYTES
    return sum(found.values())


def _sizes(folder: Path) -> Iterator[int]:
    """Yield what each entry takes up; what can't be looked into counts as without end."""
    waiting = [(str(folder), 0)]
    while waiting:
        place, depth = waiting.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        yield entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append((entry.path, depth + 1))
        except (FileNotFoundError, NotADirectoryError):
            continue  # gone meanwhile
        except OSError:
            yield 1 << 62
        if depth > _MAX_DEPTH:
            yield 1 << 62
