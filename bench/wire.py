"""A websocket client that costs little: what it spends is taken from the machine that is measured."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

HANDSHAKE = (
    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Socket(asyncio.Protocol):
    """One websocket; every text goes to `on_text` as it comes."""

    def __init__(self, on_text: Callable[[bytes], None]) -> None:
        self.on_text = on_text
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.close_code = 0
        self.is_open = False
        self._received = bytearray()

    @classmethod
    async def connect(cls, port: int, path: str, on_text: Callable[[bytes], None], cookie: str = "") -> Socket:
        """Open a websocket at this machine."""
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(lambda: cls(on_text), "127.0.0.1", port)
        header = f"Cookie: {cookie}\r\n" if cookie else ""
        socket.transport.write((HANDSHAKE % (path, port, header)).encode())
        async with asyncio.timeout(60):
            await socket.opened
        return socket

    def send(self, text: bytes) -> None:
        """Send a text. The mask that the protocol asks of clients is zero, which leaves the text as it is."""
        self._write(TEXT, text)

    def close(self) -> None:
        """Leave."""
        self.transport.close()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("closed during the handshake"))

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if not self.opened.done():
            head, found, rest = bytes(received).partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self.opened.set_exception(ConnectionError(head[:200].decode("latin-1")))
                return
            received[:] = rest
            self.is_open = True
            self.opened.set_result(None)
        at = 0
        while (taken := self._frame(received, at)) > at:
            at = taken
        del received[:at]

    def _frame(self, data: bytearray, at: int) -> int:
        """Take the frame that begins at a place; returns where it ends, or the place when it isn't whole."""
        if len(data) < at + 2:
            return at
        size, begin = data[at + 1], at + 2
        if size == 126:
            begin += 2
            if len(data) < begin:
                return at
            (size,) = struct.unpack_from("!H", data, at + 2)
        elif size == 127:
            begin += 8
            if len(data) < begin:
                return at
            (size,) = struct.unpack_from("!Q", data, at + 2)
        if len(data) < begin + size:
            return at
        body = bytes(data[begin : begin + size])
        match data[at] & 15:
            case 1:
                self.on_text(body)
            case 8:
                self.close_code = int.from_bytes(body[:2])
                self.transport.close()
            case 9:
                self._write(PONG, body)
        return begin + size

    def _write(self, kind: int, body: bytes) -> None:
        size = len(body)
        length = bytes([128 | size]) if size < 126 else b"\xfe" + size.to_bytes(2) if size < 65536 else None
        if length is None:
            raise ValueError("a benchmark sends no frame that long")
        self.transport.write(bytes([128 | kind]) + length + b"\0\0\0\0" + body)
