"""The live agent of a conversation: its frozen prompt and tools, and its hold on a model client.

An agent holds no history: every step's messages are read from rows, so that turns of other processes can't be missed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol

from apps.chat.agents.conversation import Conversation
from apps.engines.base import ToolSpec
from apps.engines.frozen import frozen_spec

Callbacks = Mapping[str, Callable[..., object]]


class Hold(Protocol):
    """A hold on a shared client, such as `holds.ClientHold`."""

    @property
    def client(self) -> Any:
        """The client, or None after the release."""

    def release(self) -> None:
        """Let go, from any thread and without waiting."""


class Agent:
    """What stays the same from turn to turn. Safe from many threads; making one touches no network.

    Attributes:
        session_id: The conversation's id.
        conversation: What belongs to the conversation and outlives this object.
        reasoning_effort: Set in place; no part of the frozen prompt.
        callbacks: Set in place for each turn, by name.
        last_activity_at: Unix seconds, or None for an agent that no idle sweep may take.
    """

    __slots__ = (
        "__weakref__",
        "_hold",
        "_is_leaving",
        "_lock",
        "_system_prompt",
        "_tools",
        "_turns",
        "callbacks",
        "conversation",
        "last_activity_at",
        "reasoning_effort",
        "session_id",
    )

    def __init__(
        self,
        *,
        session_id: Hashable,
        system_prompt: str,
        tools: Sequence[ToolSpec] = (),
        hold: Hold | None = None,
        conversation: Conversation | None = None,
        reasoning_effort: str | None = None,
        callbacks: Callbacks | None = None,
        last_activity_at: float | None = None,
    ) -> None:
        """Freeze the prompt and the tools.

        Args:
            session_id: The conversation's id.
            system_prompt: Kept as this very object, so that prompt caches hold.
            tools: What the model may call; their schemas are copied and frozen.
            hold: The hold on a client; it is this agent's to release.
            conversation: The session's resources; by default, new ones.
            reasoning_effort: How hard the model should think, where it can be told.
            callbacks: What the turn wants to be told.
            last_activity_at: Unix seconds of the last activity, if there was one.
        """
        self.session_id = session_id
        self.conversation = conversation if conversation is not None else Conversation(session_id)
        self.reasoning_effort = reasoning_effort
        self.callbacks: Callbacks = callbacks or {}
        self.last_activity_at = last_activity_at
        self._system_prompt = system_prompt
        self._tools = tuple(frozen_spec(spec) for spec in tools)
        self._hold = hold
        self._lock = threading.Lock()
        self._turns = 0
        self._is_leaving = False

    @property
    def system_prompt(self) -> str:
        """The frozen prompt: the same object for the agent's whole life."""
        return self._system_prompt

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """The frozen tools: the same object for the agent's whole life."""
        return self._tools

    @property
    def client(self) -> Any:
        """The shared model client; None once it was let go."""
        hold = self._hold
        return None if hold is None else hold.client

    @property
    def is_mid_turn(self) -> bool:
        """Whether this very object runs a turn."""
        return self._turns > 0

    def begin_turn(self, at: float) -> bool:
        """Run a turn with this agent, which keeps its client until `end_turn`.

        Args:
            at: The time in Unix seconds.

        Returns:
            False when the agent was released meanwhile, so that another must be built.
        """
        with self._lock:
            if self._is_leaving:
                return False
            self._turns += 1
            self.last_activity_at = at
            return True

    def end_turn(self, at: float) -> None:
        """End a turn that `begin_turn` began; an agent that was released meanwhile lets go of its client now.

        Args:
            at: The time in Unix seconds.
        """
        with self._lock:
            self._turns = max(0, self._turns - 1)
            self.last_activity_at = at
            hold = self._detached() if self._is_leaving and not self._turns else None
        if hold is not None:
            hold.release()

    def release_clients(self) -> None:
        """Let go of the client and of nothing else, from any thread and without waiting; the soft end.

        While the agent runs a turn, this waits for the turn's end. A second call does nothing.
        """
        with self._lock:
            self._is_leaving = True
            hold = None if self._turns else self._detached()
        if hold is not None:
            hold.release()

    def close(self) -> None:
        """End the session: its sandbox, processes, browser and children, and drop the client; the hard end.

        It doesn't wait for a turn. A second call does nothing.
        """
        with self._lock:
            self._is_leaving = True
            hold = self._detached()
        self.conversation.close()
        if hold is not None:
            hold.release()

    def _detached(self) -> Hold | None:
        """Forget what keeps memory, and return the hold for release outside of the lock."""
        hold, self._hold = self._hold, None
        self.callbacks = {}
        return hold


class Placeholder:
    """Stands for an agent that is being built: it is never mid-turn, has no age and nothing to release."""

    __slots__ = ()


BUILDING = Placeholder()
