"""Two readers as people have them: the page's websocket, and a program on server-sent events.

Both come back by themselves, to another web process each time, as behind a proxy, and note everything they see.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import httpx2
import websockets

from tests.chaos.cluster import Cluster, Person
from tests.chaos.screen import Screen

RETRY_SECONDS = 0.25
ANSWER_SECONDS = 10.0  # as the page: then the socket is renewed
SILENCE_SECONDS = 25.0  # a stream without even a keep-alive is dead
EXPIRED = "[code:stream_expired]"
BUSY = {"unavailable", "conflict"}


class Refused(RuntimeError):
    """The product refused what it must not refuse."""


class Door:
    """The web processes as one person's programs reach them: any that answers."""

    def __init__(self, cluster: Cluster, person: Person, rng: random.Random) -> None:
        """Remember who asks."""
        self.cluster = cluster
        self.person = person
        self.port = 0
        self.errors: dict[int, int] = {}  # statuses from 500 up, and how often they came
        self._rng = rng

    def next_port(self) -> int:
        """Go on to a web process, another one if there is."""
        ports = [web.port for web in self.cluster.webs]
        self.port = self._rng.choice([port for port in ports if port != self.port] or ports)
        return self.port

    @property
    def headers(self) -> dict[str, str]:
        """What a program sends."""
        return {"Authorization": f"Token {self.person.token}"}

    def note(self, status: int) -> None:
        """Count a server error."""
        if status >= 500:
            self.errors[status] = self.errors.get(status, 0) + 1

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Make a request until it is answered well, and return the answer.

        Raises:
            Refused: When it is refused for good.
        """
        while True:
            url = f"http://127.0.0.1:{self.next_port()}/api/chat/{path}"
            try:
                answer = await self.cluster.http.request(method, url, headers=self.headers, json=body)
            except httpx2.HTTPError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.note(answer.status_code)
            if answer.status_code < 300:
                return answer.json()
            if answer.status_code < 500 and answer.status_code not in {409, 429}:
                raise Refused(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(RETRY_SECONDS)

    async def session(self, session_id: str) -> Any:
        """Load a session."""
        return await self.ask("GET", f"sessions/{session_id}?limit=200")


class Reader:
    """What both readers share: their screens, and how long they were without news after a lost connection."""

    kind = ""

    def __init__(self, door: Door, session_id: str) -> None:
        """Begin without a screen."""
        self.door = door
        self.session_id = session_id
        self.screens: dict[str, Screen] = {}
        self.resumed: list[tuple[float, float]] = []  # when a connection was lost, and when its turn was seen again
        self.changed = asyncio.Event()
        self._lost_at = 0.0

    def screen(self, turn_id: str) -> Screen:
        """Return a turn's screen; it is new when the turn is."""
        return self.screens.setdefault(turn_id, Screen(turn_id, self.kind))

    @property
    def active(self) -> Screen | None:
        """The turn that hasn't ended here."""
        return next((screen for screen in reversed(self.screens.values()) if not screen.ended), None)

    def take(self, screen: Screen, event_id: str, chunk: Any) -> None:
        """Show an event."""
        screen.take(event_id, chunk)
        self.seen()

    def seen(self) -> None:
        """Note that there is news."""
        if self._lost_at:
            self.resumed.append((self._lost_at, time.monotonic() - self._lost_at))
            self._lost_at = 0.0
        self.changed.set()

    def lost(self) -> None:
        """Note that the connection is gone while a turn is shown."""
        if self.active is not None and not self._lost_at:
            self._lost_at = time.monotonic()

    async def load(self) -> Any:
        """Read the rows, as the page does when events don't suffice."""
        session = await self.door.session(self.session_id)
        active = session["active_stream"]
        active_id = active["turn_id"] if active else None
        by_turn: dict[str, list[dict[str, Any]]] = {}
        for row in session["messages"]:
            by_turn.setdefault(row["turn_id"], [])
            if row["role"] != "user":
                by_turn[row["turn_id"]].append(row)
        for turn_id, rows in by_turn.items():
            place = active["resume_after"] if turn_id == active_id else ""
            self.screen(turn_id).load(rows, place, is_active=turn_id == active_id)
        self.seen()
        return session

    async def ended(self, turn_id: str) -> None:
        """Wait until a turn has ended on this screen."""
        while turn_id not in self.screens or not self.screens[turn_id].ended:
            self.changed.clear()
            await self.changed.wait()


class WsReader(Reader):
    """The page: one websocket, rows by REST where events don't suffice."""

    kind = "websocket"

    def __init__(self, door: Door, session_id: str, rng: random.Random) -> None:
        """Connect from now on, until `close`."""
        super().__init__(door, session_id)
        self._rng = rng
        self._socket: websockets.ClientConnection | None = None
        self._is_live = False
        self._awaited = 0
        self._newest = 0
        self._outgoing: tuple[str, str, asyncio.Future[str]] | None = None
        self._task = asyncio.create_task(self._run(), name=f"ws {session_id}")

    async def send(self, text: str, client_message_id: str) -> str:
        """Send a message until it is accepted; returns its turn."""
        accepted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._outgoing = (text, client_message_id, accepted)
        while not accepted.done():
            await self._post()
            await asyncio.wait({accepted}, timeout=ANSWER_SECONDS)
            if not accepted.done() and self._socket is not None:
                await self._socket.close()
        return accepted.result()

    async def close(self) -> None:
        """Leave."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        tries = 0
        while True:
            url = f"ws://127.0.0.1:{self.door.next_port()}/ws/chat/"
            origin = websockets.Origin(f"http://127.0.0.1:{self.door.port}")
            headers = {"Cookie": self.door.person.cookie}
            try:
                async with websockets.connect(
                    url, origin=origin, additional_headers=headers, open_timeout=5, compression=None, proxy=None
                ) as socket:
                    self._socket = socket
                    await self._serve(socket)
            except (OSError, TimeoutError, websockets.WebSocketException):
                tries += 1
            else:
                tries = 0
            finally:
                self._socket, self._is_live, self._awaited = None, False, 0
                self.lost()
            await asyncio.sleep(min(RETRY_SECONDS * (1 + tries), 1.0))

    async def _serve(self, socket: websockets.ClientConnection) -> None:
        if not self.screens:
            await self._load()
        await self._subscribe(socket)
        async for raw in socket:
            frame = json.loads(raw)
            match frame["type"]:
                case "subscribed":
                    self._awaited -= 1
                    if self._awaited == 0:
                        await self._subscribed(socket, frame)
                case "event" if self._is_live:
                    self.take(self.screen(frame["turn_id"]), frame["event_id"], frame["chunk"])
                case "accepted":
                    self._accepted(frame)
                case "error":
                    await self._error(socket, frame)

    async def _load(self) -> None:
        self._is_live = False
        session = await self.load()
        self._newest = max((row["sequence"] for row in session["messages"]), default=0)

    async def _subscribe(self, socket: websockets.ClientConnection) -> None:
        self._is_live = False
        frame: dict[str, Any] = {"type": "subscribe", "session_id": self.session_id}
        if (active := self.active) is not None:
            frame["turn_id"] = active.turn_id
            active.ask(f"subscribe at {self.door.port}")
            if str(active.last) != "0-0":
                frame["after"] = str(active.last)
        self._awaited += 1
        await socket.send(json.dumps(frame))

    async def _subscribed(self, socket: websockets.ClientConnection, frame: dict[str, Any]) -> None:
        ours, theirs = self.active, frame["turn"]
        # A turn that ended meanwhile: the page reads its rows, simpler clients wait for its events; we do either.
        ended_meanwhile = ours is not None and theirs is None and self._rng.random() < 0.5
        other = theirs is not None and (ours is None or theirs["id"] != ours.turn_id)
        behind = ours is None and theirs is None and frame["latest_sequence"] > self._newest
        if ended_meanwhile or other or behind:
            await self._load()
            await self._subscribe(socket)
            return
        self._is_live = True
        await self._post()

    async def _post(self) -> None:
        if self._outgoing is None or self._socket is None or not self._is_live:
            return
        text, client_message_id, _ = self._outgoing
        frame = {"type": "message", "session_id": self.session_id, "message": text}
        with suppress(websockets.WebSocketException):
            await self._socket.send(json.dumps({**frame, "client_message_id": client_message_id}))

    def _accepted(self, frame: dict[str, Any]) -> None:
        if self._outgoing is None or frame["client_message_id"] != self._outgoing[1]:
            return
        accepted, self._outgoing = self._outgoing[2], None
        self.screen(frame["turn_id"])
        if not accepted.done():
            accepted.set_result(frame["turn_id"])

    async def _error(self, socket: websockets.ClientConnection, frame: dict[str, Any]) -> None:
        if frame["code"] == "stream_expired":
            await self._load()
            await self._subscribe(socket)
        elif frame["code"] in BUSY or frame.get("client_message_id") is None:
            await asyncio.sleep(RETRY_SECONDS)
            if frame.get("client_message_id") is None:  # the subscription was refused: the database is away
                await socket.close()
            else:
                await self._post()
        else:
            raise Refused(str(frame))


class SseReader(Reader):
    """A program: sends and follows over HTTP, and comes back with `Last-Event-ID`."""

    kind = "sse"

    async def send(self, text: str, client_message_id: str, accepted: asyncio.Future[str]) -> None:
        """Send a message and follow its turn to the end; `accepted` gets the turn as soon as it is known."""
        body = {"message": text, "client_message_id": client_message_id}
        await self._until_ended(body, None, accepted)

    async def follow(self, turn_id: str) -> None:
        """Follow a turn that was started elsewhere to the end."""
        await self._until_ended(None, self.screen(turn_id), None)

    async def _until_ended(
        self, body: dict[str, str] | None, screen: Screen | None, accepted: asyncio.Future[str] | None
    ) -> None:
        url = f"/api/chat/sessions/{self.session_id}/stream"
        while screen is None or not screen.ended:
            base = f"http://127.0.0.1:{self.door.next_port()}"
            headers = dict(self.door.headers)
            if screen is not None:
                screen.ask(f"GET at {self.door.port}")
                if str(screen.last) != "0-0":
                    headers["Last-Event-ID"] = str(screen.last)
            method, sent = ("POST", body) if screen is None else ("GET", None)
            status = 0
            timeout = httpx2.Timeout(10, read=SILENCE_SECONDS)
            try:
                async with self.door.cluster.http.stream(
                    method, base + url, headers=headers, json=sent, timeout=timeout
                ) as answer:
                    status = answer.status_code
                    self.door.note(status)
                    if status == 200:
                        screen = await self._read(answer, screen, body, accepted)
                    elif status == 204:
                        await self.load()
                    elif status < 500 and status not in {202, 429}:
                        raise Refused(f"{method} stream: {status}")
            except httpx2.HTTPError:
                pass
            if screen is not None:
                screen.ask(f"({status} to a {method} ended)")
            if screen is None or not screen.ended:
                self.lost()
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(
        self,
        answer: httpx2.Response,
        screen: Screen | None,
        body: dict[str, str] | None,
        accepted: asyncio.Future[str] | None,
    ) -> Screen | None:
        """Read frames until the answer ends; returns the screen, which the first event names."""
        expired = False
        try:
            async with aclosing(_frames(answer)) as frames:
                async for event_id, chunk in frames:
                    if chunk.get("type") == "error" and str(chunk.get("errorText")).startswith(EXPIRED):
                        expired = True
                        break
                    screen = screen or self._found(chunk["messageId"], accepted)
                    self.take(screen, event_id, chunk)
        except httpx2.HTTPError:
            pass
        if expired:
            session = await self.load()
            for row in session["messages"] if screen is None else ():
                if body and row["client_message_id"] == body["client_message_id"]:
                    screen = self._found(row["turn_id"], accepted)
            if screen is not None:
                screen.ask("(told that the stream expired)")
        return screen

    def _found(self, turn_id: str, accepted: asyncio.Future[str] | None) -> Screen:
        """Return the screen of the turn that answers our message, and tell the sender."""
        if accepted is not None and not accepted.done():
            accepted.set_result(turn_id)
        return self.screen(turn_id)


async def _frames(answer: httpx2.Response) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
    event_id = ""
    async for line in answer.aiter_lines():
        if line.startswith("id: "):
            event_id = line[4:]
        elif line.startswith("data: ") and line != "data: [DONE]":
            yield event_id, json.loads(line[6:])
