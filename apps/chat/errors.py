"""What can go wrong in a conversation."""

from __future__ import annotations

from typing import Any

from apps.runtime.errors import Invalid, LimitReached


class PendingFull(LimitReached):
    """Ten messages wait for the copilot already. This one was not taken; send it again when it has read some."""

    code = "pending_full"


class TooManyQueued(LimitReached):
    """You queued thirty messages within a minute. This one was not taken; wait a little."""

    code = "too_many_queued"


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


class NoSuchPlace(Invalid):
    """No message of this session is shown at this place."""

    code = "no_such_place"

    def body(self) -> dict[str, Any]:
        """Return it as every refused field is told."""
        return {"from_sequence": [self.detail]}
