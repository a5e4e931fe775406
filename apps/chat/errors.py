"""What can go wrong in a conversation."""

from __future__ import annotations

from apps.runtime.errors import Conflict, Invalid, LimitReached


class TurnInFlight(Conflict):
    """The copilot is still answering in this chat. Wait for it, or stop it."""

    code = "turn_in_flight"


class SpendLimitReached(LimitReached):
    """You have reached your usage limit."""

    code = "rate_limited"


class ResetRefused(Invalid):
    """Your usage can't be reset now."""

    code = "reset_refused"


class ResetLimitReached(LimitReached):
    """You can't reset your usage again today."""

    code = "reset_limit_reached"


class ResetInProgress(LimitReached):
    """A reset is in progress."""

    code = "reset_in_progress"
