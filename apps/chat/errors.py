"""What can go wrong in a conversation."""

from __future__ import annotations

from apps.runtime.errors import LimitReached


class PendingFull(LimitReached):
    """Ten messages wait for the copilot already. This one was not taken; send it again when it has read some."""

    code = "pending_full"


class TooManyQueued(LimitReached):
    """You queued thirty messages within a minute. This one was not taken; wait a little."""

    code = "too_many_queued"
