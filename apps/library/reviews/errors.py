"""What can go wrong when a person decides."""

from __future__ import annotations

from uuid import UUID

from apps.runtime.errors import Conflict, Invalid


class NothingDecided(Invalid):
    """Name at least one review, and each only once."""

    code = "nothing_decided"


class DecisionInvalid(Invalid):
    """The decision can't be taken like this."""

    code = "decision_invalid"

    def __init__(self, node_execution_id: UUID, detail: str) -> None:
        """Keep which decision is wrong, and why."""
        super().__init__(detail, node_execution_id=str(node_execution_id))


class SeveralRuns(Conflict):
    """These reviews belong to several runs; decide about one run at a time."""

    code = "several_runs"


class NotWaiting(Conflict):
    """This run doesn't wait for a person any more."""

    code = "wrong_state"
