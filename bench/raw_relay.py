"""The raw baseline: model → XADD → XREAD → websocket, deltas of 25 ms joined, and nothing else.

`python bench/raw_relay.py (web|worker) REDIS_URL MODEL_PORT WEB_PORT`: two processes like the product's, with the same
web server, the same Redis client and the same rule for joining deltas: the first travels at once, a later one waits
25 ms for those that follow. There is no sign-in, no database, no lease, no numbering, no replay and no back pressure:
what lies between these figures and ours is what the product's promises cost.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
import redis.asyncio
import uvicorn
import uvloop

WINDOW_SECONDS = 0.025
ROLE, REDIS_URL, MODEL_PORT, WEB_PORT = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: model\r\nContent-Length: %d\r\n\r\n%s"
EVENT = b'{"type":"event","turn_id":"%s","event_id":"%s","chunk":%s}'
# redis-py's own limits, 5 s an answer and 100 connections, are below what BLPOP and 200 turns need.
client = redis.asyncio.Redis.from_url(REDIS_URL, socket_timeout=None, max_connections=1000)
sockets: dict[bytes, asyncio.Queue[bytes]] = {}
places: dict[Any, Any] = {b"wake": b"0"}
tasks: set[asyncio.Task[None]] = set()


async def send(turn: bytes, said: list[str], news: asyncio.Event, over: asyncio.Event) -> None:
    """Append what the model said to the turn's stream."""
    is_first = True
    while said or not over.is_set():
        await news.wait()
        if not (is_first or over.is_set()):
            await asyncio.sleep(WINDOW_SECONDS)
        news.clear()
        if said:
            chunk = {"type": "text-delta", "id": turn.decode(), "delta": "".join(said)}
            said.clear()
            is_first = False
            await client.xadd(turn, {"d": msgspec.json.encode(chunk)})
    await client.xadd(turn, {"d": b'{"type":"finish"}'})


async def answer(turn: bytes, prompt: bytes) -> None:
    """Ask the model and pass on what it says."""
    said: list[str] = []
    news, over = asyncio.Event(), asyncio.Event()
    sender = asyncio.create_task(send(turn, said, news, over))
    reader, writer = await asyncio.open_connection("127.0.0.1", MODEL_PORT)
    body = msgspec.json.encode({"stream": True, "messages": [{"role": "user", "content": prompt.decode()}]})
    writer.write(POST % (len(body), body))
    async for line in reader:
        if line == b"data: [DONE]\n":
            break
        choices = msgspec.json.decode(line[6:])["choices"] if line.startswith(b"data: ") else ()
        if choices and (text := choices[0]["delta"].get("content")):
            said.append(text)
            news.set()
    over.set()
    news.set()
    writer.close()
    await sender


async def work() -> None:
    """Take jobs for ever."""
    while job := await client.blpop(["jobs"]):
        task = asyncio.create_task(answer(*job[1].split(b" ", 1)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def read_for_ever() -> None:
    """Hand what is new in any followed stream to its socket."""
    while True:
        for key, rows in await client.xread(places, block=2000, count=500) or ():
            if key in places:
                places[key] = rows[-1][0]
            for row, fields in rows if key in sockets else ():
                sockets[key].put_nowait(EVENT % (key, row, fields[b"d"]))


async def app(scope: Any, receive: Any, reply: Any) -> None:
    """Serve one websocket: each frame is `<turn> <prompt>` and is answered with the turn's events."""
    if not tasks:
        tasks.add(asyncio.create_task(read_for_ever()))
    await receive()
    await reply({"type": "websocket.accept"})
    while (asked := await receive())["type"] == "websocket.receive":
        turn = asked["text"].partition(" ")[0].encode()
        queue = sockets[turn] = asyncio.Queue()
        places[turn] = b"0"
        await client.xadd("wake", {"t": "wake"}, maxlen=1)
        await client.rpush("jobs", asked["text"])
        frame = b""
        while not frame.endswith(b'{"type":"finish"}}'):
            frame = await queue.get()
            await reply({"type": "websocket.send", "text": frame.decode()})
        del sockets[turn], places[turn]


if __name__ == "__main__" and ROLE == "web":
    options: dict[str, Any] = {"access_log": False, "log_level": "warning", "lifespan": "off"}
    uvicorn.run(app, port=WEB_PORT, ws="websockets-sansio", ws_per_message_deflate=False, **options)
elif __name__ == "__main__":
    uvloop.run(work())
