"""What can go wrong in a conversation."""

from __future__ import annotations

from apps.runtime.errors import Conflict


class TurnInFlight(Conflict):
    """The copilot is still answering in this chat. Wait for it, or stop it."""

    code = "turn_in_flight"
