"""Calls of other services' APIs: through the address guard, bounded in time and size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from apps.runtime import netguard

TIMEOUT_SECONDS: Final = 30.0
MAX_ANSWER_BYTES: Final = 10 * 1024 * 1024
MAX_REDIRECTS: Final = 3  # renamed repositories move; keys don't follow to another origin

#: `host:port` pairs that are no public addresses and may be called nevertheless; empty but in tests.
LOCAL_PLACES: frozenset[str] = frozenset()


class CallFailed(Exception):
    """A service can't be reached, or its answer can't be read; the message is for people and names no address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said; error statuses are answers too."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            CallFailed: When it isn't JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise CallFailed("The service's answer can't be understood.") from None

    def object(self) -> dict[str, Any]:
        """Return the decoded body, which must be an object.

        Raises:
            CallFailed: When it isn't one.
        """
        found = self.json()
        if not isinstance(found, dict):
            raise CallFailed("The service's answer can't be understood.")
        return found


async def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str | int] | None = None,
    form: Mapping[str, str] | None = None,
    data: Any = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    max_redirects: int = MAX_REDIRECTS,
) -> Answer:
    """Call an API; cancelling it closes the connection.

    Args:
        method: The HTTP method.
        url: Where, without a query.
        headers: Further headers.
        params: The query.
        form: A body of form fields.
        data: A body of JSON; not beside `form`.
        timeout_seconds: Bound of everything together.
        max_redirects: How many are followed; headers stay behind when the origin changes.

    Raises:
        CallFailed: When there is no answer.
    """
    sent = {"Accept": "application/json", "User-Agent": "Flightdeck", **(headers or {})}
    content: bytes | None = None
    if form is not None:
        content = urlencode(form).encode()
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    elif data is not None:
        content = json.dumps(data, ensure_ascii=False).encode()
        sent["Content-Type"] = "application/json"
    try:
        page = await netguard.fetch(
            f"{url}?{urlencode(params)}" if params else url,
            method=method,
            headers=sent,
            content=content,
            max_bytes=MAX_ANSWER_BYTES,
            timeout_seconds=timeout_seconds,
            max_redirects=max_redirects,
            allow=LOCAL_PLACES,
        )
    except netguard.AddressRefused as error:
        raise CallFailed(str(error)) from None
    except netguard.FetchFailed as error:
        raise CallFailed(_SENTENCES[error.reason]) from None  # its own text may name addresses
    return Answer(page.status_code, page.headers, page.body)


_SENTENCES: Final[Mapping[str, str]] = {
    "timeout": "The service doesn't answer in time.",
    "network": "The service can't be reached.",
    "protocol": "The service's answer can't be understood.",
    "redirects": "The service redirects to somewhere else, which isn't followed.",
    "encoding": "The service's answer can't be understood.",
    "too_large": "The service's answer is too large.",
    "content_type": "The service's answer can't be used.",
}
