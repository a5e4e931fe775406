"""What the harness itself reads of a cluster's rows: plain SQL on a connection of its own, on either database."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

PATIENCE_SECONDS = 60.0  # a database that restarts is waited for


@dataclass(frozen=True, slots=True)
class TurnFact:
    """A turn as its row tells it."""

    id: str
    status: str
    attempt: int
    pid: int
    is_leased: bool

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status not in {"queued", "running"}


@dataclass(frozen=True, slots=True)
class CallFact:
    """A tool call as its row tells it."""

    id: str
    turn_id: str
    name: str
    arguments: str
    state: str
    done_at: float | None


class Database:
    """Reads, on a connection that is made anew when it broke."""

    def __init__(self, url: str) -> None:
        """Remember where; `postgresql://…` or `sqlite:///path`."""
        self.is_sqlite = url.startswith("sqlite")
        self._url = url
        self._connection: Any = None
        self._turnstile = asyncio.Lock()

    def _connect(self) -> Any:
        if self.is_sqlite:
            path = Path(self._url.removeprefix("sqlite:///"))
            return sqlite3.connect(path, timeout=20, isolation_level=None, check_same_thread=False)
        return psycopg.connect(self._url, autocommit=True, connect_timeout=2)

    def rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        """Return what a SELECT finds; `%s` marks parameters.

        Raises:
            TimeoutError: When the database is away for too long.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        sql = sql.replace("%s", "?") if self.is_sqlite else sql
        while True:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                return self._connection.execute(sql, list(parameters)).fetchall()
            except (psycopg.OperationalError, psycopg.InterfaceError, sqlite3.OperationalError) as error:
                self._connection = None
                if time.monotonic() > deadline:
                    raise TimeoutError(str(error)) from error
                time.sleep(0.1)

    def key(self, text: str) -> Any:
        """Return an id as this database keeps it."""
        return UUID(text).hex if self.is_sqlite else UUID(text)

    def seconds(self, column: str) -> str:
        """Return SQL for a column as seconds since 1970."""
        if self.is_sqlite:
            return f"((julianday({column}) - 2440587.5) * 86400.0)"
        return f"extract(epoch from {column})::float8"

    def turns(self, turn_ids: Iterable[str] | None = None) -> dict[str, TurnFact]:
        """Return turns by id: the given ones, or those in flight."""
        now = "strftime('%Y-%m-%d %H:%M:%f', 'now')" if self.is_sqlite else "now()"
        keys = None if turn_ids is None else [self.key(turn_id) for turn_id in turn_ids]
        if keys == []:
            return {}
        where = "status in ('queued', 'running')" if keys is None else f"id in ({', '.join(['%s'] * len(keys))})"
        sql = f"select id, status, attempt, runner, lease_expires_at > {now} from chat_turn where {where}"  # noqa: S608
        facts = {}
        for raw_id, status, attempt, runner, leased in self.rows(sql, keys or ()):
            parts = str(runner).split(":")
            pid = int(parts[1]) if len(parts) == 3 else 0
            fact = TurnFact(str(UUID(str(raw_id))), status, attempt, pid, bool(leased))
            facts[fact.id] = fact
        return facts

    def calls(self, where: str = "1 = 1") -> list[CallFact]:
        """Return tool calls."""
        sql = f"select id, turn_id, name, arguments, state, {self.seconds('done_at')} from chat_toolcall where {where}"  # noqa: S608
        return [
            CallFact(str(UUID(str(row[0]))), str(UUID(str(row[1]))), row[2], row[3], row[4], row[5])
            for row in self.rows(sql)
        ]

    def user_rows(self) -> dict[str, list[str]]:
        """Return the contents of user rows by their senders' ids."""
        found: dict[str, list[str]] = {}
        sql = "select client_message_id, content from chat_message where role = 'user'"
        for raw_id, content in self.rows(sql):
            found.setdefault(str(UUID(str(raw_id))), []).append(content)
        return found

    async def read(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Run one of the reads in a thread; they follow one another."""
        async with self._turnstile:
            return await asyncio.to_thread(call, *arguments)
