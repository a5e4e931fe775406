"""How much memory this process has, and how much of it is in use."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
#: Under version 2 of control groups, then under version 1.
_LIMIT_FILES = ("memory.max", "memory/memory.limit_in_bytes")
#: Version 1 says "no limit" by a number near 2**63.
_NO_LIMIT_BYTES = 1 << 60
_STATM = Path("/proc/self/statm")


def memory_limit_bytes(root: Path = _CGROUPS) -> int | None:
    """Return the container's memory limit in bytes, or None when it has none or it can't be read."""
    for name in _LIMIT_FILES:
        limit = _number(root / name, field=0)
        if limit is not None:
            return limit if 0 < limit < _NO_LIMIT_BYTES else None
    return None


def resident_bytes(statm: Path = _STATM) -> int | None:
    """Return this process's resident memory in bytes, or None where it can't be read."""
    pages = _number(statm, field=1)
    return None if pages is None else pages * os.sysconf("SC_PAGE_SIZE")


def _number(path: Path, *, field: int) -> int | None:
    """Read one number of a file; `max` and anything else that is none gives None."""
    try:
        return int(path.read_text(encoding="ascii").split()[field])
    except (OSError, ValueError, IndexError):
        return None
