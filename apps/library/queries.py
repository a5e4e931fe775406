"""What upper apps may read of the library."""

from __future__ import annotations

from apps.library.executor.follow import follow_run
from apps.library.executor.queries import access_execution

__all__ = ("access_execution", "follow_run")
