"""Clients of the product as its users have them: SSE over HTTP, and the websocket."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import websockets

from apps.runtime.db import db


def sse_frames(text: str) -> list[tuple[str, Any]]:
    """Return the frames of a whole SSE body as (id, chunk); the last is ("", "[DONE]")."""
    frames = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields:
            data = fields["data"]
            frames.append((fields.get("id", ""), data if data == "[DONE]" else json.loads(data)))
    return frames


def new_session(live: Any, person: Any = None) -> str:
    """Make a session over HTTP and return its id."""
    person = person or live.owner
    answer = httpx2.post(f"{live.url}/api/chat/sessions", headers=person.headers, json={})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def say(live: Any, session: str, message: str, **fields: Any) -> list[tuple[str, Any]]:
    """Send a message over HTTP and return the frames of the whole answer."""
    url = f"{live.url}/api/chat/sessions/{session}/stream"
    answer = httpx2.post(url, headers=live.owner.headers, json={"message": message, **fields}, timeout=60)
    assert answer.status_code == 200, answer.text
    return sse_frames(answer.text)


def detail(live: Any, session: str, **query: Any) -> dict[str, Any]:
    """Load a session over HTTP."""
    answer = httpx2.get(f"{live.url}/api/chat/sessions/{session}", headers=live.owner.headers, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def text_of(chunks: list[Any]) -> str:
    """Return the visible text of chunks."""
    return "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")


class Socket:
    """A websocket of one person, as a tab has it."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection
        self.frames: list[dict[str, Any]] = []
        self._later: list[dict[str, Any]] = []  # received while `say` waited for its answer

    async def send(self, **frame: Any) -> None:
        await self.connection.send(json.dumps(frame))

    async def receive(self, timeout: float = 15) -> dict[str, Any]:
        if self._later:
            return self._later.pop(0)
        frame = json.loads(await asyncio.wait_for(self.connection.recv(), timeout))
        self.frames.append(frame)
        return frame

    async def until(self, kind: str, timeout: float = 15, **fields: Any) -> dict[str, Any]:
        """Receive frames until one of a type with these fields comes, and return it."""
        async with self._patiently(timeout):
            while True:
                frame = await self.receive(timeout)
                if frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items()):
                    return frame

    async def until_chunk(self, kind: str, timeout: float = 15) -> dict[str, Any]:
        """Receive frames until an event with a chunk of a type comes, and return it."""
        async with self._patiently(timeout):
            while True:
                frame = await self.receive(timeout)
                if frame["type"] == "event" and frame["chunk"]["type"] == kind:
                    return frame

    @asynccontextmanager
    async def _patiently(self, timeout: float) -> AsyncGenerator[None]:
        """Wait so many seconds at most; what came instead is told."""
        try:
            async with asyncio.timeout(timeout):
                yield
        except TimeoutError:
            seen = [frame["chunk"]["type"] if frame["type"] == "event" else frame for frame in self.frames]
            raise AssertionError(f"it never came, but {seen}") from None

    def events(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == "event"]

    async def say(self, session: str, message: str, **fields: Any) -> str:
        """Send a message and return the turn that answers it."""
        client_id = str(uuid.uuid4())
        sent = {"session_id": session, "message": message, "client_message_id": client_id, **fields}
        await self.send(type="message", **sent)
        early = []
        async with asyncio.timeout(15):
            while (frame := await self.receive()).get("client_message_id") != client_id:
                early.append(frame)
        assert frame["type"] == "accepted", frame
        self._later = early  # the turn may be quicker than the answer
        return frame["turn_id"]


def browser_cookie(person: Any) -> str:
    """Sign a person in and return the cookie header of that browser."""
    from django.test import Client

    client = Client()
    client.force_login(person.user)
    return f"sessionid={client.cookies['sessionid'].value}"


@asynccontextmanager
async def socket_of(
    live: Any, person: Any = None, *, cookie: str | None = None, authorization: str | None = None, **options: Any
) -> AsyncIterator[Socket]:
    """Open a websocket as a signed-in browser of our own origin does, or as a program with a key."""
    if cookie is None:
        cookie = await db(browser_cookie, person or live.owner)
    headers = {"Cookie": cookie, **({"Authorization": authorization} if authorization is not None else {})}
    async with websockets.connect(
        live.ws_url, origin=options.pop("origin", live.url), additional_headers=headers, **options
    ) as connection:
        yield Socket(connection)
