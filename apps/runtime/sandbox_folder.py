"""Files of a sandbox's working directory, handled from outside: nothing that lies there is trusted.

A program may have put links to the host's files in it, pipes that never answer, and names of any kind.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

MAX_FILES: Final = 1_000  # looked at, or returned
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: A file's size and when it was changed, by its path in the folder.
Listing = Mapping[str, tuple[int, int]]


def write(folder: Path, name: str, content: bytes, *, owner: int | None = None) -> None:
    """Put a file into a folder, in place of whatever has its name.

    Args:
        folder: The working directory.
        name: A plain name.
        content: What it holds.
        owner: Whose it is to be; ours by default.

    Raises:
        ValueError: When the name isn't plain, or a folder has it.
    """
    if name in {"", ".", ".."} or "/" in name or "\0" in name or len(name.encode()) > 255:
        raise ValueError("That is no plain file name.")
    place = os.open(folder, _FOLDER)
    try:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=place)
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=place)
        with os.fdopen(fd, "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), owner, owner)
            file.write(content)
    except IsADirectoryError:
        raise ValueError("A folder has that name.") from None
    finally:
        os.close(place)


def read(folder: Path, path: str, *, max_bytes: int) -> bytes | None:
    """Return a regular file's content; None when there is no such file, or it is larger.

    No part of the path may be a link.
    """
    *parents, name = path.split("/")
    if {"", ".", ".."} & {*parents, name}:
        return None
    place = os.open(folder, _FOLDER)
    try:
        for parent in parents:
            inner = os.open(parent, _FOLDER, dir_fd=place)
            os.close(place)
            place = inner
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    except OSError:
        return None
    finally:
        os.close(place)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        content = file.read(max_bytes + 1)
    return content if len(content) <= max_bytes else None


def listing(folder: Path) -> Listing:
    """Return the regular files of a folder, no more than `MAX_FILES`."""
    found = {}
    for path, facts in _walk(folder):
        found[path] = (facts.st_size, facts.st_mtime_ns)
        if len(found) >= MAX_FILES:
            break
    return found


def changed(folder: Path, before: Listing, max_bytes: int) -> dict[str, bytes]:
    """Return files that were made or changed since, as far as `max_bytes` reach for all of them together."""
    found: dict[str, bytes] = {}
    left = max_bytes
    for path, facts in sorted(listing(folder).items()):
        if before.get(path) == facts or facts[0] > left:
            continue
        content = read(folder, path, max_bytes=left)
        if content is not None:
            found[path] = content
            left -= len(content)
    return found


def remove(folder: Path) -> None:
    """Remove a folder with everything in it, also what was made to be hard to remove.

    These programs go down trees that are too deep for Python, and follow no links.
    """
    for command in (("chmod", "-R", "u+rwX", "--"), ("rm", "-rf", "--")):
        subprocess.run(  # noqa: S603 -- our own command
            [*command, str(folder)], check=False, stdin=subprocess.DEVNULL, capture_output=True
        )


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        with suppress(OSError), os.scandir(folder / inner) as entries:
            for entry in entries:
                path = f"{inner}{entry.name}"
                try:
                    path.encode()
                except UnicodeEncodeError:
                    continue  # bytes that are no text; no JSON could hold the name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{path}/")
                elif entry.is_file(follow_symlinks=False):
                    yield path, entry.stat(follow_symlinks=False)
