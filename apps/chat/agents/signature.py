"""What makes a cached agent the right one: a digest of everything that its client and its prompt depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_VERSION = "flightdeck-agent-1"


def agent_signature(
    *,
    model: str,
    provider: str,
    base_url: str | None,
    api_mode: str,
    credential: str | None,
    toolsets: Iterable[str],
    instructions: str | None,
    user: str | None = "",
) -> str:
    """Return the signature of the agent that these facts ask for.

    What is set in place (reasoning effort, callbacks) and what differs from message to message is no part of it.

    Args:
        model: The provider's model id.
        provider: Who answers, such as `openrouter`.
        base_url: The server's address; None or empty for the provider's own.
        api_mode: The wire protocol, such as `openai_chat`.
        credential: The whole key. Only its hash goes into the digest, and nothing keeps it.
        toolsets: Names of the toolsets; their order and repetitions don't matter.
        instructions: The session's extra instructions.
        user: Who acts, where a conversation is shared; else empty.

    Returns:
        64 hexadecimal digits, the same in every process.
    """
    secret = hashlib.sha256(_encoded(credential)).hexdigest()
    names = sorted(set(toolsets))
    parts = [_VERSION, model, provider, base_url, api_mode, secret, instructions, user, str(len(names)), *names]
    digest = hashlib.sha256()
    for part in parts:
        data = _encoded(part)
        # The length in front keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _encoded(part: str | None) -> bytes:
    return (part or "").encode("utf-8", "surrogatepass")
