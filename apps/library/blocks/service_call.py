"""Calls of services for blocks: what goes wrong there is said in words for people, and short waits are waited."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from apps.library import api_client
from apps.library.api_client import Answer, CallFailed
from apps.library.blocks.base import BlockContext, Secret
from apps.library.errors import BlockError

#: A service that asks for a longer wait is told to the person instead.
LONGEST_WAIT_SECONDS: Final = 20.0
MOST_WAITS: Final = 3
MAX_REASON_CHARS: Final = 500


def secret_of(context: BlockContext, name: str = "credentials") -> Secret:
    """Return the credential of an input.

    Raises:
        BlockError: When the node has none.
    """
    secret = context.secrets.get(name)
    if secret is None:
        raise BlockError("It needs a credential.")
    return secret


def token_of(secret: Secret) -> str:
    """Return what a service wants to see of a credential: an API key or an access token."""
    return str(secret.values.get("access_token") or secret.values.get("api_key") or "")


async def service_call(service: str, method: str, url: str, **options: Any) -> Answer:
    """Call a service's API until it answers, and waits as it asks when it is asked too often.

    Args:
        service: Its name, for people.
        method: The HTTP method.
        url: Where.
        options: Of `api_client.call`.

    Raises:
        BlockError: When it doesn't answer, or refuses.
    """
    try:
        for _ in range(MOST_WAITS):
            answer = await api_client.call(method, url, **options)
            seconds = wait_of(answer)
            if seconds is None or seconds > LONGEST_WAIT_SECONDS:
                break
            await asyncio.sleep(seconds)
    except CallFailed as error:
        raise BlockError(f"{service}: {error}") from None
    if answer.status >= 300:
        raise BlockError(refusal(service, answer))
    return answer


def wait_of(answer: Answer) -> float | None:
    """Return how many seconds a service wants us to wait; None when it doesn't."""
    limited = answer.status == 429 or (answer.status == 403 and answer.headers.get("x-ratelimit-remaining") == "0")
    if not limited:
        return None
    said: Any = answer.headers.get("retry-after")
    if said is None:
        body = _object(answer)
        inner = body.get("parameters")
        said = body.get("retry_after") or (inner.get("retry_after") if isinstance(inner, Mapping) else None)
    try:
        return max(0.0, float(said))
    except (TypeError, ValueError):
        return float("inf") if answer.status == 403 else 1.0


def refusal(service: str, answer: Answer) -> str:
    """Say why a service refused."""
    if wait_of(answer) is not None:
        return f"{service} is asked too often; try again later."
    if answer.status == 401:
        return f"{service} doesn't accept the credential."
    body = _object(answer)
    reason = next((body[key] for key in ("message", "description", "error") if isinstance(body.get(key), str)), "")
    said = f": {reason[:MAX_REASON_CHARS]}" if reason else "."
    if answer.status == 403:
        return f"{service} doesn't allow this{said}"
    if answer.status == 404:
        return f"{service} doesn't have this, or the credential may not see it{said}"
    if answer.status >= 500:
        return f"{service} has a problem right now ({answer.status})."
    return f"{service} refuses this ({answer.status}){said}"


def decoded(service: str, answer: Answer) -> Any:
    """Return an answer's JSON.

    Raises:
        BlockError: When it is none.
    """
    try:
        return answer.json()
    except CallFailed as error:
        raise BlockError(f"{service}: {error}") from None


def field(service: str, value: Any, *path: str) -> Any:
    """Return a field of an answer that must be there.

    Raises:
        BlockError: When it isn't: the service answers otherwise than it says.
    """
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            raise BlockError(f"{service}'s answer can't be understood.")
        value = value[key]
    return value


def number(service: str, value: Any, *path: str) -> int:
    """Return a field of an answer that must be a whole number, or the text of one.

    Raises:
        BlockError: When it isn't.
    """
    try:
        return int(field(service, value, *path))
    except (TypeError, ValueError, OverflowError):
        raise BlockError(f"{service}'s answer can't be understood.") from None


def objects(service: str, value: Any) -> list[dict[str, Any]]:
    """Return an answer that must be a list of objects.

    Raises:
        BlockError: When it isn't.
    """
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BlockError(f"{service}'s answer can't be understood.")
    return value


def _object(answer: Answer) -> dict[str, Any]:
    try:
        return answer.object()
    except CallFailed:
        return {}
