"""What a run tells its readers: changed node runs and values, after the commit that stored them, and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import structlog
from django.conf import settings

from apps.runtime.eventlog import Entry, EventId, EventLogWriter, append_now
from apps.runtime.redis import RedisError, sync_client

logger = structlog.get_logger(__name__)

#: The kinds of entries: node runs that changed, and the run's end.
NODES = "nodes"
END = "end"
#: The major of what ends a run: nothing can come after it, whatever attempt wrote it.
END_MAJOR = 999_999_999
#: A run that waits for a person ends its log's present part with this kind; a later attempt goes on.
PAUSED = "paused"
#: Begins every attempt but the first: what the one before it told last may be lost, so readers look at the rows.
RELOAD = "reload"

#: Values are told up to this many characters of JSON; whole ones are in the rows.
MOST_SHOWN = 2000
MOST_NODES_AN_ENTRY = 100
TRIM_EVERY = 1000

_encoder = msgspec.json.Encoder()


def log_key(execution_id: UUID) -> str:
    """Return the key of a run's event log."""
    return f"library:execution:{execution_id}"


def shown(value: Any) -> dict[str, Any]:
    """Return a value as events and lists show it: whole when it is short, else the beginning of its JSON."""
    text = msgspec.json.encode(value).decode()
    return {"value": value} if len(text) <= MOST_SHOWN else {"excerpt": text[:MOST_SHOWN], "characters": len(text)}


class RunLog:
    """The voice of one attempt at one run."""

    def __init__(self, writer: EventLogWriter, *, attempt: int) -> None:
        """Speak through a writer, which stays its owner's."""
        self._writer = writer
        self._attempt = attempt
        self._number = 0
        if attempt > 1:
            self._append(RELOAD, {"type": RELOAD})

    def tell_nodes(self, nodes: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> None:
        """Tell of node runs that changed, and of the run as a whole."""
        for first in range(0, len(nodes), MOST_NODES_AN_ENTRY):
            self._append(NODES, {"type": NODES, "nodes": nodes[first : first + MOST_NODES_AN_ENTRY], "run": run})

    def pause(self, run: Mapping[str, Any]) -> None:
        """Tell that the run waits for a person."""
        self._append(PAUSED, {"type": PAUSED, "run": run})

    def end(self, status: str, error: str) -> None:
        """Tell that the run has ended."""
        self._writer.append(end_entry(status, error))

    async def trim(self) -> None:
        """Keep the log short: rows hold everything in it."""
        if self._number % TRIM_EVERY == 0 and self._number:
            await self._writer.trim_if_long(EventId(self._attempt, self._number))

    def _append(self, kind: str, told: Mapping[str, Any]) -> None:
        self._number += 1
        event_id = EventId(self._attempt, self._number)
        self._writer.append(Entry(event_id, kind, _encoder.encode(told)))
        self._writer.forget(event_id)


def end_entry(status: str, error: str = "") -> Entry:
    """Return the last event of a run."""
    told = {"type": END, "run": {"status": status, **({"error": error} if error else {})}}
    return Entry(EventId(END_MAJOR, 1), END, _encoder.encode(told))


def end_log(execution_id: UUID, status: str) -> None:
    """Write the end of a run that has no runner, for those who follow it."""
    try:
        append_now(sync_client(), log_key(execution_id), [end_entry(status)], ttl_seconds=settings.STREAM_TTL_SECONDS)
    except RedisError as error:
        logger.warning("log_not_ended", execution_id=str(execution_id), error=type(error).__name__)
