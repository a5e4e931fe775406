"""Working directories of sandboxes that are used again by later steps.

They lie on the machine that made them, and only for a while: they are places to work, not to keep things. A run that
goes on elsewhere is told that its sandbox is gone.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

from apps.library.errors import BlockError
from apps.runtime.sandbox import make_workdir, remove_workdir

KEPT_SECONDS: Final = 6 * 3600  # since the last use
MOST_KEPT: Final = 5  # of one person on one machine
POLL_SECONDS: Final = 0.05
_NAME: Final = re.compile(r"sandbox-[a-z0-9_]{8}")


async def make(user_id: UUID) -> str:
    """Make a sandbox and return its id; the person's oldest ones make room."""
    parent = _parent(user_id)
    _touch(made := make_workdir(parent))
    marks = sorted(parent.glob("*.used"), key=_used, reverse=True)
    now = time.time()
    for place, mark in enumerate(marks):
        if place >= MOST_KEPT or _used(mark) < now - KEPT_SECONDS:
            await remove_workdir(mark.with_suffix(""))
            mark.unlink(missing_ok=True)
    return made.name


def find(user_id: UUID, sandbox_id: str) -> Path:
    """Return the working directory of a person's sandbox, and keep it longer.

    Raises:
        BlockError: When this person has no such sandbox here.
    """
    folder = _parent(user_id) / sandbox_id if _NAME.fullmatch(sandbox_id) else None
    if folder is None or not _mark(folder).exists() or _used(_mark(folder)) < time.time() - KEPT_SECONDS:
        raise BlockError("This sandbox isn't there any more; make a new one.")
    _touch(folder)
    return folder


@asynccontextmanager
async def in_use(user_id: UUID, sandbox_id: str) -> AsyncIterator[Path]:
    """Yield the working directory of a person's sandbox for one step; others, also in other processes, wait.

    Raises:
        BlockError: When this person has no such sandbox here.
    """
    with _mark(find(user_id, sandbox_id)).open("rb") as mark:
        while not _locked(mark.fileno()):  # noqa: ASYNC110 -- another process sets no event
            await asyncio.sleep(POLL_SECONDS)
        yield find(user_id, sandbox_id)  # it may have been removed meanwhile


async def remove(user_id: UUID, sandbox_id: str) -> None:
    """Remove a person's sandbox.

    Raises:
        BlockError: When this person has no such sandbox here.
    """
    folder = find(user_id, sandbox_id)
    await remove_workdir(folder)
    _mark(folder).unlink(missing_ok=True)


def _parent(user_id: UUID) -> Path:
    """Return the folder of a person's sandboxes; nobody but us may have made it."""
    root = Path(tempfile.gettempdir()) / f"flightdeck-sandboxes-{os.geteuid()}"
    for folder in (root, root / str(user_id)):
        folder.mkdir(mode=0o711, exist_ok=True)  # the sandbox's own user must come through
        facts = folder.lstat()
        if folder.is_symlink() or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
            raise BlockError("This installation has no safe place for sandboxes.")
    return root / str(user_id)


def _mark(folder: Path) -> Path:
    """Return the file whose time says when a sandbox was used; it lies outside, where code can't change it."""
    return folder.with_suffix(".used")


def _locked(fd: int) -> bool:
    """Take a lock that ends with the file, and so with its process; whether it was to be had."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _touch(folder: Path) -> None:
    _mark(folder).touch()


def _used(mark: Path) -> float:
    try:
        return mark.stat().st_mtime
    except FileNotFoundError:
        return 0.0
