"""The agents of recently active conversations, kept by a worker process so that turns start warm.

Dropping an entry only lets go of its client: what belongs to the conversation stays. An agent whose turn is running is
never released: the cap and the sweep pass it by, and one that was replaced or reset is released after its turn.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from apps.chat.agents.agent import Agent, Placeholder
from apps.chat.agents.memory import memory_limit_bytes, resident_bytes

logger = logging.getLogger(__name__)

MAX_SIZE: Final = 128
IDLE_TTL_SECONDS: Final = 3600.0
#: The share of the container's memory that this process may use before idle agents go.
MEMORY_SHARE: Final = 0.65
#: So many of the most recent entries stay however little memory there is.
KEPT_WHATEVER_MEMORY: Final = 8

CAP: Final = "cap"
IDLE: Final = "idle"
SIGNATURE: Final = "signature"
RESET: Final = "reset"
MEMORY: Final = "memory"
REASONS: Final = (CAP, IDLE, SIGNATURE, RESET, MEMORY)

Cached = Agent | Placeholder


@dataclass(frozen=True, slots=True)
class CacheGauges:
    """What operators see.

    Attributes:
        entries: Agents in the cache now.
        hits: Turns that found their agent.
        misses: Turns that didn't.
        evictions: Dropped entries by reason, all of `REASONS`.
        mid_turn_skips: How often an entry that was due stayed because its turn was running.
        awaiting_turn_end: Dropped agents that are released when their turns end.
    """

    entries: int
    hits: int
    misses: int
    evictions: Mapping[str, int]
    mid_turn_skips: int
    awaiting_turn_end: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached agent and the signature that it was built for."""

    agent: Cached
    signature: str


def runs_a_turn(key: Hashable, agent: Agent) -> bool:
    """Tell whether this very object runs a turn."""
    return agent.is_mid_turn


def release_softly(agent: Agent) -> None:
    """Let go of an agent's client; what belongs to its conversation stays."""
    agent.release_clients()


class AgentCache:
    """Agents by conversation, least recently used first. Safe from many threads; nothing is released under its lock."""

    def __init__(
        self,
        max_size: int = MAX_SIZE,
        idle_ttl_seconds: float = IDLE_TTL_SECONDS,
        is_active: Callable[[Any, Any], bool] = runs_a_turn,
        release: Callable[[Any], None] = release_softly,
        *,
        now: Callable[[], float] = time.time,
        memory_limit: Callable[[], int | None] = memory_limit_bytes,
        memory_used: Callable[[], int | None] = resident_bytes,
        entries: dict[Hashable, Entry] | None = None,
    ) -> None:
        """Start empty.

        Args:
            max_size: The cap, at least 1.
            idle_ttl_seconds: How long an agent may be idle.
            is_active: Tells from key and agent whether that very agent runs a turn; called under the lock, so it must
                be quick and leave the cache alone.
            release: Lets go of a dropped agent softly; called in the thread that dropped it, never under the lock. It
                should only schedule what takes time.
            now: The clock, in Unix seconds.
            memory_limit: The container's limit in bytes, or None for none.
            memory_used: This process's memory in bytes, or None if unknown.
            entries: A store in place of the usual one. A plain dict (tests, tools) has no order of use, so that the
                bounds on count and memory do nothing then.

        Raises:
            ValueError: For a cap below 1.
        """
        if max_size < 1:
            raise ValueError("An agent cache needs room for at least one agent.")
        self._max_size = max_size
        self._idle_ttl_seconds = idle_ttl_seconds
        self._is_active = is_active
        self._release = release
        self._now = now
        self._memory_limit = memory_limit
        self._memory_used = memory_used
        self._lock = threading.Lock()
        self._entries: dict[Hashable, Entry] = OrderedDict() if entries is None else entries
        self._awaiting_turn_end: list[tuple[Hashable, Agent]] = []
        self._hits = self._misses = self._mid_turn_skips = 0
        self._evictions: Counter[str] = Counter()

    def get(self, key: Hashable, signature: str) -> Any | None:
        """Return a conversation's agent and make it the most recently used.

        An agent with another signature is dropped; one that is still being built stays, and isn't returned.

        Args:
            key: The conversation.
            signature: What the turn needs, from `agent_signature`.
        """
        with self._changing() as dropped:
            entry = self._entries.get(key)
            if entry is not None and entry.signature != signature:
                self._drop(key, SIGNATURE, dropped)
            elif entry is not None and not isinstance(entry.agent, Placeholder):
                self._hits += 1
                self._make_most_recent(key)
                return entry.agent
            self._misses += 1
            return None

    def put(self, key: Hashable, agent: Any, signature: str) -> None:
        """Keep an agent, or `BUILDING` in its place, as the most recently used; then see to all bounds.

        The agent that it replaces is released.

        Args:
            key: The conversation.
            agent: Should have begun its turn, so that no other insert takes it for idle.
            signature: What it was built for.
        """
        with self._changing() as dropped:
            old = self._entries.get(key)
            if old is not None and old.agent is not agent:
                self._drop(key, SIGNATURE, dropped)
            self._awaiting_turn_end = [waiting for waiting in self._awaiting_turn_end if waiting[1] is not agent]
            self._entries[key] = Entry(agent, signature)
            self._make_most_recent(key)
            self._sweep(dropped, spare=key)
            skipped = self._shrink(dropped)
        self._warn(skipped)
        self.enforce_memory()

    def evict(self, key: Hashable) -> bool:
        """Drop a conversation's entry, because it was reset or deleted; returns whether there was one."""
        with self._changing() as dropped:
            return self._drop(key, RESET, dropped)

    def clear(self) -> None:
        """Drop every entry: the process is stopping."""
        with self._changing() as dropped:
            for key in list(self._entries):
                self._drop(key, RESET, dropped)

    def abandon_building(self, key: Hashable) -> None:
        """Take a placeholder away whose agent could not be built."""
        with self._changing():
            entry = self._entries.get(key)
            if entry is not None and isinstance(entry.agent, Placeholder):
                del self._entries[key]

    def finish_turn(self, key: Hashable, agent: Any, *, succeeded: bool, model_changed: bool = False) -> bool:
        """Take note of a turn's end; a cached agent that no longer fits is dropped after a successful turn only.

        After a failed one it stays: dropping it would make the next turn begin with the model that just failed, fall
        back, drop, and so on for ever.

        Args:
            key: The conversation.
            agent: Whose turn it was.
            succeeded: Whether the turn was answered.
            model_changed: Whether the model was switched or a fallback was activated in it.

        Returns:
            Whether the entry was dropped.
        """
        with self._changing() as dropped:
            entry = self._entries.get(key)
            if not (succeeded and model_changed) or entry is None or entry.agent is not agent:
                return False
            return self._drop(key, SIGNATURE, dropped)

    def enforce_cap(self) -> int:
        """Drop the least recently used entries beyond the cap, but none that is mid-turn; returns how many went.

        The entries that are too many, counted from the least recently used, are the excess window. One of them that is
        mid-turn stays, and no newer entry goes in its place: the cache is over its cap until the next insert.
        """
        with self._changing() as dropped:
            before = len(self._entries)
            skipped = self._shrink(dropped)
            gone = before - len(self._entries)
        self._warn(skipped)
        return gone

    def sweep_idle(self) -> int:
        """Drop entries that were idle for longer than the TTL, but none that is mid-turn; returns how many went."""
        with self._changing() as dropped:
            return self._sweep(dropped)

    def enforce_memory(self) -> int:
        """Drop entries while memory is short, least recently used first; returns how many went.

        One that is mid-turn stays, and so do the 8 most recently used.
        """
        gone = 0
        while self._memory_is_short():
            with self._changing() as dropped:
                if not self._drop_for_memory(dropped):
                    return gone
            gone += 1
        return gone

    def gauges(self) -> CacheGauges:
        """Return a snapshot for operators."""
        with self._lock:
            return CacheGauges(
                entries=len(self._entries),
                hits=self._hits,
                misses=self._misses,
                evictions=MappingProxyType({reason: self._evictions[reason] for reason in REASONS}),
                mid_turn_skips=self._mid_turn_skips,
                awaiting_turn_end=len(self._awaiting_turn_end),
            )

    def keys(self) -> list[Hashable]:
        """Return the conversations, least recently used first."""
        with self._lock:
            return list(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    @contextmanager
    def _changing(self) -> Iterator[list[Agent]]:
        """Hold the lock for a change; the agents that the change adds to the list are released after it."""
        dropped: list[Agent] = []
        try:
            with self._lock:
                self._collect_ended(dropped)
                yield dropped
        finally:
            for agent in dropped:
                self._release_quietly(agent)

    def _release_quietly(self, agent: Agent) -> None:
        try:
            self._release(agent)
        except Exception as error:  # noqa: BLE001 - whoever inserts must not pay for another's cleanup
            logger.warning("an agent could not be released: %s", type(error).__name__)

    def _collect_ended(self, dropped: list[Agent]) -> None:
        """Pick up agents that were dropped mid-turn and whose turns have ended."""
        still: list[tuple[Hashable, Agent]] = []
        for key, agent in self._awaiting_turn_end:
            if self._is_mid_turn(key, agent):
                still.append((key, agent))
            else:
                dropped.append(agent)
        self._awaiting_turn_end = still

    def _is_mid_turn(self, key: Hashable, agent: Cached) -> bool:
        return not isinstance(agent, Placeholder) and self._is_active(key, agent)

    def _make_most_recent(self, key: Hashable) -> None:
        if isinstance(self._entries, OrderedDict):
            self._entries.move_to_end(key)

    def _drop(self, key: Hashable, reason: str, dropped: list[Agent]) -> bool:
        """Take an entry out; its agent is released soon, or after its turn."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        if not isinstance(entry.agent, Placeholder):
            self._evictions[reason] += 1
            if self._is_mid_turn(key, entry.agent):
                self._awaiting_turn_end.append((key, entry.agent))
            else:
                dropped.append(entry.agent)
        return True

    def _shrink(self, dropped: list[Agent]) -> int:
        """Drop what is too much; returns how many of the excess window stay because they are mid-turn."""
        if not isinstance(self._entries, OrderedDict):
            return 0
        excess = len(self._entries) - self._max_size
        window = list(self._entries.items())[: max(0, excess)]
        skipped = 0
        for key, entry in window:
            if self._is_mid_turn(key, entry.agent):
                skipped += 1
            else:
                self._drop(key, CAP, dropped)
        self._mid_turn_skips += skipped
        return skipped

    def _sweep(self, dropped: list[Agent], spare: Hashable = None) -> int:
        oldest = self._now() - self._idle_ttl_seconds
        gone = 0
        for key, entry in list(self._entries.items()):
            active_at = getattr(entry.agent, "last_activity_at", None)
            if key == spare or not isinstance(active_at, int | float) or active_at >= oldest:
                continue
            if self._is_mid_turn(key, entry.agent):
                self._mid_turn_skips += 1
            else:
                gone += self._drop(key, IDLE, dropped)
        return gone

    def _memory_is_short(self) -> bool:
        limit = self._memory_limit()
        used = None if limit is None else self._memory_used()
        return limit is not None and used is not None and used > MEMORY_SHARE * limit

    def _drop_for_memory(self, dropped: list[Agent]) -> bool:
        """Drop the least recently used entry that may go; returns whether there was one."""
        if not isinstance(self._entries, OrderedDict):
            return False
        for key, entry in list(self._entries.items())[:-KEPT_WHATEVER_MEMORY]:
            if not self._is_mid_turn(key, entry.agent):
                return self._drop(key, MEMORY, dropped)
        return False

    def _warn(self, skipped: int) -> None:
        if skipped:
            logger.warning("the agent cache stays over its cap: %d of the oldest entries are mid-turn", skipped)


def enforce_cap(cache: AgentCache | dict[Any, Any]) -> int:
    """Enforce a cache's cap; a plain dict in its place (tests, tools) is left as it is. Returns how many went."""
    return cache.enforce_cap() if isinstance(cache, AgentCache) else 0
