"""The load: people's browsers, in a process of their own so that their work isn't billed to the product.

`python -m bench.client` reads one job a line as JSON and answers each with one line; `bench/stack.py` starts it.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvloop

from bench.model_server import MARK_LENGTH, now_us
from bench.page_client import do_pages
from bench.wire import Socket

OPENING_AT_ONCE = 50
PONG_SECONDS = 60.0


class Chunk(msgspec.Struct, rename="camel"):
    """What is looked at of a chunk."""

    type: str
    delta: str = ""
    error_text: str = ""


class Frame(msgspec.Struct):
    """What is looked at of a frame."""

    type: str
    turn_id: str = ""
    event_id: str = ""
    code: str = ""
    chunk: Chunk | None = None


decode = msgspec.json.Decoder(Frame).decode
encode = msgspec.json.encode


class Answer:
    """What one turn looked like to its reader."""

    def __init__(self, chunks: int) -> None:
        self.wanted = chunks
        self.sent_us = now_us()
        self.first_us = self.ended_us = 0
        self.next = self.lost = self.repeated = self.events = self.characters = 0
        self.turn_id = ""
        self.error = ""
        self.lags: list[int] = []
        self.seen: list[tuple[int, str]] = []  # when which event came
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, frame: Frame) -> None:
        """Look at a frame; what comes after the end is no part of this turn."""
        if self.over.done():
            return
        if frame.type == "event" and frame.chunk is not None:
            now = now_us()
            self.events += 1
            self.turn_id = frame.turn_id
            self.seen.append((now, frame.event_id))
            match frame.chunk.type:
                case "text-delta":
                    self.read(frame.chunk.delta, now)
                case "data-rewind":
                    self.next = 0  # what was shown is void
                case "error" | "abort":
                    self.error = f"{frame.chunk.type} {frame.chunk.error_text}"
                case "finish":
                    self.end(now)
        elif frame.type == "error":
            self.error = frame.code
            self.end(now_us())

    def read(self, delta: str, now: int) -> None:
        """Read the marks in a piece of text."""
        self.characters += len(delta)
        for at in range(0, len(delta), MARK_LENGTH):
            number = int(delta[at : at + 6])
            self.lags.append(now - int(delta[at + 6 : at + 19]))
            self.first_us = self.first_us or now
            if number < self.next:
                self.repeated += 1
            else:
                self.lost += number - self.next
                self.next = number + 1

    def end(self, now: int) -> None:
        """Note the end."""
        self.ended_us = now
        self.lost += self.wanted - self.next
        if not self.over.done():
            self.over.set_result(None)

    def told(self, *, with_events: bool) -> dict[str, Any]:
        """Return it for the report."""
        names = ("sent_us", "first_us", "ended_us", "lost", "repeated", "events", "characters", "turn_id", "error")
        told = {name: getattr(self, name) for name in names}
        return told | {"chunks": len(self.lags), "lags": self.lags} | ({"seen": self.seen} if with_events else {})


class Reader:
    """One open socket, and the turn that it shows."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.subscribed = asyncio.Event()
        self.pongs = 0

    @classmethod
    async def open(cls, port: int, who: dict[str, str]) -> Reader:
        """Open the product's socket and follow a session on it."""
        reader = cls()
        reader.socket = await Socket.connect(port, "/ws/chat/", reader.take, who["cookie"])
        reader.socket.send(encode({"type": "subscribe", "session_id": who["session"]}))
        async with asyncio.timeout(60):
            await reader.subscribed.wait()
        return reader

    socket: Socket

    def take(self, text: bytes) -> None:
        """Look at a frame."""
        frame = decode(text)
        if frame.type == "subscribed":
            self.subscribed.set()
        elif frame.type == "pong":
            self.pongs += 1
        elif self.answer is not None:
            self.answer.take(frame)


async def product(job: dict[str, Any], who: dict[str, str]) -> Callable[[], Awaitable[Answer]]:
    """Return how a turn is made through the product."""
    reader = await Reader.open(job["port"], who)

    async def ask() -> Answer:
        body = {"type": "message", "session_id": who["session"], "message": job["prompt"]}
        text = encode({**body, "client_message_id": str(uuid.uuid4())})
        answer = reader.answer = Answer(job["chunks"])
        reader.socket.send(text)
        await answer.over
        return answer

    return ask


async def log(job: dict[str, Any], who: dict[str, str]) -> Callable[[], Awaitable[Answer]]:
    """Return how a turn is made through the product and read where its worker leaves it: in its event log."""
    reader = await Reader.open(job["port"], who)
    logs = log_reader(job["redis"])

    async def ask() -> Answer:
        body = {"type": "message", "session_id": who["session"], "message": job["prompt"]}
        text = encode({**body, "client_message_id": str(uuid.uuid4())})
        told = reader.answer = Answer(0)
        reader.socket.send(text)
        while not told.turn_id:
            if told.error:
                raise RuntimeError(told.error)
            await asyncio.sleep(0.01)
        reader.socket.close()  # so that the web process has nothing more to do with this turn
        answer = Answer(job["chunks"])
        logs.follow(job["key"].format(turn_id=told.turn_id), answer)
        await answer.over
        return answer

    return ask


class LogReader:
    """Reads the event logs of running turns, all of them in one call after another."""

    def __init__(self, url: str) -> None:
        import redis.asyncio

        self._redis = redis.asyncio.Redis.from_url(url)
        self._answers: dict[bytes, Answer] = {}
        self._places: dict[bytes, bytes] = {}
        self._reading: asyncio.Task[None] | None = None

    def follow(self, key: str, answer: Answer) -> None:
        """Read a log from its beginning until its turn has ended."""
        self._answers[key.encode()] = answer
        self._places[key.encode()] = b"0-0"
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while self._places:
            for key, entries in await self._redis.xread(dict(self._places), block=20):
                self._places[key] = entries[-1][0]
                for place, fields in entries:
                    chunk = msgspec.json.decode(fields.get(b"d", b"{}") or b"{}", type=LogChunk)
                    self._answers[key].take(Frame("event", event_id=place.decode(), chunk=chunk))
                if self._answers[key].over.done():
                    del self._places[key], self._answers[key]


class LogChunk(Chunk, rename="camel"):
    """A chunk as it lies in the log; entries that are none of them have no type."""

    type: str = ""


_logs: dict[str, LogReader] = {}


def log_reader(url: str) -> LogReader:
    """Return the one reader of this process."""
    if url not in _logs:
        _logs[url] = LogReader(url)
    return _logs[url]


async def raw(job: dict[str, Any], who: dict[str, str]) -> Callable[[], Awaitable[Answer]]:
    """Return how a turn is made through the raw relay."""
    reader = Reader()
    reader.socket = await Socket.connect(job["port"], "/", reader.take)

    async def ask() -> Answer:
        text = f"{uuid.uuid4()} {job['prompt']}".encode()
        answer = reader.answer = Answer(job["chunks"])
        reader.socket.send(text)
        await answer.over
        return answer

    return ask


async def openai(job: dict[str, Any], who: dict[str, str]) -> Callable[[], Awaitable[Answer]]:
    """Return how the official client asks the model directly; all share one client, as the SDK's users do."""
    client = await sdk(job["port"])

    async def ask() -> Answer:
        answer = Answer(job["chunks"])
        messages: list[Any] = [{"role": "user", "content": job["prompt"]}]
        stream = await client.chat.completions.create(model="bench", messages=messages, stream=True)
        async for chunk in stream:
            if chunk.choices and (text := chunk.choices[0].delta.content):
                answer.read(text, now_us())
        answer.end(now_us())
        return answer

    return ask


_sdks: dict[int, Any] = {}


async def sdk(port: int) -> Any:
    """Return the one SDK client of this process."""
    if port not in _sdks:
        from openai import AsyncOpenAI

        _sdks[port] = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    return _sdks[port]


TARGETS = {"product": product, "log": log, "raw": raw, "openai": openai}


async def do_turns(job: dict[str, Any]) -> dict[str, Any]:
    """Have every person make turns, `times` one after another, the first ones spread over `spread` seconds."""
    opening = asyncio.Semaphore(OPENING_AT_ONCE)

    async def prepare(who: dict[str, str]) -> Callable[[], Awaitable[Answer]]:
        async with opening:
            return await TARGETS[job["target"]](job, who)

    asks = await asyncio.gather(*(prepare(who) for who in job["people"]))
    await asyncio.sleep(0.2)

    async def person(place: int, ask: Callable[[], Awaitable[Answer]]) -> list[Answer]:
        await asyncio.sleep(job["spread"] * place / len(asks))
        return [await ask() for _ in range(job["times"])]

    async with asyncio.timeout(job["limit"]):
        answers = await asyncio.gather(*(person(place, ask) for place, ask in enumerate(asks)))
    return {"answers": [answer.told(with_events=job.get("events", False)) for some in answers for answer in some]}


_idle: list[Reader] = []


async def do_open(job: dict[str, Any]) -> dict[str, Any]:
    """Open sockets that then do nothing but follow a session each."""
    opening = asyncio.Semaphore(OPENING_AT_ONCE)
    problems: list[str] = []

    async def one(who: dict[str, str]) -> None:
        async with opening:
            try:
                _idle.append(await Reader.open(job["port"], who))
            except (OSError, TimeoutError) as error:
                problems.append(f"{type(error).__name__}: {error}")

    await asyncio.gather(*(one(who) for who in job["people"]))
    return {"open": sum(reader.socket.is_open for reader in _idle), "problems": problems[:5]}


async def do_ping(job: dict[str, Any]) -> dict[str, Any]:
    """Ask all idle sockets whether they are served."""
    began = now_us()
    for reader in _idle:
        reader.pongs = 0
        if reader.socket.is_open:
            reader.socket.send(b'{"type":"ping"}')
    while (answered := sum(reader.pongs for reader in _idle)) < len(_idle):
        if now_us() - began > PONG_SECONDS * 1e6:
            break
        await asyncio.sleep(0.01)
    return {"answered": answered, "seconds": (now_us() - began) / 1e6}


async def do_send(job: dict[str, Any]) -> dict[str, Any]:
    """Send a message and leave once it is being answered."""
    reader = await Reader.open(job["port"], job)
    answer = reader.answer = Answer(0)
    body = {"type": "message", "session_id": job["session"], "message": job["prompt"]}
    reader.socket.send(encode({**body, "client_message_id": str(uuid.uuid4())}))
    async with asyncio.timeout(30):
        while not answer.events:
            if answer.error:
                raise RuntimeError(answer.error)
            await asyncio.sleep(0.01)
    reader.socket.close()
    return {"turn_id": answer.turn_id}


async def do_replay(job: dict[str, Any]) -> dict[str, Any]:
    """Join a session whose turn has said much already; over with the event that was the last."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    events = 0

    def take(text: bytes) -> None:
        nonlocal events
        frame = decode(text)
        if frame.type == "event":
            events += 1
            if frame.event_id == job["last"] and not done.done():
                done.set_result(None)
        elif frame.type == "error" and not done.done():
            done.set_exception(RuntimeError(frame.code))

    began = now_us()
    socket = await Socket.connect(job["port"], "/ws/chat/", take, job["cookie"])
    socket.send(encode({"type": "subscribe", "session_id": job["session"]}))
    async with asyncio.timeout(60):
        await done
    seconds = (now_us() - began) / 1e6
    socket.close()
    return {"seconds": seconds, "events": events}


async def do_read_stream(job: dict[str, Any]) -> dict[str, Any]:
    """Read the same events from Redis itself, in pages of 500, and decode them."""
    import redis.asyncio

    began = now_us()
    events, place = 0, "0-0"
    async with redis.asyncio.Redis.from_url(job["redis"]) as client:
        while place != job["last"]:
            ((_, rows),) = await client.xread({job["key"]: place}, count=500)
            events += len([msgspec.json.decode(fields[b"d"], type=Chunk) for _, fields in rows])
            place = rows[-1][0].decode()
    return {"seconds": (now_us() - began) / 1e6, "events": events}


async def main() -> None:
    """Do jobs until there are no more."""
    jobs = {
        "turns": do_turns,
        "send": do_send,
        "open": do_open,
        "ping": do_ping,
        "replay": do_replay,
        "read_stream": do_read_stream,
        "pages": do_pages,
    }
    while line := await asyncio.to_thread(sys.stdin.readline):
        job = msgspec.json.decode(line)
        try:
            told = await jobs[job["do"]](job)
        except Exception as error:  # noqa: BLE001 -- whoever gave the job is told
            told = {"failed": f"{type(error).__name__}: {error}"}
        sys.stdout.write(encode(told).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
