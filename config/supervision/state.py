"""What a running supervisor leaves in the var folder: its lock and `run.json`."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


class AlreadyRunning(Exception):
    """Another supervisor holds this var folder."""


def write_private(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that only its owner may read; readers see the old file or the new one, never a part."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    fresh.replace(path)


class VarFolder:
    """The var folder, held by one supervisor at a time."""

    def __init__(self, path: Path) -> None:
        """Make the folder if need be and take it; the lock ends with this process, however that ends.

        Raises:
            AlreadyRunning: When another supervisor has it.
        """
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.run_file = path / "run.json"
        # Append mode: opening it must not wipe what its holder wrote.
        self._lock = (path / "supervisor.lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip()
            self._lock.close()
            raise AlreadyRunning(f"Flightdeck already runs in this checkout (process {holder}).") from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()
        self.forget_run()  # left by a supervisor that was killed

    def describe_run(self, content: Mapping[str, Any]) -> None:
        """Write `run.json`."""
        write_private(self.run_file, content)

    def forget_run(self) -> None:
        """Remove `run.json`."""
        self.run_file.unlink(missing_ok=True)

    def release(self) -> None:
        """Let the next supervisor have the folder."""
        with suppress(FileNotFoundError):
            self.forget_run()
        self._lock.close()
