"""The errors that services raise; one handler a door (HTTP, websocket) gives them their shape.

A class's docstring is its default sentence for the person who reads it.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar


class DomainError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str = "", **fields: Any) -> None:
        """Keep what the caller may be told.

        Args:
            detail: A sentence for a person; the class's docstring when empty.
            fields: Further JSON-ready facts (`window`, `resets_at`) that go beside `detail`.
        """
        self.detail = detail or inspect.getdoc(type(self)) or self.code
        self.fields = fields
        super().__init__(self.detail)

    def body(self) -> dict[str, Any]:
        """Return what a caller is told, alike over HTTP and websockets."""
        return {"detail": self.detail, "code": self.code, **self.fields}


class NotFound(DomainError):
    """Not found."""

    code = "not_found"

    def body(self) -> dict[str, Any]:
        """Return one body for everything that isn't there or isn't yours, so that ids can't be probed."""
        return {"detail": "Not found."}


class Invalid(DomainError):
    """The request can't be understood."""

    code = "invalid"


class Conflict(DomainError):
    """The request doesn't fit the present state."""

    code = "conflict"


class PaymentRequired(DomainError):
    """This costs more than is paid for."""

    code = "payment_required"


class LimitReached(DomainError):
    """A limit is reached; try again later."""

    code = "limit_reached"

    def __init__(self, detail: str = "", *, retry_after_seconds: int | None = None, **fields: Any) -> None:
        """Keep what the caller may be told.

        Args:
            detail: As in `DomainError`.
            retry_after_seconds: When the limit lets through again, where that is known; soon when None.
            fields: As in `DomainError`.
        """
        self.retry_after_seconds = retry_after_seconds
        super().__init__(detail, **fields)


class Unavailable(DomainError):
    """A service that this needs can't be reached right now; try again shortly."""

    code = "unavailable"
