"""What upper apps may read of the library."""

from __future__ import annotations

from apps.library.executor.follow import follow_run
from apps.library.executor.queries import access_execution
from apps.library.graphs.queries import latest_agent_names

__all__ = ("access_execution", "follow_run", "latest_agent_names")
