"""What other rooms of the library do when an agent goes; each adds itself when Django starts."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

#: Told, within the transaction that takes an agent away, with the ids of its runs that aren't over: they are to stop.
on_runs_unwanted: list[Callable[[list[UUID]], None]] = []


def stop_runs(execution_ids: list[UUID]) -> None:
    """Ask that runs are stopped."""
    for listener in on_runs_unwanted if execution_ids else ():
        listener(execution_ids)
