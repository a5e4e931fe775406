"""What can go wrong with webhooks."""

from __future__ import annotations

from typing import Any

from apps.runtime.errors import Conflict, DomainError, Invalid


class NoTrigger(Conflict):
    """This agent has no trigger, so a webhook couldn't start it. Add a webhook trigger to it first."""

    code = "no_trigger"


class SecretInvalid(Invalid):
    """Calls of this service are always signed, so the secret can't be taken away."""

    code = "secret_invalid"

    def body(self) -> dict[str, Any]:
        """Return it as every refused field is told."""
        return {"secret": [self.detail]}


class BadSignature(DomainError):
    """The call isn't signed as it should be."""

    code = "bad_signature"


class AgentUnavailable(Conflict):
    """The agent can't be run at present."""

    code = "agent_unavailable"
