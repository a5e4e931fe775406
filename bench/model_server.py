"""The model that benchmarks talk to: chat completions with a fixed first delay and a fixed pace, and little else.

`python -m bench.model_server PORT`. The last user message says what is wanted, such as
`[bench first=0.2 chunks=500 gap=0.02 hold=0]`: seconds until the first chunk, how many chunks, seconds between them,
and seconds of silence before the end. Each chunk is one mark of 20 characters, its number and the time when it was
written, so that a reader sees what was lost or repeated, and how late each one came. Times are of the machine's
monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import uvloop

MARK = "%06d%013d "
MARK_LENGTH = 20
WANTED = re.compile(r"\[bench ([^\]]*)\]")
HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = '{"id":"bench","object":"chat.completion.chunk","created":0,"model":"bench","choices":[%s]%s}'
CHOICE = '{"index":0,"delta":%s,"finish_reason":%s}'
USAGE = ',"usage":{"prompt_tokens":1,"completion_tokens":%d,"total_tokens":%d}'
TITLE = CHOICE.replace("delta", "message") % ('{"role":"assistant","content":"Benchmark"}', '"stop"')


def now_us() -> int:
    """Return the time in microseconds that marks carry."""
    return time.monotonic_ns() // 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one answer is to be like."""

    first: float = 0.0
    chunks: int = 1
    gap: float = 0.0
    hold: float = 0.0

    @classmethod
    def read(cls, body: dict[str, Any]) -> Wanted:
        """Find it in the last message that says it; a title, for which no tool is offered, is short."""
        if body["messages"][0]["role"] == "system" and not body.get("tools"):
            return cls()
        for message in reversed(body["messages"]):
            content = message.get("content")
            text = content if isinstance(content, str) else msgspec.json.encode(content).decode()
            if found := WANTED.findall(text):
                pairs = dict(pair.split("=") for pair in found[-1].split())
                return cls(**{name: int(value) if name == "chunks" else float(value) for name, value in pairs.items()})
        return cls()


def prompt(**wanted: float) -> str:
    """Return a message that asks for an answer."""
    return f"[bench {' '.join(f'{name}={value}' for name, value in wanted.items())}]"


class Server(asyncio.Protocol):
    """One connection; requests on it follow one another."""

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self.transport = transport
        self.loop = asyncio.get_running_loop()
        self.received = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop speaking."""
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take a request once all of it is there."""
        self.received += data
        head, found, rest = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head.lower())
        if not found or (length and len(rest) < int(length[1])):
            return
        self.received = b""
        if not length:
            self.write(HEADERS % b"text/plain", self.part("ok"), b"0\r\n\r\n")
            return
        body = msgspec.json.decode(rest)
        if not body.get("stream"):
            whole = (CHUNK % (TITLE, USAGE % (1, 2))).replace(".chunk", "")
            self.write(HEADERS % b"application/json", self.part(whole), b"0\r\n\r\n")
            return
        self.wanted, self.number = Wanted.read(body), 0
        self.begins = self.loop.time() + self.wanted.first
        self.write(HEADERS % b"text/event-stream")
        self.timer = self.loop.call_at(self.begins, self.say)

    def say(self) -> None:
        """Write all chunks that are due, and come back for the next."""
        wanted, lines = self.wanted, []
        while self.number < wanted.chunks:
            due = self.begins + self.number * wanted.gap
            if due > self.loop.time():
                self.write(*lines)
                self.timer = self.loop.call_at(due, self.say)
                return
            delta = '{"content":"%s"}' % (MARK % (self.number, now_us()))
            lines.append(self.event(CHUNK % (CHOICE % (delta, "null"), "")))
            self.number += 1
            if not wanted.gap and len(lines) == 100:  # lets others have their turn
                self.write(*lines)
                self.timer = self.loop.call_later(0, self.say)
                return
        self.write(*lines)
        self.timer = self.loop.call_later(wanted.hold, self.end)

    def end(self) -> None:
        """Finish the answer; the connection may carry another."""
        usage = USAGE % (self.wanted.chunks, self.wanted.chunks + 1)
        last = [CHUNK % (CHOICE % ("{}", '"stop"'), ""), CHUNK % ("", usage), "[DONE]"]
        self.write(*(self.event(text) for text in last), b"0\r\n\r\n")

    def event(self, text: str) -> bytes:
        """Return a server-sent event as one part of a chunked body."""
        return self.part(f"data: {text}\n\n")

    def part(self, text: str) -> bytes:
        """Return a part of a chunked body."""
        return b"%x\r\n%s\r\n" % (len(text), text.encode())

    def write(self, *parts: bytes) -> None:
        """Send."""
        if parts and not self.transport.is_closing():
            self.transport.write(b"".join(parts))


async def serve(port: int) -> None:
    """Serve until a signal ends it."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
