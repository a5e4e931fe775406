"""What belongs to a conversation rather than to its agent: sandbox, processes, browser, child sub-sessions.

It outlives every agent of the session, so that the next one finds all of it, and ends with the session.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from typing import Protocol
from weakref import WeakValueDictionary

logger = logging.getLogger(__name__)


class Resource(Protocol):
    """Something that must be ended with its conversation."""

    def close(self) -> None:
        """End it, from any thread and without waiting long; what takes time goes through a `Closer`."""


class Conversation:
    """The resources of one session, by name. Safe from many threads."""

    def __init__(self, session_id: Hashable, on_change: Callable[[Conversation], None] | None = None) -> None:
        """Start without resources.

        Args:
            session_id: Whose they are.
            on_change: Told after resources came or went.
        """
        self.session_id = session_id
        self._on_change = on_change
        self._lock = threading.Lock()
        self._resources: dict[str, Resource] = {}
        self._closed = False

    def add(self, name: str, resource: Resource) -> None:
        """Keep a resource until the session ends; one of the same name is ended, and so is one that comes too late.

        Args:
            name: What it is found by, such as `sandbox`, `browser` or `process 17`.
            resource: A child sub-session's `Conversation` or `Agent` is one as well.
        """
        with self._lock:
            if self._closed:
                surplus: Resource | None = resource
            else:
                surplus = self._resources.get(name)
                self._resources[name] = resource
                surplus = None if surplus is resource else surplus
        if surplus is not None:
            _end(name, surplus)
        self._tell()

    def get(self, name: str) -> Resource | None:
        """Return a resource, or None."""
        with self._lock:
            return self._resources.get(name)

    def forget(self, name: str) -> None:
        """Drop a resource that ended by itself."""
        with self._lock:
            self._resources.pop(name, None)
        self._tell()

    def close(self) -> None:
        """End everything, newest first; what can't be ended is logged. A second call does nothing."""
        with self._lock:
            self._closed = True
            resources, self._resources = self._resources, {}
        for name, resource in reversed(resources.items()):
            _end(name, resource)
        self._tell()

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended."""
        return self._closed

    def __len__(self) -> int:
        return len(self._resources)

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(self)


class Conversations:
    """A process's conversations. Those that own nothing take no memory beyond their agent's life."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._known: WeakValueDictionary[Hashable, Conversation] = WeakValueDictionary()
        self._owners: set[Conversation] = set()

    def of(self, session_id: Hashable) -> Conversation:
        """Return a session's conversation: the very same as long as an agent or a resource of it lives."""
        with self._lock:
            found = self._known.get(session_id)
            if found is None or found.is_closed:
                found = self._known[session_id] = Conversation(session_id, self._keep)
            return found

    def close(self, session_id: Hashable) -> None:
        """End a session's resources; nothing happens if it has none."""
        with self._lock:
            found = self._known.pop(session_id, None)
        if found is not None:
            found.close()

    def owners(self) -> list[Hashable]:
        """Return the sessions that own something."""
        with self._lock:
            return [conversation.session_id for conversation in self._owners]

    def close_all(self) -> None:
        """End the resources of all sessions: the process is stopping."""
        with self._lock:
            owners = list(self._owners)
        for conversation in owners:
            conversation.close()

    def __len__(self) -> int:
        """Return how many conversations own something."""
        return len(self._owners)

    def _keep(self, conversation: Conversation) -> None:
        with self._lock:
            if len(conversation):
                self._owners.add(conversation)
            else:
                self._owners.discard(conversation)


def _end(name: str, resource: Resource) -> None:
    try:
        resource.close()
    except Exception as error:  # noqa: BLE001 - the other resources must still be ended
        logger.warning("a conversation's %s could not be ended: %s", name, type(error).__name__)
