"""What can go wrong in a conversation."""

from __future__ import annotations

from typing import Any

from apps.runtime.errors import Conflict, Invalid


class TurnInFlight(Conflict):
    """The copilot is still answering in this chat. Wait for it, or stop it."""

    code = "turn_in_flight"


class NoSuchPlace(Invalid):
    """No message of this session is shown at this place."""

    code = "no_such_place"

    def body(self) -> dict[str, Any]:
        """Return it as every refused field is told."""
        return {"from_sequence": [self.detail]}
