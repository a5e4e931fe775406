"""What the model server was asked, so that tests can look."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_RECORDS = 2_000  # whole request bodies: enough for a load test, and bounded


@dataclass(slots=True, kw_only=True)
class Record:
    """One model request.

    Attributes:
        script: The script that answered it, or None for the demo model.
        step: The script's step.
        body: The request's decoded body.
        wire: `openai` or `anthropic`.
        beta: The request's `anthropic-beta` header.
        status: The HTTP status of the answer; None until it began.
        received_at: Seconds since 1970, as are the other times.
        closed_at: When the answer ended or the connection closed.
        finished: Whether the whole answer was sent.
        closed_early: Whether the client closed the connection before that.
    """

    script: str | None
    step: int
    body: Mapping[str, Any]
    wire: str = "openai"
    beta: str = ""
    status: int | None = None
    received_at: float = field(default_factory=time.time)
    closed_at: float | None = None
    finished: bool = False
    closed_early: bool = False


class Records:
    """The last requests, oldest first."""

    def __init__(self) -> None:
        """Start empty."""
        self._records: deque[Record] = deque(maxlen=MAX_RECORDS)

    def add(self, record: Record) -> None:
        """Keep a record; the oldest one is dropped when there are too many."""
        self._records.append(record)

    def clear(self) -> None:
        """Forget all."""
        self._records.clear()

    def as_json(self, script: str | None = None) -> list[dict[str, Any]]:
        """Return the records, or those of one script."""
        return [asdict(record) for record in self._records if script is None or record.script == script]
