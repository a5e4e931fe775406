"""Refuses requests that are too long while they arrive: Django looks at a request only once it is here as a whole."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings

from apps.workspace.errors import FileTooLarge
from apps.workspace.uploads import FORM_BYTES

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class BoundedBodies:
    """An ASGI application in front of Django's. No request may be longer than one that uploads the largest file."""

    def __init__(self, application: Application) -> None:
        """Keep what answers requests of a fair length."""
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request; 413 as soon as it is too long, by what it says of itself or by what has come of it."""
        most = settings.WORKSPACE_FILE_LIMIT_BYTES + FORM_BYTES
        if _announced(scope) > most:
            await _refuse(send)
            return
        arrived = 0

        async def bounded() -> Message:
            nonlocal arrived
            if arrived > most:
                return {"type": "http.disconnect"}
            message = await receive()
            arrived += len(message.get("body", b""))
            # Django takes this for a client that went away, drops what has come, and answers nothing.
            return message if arrived <= most else {"type": "http.disconnect"}

        await self.application(scope, bounded, send)
        if arrived > most:
            await _refuse(send)


def _announced(scope: Message) -> int:
    """Return the length that a request says it has; 0 where it doesn't, or says what is no number."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(length) if length.isdigit() and len(length) < 20 else 0


async def _refuse(send: Send) -> None:
    error = FileTooLarge(limit_bytes=settings.WORKSPACE_FILE_LIMIT_BYTES)
    body = json.dumps(error.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"connection", b"close"))  # the rest of the request is not read
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
