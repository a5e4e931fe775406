"""A node's runs may work at once, but their values go out in the order in which those runs began."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from uuid import UUID

from apps.library.executor.state import NodeRun

Action = Callable[[], None]


class Lanes:
    """One line of node runs for each node; only the first in a line is heard at once."""

    def __init__(self) -> None:
        """Make empty lines."""
        self._lanes: dict[UUID, deque[NodeRun]] = {}
        self._held: dict[UUID, list[Action]] = {}
        self._gone: set[UUID] = set()

    def enter(self, run: NodeRun) -> None:
        """Put a run at the end of its node's line.

        Runs without a time limit stay out, and hold nobody up; so do called ones, for whose values only callers wait.
        """
        if run.node.block.timeout_seconds is not None and run.call is None:
            self._lanes.setdefault(run.node.id, deque()).append(run)
            self._held[run.id] = []

    def say(self, run: NodeRun, action: Action) -> None:
        """Do something now if it is the run's turn, else when it comes."""
        if run.id not in self._held or self._lanes[run.node.id][0] is run:
            action()
        else:
            self._held[run.id].append(action)

    def leave(self, run: NodeRun, action: Action) -> None:
        """Do a run's last thing when its turn comes, and let the next ones speak."""
        self.say(run, action)
        if run.id not in self._held:
            return
        self._gone.add(run.id)
        lane = self._lanes[run.node.id]
        while lane and lane[0].id in self._gone:
            left = lane.popleft()
            self._gone.discard(left.id)
            del self._held[left.id]
            if lane:
                held, self._held[lane[0].id] = self._held[lane[0].id], []
                for waiting in held:
                    waiting()
        if not lane:
            del self._lanes[run.node.id]
